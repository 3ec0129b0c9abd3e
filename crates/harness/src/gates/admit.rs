//! G0 `admit`: the text and the plan are legal. Nothing is run.

use kernsmith_core::{Bindings, Candidate, FailureClass, Language};
use kernsmith_isa_corpus::Inspection;

use crate::error::Stop;
use crate::layout::{Shape, workspaces};
use crate::setup::Setup;

/// A workspace may be this many times as large as all tensors together, and at least [`WORKSPACE_FLOOR_BYTES`].
const WORKSPACE_FACTOR: u64 = 8;
const WORKSPACE_FLOOR_BYTES: u64 = 64 << 20;

/// Checks size, encoding, forbidden words, and the plan against the contract's axes and workloads.
pub(crate) fn check(setup: &Setup, candidate: &Candidate) -> Result<String, Stop> {
    let proposal = &candidate.proposal;
    source(setup, &proposal.source)?;
    let contract = &setup.contract;
    if candidate.contract != contract.name {
        let detail = format!("the candidate is for `{}`, not `{}`", candidate.contract, contract.name);
        return Err(Stop::rejected(FailureClass::PlanInvalid, detail));
    }
    if proposal.language != Language::Cpp || candidate.target.platform() != setup.target.platform() {
        let detail = format!("{} for {} cannot run on {}", proposal.language, candidate.target, setup.target);
        return Err(Stop::rejected(FailureClass::PlanInvalid, detail));
    }
    let axes: Vec<&str> = contract.axes.iter().map(|axis| axis.name.as_str()).collect();
    let plan_error = |problem: String| Stop::rejected(FailureClass::PlanInvalid, problem);
    proposal.plan.check(&axes).map_err(|error| plan_error(error.to_string()))?;
    for shape in &setup.shapes {
        let launch = proposal.plan.launch_for(&shape.axes).map_err(|error| plan_error(error.to_string()))?;
        if launch.is_none() {
            return Err(plan_error(format!("no launch covers {:?}", shape.axes)));
        }
        let sizes = workspaces(&proposal.plan, &shape.axes)
            .map_err(|error| plan_error(format!("workspace size: {error}")))?;
        workspaces_fit(shape, &sizes)?;
    }
    let rules = rules(setup, candidate)?;
    Ok(format!("{} bytes, {} launches, {rules}", proposal.source.len(), proposal.plan.launches.len()))
}

/// Whether a plan's workspaces are not too large for a shape.
pub(crate) fn workspaces_fit(shape: &Shape, sizes: &[u64]) -> Result<(), Stop> {
    let tensors = shape.input_bytes() + shape.output_bytes();
    let limit = (WORKSPACE_FACTOR * tensors).max(WORKSPACE_FLOOR_BYTES);
    let wanted = sizes.iter().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
    if wanted > limit {
        let detail = format!("workspaces of {wanted} bytes; {limit} are allowed");
        return Err(Stop::rejected(FailureClass::PlanInvalid, detail));
    }
    Ok(())
}

/// Holds source and plan against the hard rules of the target, before anything is built.
pub(crate) fn rules(setup: &Setup, candidate: &Candidate) -> Result<String, Stop> {
    let contract = &setup.contract;
    let mut numbers = Bindings::from([("cores".to_owned(), i64::from(setup.host.cores))]);
    for tensor in contract.inputs.iter().chain(&contract.outputs) {
        numbers.insert(format!("dtype_{}", tensor.dtype), 1);
    }
    let checked = setup.rules.check(&Inspection {
        target: &candidate.target,
        language: candidate.proposal.language,
        source: &candidate.proposal.source,
        plan: &candidate.proposal.plan,
        features: Some(&setup.host.features),
        numbers,
    });
    if let Some(violation) = checked.refusal() {
        return Err(Stop::rejected(FailureClass::RuleBroken, violation.to_string()));
    }
    let warnings: Vec<String> = checked.violations.iter().map(ToString::to_string).collect();
    let kept = format!("{} rules decided", checked.decided);
    Ok(if warnings.is_empty() { kept } else { format!("{kept}; {}", warnings.join("; ")) })
}

pub(crate) fn source(setup: &Setup, text: &str) -> Result<(), Stop> {
    let invalid = |detail: String| Err(Stop::rejected(FailureClass::SourceInvalid, detail));
    if text.trim().is_empty() {
        return invalid("the source is empty".to_owned());
    }
    if text.len() as u64 > setup.options.source_bytes_max {
        let limit = setup.options.source_bytes_max;
        return invalid(format!("{} bytes; {limit} are allowed", text.len()));
    }
    if text.contains('\0') {
        return invalid("the source holds a zero byte".to_owned());
    }
    // Comments do not count: what is forbidden is the use, not the mention.
    let code = kernsmith_core::candidate::normalise(text);
    if let Some(word) = setup.contract.forbidden.iter().find(|word| code.contains(word.as_str())) {
        let detail = format!("`{word}` is forbidden by the contract");
        return Err(Stop::rejected(FailureClass::ForbiddenSource, detail));
    }
    Ok(())
}
