//! G8 `timing` and G9 `timed_outputs`: by the device's own events, held against the parent's clock, never on the same content
//! twice, with a cold cache, against the frozen baseline in its own process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kernsmith_core::evidence::DeviceState;
use kernsmith_core::{FailureClass, Gate, Lane};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use crate::check::{self, Tally, compare};
use crate::error::{HarnessError, Stop};
use crate::gpu::clock::{self, Batch, Blind, Look, Timed};
use crate::gpu::runner::GpuRunner;
use crate::gpu::sensed;
use crate::gpu::timed::TimedPool;
use crate::gpu::trial::{GpuTrial, Pending};
use crate::gpu::worker::Mode;
use crate::oracle::Oracle;
use crate::setup::Setup;
use crate::timing::{PairRules, Series, summarise};
use crate::trial::TimedOutputs;

/// One batch in so many is compared with the oracle, besides the first and the last.
const COMPARED_ONE_IN: u32 = 6;

/// Times every bench workload and keeps the samples.
pub(crate) fn check(trial: &mut GpuTrial<'_>) -> Result<String, Stop> {
    let begin = Instant::now();
    let setup = trial.setup;
    let outcome = match trial.lane {
        Lane::Screen => screen(trial),
        Lane::Verify | Lane::Confirm => interleaved(trial),
    };
    // Also after a failure: the oracle has been asked, and must answer before anything else is asked.
    let settled = settle_last(trial);
    let measured = outcome?;
    settled?;
    let noise = trial.state.frozen.as_ref().map_or(1.0, |frozen| frozen.noise_floor);
    let seed = u64::from(setup.contract.version);
    let performance = summarise(setup, &trial.state.calibration, &measured, noise, seed)?;
    let samples: usize = measured.iter().map(|(_, series)| series.candidate.len()).sum();
    trial.performance = Some(performance);
    let wall_ms = begin.elapsed().as_secs_f64() * 1e3;
    Ok(format!("{samples} samples of {} workloads in {wall_ms:.0} ms", measured.len()))
}

fn interleaved(trial: &mut GpuTrial<'_>) -> Result<Vec<(usize, Series)>, Stop> {
    let setup = trial.setup;
    let bench = trial.state.open_all_timed(setup)?;
    let mut baseline = trial.state.take_baseline(setup)?;
    let mut measured = Vec::new();
    let outcome = bench.into_iter().try_for_each(|index| {
        let series = match stored_for(trial, index) {
            Some(stored) => Series { baseline: stored, ..alone(trial, index, None)?.0 },
            None => paired(trial, &mut baseline, index)?,
        };
        measured.push((index, series));
        Ok(())
    });
    if !matches!(outcome, Err(Stop::Apparatus(_))) {
        trial.state.baseline = Some(baseline);
    }
    outcome.map(|()| measured)
}

/// Stored samples that stand in for a baseline too slow to run again before confirmation.
fn stored_for(trial: &GpuTrial<'_>, index: usize) -> Option<Vec<f64>> {
    let frozen = trial.state.frozen.as_ref().filter(|_| trial.lane != Lane::Confirm)?;
    frozen.samples(index).filter(|samples| clock::is_slow(samples))
}

/// Pairs of one workload outside the gate of their own.
pub(crate) fn pairs_again(
    trial: &mut GpuTrial<'_>,
    baseline: &mut GpuRunner,
    index: usize,
) -> Result<Series, Stop> {
    let outcome = paired(trial, baseline, index);
    let settled = settle_last(trial);
    let series = outcome?;
    settled.map(|()| series)
}

/// Pairs of one workload.
fn paired(trial: &mut GpuTrial<'_>, baseline: &mut GpuRunner, index: usize) -> Result<Series, Stop> {
    let setup = trial.setup;
    let rules = PairRules::of(setup, trial.lane);
    let shape = &setup.shapes[index];
    // Both sides in the same way, and several launches in the way in which nobody waits for the processor.
    let graphs = trial.runner.launches(setup, shape)? > 1 || baseline.launches(setup, shape)? > 1;
    let (quiet, mode) = (Mode { graphs, sense: false }, Mode { graphs, sense: true });
    while_cool(trial, index, |trial, pool| {
        let name = &setup.baseline.name;
        let (mut base, _) = Timed::warm_up(setup, index, pool, baseline, Duration::from_mins(1), quiet)
            .map_err(|stop| Stop::from(stop.trusted(name)))?;
        let timeout = trial.timeout(index);
        let (mut ours, first) = Timed::warm_up(setup, index, pool, &mut trial.runner, timeout, mode)?;
        let mut inspector = Inspector {
            setup,
            index,
            pool,
            oracle: &mut trial.state.oracle,
            tally: &mut trial.tally,
            seen: &mut trial.seen,
            pending: &mut trial.pending,
            rng: &mut trial.rng,
            timeout,
        };
        inspector.look(ours.runner, &first, true)?;
        let series = clock::pairs(&mut ours, &mut base, rules, &mut inspector)?;
        Ok((series, ours.end()?))
    })
}

fn alone(trial: &mut GpuTrial<'_>, index: usize, hopeless_us: Option<f64>) -> Result<(Series, bool), Stop> {
    let setup = trial.setup;
    let samples = setup.options.screen_samples;
    let graphs = trial.runner.launches(setup, &setup.shapes[index])? > 1;
    // Asking would take longer than a screen's samples.
    let mode = Mode { graphs, sense: trial.lane != Lane::Screen };
    while_cool(trial, index, |trial, pool| {
        let timeout = trial.timeout(index);
        let (mut ours, first) = Timed::warm_up(setup, index, pool, &mut trial.runner, timeout, mode)?;
        let mut inspector = Inspector {
            setup,
            index,
            pool,
            oracle: &mut trial.state.oracle,
            tally: &mut trial.tally,
            seen: &mut trial.seen,
            pending: &mut trial.pending,
            rng: &mut trial.rng,
            timeout,
        };
        inspector.look(ours.runner, &first, true)?;
        let found = clock::alone(&mut ours, samples, hopeless_us, &mut inspector)?;
        Ok((found, ours.end()?))
    })
}

/// Measures a shape, and once more where the device had slowed down for a reason that may pass.
fn while_cool<T>(
    trial: &mut GpuTrial<'_>,
    index: usize,
    mut measure: impl FnMut(&mut GpuTrial<'_>, &Arc<TimedPool>) -> Result<(T, DeviceState), Stop>,
) -> Result<T, Stop> {
    let (mut found, mut state) = over_pool(trial, index, &mut measure)?;
    if sensed::is_slowed(&state) {
        (found, state) = over_pool(trial, index, &mut measure)?;
        state.measured_again = true;
    }
    trial.device.push(state);
    Ok(found)
}

/// A shape's timed pool, and the shape's name in front of what goes wrong.
fn over_pool<T>(
    trial: &mut GpuTrial<'_>,
    index: usize,
    work: impl FnOnce(&mut GpuTrial<'_>, &Arc<TimedPool>) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let Some(pool) = trial.state.timed.get(&index).cloned() else {
        return Err(HarnessError::Statistics("no timed buffers".to_owned()).into());
    };
    work(trial, &pool).map_err(|stop| stop.within(&trial.setup.shapes[index].name))
}

/// The candidate alone against the frozen baseline's stored samples.
fn screen(trial: &mut GpuTrial<'_>) -> Result<Vec<(usize, Series)>, Stop> {
    let setup = trial.setup;
    let bench = trial.state.open_all_timed(setup)?;
    let mut measured = Vec::new();
    for index in bench {
        let Some(baseline) = trial.state.frozen.as_ref().and_then(|frozen| frozen.samples(index)) else {
            continue;
        };
        let median_us = kernsmith_stats::median(&baseline);
        let hopeless = trial.bar.map(|bar| median_us / bar * setup.options.screen_stop_ratio);
        let (series, stop) = alone(trial, index, hopeless)?;
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

/// Times the frozen baseline against itself, each side in a process of its own.
pub(crate) fn against_itself(
    setup: &Setup,
    timed: &BTreeMap<usize, Arc<TimedPool>>,
    index: usize,
    first: &mut GpuRunner,
    second: &mut GpuRunner,
) -> Result<Series, Stop> {
    let Some(pool) = timed.get(&index) else {
        return Err(HarnessError::Statistics("no timed buffers".to_owned()).into());
    };
    let minute = Duration::from_mins(1);
    let graphs = first.launches(setup, &setup.shapes[index])? > 1;
    let mode = Mode { graphs, sense: false };
    let (mut one, batch) = Timed::warm_up(setup, index, pool, first, minute, mode)?;
    if clock::is_slow(&batch.times_us) {
        // Against itself it would take minutes; its own spread has to serve.
        let (series, _) = clock::alone(&mut one, 3, None, &mut Blind)?;
        return Ok(Series { baseline: series.candidate.clone(), ..series });
    }
    let (mut two, _) = Timed::warm_up(setup, index, pool, second, minute, mode)?;
    clock::pairs(&mut two, &mut one, PairRules::of(setup, Lane::Verify), &mut Blind)
}

/// What was looked at while the clock ran.
pub(crate) fn timed_outputs(trial: &GpuTrial<'_>) -> (String, Duration) {
    let TimedOutputs { calls, compared, spent } = trial.seen;
    (
        format!(
            "every timed call scanned for poison, {compared} of {calls} batches compared with the oracle"
        ),
        spent,
    )
}

/// Fetches rows of the last call of a batch and asks the oracle about them; what it says is compared before the next ones are asked
/// about, so that it computes while the device works.
struct Inspector<'a> {
    setup: &'a Setup,
    index: usize,
    pool: &'a Arc<TimedPool>,
    oracle: &'a mut Oracle,
    tally: &'a mut Tally,
    seen: &'a mut TimedOutputs,
    pending: &'a mut Option<Pending>,
    rng: &'a mut ChaCha12Rng,
    timeout: Duration,
}

impl Look for Inspector<'_> {
    fn look(&mut self, runner: &mut GpuRunner, batch: &Batch, last: bool) -> Result<(), Stop> {
        self.seen.calls += 1;
        if !last && self.rng.random_range(0..COMPARED_ONE_IN) != 0 {
            return Ok(());
        }
        let begin = Instant::now();
        let contract = &self.setup.contract;
        let shape = &self.setup.shapes[self.index];
        let slices = check::sample(shape, &self.setup.options, self.rng);
        if slices.is_empty() {
            return Ok(());
        }
        settle(self.setup, self.oracle, self.tally, self.pending)?;
        let placed = self.pool.placed(&batch.last);
        self.oracle.begin(contract, shape, &placed, &slices)?;
        let mut steps = Vec::new();
        crate::gpu::checked::fetch(runner, shape, &placed, &batch.outputs, &slices, &mut steps);
        let (index, pool) = (self.index, self.pool.clone());
        *self.pending = Some(Pending { index, pool, placed, slices });
        runner.run(Vec::new(), steps, self.timeout)?;
        self.seen.compared += 1;
        self.seen.spent += begin.elapsed();
        Ok(())
    }
}

/// The last rows that the oracle was asked about.
fn settle_last(trial: &mut GpuTrial<'_>) -> Result<(), Stop> {
    let begin = Instant::now();
    let outcome = settle(trial.setup, &mut trial.state.oracle, &mut trial.tally, &mut trial.pending);
    trial.seen.spent += begin.elapsed();
    outcome
}

/// Waits for what the oracle says and compares it with what was fetched.
fn settle(
    setup: &Setup,
    oracle: &mut Oracle,
    tally: &mut Tally,
    pending: &mut Option<Pending>,
) -> Result<(), Stop> {
    let Some(Pending { index, pool, placed, slices }) = pending.take() else { return Ok(()) };
    let (contract, shape) = (&setup.contract, &setup.shapes[index]);
    let answers = oracle.finish(contract, shape, &slices)?;
    let label = format!("{} while being timed", shape.name);
    compare(contract, shape, &pool.outputs, &placed, &answers, &label, tally).map_err(|stop| {
        let stop = match stop {
            Stop::Rejected(mut rejection) if rejection.class == FailureClass::WrongResult => {
                rejection.class = FailureClass::TimedOutputWrong;
                Stop::Rejected(rejection)
            }
            other => other,
        };
        stop.at(Gate::TimedOutputs)
    })
}
