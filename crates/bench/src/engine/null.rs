//! A proposer and an evaluator that do nothing but what the loop needs.

use std::collections::BTreeMap;
use std::convert::Infallible;

use kernsmith_core::evidence::{
    Artifacts, CandidateFacts, EVIDENCE_SCHEMA, Environment, GateReport, Security, Validation, WorkloadTiming,
};
use kernsmith_core::port::{Answer, Evaluate, PlanOccasion, PlanRequest, Propose};
use kernsmith_core::{
    Brief, Candidate, Digest, Edit, Evidence, Failure, FailureClass, Gate, Genome, Lane, Language, NewNode,
    NodeId, NodeKind, Origin, Performance, Plan, Prediction, Proposal, Target, Verdict,
};

use super::text;

const FAMILIES: u32 = 8;
const DECISIONS: u32 = 8;
const RATIONALE: &str = "Eight accumulators hide the latency of the multiply-add; the tail is masked, so that no element \
                         is handled twice, and stores bypass the cache because nothing reads them again.";

/// Plans eight families of eight decisions and proposes sources that say nothing.
#[derive(Debug)]
pub(crate) struct NullProposer {
    seed: u64,
    source_bytes: usize,
}

impl NullProposer {
    pub(crate) const fn new(seed: u64, source_bytes: usize) -> Self {
        Self { seed, source_bytes }
    }
}

impl Propose for NullProposer {
    type Error = Infallible;

    fn name(&self) -> &'static str {
        "null"
    }

    async fn plan(&mut self, request: &PlanRequest) -> Result<Answer<Vec<Edit>>, Infallible> {
        if request.occasion != PlanOccasion::Start {
            return Ok(Answer::Nothing);
        }
        let mut edits = Vec::new();
        for family in 0..FAMILIES {
            let id = NodeId(edits.len() as u32 + 1);
            edits.push(insert(NodeId::ROOT, NodeKind::Family, format!("family {family}")));
            let decision = |number| insert(id, NodeKind::Decision, format!("choice {number}"));
            edits.extend((0..DECISIONS).map(decision));
        }
        Ok(Answer::Ready(edits))
    }

    async fn propose(&mut self, brief: &Brief) -> Result<Answer<Proposal>, Infallible> {
        let origin = Origin {
            proposer: "null".to_owned(),
            operator: if brief.elites.is_empty() { "seed" } else { "improve" }.to_owned(),
            parents: brief.elites.first().map(|elite| elite.proposal).into_iter().collect(),
            ..Origin::default()
        };
        Ok(Answer::Ready(Proposal {
            node: brief.strategy.node,
            language: Language::Cpp,
            source: text::source(self.seed, brief.ordinal, self.source_bytes),
            plan: Plan::default(),
            origin,
            prediction: Some(brief.strategy.predicted),
            rationale: RATIONALE.to_owned(),
        }))
    }
}

fn insert(parent: NodeId, kind: NodeKind, title: String) -> Edit {
    let node = NewNode {
        kind,
        axes: vec![format!("title={title}")],
        title,
        rationale: RATIONALE.to_owned(),
        template: None,
        fixed: Genome::new(),
        predicted: Prediction { ratio: 1.2, low: 0.8, high: 1.8 },
        difficulty: 1,
        expected_instructions: vec!["avx512-fma".to_owned()],
    };
    Edit::Insert { parent, node }
}

/// Reads a verdict off the source's digest: a quarter fails in one way or another, the others scatter around 1.
#[derive(Debug)]
pub(crate) struct NullEvaluator {
    contract: String,
    target: Target,
}

impl NullEvaluator {
    pub(crate) fn new(contract: &str, target: &Target) -> Self {
        Self { contract: format!("{contract}@1"), target: target.clone() }
    }

    fn facts(&self, source: Digest, language: Language) -> CandidateFacts {
        CandidateFacts {
            contract: self.contract.clone(),
            target: self.target.clone(),
            language,
            source,
            code_object: Some(Digest::of(source.bytes())),
        }
    }
}

/// What is left of a candidate when nothing is built.
#[derive(Debug)]
pub(crate) struct Prepared {
    source: Digest,
    language: Language,
}

impl Evaluate for NullEvaluator {
    type Error = Infallible;
    type Prepared = Prepared;

    async fn prepare(&self, candidate: Candidate) -> Result<Prepared, Infallible> {
        Ok(Prepared { source: candidate.source_digest, language: candidate.proposal.language })
    }

    fn code_object(&self, prepared: &Prepared) -> Option<Digest> {
        Some(Digest::of(prepared.source.bytes()))
    }

    async fn judge(&self, prepared: Prepared, lane: Lane, _: Option<f64>) -> Result<Evidence, Infallible> {
        let failure = failure(&prepared.source);
        let last = failure.as_ref().map_or(Gate::TimedOutputs, |failure| failure.gate);
        let gates = Gate::ALL.iter().take_while(|gate| **gate <= last);
        let report = |gate: &Gate| GateReport {
            gate: *gate,
            passed: *gate != last,
            wall_ms: 0.25,
            note: String::new(),
        };
        let mut gates: Vec<GateReport> = gates.map(report).collect();
        if let (None, Some(gate)) = (&failure, gates.last_mut()) {
            gate.passed = true;
        }
        Ok(Evidence {
            schema_version: EVIDENCE_SCHEMA,
            verdict: if failure.is_some() { Verdict::Rejected } else { Verdict::Accepted },
            performance: failure.is_none().then(|| performance(ratio(&prepared.source))),
            failure,
            lane,
            candidate: self.facts(prepared.source, prepared.language),
            environment: Environment {
                device: "none".to_owned(),
                fingerprint: "000000000000".to_owned(),
                ..Environment::default()
            },
            validation: Validation { gates, calls_checked: 20, elements_checked: 463_406, worst: None },
            artifacts: Artifacts::default(),
            security: Security { sandbox: "none".to_owned(), ..Security::default() },
            replay: "kernsmith bench engine".to_owned(),
        })
    }
}

/// The same digest, the same fate.
fn failure(source: &Digest) -> Option<Failure> {
    const WAYS: [(Gate, FailureClass, &str); 3] = [
        (Gate::Build, FailureClass::CompileError, "error: use of undeclared identifier in line"),
        (Gate::Correctness, FailureClass::WrongResult, "y differs from the reference at element"),
        (Gate::Load, FailureClass::Crash, "segmentation fault at address"),
    ];
    let (gate, class, text) = *WAYS.get(usize::from(source.bytes()[0] % 12))?;
    Some(Failure::new(gate, class, format!("{text} {}", source.short())))
}

/// Between 0.5 and 2, the middle most likely.
fn ratio(source: &Digest) -> f64 {
    let dice = source.bytes()[8..16].chunks(2).map(|pair| f64::from(u16::from_le_bytes([pair[0], pair[1]])));
    let mean = dice.sum::<f64>() / (4.0 * f64::from(u16::MAX));
    (4.0_f64).powf(mean - 0.5)
}

/// Times of one workload with seven samples each.
pub(crate) fn performance(ratio: f64) -> Performance {
    let samples = |median: f64| (0..7).map(|place| median * (1.0 + f64::from(place - 3) * 1e-3)).collect();
    let workload = WorkloadTiming {
        workload: "only".to_owned(),
        axes: BTreeMap::from([("n".to_owned(), 1 << 20)]),
        weight: 1.0,
        median_us: 100.0 / ratio,
        baseline_us: 100.0,
        ratio,
        ci_low: ratio * 0.99,
        ci_high: ratio * 1.01,
        sol_us: Some(20.0),
        sol_score: Some(0.5),
        copy_fraction: Some(0.2),
        calls_per_sample: 1,
        cold: true,
        samples_us: samples(100.0 / ratio),
        baseline_samples_us: samples(100.0),
        outliers: 0,
    };
    Performance {
        median_us: 100.0 / ratio,
        baseline_us: 100.0,
        baseline: "null".to_owned(),
        ratio,
        ci_low: ratio * 0.99,
        ci_high: ratio * 1.01,
        sol_score: Some(0.5),
        noise_floor: 1.0,
        interleaved: true,
        workloads: vec![workload],
        rivals: Vec::new(),
    }
}
