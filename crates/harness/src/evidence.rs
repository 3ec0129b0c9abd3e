//! Putting the packet together.

use kernsmith_core::evidence::{
    Artifacts, CandidateFacts, DeviceState, EVIDENCE_SCHEMA, Environment, ObjectFacts, Security, Validation,
    Verdict,
};
use kernsmith_core::{Candidate, Digest, Evidence, Lane, Performance};
use kernsmith_sandbox::Confinement;
use kernsmith_toolchain::CodeObject;

use crate::check::Tally;
use crate::gates::build::BuildLog;
use crate::setup::Setup;
use crate::trial::Log;

/// Lines of a build log that are kept.
const LOG_LINES: usize = 40;

/// What the device gates found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) tally: Tally,
    pub(crate) notes: Vec<String>,
    pub(crate) performance: Option<Performance>,
    pub(crate) confinement: Confinement,
    /// What a GPU was like.
    pub(crate) device: Vec<DeviceState>,
}

/// What is known of a code object, whatever it is for.
#[derive(Debug)]
pub(crate) struct BuiltFacts {
    pub(crate) digest: Digest,
    pub(crate) build_ms: f64,
    pub(crate) facts: ObjectFacts,
}

impl BuiltFacts {
    /// Of a shared object.
    pub(crate) fn of(object: &CodeObject) -> Self {
        Self { digest: object.digest, build_ms: object.build_ms, facts: object.facts.clone() }
    }
}

/// The packet of one judgement on the processor.
pub(crate) fn packet(
    setup: &Setup,
    candidate: &Candidate,
    lane: Lane,
    object: Option<&CodeObject>,
    build: &BuildLog,
    log: Log,
    found: Findings,
) -> Evidence {
    let environment = environment(setup, object.map_or(&[][..], |object| &object.flags));
    assemble(setup, candidate, lane, environment, object.map(BuiltFacts::of), build, log, found)
}

/// The packet of one judgement, wherever it was made.
#[expect(
    clippy::too_many_arguments,
    reason = "the packet has that many parts, and this is the one place that knows them all"
)]
pub(crate) fn assemble(
    setup: &Setup,
    candidate: &Candidate,
    lane: Lane,
    environment: Environment,
    object: Option<BuiltFacts>,
    build: &BuildLog,
    log: Log,
    found: Findings,
) -> Evidence {
    let contract = &setup.contract;
    let accepted = log.failure.is_none();
    let name = format!("{}@{}", contract.name, contract.version);
    Evidence {
        schema_version: EVIDENCE_SCHEMA,
        verdict: if accepted { Verdict::Accepted } else { Verdict::Rejected },
        failure: log.failure,
        lane,
        candidate: CandidateFacts {
            contract: name,
            target: candidate.target.clone(),
            language: candidate.proposal.language,
            source: candidate.source_digest,
            code_object: object.as_ref().map(|object| object.digest),
        },
        environment,
        validation: Validation {
            gates: log.reports,
            calls_checked: found.tally.calls,
            elements_checked: found.tally.elements,
            worst: found.tally.worst,
        },
        performance: found.performance.filter(|_| accepted),
        artifacts: Artifacts {
            build_log: build.text.lines().take(LOG_LINES).collect::<Vec<_>>().join("\n"),
            build_ms: object.as_ref().map(|object| object.build_ms),
            object: object.map(|object| object.facts),
            device: found.device,
            tool: None,
        },
        security: Security {
            sandbox: found.confinement.summary(),
            missing: found.confinement.missing_lines(),
            notes: found.notes,
        },
        replay: format!(
            "kernsmith evaluate {} --source {}.{}",
            contract.name,
            candidate.source_digest.short(),
            candidate.proposal.language.extension()
        ),
    }
}

/// Where and with what.
pub(crate) fn environment(setup: &Setup, flags: &[String]) -> Environment {
    let host = &setup.host;
    let compiler = setup.toolchain.compiler();
    let compiler_digest = compiler.digest.to_string();
    let cores = host.cores.to_string();
    let parts = [host.model.as_str(), cores.as_str(), host.os.as_str(), compiler_digest.as_str()];
    Environment {
        device: format!("{} ({} cores)", host.model, host.cores),
        fingerprint: Digest::of_parts(parts.iter().map(|part| part.as_bytes())).short(),
        compiler: compiler.to_string(),
        compiler_digest,
        flags: flags.to_vec(),
        os: host.os.clone(),
        weakened: setup.options.weakened(),
        odd: Vec::new(),
    }
}
