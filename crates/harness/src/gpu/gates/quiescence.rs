//! G7 `quiescence`: nothing goes on after the call.

use std::time::Duration;

use kernsmith_core::FailureClass;
use kernsmith_wire::gpu::Step;

use crate::arena::Arena;
use crate::error::Stop;
use crate::gpu::checked::Staged;
use crate::gpu::trial::GpuTrial;
use crate::layout::Side;

/// How long the outputs are left alone between two looks.
const PAUSE: Duration = Duration::from_millis(3);

/// Looks at the outputs of one call twice, in two runs, with a pause between them.
pub(crate) fn check(trial: &mut GpuTrial<'_>) -> Result<String, Stop> {
    let setup = trial.setup;
    let index = trial.setup.smallest_bench()?;
    let shape = &setup.shapes[index];
    let arena = &mut trial.state.arena;
    let (mut call, _) = Arena::place(shape, Side::Left, arena.slot(0));
    arena.fill(&setup.contract, &setup.contract.cases[0], shape, &mut call, &mut trial.rng);
    let places = trial.runner.lanes.place(shape, Side::Right, 0);
    let staged = Staged::new(trial, places, 0);
    let launches = trial.runner.call(setup, shape, &staged.inputs, &staged.outputs)?;
    let sums: Vec<Step> = staged
        .outputs
        .iter()
        .filter(|place| place.bytes > 0)
        .map(|place| Step::Sum { address: place.address, bytes: place.bytes })
        .collect();
    let mut steps = Vec::new();
    staged.before(trial, &call.placed, &mut steps);
    steps.push(Step::Call(0));
    steps.extend(sums.iter().cloned());
    let timeout = trial.timeout(index);
    let before = trial.runner.run(vec![launches], steps, timeout)?.values;
    std::thread::sleep(PAUSE);
    let after = trial.runner.run(Vec::new(), sums, timeout)?.values;
    if !before.ends_with(&after) {
        let detail = "an output changed after the call had returned".to_owned();
        return Err(Stop::rejected(FailureClass::LateWrite, detail));
    }
    Ok("outputs rest after the call".to_owned())
}
