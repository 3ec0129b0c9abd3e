//! Histories for tests.

use std::collections::BTreeMap;

use kernsmith_core::conformance::sample_opened;
use kernsmith_core::event::{ForkedFrom, Opened, Proposed};
use kernsmith_core::evidence::{
    Artifacts, CandidateFacts, EVIDENCE_SCHEMA, Environment, Security, Validation,
};
use kernsmith_core::{
    Digest, Edit, Entry, Event, Evidence, Failure, FailureClass, Gate, GeneValue, Genome, Lane, Language,
    NewNode, NodeId, NodeKind, Origin, Performance, Plan, Prediction, Seq, Target, Verdict,
};

use crate::{Archive, Scope};

pub(crate) const TEMPLATE: &str = "skill/fused";

/// What comes out of an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Out {
    Fails(FailureClass),
    Runs(f64),
}

/// A run that is being told.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    pub(crate) name: String,
    pub(crate) entries: Vec<Entry>,
}

pub(crate) fn genome(genes: &[(&str, i64)]) -> Genome {
    genes.iter().map(|(name, value)| ((*name).to_owned(), GeneValue::Int(*value))).collect()
}

impl Story {
    pub(crate) fn new(name: &str, toolchain: &str) -> Self {
        let mut story = Self { name: name.to_owned(), entries: Vec::new() };
        story.push(Event::Opened(Box::new(Opened {
            contract: "rmsnorm_f32".to_owned(),
            contract_digest: Digest::ZERO,
            target: Target::Cpu("x86_64".to_owned()),
            environment: BTreeMap::from([("fingerprint".to_owned(), toolchain.to_owned())]),
            ..sample_opened(&name.parse().unwrap())
        })));
        let node = NewNode {
            kind: NodeKind::Family,
            title: "fused".to_owned(),
            rationale: String::new(),
            template: Some(TEMPLATE.to_owned()),
            fixed: BTreeMap::new(),
            axes: vec!["vector=avx2".to_owned()],
            predicted: Prediction { ratio: 4.0, low: 2.0, high: 8.0 },
            difficulty: 1,
            expected_instructions: Vec::new(),
        };
        let edits = vec![Edit::Insert { parent: NodeId::ROOT, node }];
        story.push(Event::TreeEdited { author: "autotune".to_owned(), edits });
        story
    }

    pub(crate) fn push(&mut self, event: Event) -> Seq {
        let seq = Seq(self.entries.len() as u64);
        self.entries.push(Entry { seq, time: String::new(), prev: Digest::ZERO, event });
        seq
    }

    pub(crate) fn attempt(&mut self, genes: &[(&str, i64)], out: Out) -> Seq {
        let genome = genome(genes);
        let key = key_of(TEMPLATE, &genome);
        let proposal = self.push(Event::Proposed(Box::new(Proposed {
            node: NodeId(1),
            source: key,
            key,
            language: Language::Cpp,
            plan: Plan::default(),
            origin: Origin {
                proposer: "autotune".to_owned(),
                operator: "sample".to_owned(),
                template: Some(TEMPLATE.to_owned()),
                genome,
                ..Origin::default()
            },
            prediction: Some(Prediction { ratio: 2.0, low: 1.0, high: 4.0 }),
            rationale: String::new(),
        })));
        self.judge(proposal, out)
    }

    fn judge(&mut self, proposal: Seq, out: Out) -> Seq {
        let (failure, performance) = match out {
            Out::Fails(class) => (Some(Failure::new(Gate::Build, class, "")), None),
            Out::Runs(ratio) => (None, Some(performance(ratio))),
        };
        let evidence = Evidence {
            schema_version: EVIDENCE_SCHEMA,
            verdict: if failure.is_some() { Verdict::Rejected } else { Verdict::Accepted },
            failure,
            lane: Lane::Verify,
            candidate: CandidateFacts {
                contract: "rmsnorm_f32@1".to_owned(),
                target: Target::Cpu("x86_64".to_owned()),
                language: Language::Cpp,
                source: Digest::ZERO,
                code_object: None,
            },
            environment: Environment::default(),
            validation: Validation::default(),
            performance,
            artifacts: Artifacts::default(),
            security: Security::default(),
            replay: format!("kernsmith replay {}#{}", self.name, proposal.0),
        };
        self.push(Event::Judged { proposal, evidence: Box::new(evidence) });
        proposal
    }

    /// The same entries as a fork would have them.
    pub(crate) fn fork(&self, name: &str) -> Self {
        let mut copy = Self { name: name.to_owned(), entries: self.entries.clone() };
        if let Event::Opened(opened) = &mut copy.entries[0].event {
            let seq = Seq(self.entries.len() as u64 - 1);
            let run = std::mem::replace(&mut opened.run_id, name.parse().unwrap());
            opened.forked_from = Some(ForkedFrom { run, seq, digest: Digest::ZERO, carried: Vec::new() });
        }
        copy
    }
}

pub(crate) fn key_of(template: &str, genome: &Genome) -> Digest {
    Digest::of(format!("{template} {genome:?}").as_bytes())
}

pub(crate) fn archive(stories: &[&Story]) -> Archive {
    let mut archive = Archive::default();
    for story in stories {
        archive.take(&story.name, &story.entries);
    }
    archive
}

pub(crate) fn scope(toolchain: &str) -> Scope {
    Scope {
        contract: "rmsnorm_f32@1".to_owned(),
        contract_digest: Digest::ZERO.to_string(),
        target: "cpu-x86_64".to_owned(),
        toolchain: toolchain.to_owned(),
    }
}

fn performance(ratio: f64) -> Performance {
    Performance {
        median_us: 1.0 / ratio,
        baseline_us: 1.0,
        baseline: "scalar".to_owned(),
        ratio,
        ci_low: ratio * 0.98,
        ci_high: ratio * 1.02,
        sol_score: None,
        noise_floor: 1.01,
        interleaved: true,
        workloads: Vec::new(),
        rivals: Vec::new(),
    }
}
