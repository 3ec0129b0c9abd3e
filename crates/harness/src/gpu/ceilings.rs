//! What the device can do: copy bandwidth at each bench workload's size, and matrix operations a second.
//!
//! Both are measured with trusted kernels through the path on which candidates are timed. The matrix rate that one trusted kernel
//! reaches is not the device's limit, so a known device's data sheet counts where it says more: a bound that is too low flatters
//! nobody, one that is too high would suspect the honest.

use std::time::Duration;

use kernsmith_op_contract::Role;
use kernsmith_wire::gpu::Step;

use super::runner::GpuRunner;
use crate::calibration::{Calibration, CopyCeiling};
use crate::error::{HarnessError, Stop};
use crate::setup::Setup;

const TIMEOUT: Duration = Duration::from_secs(20);
const SAMPLES: usize = 9;
const ROUNDS: u32 = 4_000;
/// Warps of a block of the trusted kernel times operations of a round of one warp (`kit.cu`).
const OPERATIONS_A_ROUND: f64 = 8.0 * 16_384.0;
/// Dense bf16 matrix operations a second. Source: NVIDIA's data sheets of the SXM parts, without sparsity.
const SHEETS: [(&str, f64); 4] = [("A100", 312e12), ("H100", 989e12), ("H200", 989e12), ("B200", 2250e12)];

/// Measures what is missing.
pub(crate) fn ensure(
    setup: &Setup,
    known: &mut Calibration,
    runner: &mut GpuRunner,
) -> Result<(), HarnessError> {
    if !setup.options.calibrate {
        return Ok(());
    }
    let trusted = |stop: Stop| stop.trusted("the trusted kernels");
    if known.flops_per_second.is_none() {
        known.flops_per_second = Some(multiply(runner).map_err(trusted)?);
    }
    for index in setup.shapes_of(Role::Bench) {
        if !known.knows(setup.shapes[index].bytes) {
            copy(setup, known, runner, index).map_err(trusted)?;
        }
    }
    Ok(())
}

/// Measures the copy of one size, and keeps it where it is faster than what is known.
pub(crate) fn copy(
    setup: &Setup,
    known: &mut Calibration,
    runner: &mut GpuRunner,
    index: usize,
) -> Result<(), Stop> {
    let bytes = setup.shapes[index].bytes;
    let half = ((bytes / 2.0) as u64).next_multiple_of(16);
    let ranges = runner.worker.reserve(&[half, half])?;
    let (from, to) = (ranges[0].0, ranges[1].0);
    let (address, flushed) = runner.lanes.flush;
    let mut steps = vec![Step::Flush { address: from, bytes: half }];
    for _ in 0..SAMPLES {
        steps.extend([
            Step::Flush { address, bytes: flushed },
            Step::Start,
            Step::Copy { from, to, bytes: half },
            Step::Stop,
        ]);
    }
    let ran = runner.run(Vec::new(), steps, TIMEOUT);
    runner.worker.release(&ranges)?;
    let fastest_us = ran?.times_us.into_iter().fold(f64::INFINITY, f64::min);
    known.learn(CopyCeiling {
        bytes,
        bytes_per_second: bytes / (fastest_us * 1e-6),
        kernel: "kit_copy".to_owned(),
    });
    Ok(())
}

fn multiply(runner: &mut GpuRunner) -> Result<f64, Stop> {
    let blocks = 8 * runner.worker.device.sm_count;
    let ranges = runner.worker.reserve(&[u64::from(blocks) * 256 * 4])?;
    let address = ranges[0].0;
    let mut steps = Vec::new();
    for _ in 0..SAMPLES {
        steps.extend([Step::Start, Step::Multiply { address, rounds: ROUNDS, blocks }, Step::Stop]);
    }
    let ran = runner.run(Vec::new(), steps, TIMEOUT);
    runner.worker.release(&ranges)?;
    let fastest_us = ran?.times_us.into_iter().fold(f64::INFINITY, f64::min);
    let measured = f64::from(blocks) * f64::from(ROUNDS) * OPERATIONS_A_ROUND / (fastest_us * 1e-6);
    let name = &runner.worker.device.name;
    let sheet = SHEETS.iter().find(|(part, _)| name.contains(part)).map_or(0.0, |(_, rate)| *rate);
    Ok(measured.max(sheet))
}
