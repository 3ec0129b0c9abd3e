//! A small run with one of everything.

use std::collections::BTreeMap;
use std::path::Path;

use kernsmith_core::conformance::sample_opened;
use kernsmith_core::event::{BaselineFrozen, Opened, Proposed};
use kernsmith_core::evidence::{
    Artifacts, CandidateFacts, EVIDENCE_SCHEMA, Environment, GateReport, ObjectFacts, Rival, Security,
    Validation, WorkloadTiming, WorstElement,
};
use kernsmith_core::{
    Digest, Edit, Event, Evidence, Failure, FailureClass, Gate, GeneValue, Lane, Language, NewNode, NodeId,
    NodeKind, Origin, Performance, Plan, Prediction, Record, Seq, Target, Verdict,
};
use kernsmith_experiment_log::RunWriter;

/// What differs from test to test.
pub(super) struct SampleRun {
    pub(super) champion: bool,
    pub(super) only_opened: bool,
    pub(super) source: String,
    pub(super) title: String,
}

impl Default for SampleRun {
    fn default() -> Self {
        let (source, title) = ("extern \"C\" void kernel() {}\n".to_owned(), "vector=avx512".to_owned());
        Self { champion: false, only_opened: false, source, title }
    }
}

/// Entries: 0 opened, 1 baseline, 2 tree, 3–4 rejected, 5–6 duplicate, 7–8 tree, 9 proposed, 10 verified, 11 confirmed,
/// 12 promoted, 13 closed.
pub(super) fn write_run(root: &Path, sample: &SampleRun) -> RunWriter {
    let mut writer = RunWriter::create(root, &"20261121-rmsnorm_f32-a1b2".parse().unwrap()).unwrap();
    let add = |writer: &mut RunWriter, event: Event| writer.append_group(vec![event]).unwrap();
    add(&mut writer, opened());
    if sample.only_opened {
        return writer;
    }
    let source = writer.keep(b"scalar loop").unwrap();
    let performance = performance(1.0, (0.99, 1.01));
    let baseline = BaselineFrozen { name: "scalar".to_owned(), source, plan: Plan::default(), performance };
    add(&mut writer, Event::BaselineFrozen(Box::new(baseline)));
    add(&mut writer, insert(NodeId::ROOT, NodeKind::Family, "two passes", 3.0));
    let event = proposed(&mut writer, NodeId(1), "does not compile");
    add(&mut writer, event);
    let failure = Failure::new(Gate::Build, FailureClass::CompileError, "error: expected `;`");
    add(&mut writer, judged(3, Lane::Screen, Some(failure), None));
    let event = proposed(&mut writer, NodeId(1), "does not compile");
    add(&mut writer, event);
    add(&mut writer, Event::Deduplicated { proposal: Seq(5), of: Seq(3), by: "source".to_owned() });
    add(&mut writer, insert(NodeId(1), NodeKind::Decision, &sample.title, 5.0));
    add(&mut writer, insert(NodeId(2), NodeKind::Action, "unroll", 5.5));
    let event = proposed(&mut writer, NodeId(3), &sample.source);
    add(&mut writer, event);
    add(&mut writer, judged(9, Lane::Verify, None, Some(self::performance(5.8, (5.5, 6.2)))));
    if sample.champion {
        add(&mut writer, judged(9, Lane::Confirm, None, Some(self::performance(6.0, (5.9, 6.1)))));
        let (proposal, confirmation) = (Seq(9), Seq(11));
        add(&mut writer, Event::Promoted { proposal, confirmation, ratio: 6.0, ci_low: 5.9, ci_high: 6.1 });
    }
    add(&mut writer, Event::Closed { reason: "budget".to_owned(), wall_seconds: 42.5 });
    writer
}

/// A run of a few hundred candidates with several promotions, for the eye.
pub(super) fn write_long_run(root: &Path) -> RunWriter {
    let mut writer = RunWriter::create(root, &"20261121-rmsnorm_f32-a1b2".parse().unwrap()).unwrap();
    let source = writer.keep(b"scalar loop").unwrap();
    let baseline = BaselineFrozen {
        name: "scalar".to_owned(),
        source,
        plan: Plan::default(),
        performance: performance(1.0, (0.99, 1.01)),
    };
    writer.append_group(vec![opened(), Event::BaselineFrozen(Box::new(baseline))]).unwrap();
    let families = ["fused two pass", "three pass", "blocked columns", "streaming stores"];
    for (index, title) in families.into_iter().enumerate() {
        writer.append_group(vec![insert(NodeId::ROOT, NodeKind::Family, title, 2.0 + index as f64)]).unwrap();
    }
    for (parent, title) in [(1, "vector=avx512"), (1, "vector=avx2"), (5, "threads=2"), (2, "vector=avx512")]
    {
        writer.append_group(vec![insert(NodeId(parent), NodeKind::Decision, title, 5.0)]).unwrap();
    }
    let classes = [
        FailureClass::CompileError,
        FailureClass::WrongResult,
        FailureClass::WrongResult,
        FailureClass::Crash,
    ];
    let mut best = 0.0;
    for number in 0..240_u64 {
        let noise = Digest::of(&number.to_le_bytes()).bytes()[0];
        let seq = writer.next_seq();
        let node = NodeId(1 + u32::from(noise) % 8);
        let event = proposed(&mut writer, node, &format!("{LONG_SOURCE}// {number}\n"));
        writer.append_group(vec![event]).unwrap();
        if noise.is_multiple_of(5) || node == NodeId(4) {
            let class = classes[usize::from(noise) % classes.len()];
            let failure = Failure::new(Gate::Correctness, class, "y[17] is 0.5, the oracle says 0.25");
            writer.append_group(vec![judged(seq.0, Lane::Screen, Some(failure), None)]).unwrap();
            continue;
        }
        let ratio = 1.2 + 5.5 * (1.0 - (-(number as f64) / 70.0).exp()) * f64::from(noise) / 255.0;
        let interval = (ratio * 0.97, ratio * 1.03);
        writer
            .append_group(vec![judged(seq.0, Lane::Verify, None, Some(performance(ratio, interval)))])
            .unwrap();
        if ratio > best * 1.05 {
            best = ratio;
            let (ratio, confirmation) = (ratio * 0.985, writer.next_seq());
            let (ci_low, ci_high) = (ratio * 0.98, ratio * 1.02);
            let confirmed = Some(performance(ratio, (ci_low, ci_high)));
            let promoted = Event::Promoted { proposal: seq, confirmation, ratio, ci_low, ci_high };
            writer.append_group(vec![judged(seq.0, Lane::Confirm, None, confirmed), promoted]).unwrap();
        }
    }
    writer.append_group(vec![Event::Closed { reason: "budget".to_owned(), wall_seconds: 88.1 }]).unwrap();
    writer.seal().unwrap();
    writer
}

const LONG_SOURCE: &str = "#include <immintrin.h>\n\nextern \"C\" void kernel(const float* x, const float* w, float* y, long rows, long cols) {\n    for (long row = 0; row < rows; ++row) {\n        // <script>alert(1)</script>\n        float sum = 0.0f;\n        for (long col = 0; col < cols; ++col) sum += x[row * cols + col] * x[row * cols + col];\n    }\n}\n";

fn opened() -> Event {
    let run_id = "20261121-rmsnorm_f32-a1b2".parse().unwrap();
    Event::Opened(Box::new(Opened {
        program: "kernsmith 0.1.0".to_owned(),
        contract: "rmsnorm_f32".to_owned(),
        contract_path: "op-contracts/rmsnorm_f32".to_owned(),
        target: Target::Cpu("x86_64".to_owned()),
        seed: 7,
        config: serde_json::json!({"budget": {"wall_seconds": 90.0, "candidates": 0, "evaluations": 50, "goal_ratio": 0.0}}),
        environment: BTreeMap::from([("device".to_owned(), "sample device".to_owned())]),
        ..sample_opened(&run_id)
    }))
}

fn insert(parent: NodeId, kind: NodeKind, title: &str, ratio: f64) -> Event {
    let node = NewNode {
        kind,
        title: title.to_owned(),
        rationale: "a sample".to_owned(),
        template: (kind == NodeKind::Family).then(|| "cpu-row-kernels/two_pass".to_owned()),
        fixed: BTreeMap::new(),
        axes: Vec::new(),
        predicted: Prediction { ratio, low: ratio / 1.5, high: ratio * 1.5 },
        difficulty: 2,
        expected_instructions: Vec::new(),
    };
    Event::TreeEdited { author: "autotune".to_owned(), edits: vec![Edit::Insert { parent, node }] }
}

fn proposed(writer: &mut RunWriter, node: NodeId, source: &str) -> Event {
    let digest = writer.keep(source.as_bytes()).unwrap();
    Event::Proposed(Box::new(Proposed {
        node,
        source: digest,
        key: Digest::of_parts([source.as_bytes()]),
        language: Language::Cpp,
        plan: Plan { threads: Some(2), ..Plan::default() },
        origin: Origin {
            proposer: "autotune".to_owned(),
            operator: "mutate".to_owned(),
            parents: vec![Seq(3)],
            template: Some("cpu-row-kernels/two_pass".to_owned()),
            genome: BTreeMap::from([("unroll".to_owned(), GeneValue::Int(4))]),
        },
        prediction: Some(Prediction { ratio: 5.0, low: 4.0, high: 7.0 }),
        rationale: "Two rows at a time hide the latency of the reduction.".to_owned(),
    }))
}

fn performance(ratio: f64, (ci_low, ci_high): (f64, f64)) -> Performance {
    let workload = |name: &str, rows: i64, ratio: f64| WorkloadTiming {
        workload: name.to_owned(),
        axes: BTreeMap::from([("cols".to_owned(), 4096), ("rows".to_owned(), rows)]),
        weight: 1.0,
        median_us: 1200.0 / ratio,
        baseline_us: 1200.0,
        ratio,
        ci_low: ratio * 0.98,
        ci_high: ratio * 1.02,
        sol_us: Some(150.0),
        sol_score: Some(0.9),
        copy_fraction: Some(0.81),
        calls_per_sample: 4,
        cold: true,
        samples_us: vec![1200.0 / ratio; 12],
        baseline_samples_us: vec![1200.0; 12],
        outliers: 1,
    };
    Performance {
        median_us: 1200.0 / ratio,
        baseline_us: 1200.0,
        baseline: "scalar".to_owned(),
        ratio,
        ci_low,
        ci_high,
        sol_score: Some(0.9),
        noise_floor: 1.02,
        interleaved: true,
        workloads: vec![workload("256x4096", 256, ratio), workload("2048x4096", 2048, ratio * 0.9)],
        rivals: vec![
            Rival {
                name: "hand".to_owned(),
                skipped: None,
                median_us: Some(220.0),
                ratio: Some(1.1),
                ci_low: Some(1.08),
                ci_high: Some(1.12),
                ..Rival::default()
            },
            Rival {
                name: "openblas".to_owned(),
                skipped: Some("libopenblas not found".to_owned()),
                ..Rival::default()
            },
        ],
    }
}

fn worst() -> WorstElement {
    WorstElement {
        tensor: "y".to_owned(),
        index: 77,
        got: "1.0000001".to_owned(),
        expected: "1".to_owned(),
        error_over_bound: 0.31,
        case: "256x4096 heavy tails".to_owned(),
    }
}

fn judged(proposal: u64, lane: Lane, failure: Option<Failure>, performance: Option<Performance>) -> Event {
    let gate = |gate, wall_ms, note: &str| GateReport { gate, passed: true, wall_ms, note: note.to_owned() };
    let evidence = Evidence {
        schema_version: EVIDENCE_SCHEMA,
        verdict: if failure.is_some() { Verdict::Rejected } else { Verdict::Accepted },
        failure,
        lane,
        candidate: CandidateFacts {
            contract: "rmsnorm_f32@1".to_owned(),
            target: Target::Cpu("x86_64".to_owned()),
            language: Language::Cpp,
            source: Digest::of(b"source"),
            code_object: Some(Digest::of_parts([proposal.to_le_bytes().as_slice()])),
        },
        environment: Environment {
            device: "sample device".to_owned(),
            fingerprint: "f00d".to_owned(),
            compiler: "g++ 14.2.0".to_owned(),
            compiler_digest: "c0de".to_owned(),
            flags: vec!["-O3".to_owned(), "-march=native".to_owned()],
            os: "Linux".to_owned(),
            weakened: Vec::new(),
            odd: Vec::new(),
        },
        validation: Validation {
            gates: vec![
                gate(Gate::Build, 412.0, "one translation unit"),
                gate(Gate::Correctness, 180.5, "11 shapes, 6 distributions"),
                gate(Gate::Timing, 900.0, "24 pairs"),
            ],
            calls_checked: 66,
            elements_checked: 1_234_567,
            worst: Some(worst()),
        },
        performance,
        artifacts: Artifacts {
            build_log: String::new(),
            build_ms: Some(398.0),
            object: Some(ObjectFacts {
                text_bytes: 4096,
                exports: vec!["kernel".to_owned()],
                families: BTreeMap::from([("avx512-fma".to_owned(), 96)]),
                ..ObjectFacts::default()
            }),
            device: Vec::new(),
            tool: None,
        },
        security: Security {
            sandbox: "namespaces+landlock+seccomp+rlimits".to_owned(),
            missing: Vec::new(),
            notes: Vec::new(),
        },
        replay: format!("kernsmith replay 20261121-rmsnorm_f32-a1b2#{proposal}"),
    };
    Event::Judged { proposal: Seq(proposal), evidence: Box::new(evidence) }
}
