//! G3 `load`: it loads in a confined worker, and loading leaves nothing running.

use kernsmith_core::FailureClass;

use crate::error::Stop;
use crate::threads::affinity;
use crate::trial::Trial;

/// Looks at the worker that has just loaded the candidate.
pub(crate) fn check(trial: &mut Trial<'_>) -> Result<String, Stop> {
    let worker = &trial.kernel.worker;
    let census = worker.census();
    if census.others() > 0 {
        let detail = format!("{} threads were started by loading", census.others());
        return Err(Stop::rejected(FailureClass::Constructor, detail));
    }
    Ok(format!("{}; processors {}", worker.confinement.summary(), affinity(worker.pid)))
}
