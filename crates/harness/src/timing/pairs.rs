//! Samples: pairs of baseline and candidate, or the candidate alone.

use std::time::{Duration, Instant};

use kernsmith_core::Lane;
use kernsmith_op_contract::Role;
use kernsmith_stats::{SequentialStop, Step, pairs_needed};
use rand_chacha::ChaCha12Rng;

use super::guard::{Guard, TRAPS, TRAPS_ALONE};
use super::interval::{Meter, empty_interval_us, measure, per_call_us};
use super::set::{Range, TimedSet};
use crate::error::Stop;
use crate::options::HarnessOptions;
use crate::process::Ran;
use crate::runner::Runner;
use crate::setup::Setup;

/// A baseline whose call takes this long is measured next to a candidate only when it is confirmed; before that its
/// stored samples serve, as in the screen.
pub(crate) const SLOW_CALL_US: f64 = 250e3;

/// A process that has slept so long needs a moment before its threads run on all processors again: on virtual machines,
/// milliseconds. A call of its own, which is not timed, takes that moment where the calls are short enough to feel it.
const SLEPT: Duration = Duration::from_millis(20);

/// Samples of one workload, in order of measurement; time of one call in microseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series {
    pub(crate) candidate: Vec<f64>,
    pub(crate) baseline: Vec<f64>,
    /// Whether sample `i` of both was measured side by side.
    pub(crate) paired: bool,
    /// Calls in one interval of the candidate.
    pub(crate) calls: u32,
    pub(crate) cold: bool,
    /// What was added to every interval of the candidate for work before the clock, in microseconds.
    pub(crate) charged_us: Option<f64>,
}

/// When to stop. Fewer pairs than `least` are never taken, whatever the time: an interval of fewer would not hold what it says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PairRules {
    pub(crate) least: u32,
    pub(crate) most: u32,
    pub(crate) budget: Duration,
    pub(crate) target_half_width: f64,
}

impl PairRules {
    /// As the options say for a lane, and never fewer pairs than the interval of all bench workloads takes.
    pub(crate) fn of(setup: &Setup, lane: Lane) -> Self {
        let options = &setup.options;
        let ((least, most), budget_ms, target_half_width) = match lane {
            Lane::Confirm => (options.confirm_pairs, options.confirm_workload_ms, options.confirm_half_width),
            Lane::Screen | Lane::Verify => {
                (options.verify_pairs, options.verify_workload_ms, options.verify_half_width)
            }
        };
        let needed = pairs_needed(options.confidence, setup.shapes_of(Role::Bench).len()) as u32;
        let least = least.max(needed);
        Self {
            least,
            most: most.max(least),
            budget: Duration::from_secs_f64(budget_ms * 1e-3),
            target_half_width,
        }
    }
}

/// Who looks at what happens between samples. Every method gets the set so that it can retire ranges.
pub(crate) trait Watch {
    /// After an interval of the candidate.
    fn candidate_ran(&mut self, set: &mut TimedSet, range: Range, ran: &Ran) -> Result<(), Stop>;

    /// Before an interval of the baseline.
    fn baseline_begins(&mut self, candidate: &Runner);

    /// After an interval of the baseline.
    fn baseline_ran(
        &mut self,
        set: &mut TimedSet,
        range: Range,
        ran: &Ran,
        candidate: &Runner,
    ) -> Result<(), Stop>;

    /// Whether the candidate is to be trapped: no for trusted code.
    fn is_wary(&self) -> bool;

    /// Looks at what waits to be looked at.
    fn settle(&mut self, set: &mut TimedSet) -> Result<(), Stop>;

    /// After an interval in which this call's inputs were exchanged before it could begin.
    fn exchanged(&mut self, set: &mut TimedSet, range: Range, call: Option<u32>) -> Result<(), Stop>;

    /// When no more intervals come.
    fn end(&mut self, set: &mut TimedSet) -> Result<(), Stop>;
}

/// A watch that looks at nothing: for trusted code.
pub(crate) struct Quiet {
    rng: ChaCha12Rng,
}

/// Looks at nothing.
pub(crate) fn quiet() -> Quiet {
    Quiet { rng: rand::make_rng() }
}

impl Watch for Quiet {
    fn candidate_ran(&mut self, set: &mut TimedSet, range: Range, _: &Ran) -> Result<(), Stop> {
        set.retire(range, &mut self.rng);
        Ok(())
    }

    fn baseline_begins(&mut self, _: &Runner) {}

    fn baseline_ran(&mut self, set: &mut TimedSet, range: Range, _: &Ran, _: &Runner) -> Result<(), Stop> {
        set.retire(range, &mut self.rng);
        Ok(())
    }

    fn is_wary(&self) -> bool {
        false
    }

    fn settle(&mut self, _: &mut TimedSet) -> Result<(), Stop> {
        Ok(())
    }

    fn exchanged(&mut self, set: &mut TimedSet, range: Range, _: Option<u32>) -> Result<(), Stop> {
        set.retire(range, &mut self.rng);
        Ok(())
    }

    fn end(&mut self, _: &mut TimedSet) -> Result<(), Stop> {
        Ok(())
    }
}

/// One who is measured.
struct Contender<'a> {
    runner: &'a mut Runner,
    calls: u32,
    overhead_us: f64,
    /// Time of one call when it was run first.
    once_us: f64,
    last_ran: Instant,
}

impl<'a> Contender<'a> {
    /// Runs once (that time is thrown away) and chooses how many calls make an interval.
    fn warm_up(
        runner: &'a mut Runner,
        meter: &Meter<'_>,
        set: &mut TimedSet,
        options: &HarnessOptions,
        timeout: Duration,
    ) -> Result<(Self, Range, Ran), Stop> {
        let overhead_us = empty_interval_us(runner)?;
        let range = set.take(1);
        let ran = measure(runner, meter, set, range, timeout)?;
        crate::threads::spread(runner.worker.pid);
        let once_us = per_call_us(&ran, 1, overhead_us).max(0.01);
        let wanted = (options.interval_us / once_us).ceil();
        let most = u64::from(options.calls_per_interval_max).min(set.calls_max()).max(1);
        let calls = (wanted as u64).clamp(1, most) as u32;
        Ok((Self { runner, calls, overhead_us, once_us, last_ran: Instant::now() }, range, ran))
    }

    fn sample(
        &mut self,
        meter: &Meter<'_>,
        set: &mut TimedSet,
        timeout: Duration,
    ) -> Result<(f64, Range, Ran), Stop> {
        let range = set.take(self.calls);
        let ran = measure(self.runner, meter, set, range, timeout)?;
        self.last_ran = Instant::now();
        Ok((per_call_us(&ran, range.calls, self.overhead_us), range, ran))
    }

    /// One call that is not timed, where it has slept.
    fn wake(
        &mut self,
        meter: &Meter<'_>,
        set: &mut TimedSet,
        timeout: Duration,
        watch: &mut dyn Watch,
    ) -> Result<Option<(Range, Ran)>, Stop> {
        if self.last_ran.elapsed() < SLEPT || self.once_us * 1e-6 >= SLEPT.as_secs_f64() {
            return Ok(None);
        }
        // One more range is in use now: none may wait meanwhile.
        watch.settle(set)?;
        let range = set.take(1);
        Ok(Some((range, measure(self.runner, meter, set, range, timeout)?)))
    }
}

/// Measures candidate and baseline in turn, the order changing from pair to pair, each in its own process.
pub(crate) fn pairs(
    meters: (&Meter<'_>, &Meter<'_>),
    set: &mut TimedSet,
    runners: (&mut Runner, &mut Runner),
    rules: PairRules,
    options: &HarnessOptions,
    timeout: Duration,
    watch: &mut dyn Watch,
) -> Result<Series, Stop> {
    let (meter, base_meter) = meters;
    let (candidate, baseline) = runners;
    let (mut base, range, ran) = Contender::warm_up(baseline, base_meter, set, options, timeout)?;
    let first_us = per_call_us(&ran, 1, base.overhead_us);
    base.runner.worker.rest();
    watch.baseline_begins(candidate);
    watch.baseline_ran(set, range, &ran, candidate)?;
    let (mut contender, range, ran) = Contender::warm_up(candidate, meter, set, options, timeout)?;
    watch.candidate_ran(set, range, &ran)?;
    let stop = SequentialStop {
        target_half_width: rules.target_half_width,
        min_samples: rules.least as usize,
        max_samples: rules.most as usize,
    };
    let mut series = Series { paired: true, calls: contender.calls, ..Series::default() };
    let mut guard = Guard::new(set, TRAPS, rules.least);
    let mut log_ratios = Vec::new();
    let begin = Instant::now();
    // One call of a slow baseline is a sample: there is nothing to warm up, and no time to lose.
    let mut known = (first_us >= SLOW_CALL_US).then_some(first_us);
    loop {
        let number = log_ratios.len() as u32;
        let ours = (&mut base, base_meter, known.take());
        let times = turns(number, ours, (&mut contender, meter), set, timeout, watch)?;
        let trapped = (&mut *contender.runner, contender.calls, timeout);
        guard.trap(number, trapped, Some(base.runner), meter, set, watch)?;
        series.baseline.push(times[0]);
        series.candidate.push(times[1]);
        log_ratios.push((times[0] / times[1]).ln());
        let enough = log_ratios.len() >= rules.least as usize;
        if (enough && begin.elapsed() >= rules.budget) || stop.after(&log_ratios) != Step::Continue {
            watch.end(set)?;
            guard.charge(&mut series);
            return Ok(series);
        }
    }
}

/// One pair of samples, of the baseline and of the candidate; who begins changes from pair to pair. The baseline's time may be
/// known already.
fn turns(
    number: u32,
    (base, base_meter, known): (&mut Contender<'_>, &Meter<'_>, Option<f64>),
    (contender, meter): (&mut Contender<'_>, &Meter<'_>),
    set: &mut TimedSet,
    timeout: Duration,
    watch: &mut dyn Watch,
) -> Result<[f64; 2], Stop> {
    let mut baseline = |set: &mut TimedSet, watch: &mut dyn Watch, candidate: &Runner| match known {
        Some(time) => Ok(time),
        None => baseline_turn(base, base_meter, set, timeout, watch, candidate),
    };
    if number.is_multiple_of(2) {
        let first = baseline(set, watch, contender.runner)?;
        Ok([first, candidate_turn(contender, meter, set, timeout, watch)?])
    } else {
        let time = candidate_turn(contender, meter, set, timeout, watch)?;
        Ok([baseline(set, watch, contender.runner)?, time])
    }
}

/// One sample of the baseline, with an eye on what the candidate does meanwhile.
fn baseline_turn(
    base: &mut Contender<'_>,
    meter: &Meter<'_>,
    set: &mut TimedSet,
    timeout: Duration,
    watch: &mut dyn Watch,
    candidate: &Runner,
) -> Result<f64, Stop> {
    watch.baseline_begins(candidate);
    if let Some((range, ran)) = base.wake(meter, set, timeout, watch)? {
        watch.baseline_ran(set, range, &ran, candidate)?;
        watch.baseline_begins(candidate);
    }
    let (time, range, ran) = base.sample(meter, set, timeout)?;
    // Some libraries' threads go on looking for work for milliseconds: never at the candidate's cost.
    base.runner.worker.rest();
    watch.baseline_ran(set, range, &ran, candidate)?;
    Ok(time)
}

/// One sample of the candidate.
fn candidate_turn(
    contender: &mut Contender<'_>,
    meter: &Meter<'_>,
    set: &mut TimedSet,
    timeout: Duration,
    watch: &mut dyn Watch,
) -> Result<f64, Stop> {
    if let Some((range, ran)) = contender.wake(meter, set, timeout, watch)? {
        watch.candidate_ran(set, range, &ran)?;
    }
    let (time, range, ran) = contender.sample(meter, set, timeout)?;
    watch.candidate_ran(set, range, &ran)?;
    Ok(time)
}

/// Measures the candidate alone; stops early when even its fastest call is slower than `hopeless_us`.
pub(crate) fn alone(
    meter: &Meter<'_>,
    set: &mut TimedSet,
    runner: &mut Runner,
    options: &HarnessOptions,
    timeout: Duration,
    hopeless_us: Option<f64>,
    watch: &mut dyn Watch,
) -> Result<(Series, bool), Stop> {
    let (mut contender, range, ran) = Contender::warm_up(runner, meter, set, options, timeout)?;
    watch.candidate_ran(set, range, &ran)?;
    let mut series = Series { calls: contender.calls, ..Series::default() };
    let mut hopeless = false;
    let mut guard = Guard::new(set, TRAPS_ALONE, options.screen_samples);
    for sample in 0..options.screen_samples.max(1) {
        let (time, range, ran) = contender.sample(meter, set, timeout)?;
        watch.candidate_ran(set, range, &ran)?;
        let trapped = (&mut *contender.runner, contender.calls, timeout);
        guard.trap(sample, trapped, None, meter, set, watch)?;
        series.candidate.push(time);
        hopeless = hopeless_us.is_some_and(|limit| series.candidate.iter().all(|time| *time > limit));
        if hopeless && series.candidate.len() >= 2 {
            break;
        }
    }
    watch.end(set)?;
    Ok((series, hopeless))
}
