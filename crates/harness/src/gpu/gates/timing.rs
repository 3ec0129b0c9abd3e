//! G8 `timing` and G9 `timed_outputs`: by the device's own events, held against the parent's clock, never on the same content
//! twice, with a cold cache, against the frozen baseline in its own process.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kernsmith_core::{FailureClass, Gate, Lane};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use crate::check::{self, Tally, compare};
use crate::error::{HarnessError, Stop};
use crate::gpu::clock::{self, Batch, Blind, Look, Timed};
use crate::gpu::runner::GpuRunner;
use crate::gpu::timed::TimedPool;
use crate::gpu::trial::GpuTrial;
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
    let measured = match trial.lane {
        Lane::Screen => screen(trial)?,
        Lane::Verify | Lane::Confirm => interleaved(trial)?,
    };
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

/// Pairs of one workload.
pub(crate) fn paired(
    trial: &mut GpuTrial<'_>,
    baseline: &mut GpuRunner,
    index: usize,
) -> Result<Series, Stop> {
    let setup = trial.setup;
    let rules = PairRules::of(setup, trial.lane);
    let timeout = trial.timeout(index);
    over_pool(trial, index, |trial, pool| {
        let name = &setup.baseline.name;
        let (mut base, _) = Timed::warm_up(setup, index, pool, baseline, Duration::from_mins(1))
            .map_err(|stop| Stop::from(stop.trusted(name)))?;
        let (mut ours, first) = Timed::warm_up(setup, index, pool, &mut trial.runner, timeout)?;
        let mut inspector = Inspector {
            setup,
            index,
            pool,
            oracle: &mut trial.state.oracle,
            tally: &mut trial.tally,
            seen: &mut trial.seen,
            rng: &mut trial.rng,
            timeout,
        };
        inspector.look(ours.runner, &first, true)?;
        clock::pairs(&mut ours, &mut base, rules, &mut inspector)
    })
}

fn alone(trial: &mut GpuTrial<'_>, index: usize, hopeless_us: Option<f64>) -> Result<(Series, bool), Stop> {
    let setup = trial.setup;
    let timeout = trial.timeout(index);
    let samples = setup.options.screen_samples;
    over_pool(trial, index, |trial, pool| {
        let (mut ours, first) = Timed::warm_up(setup, index, pool, &mut trial.runner, timeout)?;
        let mut inspector = Inspector {
            setup,
            index,
            pool,
            oracle: &mut trial.state.oracle,
            tally: &mut trial.tally,
            seen: &mut trial.seen,
            rng: &mut trial.rng,
            timeout,
        };
        inspector.look(ours.runner, &first, true)?;
        clock::alone(&mut ours, samples, hopeless_us, &mut inspector)
    })
}

/// Takes a shape's timed pool out for as long as it is used.
fn over_pool<T>(
    trial: &mut GpuTrial<'_>,
    index: usize,
    work: impl FnOnce(&mut GpuTrial<'_>, &TimedPool) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let Some(pool) = trial.state.timed.remove(&index) else {
        return Err(HarnessError::Statistics("no timed buffers".to_owned()).into());
    };
    let outcome = work(trial, &pool);
    trial.state.timed.insert(index, pool);
    outcome.map_err(|stop| stop.within(&trial.setup.shapes[index].name))
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
    timed: &mut BTreeMap<usize, TimedPool>,
    index: usize,
    first: &mut GpuRunner,
    second: &mut GpuRunner,
) -> Result<Series, Stop> {
    let Some(pool) = timed.get(&index) else {
        return Err(HarnessError::Statistics("no timed buffers".to_owned()).into());
    };
    let minute = Duration::from_mins(1);
    let (mut one, batch) = Timed::warm_up(setup, index, pool, first, minute)?;
    if clock::is_slow(&batch.times_us) {
        // Against itself it would take minutes; its own spread has to serve.
        let (series, _) = clock::alone(&mut one, 3, None, &mut Blind)?;
        return Ok(Series { baseline: series.candidate.clone(), ..series });
    }
    let (mut two, _) = Timed::warm_up(setup, index, pool, second, minute)?;
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

/// Compares the last call of a batch with the oracle.
struct Inspector<'a> {
    setup: &'a Setup,
    index: usize,
    pool: &'a TimedPool,
    oracle: &'a mut Oracle,
    tally: &'a mut Tally,
    seen: &'a mut TimedOutputs,
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
        let placed = self.pool.placed(&batch.last);
        self.oracle.begin(contract, shape, &placed, &slices)?;
        let mut steps = Vec::new();
        crate::gpu::checked::fetch(runner, shape, &placed, &batch.outputs, &slices, &mut steps);
        let fetched = runner.run(Vec::new(), steps, self.timeout);
        let answers = self.oracle.finish(contract, shape, &slices)?;
        fetched?;
        let label = format!("{} while being timed", shape.name);
        let outcome = compare(contract, shape, &self.pool.outputs, &placed, &answers, &label, self.tally);
        self.seen.compared += 1;
        self.seen.spent += begin.elapsed();
        outcome.map_err(|stop| {
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
}
