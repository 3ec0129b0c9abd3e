//! Histories for tests: short words for entries.

use std::collections::BTreeMap;

use kernsmith_core::event::Proposed;
use kernsmith_core::evidence::{
    Artifacts, CandidateFacts, EVIDENCE_SCHEMA, Environment, Security, Validation, WorkloadTiming,
};
use kernsmith_core::{
    Digest, Edit, Entry, Event, Evidence, Failure, FailureClass, Gate, GeneValue, Lane, Language, NewNode,
    NodeId, NodeKind, Origin, Performance, Plan, Prediction, Seq, Target, Verdict,
};

use crate::Tree;

/// A log that grows together with its tree.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) entries: Vec<Entry>,
    pub(crate) tree: Tree,
}

pub(crate) fn node(kind: NodeKind, title: &str, ratio: f64) -> NewNode {
    NewNode {
        kind,
        title: title.to_owned(),
        rationale: String::new(),
        template: (kind == NodeKind::Family).then(|| format!("skill/{title}")),
        fixed: BTreeMap::new(),
        axes: vec![format!("title={title}")],
        predicted: Prediction { ratio, low: ratio / 2.0, high: ratio * 2.0 },
        difficulty: 1,
        expected_instructions: Vec::new(),
    }
}

pub(crate) fn proposed(node: NodeId, number: u64, template: Option<String>) -> Proposed {
    Proposed {
        node,
        source: Digest::of(&number.to_le_bytes()),
        key: Digest::of(&number.to_le_bytes()),
        language: Language::Cpp,
        plan: Plan::default(),
        origin: Origin {
            proposer: "autotune".to_owned(),
            operator: "sample".to_owned(),
            parents: Vec::new(),
            template,
            genome: BTreeMap::from([("number".to_owned(), GeneValue::Int(number as i64))]),
        },
        prediction: None,
        rationale: String::new(),
    }
}

pub(crate) fn performance(ratio: f64, workloads: &[(&str, f64)]) -> Performance {
    let timing = |&(name, ratio): &(&str, f64)| WorkloadTiming {
        workload: name.to_owned(),
        axes: BTreeMap::new(),
        weight: 1.0,
        median_us: 1.0,
        baseline_us: ratio,
        ratio,
        ci_low: ratio,
        ci_high: ratio,
        sol_us: None,
        sol_score: None,
        copy_fraction: None,
        calls_per_sample: 1,
        cold: true,
        samples_us: Vec::new(),
        baseline_samples_us: Vec::new(),
        outliers: 0,
    };
    Performance {
        median_us: 1.0,
        baseline_us: ratio,
        baseline: "scalar".to_owned(),
        ratio,
        ci_low: ratio * 0.99,
        ci_high: ratio * 1.01,
        sol_score: None,
        noise_floor: 1.01,
        interleaved: true,
        workloads: workloads.iter().map(timing).collect(),
        rivals: Vec::new(),
    }
}

pub(crate) fn evidence(
    lane: Lane,
    code_object: Option<Digest>,
    result: Result<Performance, FailureClass>,
) -> Evidence {
    let (verdict, performance, failure) = match result {
        Ok(performance) => (Verdict::Accepted, Some(performance), None),
        Err(class) => (Verdict::Rejected, None, Some(Failure::new(Gate::Build, class, "detail"))),
    };
    Evidence {
        schema_version: EVIDENCE_SCHEMA,
        verdict,
        failure,
        lane,
        candidate: CandidateFacts {
            contract: "c@1".to_owned(),
            target: Target::Cpu("x86_64".to_owned()),
            language: Language::Cpp,
            source: Digest::ZERO,
            code_object,
        },
        environment: Environment::default(),
        validation: Validation::default(),
        performance,
        artifacts: Artifacts::default(),
        security: Security::default(),
        replay: String::new(),
    }
}

impl History {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), tree: Tree::default() }
    }

    pub(crate) fn with_families(titles: &[&str]) -> Self {
        let mut history = Self::new();
        for title in titles {
            history.insert(NodeId::ROOT, node(NodeKind::Family, title, 2.0));
        }
        history
    }

    pub(crate) fn push(&mut self, event: Event) -> Seq {
        let seq = Seq(self.entries.len() as u64);
        let entry = Entry { seq, time: String::new(), prev: Digest::ZERO, event };
        self.tree.apply(&entry);
        self.entries.push(entry);
        seq
    }

    pub(crate) fn insert(&mut self, parent: NodeId, node: NewNode) {
        let edits = vec![Edit::Insert { parent, node }];
        self.tree.validate(&edits).unwrap();
        self.push(Event::TreeEdited { author: "autotune".to_owned(), edits });
    }

    pub(crate) fn prune(&mut self, author: &str, node: NodeId) {
        let edits = vec![Edit::Prune { node, rationale: "because".to_owned() }];
        self.push(Event::TreeEdited { author: author.to_owned(), edits });
    }

    pub(crate) fn propose(&mut self, node: NodeId) -> Seq {
        let number = self.entries.len() as u64;
        let template = self.tree.node(node).and_then(|node| node.template.clone());
        self.push(Event::Proposed(Box::new(proposed(node, number, template))))
    }

    pub(crate) fn judge(&mut self, proposal: Seq, evidence: Evidence) -> Seq {
        self.push(Event::Judged { proposal, evidence: Box::new(evidence) })
    }

    pub(crate) fn pass(&mut self, node: NodeId, ratio: f64) -> Seq {
        let seq = self.propose(node);
        self.judge(seq, evidence(Lane::Verify, None, Ok(performance(ratio, &[("w", ratio)]))));
        seq
    }

    pub(crate) fn fail(&mut self, node: NodeId, class: FailureClass) -> Seq {
        let seq = self.propose(node);
        self.judge(seq, evidence(Lane::Screen, None, Err(class)));
        seq
    }
}
