//! G9 `timed_outputs`: what was written while the clock ran is right too.
//!
//! The looking is done between the intervals, when the buffers still hold it; a failure found there is this gate's.

use std::time::{Duration, Instant};

use kernsmith_core::{FailureClass, Gate};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use crate::check::{self, Tally, compare};
use crate::error::Stop;
use crate::oracle::Oracle;
use crate::process::Ran;
use crate::runner::Runner;
use crate::setup::Setup;
use crate::threads::Census;
use crate::timing::{Range, TimedSet, Watch};
use crate::trial::{TimedOutputs, Trial};

/// One timed call in so many is compared with the oracle, besides the first and the last.
const COMPARED_ONE_IN: u32 = 10;
/// Processor time of the candidate while the baseline runs that is noise, and as a share of the interval.
const INTRUSION_NS: u64 = 300_000;
const INTRUSION_SHARE: f64 = 0.05;
/// Intervals that must be disturbed before anybody is blamed.
const INTRUSIONS: u32 = 3;

/// Says what was looked at.
pub(crate) fn check(trial: &Trial<'_>) -> (String, Duration) {
    let TimedOutputs { calls, compared, spent } = trial.timed;
    (format!("{calls} timed calls scanned for poison, {compared} compared with the oracle"), spent)
}

/// Looks at timed outputs between intervals, and at the candidate while the baseline runs.
pub(crate) struct Inspector<'a> {
    setup: &'a Setup,
    shape: usize,
    oracle: &'a mut Oracle,
    tally: &'a mut Tally,
    seen: &'a mut TimedOutputs,
    rng: &'a mut ChaCha12Rng,
    /// The candidate's last range, not looked at yet: it may turn out to be the last one of all.
    pending: Option<Range>,
    first: bool,
    before: Census,
    intrusions: u32,
    intervals: u32,
}

impl<'a> Inspector<'a> {
    pub(crate) fn new(
        setup: &'a Setup,
        shape: usize,
        oracle: &'a mut Oracle,
        tally: &'a mut Tally,
        seen: &'a mut TimedOutputs,
        rng: &'a mut ChaCha12Rng,
    ) -> Self {
        Self {
            setup,
            shape,
            oracle,
            tally,
            seen,
            rng,
            pending: None,
            first: true,
            before: Census::default(),
            intrusions: 0,
            intervals: 0,
        }
    }

    /// Looks at the range that waits.
    fn inspect(&mut self, set: &mut TimedSet, last: bool) -> Result<(), Stop> {
        let Some(range) = self.pending.take() else {
            return Ok(());
        };
        let begin = Instant::now();
        for call in 0..range.calls {
            self.seen.calls += 1;
            if let Some((output, element)) = set.unwritten(range, call) {
                let name = &self.setup.contract.outputs[output].name;
                let detail = format!("timed call {call}: element {element} of `{name}` was not written");
                return Err(Stop::rejected(FailureClass::UnwrittenOutput, detail).at(Gate::TimedOutputs));
            }
            let chosen = self.rng.random_range(0..COMPARED_ONE_IN) == 0;
            let edge = (self.first && call == 0) || (last && call + 1 == range.calls);
            if chosen || edge {
                self.compare(set, range, call, "while being timed")?;
            }
        }
        self.first = false;
        set.retire(range, self.rng);
        self.seen.spent += begin.elapsed();
        Ok(())
    }

    fn compare(&mut self, set: &TimedSet, range: Range, call: u32, when: &str) -> Result<(), Stop> {
        let contract = &self.setup.contract;
        let shape = &self.setup.shapes[self.shape];
        let placed = set.placed(range, call);
        let slices = check::sample(shape, &self.setup.options, self.rng);
        if slices.is_empty() {
            return Ok(());
        }
        self.seen.compared += 1;
        self.oracle.begin(contract, shape, &placed, &slices)?;
        let answers = self.oracle.finish(contract, shape, &slices)?;
        let label = format!("{} {when}", shape.name);
        compare(contract, shape, &set.outputs, &placed, &answers, &label, self.tally).map_err(|stop| {
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

impl Watch for Inspector<'_> {
    fn candidate_ran(&mut self, set: &mut TimedSet, range: Range, _: &Ran) -> Result<(), Stop> {
        self.inspect(set, false)?;
        self.pending = Some(range);
        self.intervals += 1;
        Ok(())
    }

    fn baseline_begins(&mut self, candidate: &Runner) {
        self.before = candidate.worker.census();
    }

    fn baseline_ran(
        &mut self,
        set: &mut TimedSet,
        range: Range,
        ran: &Ran,
        candidate: &Runner,
    ) -> Result<(), Stop> {
        let after = candidate.worker.census();
        let spent = after.ran_since(&self.before);
        let share = spent as f64 / ran.interval.as_nanos().max(1) as f64;
        set.retire(range, self.rng);
        if spent > INTRUSION_NS && share > INTRUSION_SHARE {
            self.intrusions += 1;
        }
        if self.intrusions >= INTRUSIONS && 2 * self.intrusions > self.intervals {
            let detail = format!(
                "the candidate used {} µs of processor time while the baseline was timed, {} times",
                spent / 1000,
                self.intrusions
            );
            return Err(Stop::rejected(FailureClass::BackgroundWork, detail));
        }
        Ok(())
    }

    fn is_wary(&self) -> bool {
        true
    }

    fn settle(&mut self, set: &mut TimedSet) -> Result<(), Stop> {
        // It may have been the last one after all.
        self.inspect(set, true)
    }

    fn exchanged(&mut self, set: &mut TimedSet, range: Range, call: Option<u32>) -> Result<(), Stop> {
        if let Some(call) = call {
            let begin = Instant::now();
            self.compare(set, range, call, "whose inputs were exchanged just before the call")?;
            self.seen.spent += begin.elapsed();
        }
        self.pending = Some(range);
        self.settle(set)
    }

    fn end(&mut self, set: &mut TimedSet) -> Result<(), Stop> {
        self.inspect(set, true)
    }
}
