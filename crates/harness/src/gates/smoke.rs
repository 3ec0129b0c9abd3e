//! G4 `smoke`: two runs on one input agree.

use kernsmith_core::FailureClass;

use crate::arena::{Arena, ArenaCall};
use crate::battery::look_around;
use crate::check::{self, compare, scan};
use crate::error::Stop;
use crate::layout::Side;
use crate::oracle::Answers;
use crate::threads::affinity;
use crate::trial::Trial;

/// Runs the smallest bench shape three times on the same input: bit for bit equal where the contract says so, else each within
/// tolerance of the oracle.
pub(crate) fn check(trial: &mut Trial<'_>) -> Result<String, Stop> {
    let setup = trial.setup;
    let contract = &setup.contract;
    let index = trial.setup.smallest_bench()?;
    let shape = &setup.shapes[index];
    let label = format!("{} {}", shape.name, contract.cases[0].name);
    let before = affinity(trial.kernel.worker.pid);
    let arena = &mut trial.device.arena;
    let (mut call, _) = Arena::place(shape, Side::Right, arena.slot(0));
    arena.fill(contract, &contract.cases[0], shape, &mut call, &mut trial.rng);
    let slices = check::sample(shape, &setup.options, &mut trial.rng);
    let answers = if slices.is_empty() {
        Answers::default()
    } else {
        trial.device.oracle.begin(contract, shape, &call.placed, &slices)?;
        trial.device.oracle.finish(contract, shape, &slices)?
    };
    trial.device.arena.poison(shape, &mut call, (0, false), &mut trial.rng);
    trial.kernel.begin(contract, shape, &call, None)?;
    trial.kernel.finish(trial.timeout(index)).map_err(|stop| stop.within(&label))?;
    let first = look(trial, index, &call, &answers, &label)?;
    // Twice in a row on one mapping: the second call finds everything warm.
    let mut twice = [call.clone(), second_outputs(trial, index, &call)];
    for (call, variant) in twice.iter_mut().zip([1, 0]) {
        trial.device.arena.poison(shape, call, (variant, false), &mut trial.rng);
    }
    let timeout = trial.timeout(index) * 2;
    trial.kernel.burst(contract, shape, &twice, timeout).map_err(|stop| stop.within(&label))?;
    let mut differs = false;
    for call in &twice {
        let label = format!("{label}, twice in a row");
        differs |= look(trial, index, call, &answers, &label)? != first;
    }
    if differs && contract.deterministic {
        let detail = format!("{label}: two runs on one input differ; the contract wants equal bits");
        return Err(Stop::rejected(FailureClass::Nondeterministic, detail));
    }
    let after = affinity(trial.kernel.worker.pid);
    if before != after {
        let detail = format!("the processors it may run on changed from {before} to {after}");
        return Err(Stop::rejected(FailureClass::StateTampering, detail));
    }
    Ok(if differs { "three runs differ within tolerance" } else { "three runs are equal bit for bit" }
        .to_owned())
}

/// Checks one call's outputs and returns them.
fn look(
    trial: &mut Trial<'_>,
    index: usize,
    call: &ArenaCall,
    answers: &Answers,
    label: &str,
) -> Result<Vec<Vec<u8>>, Stop> {
    let setup = trial.setup;
    let shape = &setup.shapes[index];
    look_around(trial, call, label)?;
    let outputs = &trial.device.arena.outputs;
    scan(shape, outputs, &call.placed, call.poison, label)?;
    compare(&setup.contract, shape, outputs, &call.placed, answers, label, &mut trial.tally)?;
    Ok(call.placed.outputs.iter().map(|span| span.of(outputs).to_vec()).collect())
}

/// The same inputs with outputs of the other slot.
fn second_outputs(trial: &Trial<'_>, index: usize, call: &ArenaCall) -> ArenaCall {
    let arena = &trial.device.arena;
    let (other, _) = Arena::place(&trial.setup.shapes[index], Side::Right, arena.slot(1));
    let mut second = call.clone();
    second.output_windows = other.output_windows;
    second.placed.outputs = other.placed.outputs;
    second
}
