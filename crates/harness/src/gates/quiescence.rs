//! G7 `quiescence`: no work outside the call.

use std::time::Duration;

use kernsmith_core::FailureClass;

use crate::arena::Arena;
use crate::error::Stop;
use crate::layout::Side;
use crate::trial::Trial;

/// Time that threads get to park after a call has returned.
const SETTLE: Duration = Duration::from_millis(2);
/// Time in which nothing may run.
const WINDOW: Duration = Duration::from_millis(4);
/// Processor time in the window that is noise.
const ALLOWED_NS: u64 = 200_000;
/// Rounds, and how many of them decide: one loud round may be the machine's fault, one silent one its own pause.
const ROUNDS: usize = 3;
const DECISIVE: usize = 2;

/// Watches the processor time of the candidate's threads while nothing is asked of it.
pub(crate) fn check(trial: &mut Trial<'_>) -> Result<String, Stop> {
    let setup = trial.setup;
    let (contract, index) = (&setup.contract, trial.setup.smallest_bench()?);
    let shape = &setup.shapes[index];
    let mut loud = Vec::new();
    let mut parked = 0;
    for round in 0..ROUNDS {
        let arena = &mut trial.device.arena;
        let (mut call, _) = Arena::place(shape, Side::Right, arena.slot(0));
        if round == 0 {
            arena.fill(contract, &contract.cases[0], shape, &mut call, &mut trial.rng);
        }
        trial.kernel.begin(contract, shape, &call, None)?;
        trial.kernel.finish(trial.timeout(index))?;
        std::thread::sleep(SETTLE);
        let before = trial.kernel.worker.census();
        std::thread::sleep(WINDOW);
        let after = trial.kernel.worker.census();
        parked = after.others();
        let spent = after.restless_since(&before);
        if spent > ALLOWED_NS {
            loud.push(spent);
        }
        if loud.len() >= DECISIVE || round + 1 - loud.len() >= DECISIVE {
            break;
        }
    }
    if loud.len() >= DECISIVE {
        let spent = loud.iter().min().copied().unwrap_or(0) / 1_000;
        let detail = format!(
            "{spent} µs of work in {} ms after the call had returned, {} times",
            WINDOW.as_millis(),
            loud.len()
        );
        return Err(Stop::rejected(FailureClass::BackgroundWork, detail));
    }
    if parked > 0 {
        trial.notes.push(format!("{parked} parked threads"));
    }
    Ok(format!("{parked} parked threads"))
}
