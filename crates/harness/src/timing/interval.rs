//! One timed interval.

use std::time::Duration;

use kernsmith_core::FailureClass;
use kernsmith_op_contract::Contract;
use kernsmith_wire::Batch;

use super::set::{Range, TimedSet};
use crate::arguments::{self, Pointer};
use crate::error::Stop;
use crate::layout::Shape;
use crate::process::{Prelude, Ran, Task, WorkerRole};
use crate::runner::Runner;

/// Looks at an interval in which nothing is called.
const EMPTY_INTERVALS: u32 = 7;
/// At most this part of an interval is taken for overhead.
const OVERHEAD_SHARE_MAX: f64 = 0.1;
const EMPTY_TIMEOUT: Duration = Duration::from_secs(10);
/// Intervals after whose end outputs were still being written, before anybody is blamed.
const UNFINISHED_INTERVALS: u32 = 2;

/// How the calls of an interval look.
pub(crate) enum Meter<'a> {
    /// A plan's kernel on a contract's shape.
    Kernel(&'a Contract, &'a Shape),
    /// Any symbol: it gets the pointers and then these words.
    Plain(&'a Shape, &'a str, &'a [u64]),
}

impl Meter<'_> {
    const fn shape(&self) -> &Shape {
        match self {
            Self::Kernel(_, shape) | Self::Plain(shape, ..) => shape,
        }
    }

    fn batch(
        &self,
        runner: &Runner,
        calls: u32,
        tensors: &[Pointer],
        scratch: &[Pointer],
    ) -> Result<Batch, Stop> {
        match self {
            Self::Kernel(contract, shape) => {
                let symbol = runner.symbol(shape)?;
                Ok(arguments::kernel(contract, &shape.axes, symbol, calls, tensors, scratch))
            }
            Self::Plain(_, symbol, words) => {
                let symbol = runner.worker.symbol(symbol);
                Ok(arguments::plain(symbol, calls, tensors, words))
            }
        }
    }
}

/// Times the calls of one interval, back to back over the range's slots.
pub(crate) fn measure(
    runner: &mut Runner,
    meter: &Meter<'_>,
    set: &mut TimedSet,
    range: Range,
    timeout: Duration,
) -> Result<Ran, Stop> {
    let task = task(runner, Some(meter), meter.shape(), set, range)?;
    runner.worker.hold(task, timeout)?;
    released(runner, set, range, timeout)
}

/// What a trap found out.
pub(crate) struct Trapped {
    /// The call whose inputs were exchanged; `None` where there was nothing to exchange them for.
    pub(crate) call: Option<u32>,
    pub(crate) prelude: Prelude,
}

/// The same as a trap, which is no sample: when everything is mapped and the worker waits for `go`, one call's inputs are
/// exchanged for others. Whoever has computed by then has computed something else.
pub(crate) fn measure_exchanged(
    runner: &mut Runner,
    meter: &Meter<'_>,
    set: &mut TimedSet,
    range: Range,
    timeout: Duration,
) -> Result<Trapped, Stop> {
    let task = task(runner, Some(meter), meter.shape(), set, range)?;
    let prelude = runner.worker.hold_asleep(task, timeout)?;
    let call = set.exchange(range);
    released(runner, set, range, timeout)?;
    Ok(Trapped { call, prelude })
}

/// What a worker spends on mapping a range when it has nothing to call.
pub(crate) fn mapping(
    runner: &mut Runner,
    meter: &Meter<'_>,
    set: &mut TimedSet,
    range: Range,
    timeout: Duration,
) -> Result<Prelude, Stop> {
    let task = task(runner, None, meter.shape(), set, range)?;
    let prelude = runner.worker.hold_asleep(task, timeout)?;
    runner.worker.release(timeout, &Vec::new)?;
    Ok(prelude)
}

/// Windows over a range, and the calls on it, if any.
fn task(
    runner: &mut Runner,
    meter: Option<&Meter<'_>>,
    shape: &Shape,
    set: &TimedSet,
    range: Range,
) -> Result<Task, Stop> {
    let (inputs_pool, outputs_pool) = runner.pools(set.store);
    let names = shape.inputs.iter().chain(&shape.outputs).map(|layout| layout.name.as_str());
    let mut task = Task::default();
    let mut tensors = Vec::new();
    for (index, ((offset, bytes, start, stride), name)) in
        set.windows(range).into_iter().zip(names).enumerate()
    {
        let writable = index >= set.input_count();
        let pool = if writable { outputs_pool } else { inputs_pool };
        let address = task.window(&mut runner.worker, name, (pool, offset, bytes), writable, None);
        tensors.push(Pointer { first: address + start, stride });
    }
    if let Some(meter) = meter {
        let scratch = match meter {
            Meter::Kernel(_, shape) => runner.map_workspaces(&mut task, shape)?,
            Meter::Plain(..) => Vec::new(),
        };
        task.batches.push(meter.batch(runner, range.calls, &tensors, &scratch)?);
    }
    Ok(task)
}

/// The interval of a run that is mapped, with a look at its outputs at the end.
fn released(runner: &mut Runner, set: &mut TimedSet, range: Range, timeout: Duration) -> Result<Ran, Stop> {
    let places = set.watched_places(range);
    let ran = runner.worker.release(timeout, &|| set.words(&places))?;
    if ran.changed > 0 {
        runner.unfinished_intervals += 1;
    }
    if runner.unfinished_intervals >= UNFINISHED_INTERVALS && runner.worker.role() == WorkerRole::Kernel {
        let detail = format!(
            "{} of {} places of the outputs were written after the clock had stopped, the {UNFINISHED_INTERVALS}nd time",
            ran.changed,
            places.len()
        );
        return Err(Stop::rejected(FailureClass::LateWrite, detail));
    }
    Ok(ran)
}

/// What an interval costs in which nothing is called: the shortest of several, so that never too much is taken off.
pub(crate) fn empty_interval_us(runner: &mut Runner) -> Result<f64, Stop> {
    let mut shortest = f64::INFINITY;
    for _ in 0..EMPTY_INTERVALS {
        runner.worker.hold(Task::default(), EMPTY_TIMEOUT)?;
        let ran = runner.worker.release(EMPTY_TIMEOUT, &Vec::new)?;
        shortest = shortest.min(ran.interval.as_secs_f64() * 1e6);
    }
    Ok(shortest)
}

/// Time of one call in microseconds.
pub(crate) fn per_call_us(ran: &Ran, calls: u32, overhead_us: f64) -> f64 {
    let interval_us = ran.interval.as_secs_f64() * 1e6;
    let overhead_us = overhead_us.min(interval_us * OVERHEAD_SHARE_MAX);
    (interval_us - overhead_us) / f64::from(calls.max(1))
}
