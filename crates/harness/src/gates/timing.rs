//! G8 `timing`: by the parent's clock, never on the same content twice, with cold caches, against the frozen baseline.

use std::time::Instant;

use kernsmith_core::{FailureClass, Lane};

use crate::error::Stop;
use crate::gates::timed_outputs::Inspector;
use crate::runner::Runner;
use crate::timing::{self, Meter, PairRules, Series, summarise};
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
    let Some(mut set) = trial.device.timed.remove(&index) else {
        return Err(crate::error::HarnessError::Statistics("no timed buffers".to_owned()).into());
    };
    let meter = Meter::Kernel(&setup.contract, &setup.shapes[index]);
    let outcome = trial
        .kernel
        .open_store(set.store, &set.inputs, &set.outputs)
        .and_then(|()| baseline.open_store(set.store, &set.inputs, &set.outputs))
        .and_then(|()| {
            let mut inspector = Inspector::new(
                setup,
                index,
                &mut trial.device.oracle,
                &mut trial.tally,
                &mut trial.timed,
                &mut trial.rng,
            );
            let runners = (&mut trial.kernel, baseline);
            let meters = (&meter, &meter);
            timing::pairs(meters, &mut set, runners, rules, &setup.options, timeout, &mut inspector)
        });
    let cold = set.is_cold(setup);
    trial.device.timed.insert(index, set);
    let series = outcome.map_err(|stop| stop.within(&setup.shapes[index].name))?;
    Ok(Series { cold, ..series })
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

fn screen_workload(
    trial: &mut Trial<'_>,
    index: usize,
    hopeless_us: Option<f64>,
) -> Result<(Series, bool), Stop> {
    let setup = trial.setup;
    let timeout = trial.timeout(index) * 4;
    let Some(mut set) = trial.device.timed.remove(&index) else {
        return Err(crate::error::HarnessError::Statistics("no timed buffers".to_owned()).into());
    };
    let meter = Meter::Kernel(&setup.contract, &setup.shapes[index]);
    let outcome = trial.kernel.open_store(set.store, &set.inputs, &set.outputs).and_then(|()| {
        let mut inspector = Inspector::new(
            setup,
            index,
            &mut trial.device.oracle,
            &mut trial.tally,
            &mut trial.timed,
            &mut trial.rng,
        );
        timing::alone(
            &meter,
            &mut set,
            &mut trial.kernel,
            &setup.options,
            timeout,
            hopeless_us,
            &mut inspector,
        )
    });
    let cold = set.is_cold(setup);
    trial.device.timed.insert(index, set);
    let (series, stop) = outcome.map_err(|stop| stop.within(&setup.shapes[index].name))?;
    Ok((Series { cold, ..series }, stop))
}
