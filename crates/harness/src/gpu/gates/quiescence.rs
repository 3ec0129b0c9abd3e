//! G7 `quiescence`: nothing goes on after the call.

use std::time::Duration;

use kernsmith_core::FailureClass;
use kernsmith_wire::gpu::Step;

use crate::error::Stop;
use crate::gpu::trial::GpuTrial;
use crate::layout::Side;

/// How long the outputs are left alone between two looks.
const PAUSE: Duration = Duration::from_millis(3);

/// Looks at the outputs of the last call twice, in two runs, with a pause between them.
pub(crate) fn check(trial: &mut GpuTrial<'_>) -> Result<String, Stop> {
    let index = trial.smallest_bench()?;
    let shape = &trial.setup.shapes[index];
    let (inputs, outputs) = trial.runner.lanes.place(shape, Side::Right, 0);
    let call = trial.runner.call(trial.setup, shape, &inputs, &outputs)?;
    let sums: Vec<Step> = outputs
        .iter()
        .filter(|place| place.bytes > 0)
        .map(|place| Step::Sum { address: place.address, bytes: place.bytes })
        .collect();
    let timeout = trial.timeout(index);
    let steps = std::iter::once(Step::Call(0)).chain(sums.iter().cloned()).collect();
    let before = trial.runner.run(vec![call], steps, timeout)?.values;
    std::thread::sleep(PAUSE);
    if trial.runner.run(Vec::new(), sums, timeout)?.values != before {
        let detail = "an output changed after the call had returned".to_owned();
        return Err(Stop::rejected(FailureClass::LateWrite, detail));
    }
    Ok("outputs rest after the call".to_owned())
}
