//! Small runs to test with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kernsmith_core::conformance::sample_opened;
use kernsmith_core::event::{Opened, Proposed};
use kernsmith_core::evidence::{
    Artifacts, CandidateFacts, EVIDENCE_SCHEMA, Environment, Evidence, Security, Validation,
};
use kernsmith_core::{
    Digest, Event, Failure, FailureClass, Gate, Lane, Language, NodeId, Origin, Plan, Record, RunId, Seq,
    Target, Verdict,
};

use crate::RunWriter;

pub(super) fn run_id() -> RunId {
    "20261121-rmsnorm_f32-a1b2".parse().unwrap()
}

pub(super) fn opened() -> Event {
    opened_as(&run_id())
}

pub(super) fn opened_as(run_id: &RunId) -> Event {
    Event::Opened(Box::new(Opened {
        program: "kernsmith 0.1.0".to_owned(),
        contract: "rmsnorm_f32".to_owned(),
        contract_path: "op-contracts/rmsnorm_f32".to_owned(),
        target: Target::Cpu("x86_64".to_owned()),
        config: serde_json::json!({"budget": {"wall_seconds": 90.0}}),
        environment: BTreeMap::from([("device".to_owned(), "sample".to_owned())]),
        ..sample_opened(run_id)
    }))
}

pub(super) fn closed(reason: &str) -> Event {
    Event::Closed { reason: reason.to_owned(), wall_seconds: 12.5 }
}

pub(super) fn source(number: u64) -> String {
    format!("extern \"C\" void kernel() {{ /* {number} */ }}\n")
}

pub(super) fn propose(writer: &mut RunWriter, number: u64) -> Event {
    propose_source(writer, &source(number))
}

pub(super) fn propose_source(writer: &mut RunWriter, source: &str) -> Event {
    Event::Proposed(Box::new(Proposed {
        node: NodeId(1),
        source: writer.keep(source.as_bytes()).unwrap(),
        key: Digest::of(source.as_bytes()),
        language: Language::Cpp,
        plan: Plan::default(),
        origin: Origin {
            proposer: "autotune".to_owned(),
            operator: "sample".to_owned(),
            ..Origin::default()
        },
        prediction: None,
        rationale: String::new(),
    }))
}

pub(super) fn rejected(proposal: Seq) -> Event {
    let evidence = Evidence {
        schema_version: EVIDENCE_SCHEMA,
        verdict: Verdict::Rejected,
        failure: Some(Failure::new(Gate::Build, FailureClass::CompileError, "error: expected `;`")),
        lane: Lane::Screen,
        candidate: CandidateFacts {
            contract: "rmsnorm_f32@1".to_owned(),
            target: Target::Cpu("x86_64".to_owned()),
            language: Language::Cpp,
            source: Digest::of(b"source"),
            code_object: None,
        },
        environment: Environment::default(),
        validation: Validation::default(),
        performance: None,
        artifacts: Artifacts::default(),
        security: Security::default(),
        replay: "kernsmith replay x#1".to_owned(),
    };
    Event::Judged { proposal, evidence: Box::new(evidence) }
}

/// An open run with so many rejected candidates, one group each.
pub(super) fn write_run(root: &Path, candidates: u64) -> PathBuf {
    let mut writer = RunWriter::create(root, &run_id()).unwrap();
    writer.append_group(vec![opened()]).unwrap();
    for number in 0..candidates {
        let proposal = writer.next_seq();
        let events = vec![propose(&mut writer, number), rejected(proposal)];
        writer.append_group(events).unwrap();
    }
    writer.directory().to_owned()
}
