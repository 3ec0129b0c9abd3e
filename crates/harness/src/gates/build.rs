//! G1 `build`: it compiles inside the build sandbox.

use kernsmith_core::Plan;
use kernsmith_toolchain::{BuildOutcome, BuildRequest, BuildRole, CodeObject};

use crate::error::{HarnessError, Stop};
use crate::setup::Setup;

/// What the compiler left behind, also where it said no.
#[derive(Debug, Clone, Default)]
pub(crate) struct BuildLog {
    pub(crate) text: String,
}

/// Compiles a candidate; `fresh` does not take it from the cache.
pub(crate) fn check(
    setup: &Setup,
    source: &str,
    plan: &Plan,
    fresh: bool,
    log: &mut BuildLog,
) -> Result<(CodeObject, String), Stop> {
    let symbols = plan.symbols();
    let request = BuildRequest {
        source,
        role: BuildRole::Kernel,
        flags: &plan.flags,
        symbols: &symbols,
        link: &[],
        fresh,
    };
    match setup.toolchain.build(&request).map_err(HarnessError::from)? {
        BuildOutcome::Built(object) => {
            log.text.clone_from(&object.log);
            let note = format!("{:.0} ms{}", object.build_ms, if object.cached { ", cached" } else { "" });
            Ok((*object, note))
        }
        BuildOutcome::Refused { class, detail, log: text } => {
            log.text = text;
            Err(Stop::rejected(class, detail))
        }
    }
}
