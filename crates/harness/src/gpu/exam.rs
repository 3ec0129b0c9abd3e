//! A sheet of checked calls, run in groups: while the device does one group, threads compare what came of those before.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kernsmith_wire::gpu::{GpuCall, Step};

use super::ahead::{Drawn, Sheet};
use super::checked::{self, INVARIANT_BYTES, Staged, label};
use super::trial::GpuTrial;
use crate::arena::Placed;
use crate::check::{self, Tally, compare};
use crate::error::{HarnessError, Stop};
use crate::layout::Shape;
use crate::oracle::{Answers, Oracle};
use crate::setup::Setup;

/// Calls and steps of one group: a frame has a limit.
const GROUP_CALLS: usize = 12;
const GROUP_STEPS: usize = 400;
/// A group may take so many times as long as its slowest call.
const GROUP_TIMEOUTS: u32 = 2;

/// Calls that go to the worker in one frame.
#[derive(Default)]
struct Group<'a> {
    calls: Vec<GpuCall>,
    steps: Vec<Step>,
    members: Vec<(&'a Drawn, Staged)>,
    timeout: Duration,
}

/// Runs and checks every call of a sheet.
pub(crate) fn sit(trial: &mut GpuTrial<'_>, sheet: &Sheet) -> Result<(), Stop> {
    trial.runner.open_store(sheet.store, &sheet.inputs, &sheet.outputs)?;
    let setup = trial.setup;
    let failed = AtomicBool::new(false);
    let outcomes = std::thread::scope(|scope| {
        let mut looks = Vec::new();
        let mut run = |trial: &mut GpuTrial<'_>, group| -> Result<(), Stop> {
            let members = launch(trial, sheet, group)?;
            let (number, failed) = (looks.len(), &failed);
            looks.push(scope.spawn(move || {
                let looked = look(setup, sheet, number, &members);
                failed.fetch_or(looked.is_err(), Ordering::Relaxed);
                looked
            }));
            Ok(())
        };
        let mut group = Group::default();
        let mut ran = Ok(());
        for drawn in &sheet.calls {
            if group.is_full() {
                ran = run(trial, std::mem::take(&mut group));
            }
            if ran.is_err() || failed.load(Ordering::Relaxed) {
                break;
            }
            ran = group.add(trial, drawn);
        }
        if ran.is_ok() && !group.calls.is_empty() && !failed.load(Ordering::Relaxed) {
            ran = run(trial, group);
        }
        let cut_off = |_| Err(HarnessError::CutOff("comparing outputs panicked".to_owned()).into());
        let mut outcomes: Vec<Result<Tally, Stop>> =
            looks.into_iter().map(|look| look.join().unwrap_or_else(cut_off)).collect();
        outcomes.extend(ran.err().map(Err));
        outcomes
    });
    for outcome in outcomes {
        trial.tally.add(outcome?);
    }
    Ok(())
}

impl<'a> Group<'a> {
    fn is_full(&self) -> bool {
        self.calls.len() >= GROUP_CALLS || self.steps.len() >= GROUP_STEPS
    }

    fn add(&mut self, trial: &mut GpuTrial<'_>, drawn: &'a Drawn) -> Result<(), Stop> {
        let setup = trial.setup;
        let shape = &setup.shapes[drawn.job.shape];
        let places = trial.runner.lanes.place(shape, drawn.job.side, 0);
        let staged = Staged::new(trial, places, drawn.job.variant);
        let call = trial.runner.call(setup, shape, &staged.inputs, &staged.outputs)?;
        staged.before(trial, &drawn.call.placed, &mut self.steps);
        self.steps.push(Step::Call(self.calls.len() as u16));
        staged.after(trial, &mut self.steps);
        let fetched = if is_whole(setup, drawn) { check::everything(shape) } else { drawn.slices.clone() };
        checked::downloads(trial, shape, &drawn.call.placed, &staged.outputs, &fetched, &mut self.steps);
        self.calls.push(call);
        self.timeout = self.timeout.max(trial.timeout(drawn.job.shape));
        self.members.push((drawn, staged));
        Ok(())
    }
}

/// Whether laws are checked, which takes the whole output.
fn is_whole(setup: &Setup, drawn: &Drawn) -> bool {
    let bytes = setup.shapes[drawn.job.shape].output_bytes();
    drawn.job.invariants && bytes <= INVARIANT_BYTES && !setup.contract.invariants.is_empty()
}

/// Runs a group and reads what the trusted kernels found; its outputs then lie on the host.
fn launch<'a>(trial: &mut GpuTrial<'_>, sheet: &Sheet, group: Group<'a>) -> Result<Vec<&'a Drawn>, Stop> {
    let setup = trial.setup;
    let Group { calls, steps, members, timeout } = group;
    let ran = trial.runner.run(calls, steps, GROUP_TIMEOUTS * timeout);
    let names = |stop: Stop| match members.as_slice() {
        [] => stop,
        [(one, _)] => stop.within(&label(setup, one.job)),
        [(first, _), .., (last, _)] => {
            stop.within(&format!("one of {} to {}", label(setup, first.job), label(setup, last.job)))
        }
    };
    let values = ran.map_err(names)?.values;
    let mut values = values.into_iter();
    let mut odd = Vec::new();
    for (drawn, staged) in &members {
        let sums: Vec<u64> = values.by_ref().take(staged.summed()).collect();
        let found = staged.read(trial, &mut values, &sums, &label(setup, drawn.job))?;
        let found = found.into_iter().enumerate().filter_map(|(output, first)| Some((output, first?)));
        odd.extend(found.map(|(output, first)| (*drawn, staged, output, first)));
    }
    for (drawn, staged, output, element) in odd {
        odd_row(trial, sheet, drawn, staged, (output, element))?;
    }
    Ok(members.into_iter().map(|(drawn, _)| drawn).collect())
}

/// An element outside the sample is NaN or infinite: runs the call again, as another one lies on the device by now, and asks the
/// oracle about the element's row.
fn odd_row(
    trial: &mut GpuTrial<'_>,
    sheet: &Sheet,
    drawn: &Drawn,
    staged: &Staged,
    (output, element): (usize, u64),
) -> Result<(), Stop> {
    let setup = trial.setup;
    let shape = &setup.shapes[drawn.job.shape];
    let row = element / shape.outputs[output].slice_elements.max(1);
    if drawn.slices.iter().any(|(begin, end)| (*begin..*end).contains(&row)) {
        return Ok(());
    }
    let slices = [(row, row + 1)];
    let call = trial.runner.call(setup, shape, &staged.inputs, &staged.outputs)?;
    let mut steps = Vec::new();
    staged.before(trial, &drawn.call.placed, &mut steps);
    steps.push(Step::Call(0));
    checked::downloads(trial, shape, &drawn.call.placed, &staged.outputs, &slices, &mut steps);
    let timeout = trial.timeout(drawn.job.shape);
    trial.runner.run(vec![call], steps, timeout)?;
    let answers = {
        let mut oracle = oracle(sheet, 0);
        oracle.begin(&setup.contract, shape, &drawn.for_oracle(), &slices)?;
        oracle.finish(&setup.contract, shape, &slices)?
    };
    let placed = &drawn.call.placed;
    judge(setup, shape, sheet, placed, &answers, &label(setup, drawn.job), &mut trial.tally)
}

/// Compares a group's outputs with the oracle's answers, and holds them against the operation's laws.
fn look(setup: &Setup, sheet: &Sheet, number: usize, members: &[&Drawn]) -> Result<Tally, Stop> {
    let mut tally = Tally::default();
    for drawn in members {
        let shape = &setup.shapes[drawn.job.shape];
        let label = label(setup, drawn.job);
        judge(setup, shape, sheet, &drawn.call.placed, &drawn.answers, &label, &mut tally)?;
        if is_whole(setup, drawn) {
            let found = oracle(sheet, number).violations(&setup.contract, shape, &drawn.for_oracle())?;
            checked::lawful(setup, &found, &label)?;
        }
    }
    Ok(tally)
}

fn judge(
    setup: &Setup,
    shape: &Shape,
    sheet: &Sheet,
    placed: &Placed,
    answers: &Answers,
    label: &str,
    tally: &mut Tally,
) -> Result<(), Stop> {
    compare(&setup.contract, shape, &sheet.outputs, placed, answers, label, tally)
}

/// One of the sheet's oracles, when it is free.
fn oracle(sheet: &Sheet, number: usize) -> std::sync::MutexGuard<'_, Oracle> {
    sheet.oracles[number % sheet.oracles.len()].lock().unwrap_or_else(PoisonError::into_inner)
}
