//! Timed calls: in batches, with a cold cache, on content that never repeats, in turn with the frozen baseline.

use std::time::{Duration, Instant};

use kernsmith_core::evidence::DeviceState;
use kernsmith_core::{FailureClass, Gate};
use kernsmith_stats::{SequentialStop, Step as Verdict, median};
use kernsmith_wire::gpu::{Cell, Sensed, Step};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use super::lanes::Place;
use super::runner::GpuRunner;
use super::sensed;
use super::timed::{TimedPool, Turn, Turns};
use super::worker::Mode;
use crate::error::{HarnessError, Stop};
use crate::layout::Shape;
use crate::setup::Setup;
use crate::timing::{PairRules, Series};

/// Calls of one batch, by how long a call takes.
const BATCH_US: f64 = 1_500.0;
const BATCH_LEAST: u32 = 3;
const BATCH_MOST: u32 = 10;
/// A baseline that takes so long is measured next to a candidate only when it is confirmed.
pub(crate) const SLOW_CALL_US: f64 = 20e3;
/// Workspaces are poisoned at their beginning between timed calls.
const WORKSPACE_POISON_BYTES: u64 = 1 << 20;
const NONE: u64 = u64::MAX;

/// One who is timed on one shape.
pub(crate) struct Timed<'a> {
    setup: &'a Setup,
    index: usize,
    shape: &'a Shape,
    pool: &'a TimedPool,
    pub(crate) runner: &'a mut GpuRunner,
    turns: Turns,
    timeout: Duration,
    /// Calls of a batch.
    pub(crate) calls: u32,
    rng: ChaCha12Rng,
    /// Whether calls are started as graphs.
    mode: Mode,
    /// Whether the device is asked about itself, and what it was like during the warm-up.
    sense: bool,
    before: Option<Sensed>,
}

/// What a batch leaves behind: times, and the last call's content and places, which still lie on the device.
pub(crate) struct Batch {
    pub(crate) times_us: Vec<f64>,
    pub(crate) last: Turn,
    pub(crate) outputs: Vec<Place>,
}

impl<'a> Timed<'a> {
    /// Sees that what the shape's calls are cut from is on the device, runs once (that time is thrown away), and chooses the size of a batch.
    pub(crate) fn warm_up(
        setup: &'a Setup,
        index: usize,
        pool: &'a TimedPool,
        runner: &'a mut GpuRunner,
        timeout: Duration,
        mode: Mode,
    ) -> Result<(Self, Batch), Stop> {
        let shape = &setup.shapes[index];
        runner.furnish(index, pool)?;
        runner.run(Vec::new(), vec![Step::ResetCache], timeout)?;
        let turns = Turns::new(setup.rng());
        let rng = setup.rng();
        let sense = mode.sense;
        let mut timed = Self {
            setup,
            index,
            shape,
            pool,
            runner,
            turns,
            timeout,
            calls: 1,
            rng,
            mode,
            sense,
            before: None,
        };
        let first = timed.batch()?;
        let again = if first.times_us[0] < SLOW_CALL_US { timed.batch()? } else { first };
        timed.calls = ((BATCH_US / again.times_us[0].max(0.1)) as u32).clamp(BATCH_LEAST, BATCH_MOST);
        if again.times_us[0] >= SLOW_CALL_US {
            timed.calls = 1;
        }
        timed.mode.sense = false;
        Ok((timed, again))
    }

    /// One batch of timed calls, each on content of its own, with an empty cache and poisoned outputs, and then a look at
    /// what was not written.
    pub(crate) fn batch(&mut self) -> Result<Batch, Stop> {
        let mut calls = Vec::new();
        let mut steps = Vec::new();
        let mut last = None;
        for call in 0..self.calls {
            let turn = self.turns.next(self.pool);
            let away = self.pool.away(&turn);
            let (inputs, outputs) = self.runner.lanes.place_timed(self.index, self.shape, &away);
            let secret = self.rng.random();
            let cell = |place: &Place| if call % 2 == 0 { place.cell } else { Cell::Block };
            let written: Vec<(u64, u64, Cell)> = outputs
                .iter()
                .filter(|place| place.bytes > 0)
                .map(|place| (place.address, place.bytes, cell(place)))
                .collect();
            steps.extend(written.iter().map(|&(address, bytes, cell)| Step::Poison {
                address,
                bytes,
                cell,
                secret,
            }));
            for &(address, bytes) in &self.runner.lanes.workspaces {
                let bytes = bytes.min(WORKSPACE_POISON_BYTES);
                steps.push(Step::Poison { address, bytes, cell: Cell::Block, secret });
            }
            let (address, bytes) = self.runner.lanes.flush;
            steps.extend([Step::Flush { address, bytes }, Step::Start, Step::Call(call as u16), Step::Stop]);
            steps.extend(written.iter().map(|&(address, bytes, cell)| Step::FindPoison {
                address,
                bytes,
                cell,
                secret,
            }));
            calls.push(self.runner.call(self.setup, self.shape, &inputs, &outputs)?);
            last = Some((turn, outputs));
        }
        let lease = self.runner.lease.clone();
        let ran = {
            let _alone = lease.lock();
            self.runner.run_as(self.mode, calls, steps, self.timeout * self.calls)?
        };
        self.before = self.before.or(ran.sensed);
        self.mode.graphs = ran.graphs;
        if let Some(first) = ran.values.iter().find(|first| **first != NONE) {
            let detail = format!("a timed call left element {first} of an output unwritten");
            return Err(Stop::rejected(FailureClass::UnwrittenOutput, detail).at(Gate::TimedOutputs));
        }
        let Some((last, outputs)) = last else {
            return Err(HarnessError::Statistics("an empty batch".to_owned()).into());
        };
        Ok(Batch { times_us: ran.times_us, last, outputs })
    }
}

impl Timed<'_> {
    /// Sees that the content is still what it was, and tells how the device fared.
    pub(crate) fn end(&mut self) -> Result<DeviceState, Stop> {
        let after = self
            .runner
            .check_untouched(self.index, self.sense)
            .map_err(|stop| stop.at(Gate::TimedOutputs))?;
        Ok(DeviceState {
            workload: self.shape.name.clone(),
            graph: self.mode.graphs,
            before: self.before.map(sensed::sample),
            after: after.map(sensed::sample),
            measured_again: false,
        })
    }
}

/// Who looks at the outputs of the candidate's batches.
pub(crate) trait Look {
    /// After a batch; `last` where no other one follows.
    fn look(&mut self, runner: &mut GpuRunner, batch: &Batch, last: bool) -> Result<(), Stop>;
}

/// Looks at nothing: for trusted code.
pub(crate) struct Blind;

impl Look for Blind {
    fn look(&mut self, _: &mut GpuRunner, _: &Batch, _: bool) -> Result<(), Stop> {
        Ok(())
    }
}

/// Measures candidate and baseline in turn, the order changing from batch to batch, each in its own process.
pub(crate) fn pairs(
    candidate: &mut Timed<'_>,
    baseline: &mut Timed<'_>,
    rules: PairRules,
    look: &mut dyn Look,
) -> Result<Series, Stop> {
    let calls = candidate.calls.min(baseline.calls).max(1);
    candidate.calls = calls;
    baseline.calls = calls;
    let stop = SequentialStop {
        target_half_width: rules.target_half_width,
        min_samples: rules.least as usize,
        max_samples: rules.most as usize,
    };
    let mut series = Series { paired: true, calls: 1, cold: true, ..Series::default() };
    let mut log_ratios = Vec::new();
    let begin = Instant::now();
    for round in 0_u32.. {
        let baseline_first = round % 2 == 0;
        let early = if baseline_first { Some(baseline.batch()?) } else { None };
        let ours = candidate.batch()?;
        let theirs = match early {
            Some(batch) => batch,
            None => baseline.batch()?,
        };
        series.baseline.extend(&theirs.times_us);
        series.candidate.extend(&ours.times_us);
        log_ratios
            .extend(theirs.times_us.iter().zip(&ours.times_us).map(|(theirs, ours)| (theirs / ours).ln()));
        let enough = log_ratios.len() >= rules.least as usize;
        let done =
            (enough && begin.elapsed() >= rules.budget) || stop.after(&log_ratios) != Verdict::Continue;
        look.look(candidate.runner, &ours, done)?;
        if done {
            break;
        }
    }
    Ok(series)
}

/// Measures the candidate alone; stops early when even its fastest call is slower than `hopeless_us`.
pub(crate) fn alone(
    candidate: &mut Timed<'_>,
    samples: u32,
    hopeless_us: Option<f64>,
    look: &mut dyn Look,
) -> Result<(Series, bool), Stop> {
    let mut series = Series { calls: 1, cold: true, ..Series::default() };
    loop {
        let batch = candidate.batch()?;
        series.candidate.extend(&batch.times_us);
        let slow = |limit: f64| series.candidate.iter().all(|time| *time > limit);
        let hopeless = hopeless_us.is_some_and(slow);
        let done = hopeless || series.candidate.len() >= samples as usize;
        look.look(candidate.runner, &batch, done)?;
        if done {
            return Ok((series, hopeless));
        }
    }
}

/// Median of a series' baseline.
pub(crate) fn is_slow(samples: &[f64]) -> bool {
    median(samples) >= SLOW_CALL_US
}
