//! What the device can do: copy bandwidth at each bench workload's size, and matrix operations a second.
//!
//! Both are measured with trusted kernels through the path on which candidates are timed. The matrix rate that one trusted kernel
//! reaches is not the device's limit, so a known device's data sheet counts where it says more: a bound that is too low flatters
//! nobody, one that is too high would suspect the honest.

use std::path::PathBuf;
use std::time::Duration;

use kernsmith_core::Digest;
use kernsmith_op_contract::Role;
use kernsmith_wire::gpu::{GpuDevice, Step};

use super::runner::GpuRunner;
use super::sheet::Sheet;
use crate::calibration::{self, Calibration, CopyCeiling};
use crate::error::{HarnessError, Stop};
use crate::setup::Setup;

const TIMEOUT: Duration = Duration::from_secs(20);
const SAMPLES: usize = 9;
const ROUNDS: u32 = 4_000;
/// Warps of a block of the trusted kernel times operations of a round of one warp (`kit.cu`).
const OPERATIONS_A_ROUND: f64 = 8.0 * 16_384.0;
/// Makes sure that ceilings are known at every bench workload's size: from the cache, or measured now.
pub(crate) fn ensure(
    setup: &Setup,
    known: &mut Calibration,
    runner: &mut GpuRunner,
    kit: &[u8],
) -> Result<(), HarnessError> {
    if !setup.options.calibrate {
        return Ok(());
    }
    let path = cache_path(setup, &runner.worker.device, kit);
    if known.copies.is_empty() && !setup.options.recalibrate {
        *known = calibration::load(setup, &path).unwrap_or_default();
    }
    let trusted = |stop: Stop| stop.trusted("the trusted kernels");
    let mut measured = false;
    if known.flops_per_second.is_none() {
        known.flops_per_second = Some(multiply(runner).map_err(trusted)?);
        measured = true;
    }
    for index in setup.shapes_of(Role::Bench) {
        if !known.knows(setup.shapes[index].bytes) {
            copy(setup, known, runner, index).map_err(trusted)?;
            measured = true;
        }
    }
    if measured { calibration::store(&path, known) } else { Ok(()) }
}

/// Ceilings hold for this very device under this driver, measured by these trusted kernels.
fn cache_path(setup: &Setup, device: &GpuDevice, kit: &[u8]) -> PathBuf {
    let parts = [
        device.name.clone(),
        device.uuid.clone(),
        device.driver_version.to_string(),
        format!("{} {} {}", device.sm_count, device.clock_khz, device.memory_clock_khz),
        setup.host.os.clone(),
        Digest::of(kit).to_string(),
    ];
    let key = Digest::of_parts(parts.iter().map(String::as_bytes));
    setup.cache_dir.join(format!("ceilings-gpu-{}.json", key.short()))
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
    let sheet = Sheet::of(&runner.worker.device.name);
    Ok(measured.max(sheet.map_or(0.0, |sheet| sheet.bf16_per_second)))
}
