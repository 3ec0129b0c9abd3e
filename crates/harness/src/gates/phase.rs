//! G6 `phase`: right at any address, in any phase, in bursts.

use std::time::{Duration, Instant};

use kernsmith_core::{FailureClass, Lane};
use rand::RngExt as _;

use crate::arena::{Arena, ArenaCall};
use crate::battery::look_around;
use crate::check::{self, compare, scan};
use crate::device::BURST_BYTES;
use crate::error::Stop;
use crate::gates::timed_outputs::Inspector;
use crate::layout::{Shape, Side, TensorLayout};
use crate::oracle::Answers;
use crate::runner::Addresses;
use crate::timing::{Meter, TimedSet, Watch as _, measure, measure_exchanged};
use crate::trial::{TimedOutputs, Trial};

/// Calls at one address with new content each time.
const SAME_ADDRESS_CALLS: u32 = 6;
/// Calls after each of which one element of one input is changed.
const PERTURBED_CALLS: u32 = 4;
/// Calls back to back on buffers of their own.
const BURST_CALLS: u64 = 32;
/// Calls on a bench shape after everything else: cheats that wait have to wait longer. So many are always made, however slow
/// the machine, unless the calls themselves, without anything around them, have taken `SOAK_TIME_MOST`.
const SOAK_CALLS: u32 = 80;
const SOAK_TIME_MOST: Duration = Duration::from_millis(500);
/// So many are made where there is time.
const SOAK_CALLS_MOST: u32 = 128;
const SOAK_TIME: Duration = Duration::from_millis(60);
/// One of so many of its first intervals is followed by one whose inputs are exchanged before the calls begin.
const SOAK_TRAP_WITHIN: u32 = 8;
/// Calls of one interval, once one call has shown that they are short.
const SOAK_BATCH: u32 = 8;
/// Outputs of the shape that is used; it is always compared in full.
const ELEMENTS_MAX: u64 = 1 << 15;

/// Same address with new content, one changed element, and a burst.
pub(crate) fn check(trial: &mut Trial<'_>) -> Result<String, Stop> {
    let index = shape_for(trial);
    same_address(trial, index)?;
    let burst = burst(trial, index)?;
    let soaked = if trial.lane == Lane::Verify { soak(trial)? } else { 0 };
    Ok(format!(
        "{SAME_ADDRESS_CALLS} calls at one address, {PERTURBED_CALLS} with one element changed, a burst of {burst}, \
         {soaked} more on a bench shape"
    ))
}

/// The largest shape that can be compared in full, and cheaply.
fn shape_for(trial: &Trial<'_>) -> usize {
    let options = &trial.setup.options;
    let shapes = trial.setup.shapes.iter().enumerate();
    let fits = |shape: &Shape| {
        shape.output_elements() <= ELEMENTS_MAX
            && shape.flops <= options.oracle_flops_max
            && (shape.input_bytes() + shape.output_bytes()) * BURST_CALLS <= BURST_BYTES
    };
    let fitting = shapes.filter(|(_, shape)| fits(shape));
    fitting.max_by_key(|(_, shape)| shape.output_elements()).map_or(0, |(index, _)| index)
}

/// One call in full, at given addresses, compared with the oracle in full.
fn call(
    trial: &mut Trial<'_>,
    index: usize,
    call: &mut ArenaCall,
    variant: u32,
    addresses: Option<&Addresses>,
    label: &str,
) -> Result<Addresses, Stop> {
    let setup = trial.setup;
    let (contract, shape) = (&setup.contract, &setup.shapes[index]);
    trial.device.arena.poison(shape, call, (variant, false), &mut trial.rng);
    let answers = expected(trial, index, call)?;
    let used = trial.kernel.begin(contract, shape, call, addresses)?;
    trial.kernel.finish(trial.timeout(index)).map_err(|stop| stop.within(label))?;
    look_around(trial, call, label)?;
    let outputs = &trial.device.arena.outputs;
    scan(shape, outputs, &call.placed, call.poison, label)?;
    compare(contract, shape, outputs, &call.placed, &answers, label, &mut trial.tally)?;
    Ok(used)
}

fn expected(trial: &mut Trial<'_>, index: usize, call: &ArenaCall) -> Result<Answers, Stop> {
    let setup = trial.setup;
    let (contract, shape) = (&setup.contract, &setup.shapes[index]);
    let slices = check::everything(shape);
    if slices.is_empty() {
        return Ok(Answers::default());
    }
    trial.device.oracle.begin(contract, shape, &call.placed, &slices)?;
    Ok(trial.device.oracle.finish(contract, shape, &slices)?)
}

/// New content at an address that was seen before; a wrong answer that equals the last one is a stale one.
fn same_address(trial: &mut Trial<'_>, index: usize) -> Result<(), Stop> {
    let setup = trial.setup;
    let shape = &setup.shapes[index];
    let case = &setup.contract.cases[0];
    let arena = &mut trial.device.arena;
    let (mut place, _) = Arena::place(shape, Side::Right, arena.slot(0));
    let mut addresses: Option<Addresses> = None;
    let mut last: Vec<Vec<u8>> = Vec::new();
    for round in 0..SAME_ADDRESS_CALLS + PERTURBED_CALLS {
        let label = if round < SAME_ADDRESS_CALLS {
            trial.device.arena.fill(&setup.contract, case, shape, &mut place, &mut trial.rng);
            "new content at the same address"
        } else {
            perturb(trial, shape, &mut place);
            "one element changed at the same address"
        };
        let outcome = call(trial, index, &mut place, round, addresses.as_ref(), label);
        let outputs = &trial.device.arena.outputs;
        let now: Vec<Vec<u8>> = place.placed.outputs.iter().map(|span| span.of(outputs).to_vec()).collect();
        addresses = Some(outcome.map_err(|stop| if now == last { stale(stop) } else { stop })?);
        last = now;
    }
    Ok(())
}

fn stale(stop: Stop) -> Stop {
    match stop {
        Stop::Rejected(mut rejection) if rejection.class == FailureClass::WrongResult => {
            rejection.class = FailureClass::StaleOutput;
            Stop::Rejected(rejection)
        }
        other => other,
    }
}

/// Changes one element of one input by copying another element over it; positions in another tensor stay as they are.
fn perturb(trial: &mut Trial<'_>, shape: &Shape, place: &mut ArenaCall) {
    let input = trial.rng.random_range(0..shape.inputs.len().max(1));
    let may_change = |layout: &&TensorLayout| layout.elements >= 2 && layout.limit.is_none();
    if let Some(layout) = shape.inputs.get(input).filter(may_change) {
        let size = (layout.dtype.bits() as usize / 8).max(1);
        let bytes = place.placed.inputs[input].of_mut(&mut trial.device.arena.inputs);
        let count = bytes.len() / size;
        let from = trial.rng.random_range(0..count);
        let to = (from + trial.rng.random_range(1..count)) % count;
        bytes.copy_within(from * size..(from + 1) * size, to * size);
    }
    place.fingerprints = trial.device.arena.fingerprints(place);
}

/// Many calls back to back; each output is compared in full.
fn burst(trial: &mut Trial<'_>, index: usize) -> Result<usize, Stop> {
    let setup = trial.setup;
    let (contract, shape) = (&setup.contract, &setup.shapes[index]);
    let footprint = (shape.input_bytes() + shape.output_bytes()).max(1);
    let count = (BURST_BYTES / footprint).clamp(1, BURST_CALLS);
    let mut calls = Vec::new();
    let mut bases = (0, 0);
    for ordinal in 0..count {
        let arena = &mut trial.device.arena;
        let side = if ordinal % 2 == 0 { Side::Right } else { Side::Left };
        let (mut call, next) = Arena::place(shape, side, bases);
        bases = next;
        let case = &contract.cases[ordinal as usize % contract.cases.len()];
        arena.fill(contract, case, shape, &mut call, &mut trial.rng);
        arena.poison(shape, &mut call, (ordinal as u32, false), &mut trial.rng);
        calls.push(call);
    }
    let timeout = trial.timeout(index) * 2;
    trial.kernel.burst(contract, shape, &calls, timeout).map_err(|stop| stop.within("a burst of calls"))?;
    for (ordinal, call) in calls.iter().enumerate() {
        let label = format!("call {ordinal} of a burst of {count}");
        look_around(trial, call, &label)?;
        let answers = expected(trial, index, call)?;
        let outputs = &trial.device.arena.outputs;
        scan(shape, outputs, &call.placed, call.poison, &label)?;
        compare(contract, shape, outputs, &call.placed, &answers, &label, &mut trial.tally)?;
    }
    Ok(calls.len())
}

/// Many more calls on a bench shape, all of them scanned for poison and some compared, as when they are timed.
fn soak(trial: &mut Trial<'_>) -> Result<u32, Stop> {
    let setup = trial.setup;
    let index = trial.setup.smallest_bench()?;
    trial.device.open_timed(setup, index)?;
    let Some(mut set) = trial.device.timed.remove(&index) else {
        return Ok(0);
    };
    let outcome = soak_over(trial, index, &mut set);
    trial.device.timed.insert(index, set);
    outcome.map_err(|stop| stop.within("one of many calls"))
}

fn soak_over(trial: &mut Trial<'_>, index: usize, set: &mut TimedSet) -> Result<u32, Stop> {
    let setup = trial.setup;
    let timeout = trial.timeout(index) * 4;
    let meter = Meter::Kernel(&setup.contract, &setup.shapes[index]);
    trial.kernel.open_store(set.store, &set.inputs, &set.outputs)?;
    let mut seen = TimedOutputs::default();
    // Whoever waits until nobody looks must not find out that nobody does.
    let trap = set.secret_below(SOAK_TRAP_WITHIN);
    let mut inspector =
        Inspector::new(setup, index, &mut trial.device.oracle, &mut trial.tally, &mut seen, &mut trial.rng);
    let begin = Instant::now();
    let (mut calls, mut called, mut batch, mut intervals) = (0, Duration::ZERO, 1, 0);
    while soak_goes_on(calls, called, begin.elapsed()) {
        let range = set.take(batch);
        let ran = measure(&mut trial.kernel, &meter, set, range, timeout)?;
        inspector.candidate_ran(set, range, &ran)?;
        calls += range.calls;
        called += ran.interval;
        batch = if ran.interval / range.calls * SOAK_BATCH <= SOAK_TIME { SOAK_BATCH } else { 1 };
        intervals += 1;
        if intervals == trap + 1 {
            inspector.settle(set)?;
            let range = set.take(batch);
            let trapped = measure_exchanged(&mut trial.kernel, &meter, set, range, timeout)?;
            inspector.exchanged(set, range, trapped.call)?;
        }
    }
    inspector.end(set)?;
    Ok(calls)
}

/// Whether more calls are made; `called` is the time of the calls alone, `elapsed` that of everything around them too.
fn soak_goes_on(calls: u32, called: Duration, elapsed: Duration) -> bool {
    let owed = calls < SOAK_CALLS && called < SOAK_TIME_MOST;
    owed || (calls < SOAK_CALLS_MOST && elapsed < SOAK_TIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_machine_makes_as_many_calls_as_are_promised_and_a_slow_kernel_does_not() {
        let (short, long) = (Duration::from_millis(50), Duration::from_mins(1));
        assert!(soak_goes_on(SOAK_CALLS - 1, short, long), "the harness was slow, the kernel was not");
        assert!(!soak_goes_on(SOAK_CALLS, short, long));
        assert!(soak_goes_on(SOAK_CALLS, short, short), "there is time for more");
        assert!(!soak_goes_on(SOAK_CALLS_MOST, short, short));
        assert!(!soak_goes_on(1, SOAK_TIME_MOST, SOAK_TIME_MOST), "one call was slow enough");
    }
}
