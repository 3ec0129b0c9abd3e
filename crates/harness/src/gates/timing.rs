//! G8 `timing`: by the parent's clock, never on the same content twice, with cold caches, against the frozen baseline.

use std::time::Instant;

use kernsmith_core::{FailureClass, Lane};

use crate::error::Stop;
use crate::gates::timed_outputs::Inspector;
use crate::runner::Runner;
use crate::timing::{self, Meter, PairRules, Series, TimedSet, summarise};
use crate::trial::Trial;

/// Times every bench workload and keeps the samples.
pub(crate) fn check(trial: &mut Trial<'_>) -> Result<String, Stop> {
    let begin = Instant::now();
    let measured = match trial.lane {
        Lane::Screen => screen(trial)?,
        Lane::Verify | Lane::Confirm => interleaved(trial)?,
    };
    trial.kernel.worker.settle(trial.setup.call_timeout(None))?;
    let noise = match &trial.device.frozen {
        Some(frozen) => frozen.noise_floor,
        None => timing::noise_of(trial.setup, &measured)?,
    };
    let seed = u64::from(trial.setup.contract.version);
    let performance = summarise(trial.setup, &trial.device.calibration, &measured, noise, seed)?;
    for (index, series) in &measured {
        if let Some(charged_us) = series.charged_us {
            let name = &trial.setup.shapes[*index].name;
            trial.notes.push(format!(
                "{name}: {charged_us:.0} µs of work before the clock were added to each interval"
            ));
        }
    }
    let samples: usize = measured.iter().map(|(_, series)| series.candidate.len()).sum();
    trial.performance = Some(performance);
    Ok(format!(
        "{samples} samples of {} workloads in {:.0} ms",
        measured.len(),
        begin.elapsed().as_secs_f64() * 1e3
    ))
}

/// Pairs with the baseline, workload by workload.
fn interleaved(trial: &mut Trial<'_>) -> Result<Vec<(usize, Series)>, Stop> {
    let setup = trial.setup;
    let mut baseline = trial.device.take_baseline(setup)?;
    let bench = trial.device.open_all_timed(setup)?;
    let mut measured = Vec::new();
    let outcome = bench.into_iter().try_for_each(|index| {
        let series = match stored_for(trial, index) {
            Some(stored) => Series { baseline: stored, ..screen_workload(trial, index, None)?.0 },
            None => workload(trial, &mut baseline, index)?,
        };
        measured.push((index, series));
        Ok(())
    });
    // A baseline that failed is started again the next time.
    if !matches!(outcome, Err(Stop::Apparatus(_))) {
        trial.device.baseline = Some(baseline);
    }
    outcome.map(|()| measured)
}

/// Stored samples that stand in for a baseline too slow to run again before confirmation.
fn stored_for(trial: &Trial<'_>, index: usize) -> Option<Vec<f64>> {
    let frozen = trial.device.frozen.as_ref().filter(|_| trial.lane != Lane::Confirm)?;
    frozen.samples(index).filter(|samples| kernsmith_stats::median(samples) >= timing::SLOW_CALL_US)
}

/// Pairs of one workload.
pub(crate) fn workload(trial: &mut Trial<'_>, baseline: &mut Runner, index: usize) -> Result<Series, Stop> {
    let setup = trial.setup;
    let rules = PairRules::of(setup, trial.lane);
    let timeout = trial.timeout(index) * 4;
    let meter = Meter::Kernel(&setup.contract, &setup.shapes[index]);
    let (series, cold) = over_timed_set(trial, index, |kernel, set, watch| {
        baseline.open_store(set.store, &set.inputs, &set.outputs)?;
        timing::pairs((&meter, &meter), set, (kernel, baseline), rules, &setup.options, timeout, watch)
    })?;
    Ok(Series { cold, ..series })
}

/// Lends a workload's timed buffers to the candidate, with somebody who looks at its outputs, and takes them back whatever
/// comes of it; also says whether they were larger than the caches.
fn over_timed_set<T>(
    trial: &mut Trial<'_>,
    index: usize,
    run: impl FnOnce(&mut Runner, &mut TimedSet, &mut Inspector<'_>) -> Result<T, Stop>,
) -> Result<(T, bool), Stop> {
    let setup = trial.setup;
    let Some(mut set) = trial.device.timed.remove(&index) else {
        return Err(crate::error::HarnessError::Statistics("no timed buffers".to_owned()).into());
    };
    let kernel = &mut trial.kernel;
    let mut watch = Inspector::new(
        setup,
        index,
        &mut trial.device.oracle,
        &mut trial.tally,
        &mut trial.timed,
        &mut trial.rng,
    );
    let outcome = kernel
        .open_store(set.store, &set.inputs, &set.outputs)
        .and_then(|()| run(kernel, &mut set, &mut watch));
    let cold = set.is_cold(setup);
    trial.device.timed.insert(index, set);
    let done = outcome.map_err(|stop| stop.within(&setup.shapes[index].name))?;
    Ok((done, cold))
}

/// The candidate alone against the frozen baseline's stored samples.
fn screen(trial: &mut Trial<'_>) -> Result<Vec<(usize, Series)>, Stop> {
    let setup = trial.setup;
    if trial.device.frozen.is_none() {
        trial.device.freeze(setup)?;
    }
    let bench = trial.device.open_all_timed(setup)?;
    let mut measured = Vec::new();
    for index in bench {
        let Some(baseline) = trial.device.frozen.as_ref().and_then(|frozen| frozen.samples(index)) else {
            continue;
        };
        let median_us = kernsmith_stats::median(&baseline);
        // The bar is a ratio to the baseline; the candidate is out of reach when it is that many times slower still.
        let hopeless = trial.bar.map(|bar| median_us / bar * setup.options.screen_stop_ratio);
        let (series, stop) = screen_workload(trial, index, hopeless)?;
        measured.push((index, Series { baseline, ..series }));
        if stop {
            trial.notes.push("the screen stopped early: far slower than the best".to_owned());
            break;
        }
    }
    if measured.is_empty() {
        return Err(Stop::rejected(FailureClass::Infrastructure, "no baseline samples"));
    }
    Ok(measured)
}

/// The candidate alone; also says whether it is out of reach.
fn screen_workload(
    trial: &mut Trial<'_>,
    index: usize,
    hopeless_us: Option<f64>,
) -> Result<(Series, bool), Stop> {
    let setup = trial.setup;
    let timeout = trial.timeout(index) * 4;
    let meter = Meter::Kernel(&setup.contract, &setup.shapes[index]);
    let ((series, stop), cold) = over_timed_set(trial, index, |kernel, set, watch| {
        timing::alone(&meter, set, kernel, &setup.options, timeout, hopeless_us, watch)
    })?;
    Ok((Series { cold, ..series }, stop))
}
