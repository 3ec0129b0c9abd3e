//! G11 `confirmation`: again, in a fresh process, with a fresh build and new seeds.

use kernsmith_core::evidence::ObjectFacts;
use kernsmith_core::{Failure, FailureClass, Gate, Plan};
use kernsmith_toolchain::CodeObject;

use super::build::BuildLog;
use super::{audit, build};
use crate::error::Stop;
use crate::setup::Setup;

/// Builds the candidate anew and audits what comes out.
pub(crate) fn rebuild(
    setup: &Setup,
    source: &str,
    plan: &Plan,
    before: Option<&ObjectFacts>,
) -> Result<(CodeObject, String), Stop> {
    let mut log = BuildLog::default();
    let (object, note) = build::check(setup, source, plan, true, &mut log)?;
    audit::check(setup, plan, &object.facts)?;
    let same = before.is_some_and(|facts| *facts == object.facts);
    Ok((object, format!("fresh build, {note}, {}", if same { "same facts" } else { "other facts" })))
}

/// What failed the second time is a failure of confirmation, whatever gate it was; the apparatus' failures stay its own.
pub(crate) fn not_confirmed(failure: Failure) -> Failure {
    if failure.class == FailureClass::Infrastructure || failure.class == FailureClass::NotConfirmed {
        return failure;
    }
    Failure::new(Gate::Confirmation, FailureClass::NotConfirmed, failure.to_string())
}
