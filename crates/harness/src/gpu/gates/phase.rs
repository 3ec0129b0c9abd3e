//! G6 `phase`: right at any address, in any phase, in bursts.

use kernsmith_core::FailureClass;
use kernsmith_wire::gpu::{GpuCall, Step};
use rand::RngExt as _;

use crate::arena::{Arena, ArenaCall};
use crate::check::{self, compare};
use crate::error::Stop;
use crate::gpu::checked::{self, Staged};
use crate::gpu::trial::GpuTrial;
use crate::layout::{Shape, Side, TensorLayout};

/// Calls at one address with new content each time.
const SAME_ADDRESS_CALLS: u32 = 4;
/// Calls after each of which one element of one input is changed.
const PERTURBED_CALLS: u32 = 3;
/// Calls back to back, on places of their own, without anything between them.
const BURST_CALLS: u64 = 12;
/// Outputs of the shape that is used; it is always compared in full.
const ELEMENTS_MAX: u64 = 1 << 14;

/// Same address with new content, one changed element, and a burst.
pub(crate) fn check(trial: &mut GpuTrial<'_>) -> Result<String, Stop> {
    let index = shape_for(trial);
    same_address(trial, index)?;
    burst(trial, index)?;
    Ok(format!(
        "{SAME_ADDRESS_CALLS} calls at one address, {PERTURBED_CALLS} with one element changed, a burst of {BURST_CALLS}"
    ))
}

/// The largest shape that can be compared in full, and cheaply.
fn shape_for(trial: &GpuTrial<'_>) -> usize {
    let setup = trial.setup;
    let arena = &trial.state.arena;
    let fits = |shape: &Shape| {
        shape.output_elements() <= ELEMENTS_MAX
            && shape.flops <= setup.options.oracle_flops_max
            && shape.input_bytes() * BURST_CALLS <= arena.inputs.len()
            && shape.output_bytes() * BURST_CALLS <= arena.outputs.len()
    };
    let fitting = setup.shapes.iter().enumerate().filter(|(_, shape)| fits(shape));
    fitting.max_by_key(|(_, shape)| shape.output_elements()).map_or(0, |(index, _)| index)
}

/// New content at an address that was seen before.
fn same_address(trial: &mut GpuTrial<'_>, index: usize) -> Result<(), Stop> {
    let setup = trial.setup;
    let shape = &setup.shapes[index];
    let case = &setup.contract.cases[0];
    let (mut call, _) = Arena::place(shape, Side::Left, trial.state.arena.slot(0));
    let places = trial.runner.lanes.place(shape, Side::Right, 0);
    for round in 0..SAME_ADDRESS_CALLS + PERTURBED_CALLS {
        let label = if round < SAME_ADDRESS_CALLS {
            trial.state.arena.fill(&setup.contract, case, shape, &mut call, &mut trial.rng);
            "new content at the same address"
        } else {
            perturb(trial, shape, &call);
            "one element changed at the same address"
        };
        let staged = Staged::new(trial, places.clone(), round % 2);
        checked::one(trial, index, &call, &staged, false, label).map_err(stale)?;
    }
    Ok(())
}

/// What is wrong only when an address comes again is a remembered answer.
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
fn perturb(trial: &mut GpuTrial<'_>, shape: &Shape, call: &ArenaCall) {
    let input = trial.rng.random_range(0..shape.inputs.len().max(1));
    let may_change = |layout: &&TensorLayout| layout.elements >= 2 && layout.limit.is_none();
    if let Some(layout) = shape.inputs.get(input).filter(may_change) {
        let size = (layout.dtype.bits() as usize / 8).max(1);
        let bytes = call.placed.inputs[input].of_mut(&mut trial.state.arena.inputs);
        let count = bytes.len() / size;
        let (from, to) = (trial.rng.random_range(0..count) * size, trial.rng.random_range(0..count) * size);
        bytes.copy_within(from..from + size, to);
    }
}

/// Calls back to back: what one leaves behind must not be taken for the next one's.
fn burst(trial: &mut GpuTrial<'_>, index: usize) -> Result<(), Stop> {
    let setup = trial.setup;
    let (contract, shape) = (&setup.contract, &setup.shapes[index]);
    let mut bases = (0, 0);
    let mut members: Vec<(ArenaCall, Staged)> = Vec::new();
    for member in 0..BURST_CALLS {
        let (mut call, next) = Arena::place(shape, Side::Left, bases);
        bases = next;
        trial.state.arena.fill(contract, &contract.cases[0], shape, &mut call, &mut trial.rng);
        let places = trial.runner.lanes.place(shape, Side::Right, member);
        members.push((call, Staged::new(trial, places, (member % 2) as u32)));
    }
    let mut steps = Vec::new();
    for (call, staged) in &members {
        staged.before(trial, &call.placed, &mut steps);
    }
    steps.extend((0..members.len()).map(|member| Step::Call(member as u16)));
    let slices = check::everything(shape);
    for (call, staged) in &members {
        staged.after(trial, &mut steps);
        checked::downloads(trial, shape, &call.placed, &staged.outputs, &slices, &mut steps);
    }
    let calls: Result<Vec<GpuCall>, Stop> = members
        .iter()
        .map(|(_, staged)| trial.runner.call(setup, shape, &staged.inputs, &staged.outputs))
        .collect();
    let timeout = trial.timeout(index) * BURST_CALLS as u32;
    let label = "in a burst of calls";
    let ran = trial.runner.run(calls?, steps, timeout).map_err(|stop| stop.within(label))?;
    let summed: usize = members.iter().map(|(_, staged)| staged.summed()).sum();
    let (sums, rest) = ran.values.split_at(summed.min(ran.values.len()));
    let mut sums = sums.chunks(members[0].1.summed().max(1));
    let mut rest = rest.iter().copied();
    for (call, staged) in &members {
        let own = if staged.summed() == 0 { &[] } else { sums.next().unwrap_or(&[]) };
        staged.read(trial, &mut rest, own, label)?;
        if slices.is_empty() {
            continue;
        }
        trial.state.oracle.begin(contract, shape, &call.placed, &slices)?;
        let answers = trial.state.oracle.finish(contract, shape, &slices)?;
        let outputs = &trial.state.arena.outputs;
        compare(contract, shape, outputs, &call.placed, &answers, label, &mut trial.tally).map_err(stale)?;
    }
    Ok(())
}
