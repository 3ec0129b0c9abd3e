//! Calls that are checked in full: drawn, poisoned, run, scanned, compared.

use kernsmith_core::FailureClass;

use crate::arena::{Arena, ArenaCall};
use crate::check::{self, compare, scan};
use crate::error::Stop;
use crate::layout::Side;
use crate::oracle::Slice;
use crate::trial::Trial;

/// One checked call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    /// Index of the shape.
    pub(crate) shape: usize,
    /// Index of the case.
    pub(crate) case: usize,
    pub(crate) side: Side,
    /// Kind of poison.
    pub(crate) variant: u32,
    /// Whether the invariants are checked too.
    pub(crate) invariants: bool,
}

/// A job whose inputs are drawn.
struct Drawn {
    job: Job,
    call: ArenaCall,
    slices: Vec<Slice>,
    label: String,
}

/// Runs jobs one after the other; while kernel and oracle work on one, the next one's inputs are drawn.
pub(crate) fn run(trial: &mut Trial<'_>, jobs: &[Job]) -> Result<(), Stop> {
    let Some(first) = jobs.first() else {
        return Ok(());
    };
    let mut drawn = draw(trial, *first, 0);
    for index in 0..jobs.len() {
        start(trial, &drawn)?;
        let next = jobs.get(index + 1).map(|job| draw(trial, *job, index + 1));
        finish(trial, &drawn)?;
        match next {
            Some(next) => drawn = next,
            None => break,
        }
    }
    Ok(())
}

fn draw(trial: &mut Trial<'_>, job: Job, slot: usize) -> Drawn {
    let setup = trial.setup;
    let shape = &setup.shapes[job.shape];
    let case = &setup.contract.cases[job.case];
    let arena = &mut trial.device.arena;
    let (mut call, _) = Arena::place(shape, job.side, arena.slot(slot));
    arena.fill(&setup.contract, case, shape, &mut call, &mut trial.rng);
    // Every element of a large output is poisoned in one case; in the others a secret part of it has to do.
    arena.poison(shape, &mut call, (job.variant, job.case > 0), &mut trial.rng);
    let slices = check::sample(shape, &setup.options, &mut trial.rng);
    Drawn { job, call, slices, label: label(trial, job) }
}

/// Workload and case for messages; a held-out shape stays secret.
fn label(trial: &Trial<'_>, job: Job) -> String {
    let workload = &trial.contract().workloads[job.shape];
    let case = &trial.contract().cases[job.case].name;
    match workload.role {
        kernsmith_op_contract::Role::HeldOut => format!("a held-out shape, {case}"),
        _ => format!("{} {case}", workload.name),
    }
}

fn start(trial: &mut Trial<'_>, drawn: &Drawn) -> Result<(), Stop> {
    let setup = trial.setup;
    let shape = &setup.shapes[drawn.job.shape];
    trial.kernel.begin(&setup.contract, shape, &drawn.call, None)?;
    if !drawn.slices.is_empty() {
        trial.device.oracle.begin(&setup.contract, shape, &drawn.call.placed, &drawn.slices)?;
    }
    Ok(())
}

fn finish(trial: &mut Trial<'_>, drawn: &Drawn) -> Result<(), Stop> {
    let setup = trial.setup;
    let shape = &setup.shapes[drawn.job.shape];
    let ran = trial.kernel.finish(trial.timeout(drawn.job.shape));
    let answers = if drawn.slices.is_empty() {
        crate::oracle::Answers::default()
    } else {
        // Also after a failure: what was asked must be answered before anything else is asked.
        trial.device.oracle.finish(&setup.contract, shape, &drawn.slices)?
    };
    ran.map_err(|stop| stop.within(&drawn.label))?;
    look_around(trial, &drawn.call, &drawn.label)?;
    let outputs = &trial.device.arena.outputs;
    let placed = &drawn.call.placed;
    let odd = scan(shape, outputs, placed, drawn.call.poison, &drawn.label)?;
    compare(&setup.contract, shape, outputs, placed, &answers, &drawn.label, &mut trial.tally)?;
    for (output, first) in odd.into_iter().enumerate() {
        if let Some(first) = first {
            check_row(trial, drawn, output, first)?;
        }
    }
    if drawn.job.invariants {
        check_invariants(trial, drawn)?;
    }
    Ok(())
}

/// Canaries and inputs: what the call should not have touched.
pub(crate) fn look_around(trial: &Trial<'_>, call: &ArenaCall, label: &str) -> Result<(), Stop> {
    let arena = &trial.device.arena;
    if let Some(output) = arena.dead_canary(call) {
        let name = &trial.contract().outputs[output].name;
        let detail = format!("{label}: memory next to `{name}` was written");
        return Err(Stop::rejected(FailureClass::OutOfBounds, detail));
    }
    let now = arena.fingerprints(call);
    if let Some(input) = now.iter().zip(&call.fingerprints).position(|(now, before)| now != before) {
        let name = &trial.contract().inputs[input].name;
        return Err(Stop::rejected(FailureClass::InputModified, format!("{label}: input `{name}` changed")));
    }
    Ok(())
}

/// An element outside the sample is NaN or infinite: asks the oracle about its row.
fn check_row(trial: &mut Trial<'_>, drawn: &Drawn, output: usize, element: u64) -> Result<(), Stop> {
    let setup = trial.setup;
    let shape = &setup.shapes[drawn.job.shape];
    let row = element / shape.outputs[output].slice_elements.max(1);
    if drawn.slices.iter().any(|(begin, end)| (*begin..*end).contains(&row)) {
        return Ok(());
    }
    let slices = [(row, row + 1)];
    let placed = &drawn.call.placed;
    trial.device.oracle.begin(&setup.contract, shape, placed, &slices)?;
    let answers = trial.device.oracle.finish(&setup.contract, shape, &slices)?;
    let outputs = &trial.device.arena.outputs;
    compare(&setup.contract, shape, outputs, placed, &answers, &drawn.label, &mut trial.tally)
}

fn check_invariants(trial: &mut Trial<'_>, drawn: &Drawn) -> Result<(), Stop> {
    let setup = trial.setup;
    let shape = &setup.shapes[drawn.job.shape];
    let found = trial.device.oracle.violations(&setup.contract, shape, &drawn.call.placed)?;
    for (invariant, violation) in setup.contract.invariants.iter().zip(found) {
        if violation.is_nan() || violation > 1.0 {
            let detail = format!(
                "{}: `{}` is violated {violation:.3} times as much as allowed",
                drawn.label, invariant.name
            );
            return Err(Stop::rejected(FailureClass::InvariantViolated, detail));
        }
    }
    Ok(())
}
