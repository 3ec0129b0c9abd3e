//! G4 `smoke`: three runs on one input agree.

use kernsmith_core::FailureClass;
use kernsmith_wire::gpu::Step;

use crate::arena::Arena;
use crate::error::Stop;
use crate::gpu::checked::{self, Staged};
use crate::gpu::trial::GpuTrial;
use crate::layout::Side;

const RUNS: u32 = 3;

/// Runs the smallest bench shape three times on the same input, each run checked in full: bit for bit equal where the contract
/// says so.
pub(crate) fn check(trial: &mut GpuTrial<'_>) -> Result<String, Stop> {
    let setup = trial.setup;
    let index = trial.setup.smallest_bench()?;
    let shape = &setup.shapes[index];
    let case = &setup.contract.cases[0];
    let arena = &mut trial.state.arena;
    let (mut call, _) = Arena::place(shape, Side::Left, arena.slot(0));
    arena.fill(&setup.contract, case, shape, &mut call, &mut trial.rng);
    let label = format!("{} {}", shape.name, case.name);
    let mut first = None;
    let mut differs = false;
    let mut known = None;
    for run in 0..RUNS {
        let side = if run % 2 == 0 { Side::Right } else { Side::Left };
        let places = trial.runner.lanes.place(shape, side, 0);
        let staged = Staged::new(trial, places, run % 2);
        checked::one_more(trial, index, &call, &staged, run == 0, &label, &mut known)?;
        let sums = sums(trial, index, &staged)?;
        differs |= *first.get_or_insert_with(|| sums.clone()) != sums;
    }
    if differs && setup.contract.deterministic {
        let detail = format!("{label}: two runs on one input differ; the contract wants equal bits");
        return Err(Stop::rejected(FailureClass::Nondeterministic, detail));
    }
    Ok(if differs { "three runs differ within tolerance" } else { "three runs are equal bit for bit" }
        .to_owned())
}

/// Sums over the outputs.
fn sums(trial: &mut GpuTrial<'_>, index: usize, staged: &Staged) -> Result<Vec<u64>, Stop> {
    let outputs = staged.outputs.iter().filter(|place| place.bytes > 0);
    let steps = outputs.map(|place| Step::Sum { address: place.address, bytes: place.bytes }).collect();
    let timeout = trial.timeout(index);
    Ok(trial.runner.run(Vec::new(), steps, timeout)?.values)
}
