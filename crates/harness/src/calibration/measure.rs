//! Measuring ceilings with trusted kernels.

use std::time::Duration;

use kernsmith_core::plan::Launch;
use kernsmith_core::{Plan, expr::Bindings};
use kernsmith_op_contract::Role;
use kernsmith_stats::quantile;

use super::{Calibration, CopyCeiling};
use crate::arguments;
use crate::device::{Device, build_trusted};
use crate::error::{HarnessError, Stop};
use crate::layout::Shape;
use crate::options::HarnessOptions;
use crate::process::{Task, WorkerRole};
use crate::runner::Runner;
use crate::setup::Setup;
use crate::timing::{Meter, TimedSet, alone, quiet};

pub(super) const SOURCE: &str = include_str!("ceilings.cpp");
const COPIES: [&str; 3] = ["copy_plain", "copy_stream", "copy_library"];
const MULTIPLY_ADDS: &str = "multiply_adds";
const OPERATIONS: &str = "operations_of_a_round";
const ROUNDS: u64 = 400_000;
const TIMEOUT: Duration = Duration::from_secs(20);
/// The tenth of samples that went best: a ceiling is what the machine can do, not what it does on a bad day.
const BEST: f64 = 0.1;
const SAMPLES: u32 = 25;

/// Measures what is missing; whether anything was.
pub(super) fn complete(setup: &Setup, device: &mut Device) -> Result<bool, HarnessError> {
    let sizes = setup.shapes_of(Role::Bench).into_iter().map(|index| setup.shapes[index].bytes);
    let missing: Vec<f64> = sizes.filter(|bytes| !device.calibration.knows(*bytes)).collect();
    if missing.is_empty() && device.calibration.flops_per_second.is_some() {
        return Ok(false);
    }
    let measured = (|| {
        let mut runner = start(setup)?;
        if device.calibration.flops_per_second.is_none() {
            device.calibration.flops_per_second = Some(multiply_adds(setup, &mut runner)?);
        }
        for bytes in missing {
            let ceiling = copy(setup, &mut runner, bytes)?;
            device.calibration.learn(ceiling);
        }
        Ok(true)
    })();
    measured.map_err(|stop: Stop| stop.trusted("ceilings"))
}

/// Measures the ceilings of one shape again and keeps the higher ones.
pub(crate) fn raise(setup: &Setup, device: &mut Device, index: usize) -> Result<(), HarnessError> {
    let measured = (|| {
        let mut runner = start(setup)?;
        let ceiling = copy(setup, &mut runner, setup.shapes[index].bytes)?;
        Ok((multiply_adds(setup, &mut runner)?, ceiling))
    })();
    let (flops, ceiling) = measured.map_err(|stop: Stop| stop.trusted("ceilings"))?;
    let Calibration { flops_per_second, .. } = &mut device.calibration;
    *flops_per_second = Some(flops_per_second.unwrap_or(0.0).max(flops));
    device.calibration.learn(ceiling);
    super::store(&super::cache_path(setup), &device.calibration)
}

fn start(setup: &Setup) -> Result<Runner, Stop> {
    let launches = COPIES.iter().chain([&MULTIPLY_ADDS, &OPERATIONS]);
    let launches =
        launches.map(|symbol| Launch { symbol: (*symbol).to_owned(), ..Launch::default() }).collect();
    let plan = Plan { launches, ..Plan::default() };
    let object = build_trusted(setup, SOURCE, &plan, &[])?;
    Runner::start(setup, WorkerRole::Trusted, &object.path, &plan, setup.rng())
}

/// The fastest of several copies, on one core and on all.
fn copy(setup: &Setup, runner: &mut Runner, bytes: f64) -> Result<CopyCeiling, Stop> {
    let half = ((bytes / 2.0) as u64).next_multiple_of(64).max(64);
    let mut set = TimedSet::for_copy(setup, half)?;
    // Stores of throw-away sets are numbered from the top, one a size, so that they meet no other.
    set.store = usize::MAX - half as usize;
    runner.open_store(set.store, &set.inputs, &set.outputs)?;
    let shape = TimedSet::copy_shape(half);
    let mut best = CopyCeiling { bytes, bytes_per_second: 0.0, kernel: String::new() };
    let cores = u64::from(setup.host.cores.max(1));
    for symbol in COPIES {
        for threads in [1, cores] {
            let words = [half, threads];
            let meter = Meter::Plain(&shape, symbol, &words);
            let time_us = best_us(setup, runner, &meter, &mut set)?;
            let bytes_per_second = 2.0 * half as f64 / (time_us * 1e-6);
            if bytes_per_second > best.bytes_per_second {
                best = CopyCeiling { bytes, bytes_per_second, kernel: format!("{symbol} x{threads}") };
            }
            if cores == 1 {
                break;
            }
        }
    }
    Ok(best)
}

fn multiply_adds(setup: &Setup, runner: &mut Runner) -> Result<f64, Stop> {
    let mut set = TimedSet::for_copy(setup, 64)?;
    set.store = usize::MAX;
    runner.open_store(set.store, &set.inputs, &set.outputs)?;
    let shape = Shape { axes: Bindings::new(), ..TimedSet::copy_shape(64) };
    let threads = u64::from(setup.host.cores.max(1));
    let words = [ROUNDS, threads];
    let time_us = best_us(setup, runner, &Meter::Plain(&shape, MULTIPLY_ADDS, &words), &mut set)?;
    let per_round = operations_of_a_round(runner)?;
    Ok(per_round * ROUNDS as f64 * threads as f64 / (time_us * 1e-6))
}

/// What the kernel says about itself: operations of one round on one thread.
fn operations_of_a_round(runner: &mut Runner) -> Result<f64, Stop> {
    let symbol = runner.worker.symbol(OPERATIONS);
    let batch = arguments::plain(symbol, 1, &[], &[]);
    let task = Task { batches: vec![batch], measure: true, ..Task::default() };
    let ran = runner.worker.run(task, TIMEOUT)?;
    Ok(ran.values.first().copied().unwrap_or(f64::NAN))
}

fn best_us(setup: &Setup, runner: &mut Runner, meter: &Meter<'_>, set: &mut TimedSet) -> Result<f64, Stop> {
    let options = HarnessOptions { screen_samples: SAMPLES, ..setup.options.clone() };
    let (series, _) = alone(meter, set, runner, &options, TIMEOUT, None, &mut quiet())?;
    Ok(quantile(&series.candidate, BEST))
}
