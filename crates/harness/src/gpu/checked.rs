//! Calls that are checked in full: uploaded, poisoned, run, looked at, compared.

use kernsmith_core::FailureClass;
use kernsmith_op_contract::Role;
use kernsmith_wire::gpu::{Cell, GpuCall, Step};
use rand::RngExt as _;

use super::lanes::Place;
use super::runner::GpuRunner;
use super::trial::GpuTrial;
use crate::arena::{Arena, ArenaCall, Placed};
use crate::check::{self, compare};
use crate::error::Stop;
use crate::layout::{Shape, Side};
use crate::oracle::{Answers, Slice};
use crate::setup::Setup;

/// Invariants need the whole output on the host: outputs up to this size get them.
pub(crate) const INVARIANT_BYTES: u64 = 32 << 20;
/// A question's answer for "none".
const NONE: u64 = u64::MAX;

/// One checked call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    pub(crate) shape: usize,
    pub(crate) case: usize,
    pub(crate) side: Side,
    /// Kind of poison: NaNs cell by cell, or random bits.
    pub(crate) variant: u32,
    pub(crate) invariants: bool,
}

/// A call on the device: its places, and what was laid around them.
pub(crate) struct Staged {
    pub(crate) inputs: Vec<Place>,
    pub(crate) outputs: Vec<Place>,
    cells: Vec<Cell>,
    secret: u64,
    canary: u64,
}

impl Staged {
    pub(crate) fn new(
        trial: &mut GpuTrial<'_>,
        (inputs, outputs): (Vec<Place>, Vec<Place>),
        variant: u32,
    ) -> Self {
        let cell = |place: &Place| if variant == 0 { place.cell } else { Cell::Block };
        let cells = outputs.iter().map(cell).collect();
        Self { inputs, outputs, cells, secret: trial.rng.random(), canary: trial.rng.random() }
    }

    /// Uploads, poison and canaries, and a sum over the inputs.
    pub(crate) fn before(&self, trial: &mut GpuTrial<'_>, placed: &Placed, steps: &mut Vec<Step>) {
        let (pool, _) = trial.runner.pools(placed.store);
        for (place, span) in self.inputs.iter().zip(&placed.inputs).filter(|(place, _)| place.bytes > 0) {
            steps.push(Step::Upload { pool, offset: span.offset, bytes: span.bytes, address: place.address });
        }
        for (index, place) in self.outputs.iter().enumerate() {
            for (address, bytes) in trial.runner.lanes.canaries(index, *place) {
                steps.push(Step::Poison { address, bytes, cell: Cell::Block, secret: self.canary });
            }
            let (address, bytes) = (place.address, place.bytes);
            if bytes > 0 {
                steps.push(Step::Poison { address, bytes, cell: self.cells[index], secret: self.secret });
            }
        }
        steps.extend(trial.runner.spoil_workspaces(&mut trial.rng));
        self.sums(steps);
    }

    /// Questions about what the call left behind.
    pub(crate) fn after(&self, trial: &GpuTrial<'_>, steps: &mut Vec<Step>) {
        self.sums(steps);
        for (index, place) in self.outputs.iter().enumerate() {
            for (address, bytes) in trial.runner.lanes.canaries(index, *place) {
                steps.push(Step::FindChange { address, bytes, secret: self.canary });
            }
            let (address, bytes, cell) = (place.address, place.bytes, self.cells[index]);
            if bytes > 0 {
                steps.push(Step::FindPoison { address, bytes, cell, secret: self.secret });
                if place.cell != Cell::Block {
                    steps.push(Step::FindNonFinite { address, bytes, cell: place.cell });
                }
            }
        }
    }

    fn sums(&self, steps: &mut Vec<Step>) {
        for place in self.inputs.iter().filter(|place| place.bytes > 0) {
            steps.push(Step::Sum { address: place.address, bytes: place.bytes });
        }
    }

    /// Reads the answers to `before` and `after`; returns the first element of each output that is not finite.
    pub(crate) fn read(
        &self,
        trial: &GpuTrial<'_>,
        values: &mut impl Iterator<Item = u64>,
        sums: &[u64],
        label: &str,
    ) -> Result<Vec<Option<u64>>, Stop> {
        let contract = &trial.setup.contract;
        let used = self.inputs.iter().zip(&contract.inputs).filter(|(place, _)| place.bytes > 0);
        for ((_, input), before) in used.zip(sums) {
            if values.next() != Some(*before) {
                let detail = format!("{label}: input `{}` changed", input.name);
                return Err(Stop::rejected(FailureClass::InputModified, detail));
            }
        }
        let mut odd = Vec::new();
        for (index, (place, output)) in self.outputs.iter().zip(&contract.outputs).enumerate() {
            for _ in trial.runner.lanes.canaries(index, *place) {
                if values.next() != Some(NONE) {
                    let detail = format!("{label}: memory next to `{}` was written", output.name);
                    return Err(Stop::rejected(FailureClass::OutOfBounds, detail));
                }
            }
            if place.bytes == 0 {
                odd.push(None);
                continue;
            }
            if let Some(first) = values.next().filter(|first| *first != NONE) {
                let unit = if self.cells[index] == Cell::Block { "block of 16 bytes" } else { "element" };
                let detail =
                    format!("{label}: {unit} {first} of `{}` still holds what was there before", output.name);
                return Err(Stop::rejected(FailureClass::UnwrittenOutput, detail));
            }
            let typed = place.cell != Cell::Block;
            odd.push(if typed { values.next().filter(|first| *first != NONE) } else { None });
        }
        Ok(odd)
    }

    /// How many inputs have a sum.
    pub(crate) fn summed(&self) -> usize {
        self.inputs.iter().filter(|place| place.bytes > 0).count()
    }
}

/// Draws, runs and checks one call.
pub(crate) fn run(trial: &mut GpuTrial<'_>, job: Job) -> Result<(), Stop> {
    let setup = trial.setup;
    let shape = &setup.shapes[job.shape];
    let case = &setup.contract.cases[job.case];
    let label = label(setup, job);
    let arena = &mut trial.state.arena;
    let (mut call, _) = Arena::place(shape, Side::Left, arena.slot(0));
    arena.fill(&setup.contract, case, shape, &mut call, &mut trial.rng);
    let places = trial.runner.lanes.place(shape, job.side, 0);
    let staged = Staged::new(trial, places, job.variant);
    one(trial, job.shape, &call, &staged, job.invariants, &label)
}

/// Runs and checks one call whose inputs are drawn.
pub(crate) fn one(
    trial: &mut GpuTrial<'_>,
    index: usize,
    call: &ArenaCall,
    staged: &Staged,
    invariants: bool,
    label: &str,
) -> Result<(), Stop> {
    one_more(trial, index, call, staged, invariants, label, &mut None)
}

/// The same, for one of several calls on one input: what the oracle said the first time is `known` from then on.
pub(crate) fn one_more(
    trial: &mut GpuTrial<'_>,
    index: usize,
    call: &ArenaCall,
    staged: &Staged,
    invariants: bool,
    label: &str,
    known: &mut Option<(Vec<Slice>, Answers)>,
) -> Result<(), Stop> {
    let setup = trial.setup;
    let shape = &setup.shapes[index];
    let whole =
        invariants && shape.output_bytes() <= INVARIANT_BYTES && !setup.contract.invariants.is_empty();
    let asks = known.is_none();
    let (slices, answered) = known
        .take()
        .unwrap_or_else(|| (check::sample(shape, &setup.options, &mut trial.rng), Answers::default()));
    let asks = asks && !slices.is_empty();
    if asks {
        trial.state.oracle.begin(&setup.contract, shape, &call.placed, &slices)?;
    }
    let fetched = if whole { check::everything(shape) } else { slices.clone() };
    let ran = launch(trial, index, call, staged, &fetched);
    // Also after a failure: what was asked must be answered before anything else is asked.
    let answers = if asks { trial.state.oracle.finish(&setup.contract, shape, &slices)? } else { answered };
    let values = ran.map_err(|stop| stop.within(label))?;
    let (sums, rest) = values.split_at(staged.summed().min(values.len()));
    let odd = staged.read(trial, &mut rest.iter().copied(), sums, label)?;
    let outputs = &trial.state.arena.outputs;
    compare(&setup.contract, shape, outputs, &call.placed, &answers, label, &mut trial.tally)?;
    for (output, first) in odd.into_iter().enumerate() {
        if let Some(first) = first {
            odd_row(trial, index, call, staged, (output, first, &slices), label)?;
        }
    }
    if whole {
        laws(trial, index, call, label)?;
    }
    *known = Some((slices, answers));
    Ok(())
}

fn launch(
    trial: &mut GpuTrial<'_>,
    index: usize,
    call: &ArenaCall,
    staged: &Staged,
    fetched: &[Slice],
) -> Result<Vec<u64>, Stop> {
    let setup = trial.setup;
    let shape = &setup.shapes[index];
    let launches: GpuCall = trial.runner.call(setup, shape, &staged.inputs, &staged.outputs)?;
    let mut steps = Vec::new();
    staged.before(trial, &call.placed, &mut steps);
    steps.push(Step::Call(0));
    staged.after(trial, &mut steps);
    downloads(trial, shape, &call.placed, &staged.outputs, fetched, &mut steps);
    let timeout = trial.timeout(index);
    Ok(trial.runner.run(vec![launches], steps, timeout)?.values)
}

/// Fetches some steps of the partition axis of every output.
pub(crate) fn downloads(
    trial: &GpuTrial<'_>,
    shape: &Shape,
    placed: &Placed,
    outputs: &[Place],
    slices: &[Slice],
    steps: &mut Vec<Step>,
) {
    fetch(&trial.runner, shape, placed, outputs, slices, steps);
}

/// The same, of any code object.
pub(crate) fn fetch(
    runner: &GpuRunner,
    shape: &Shape,
    placed: &Placed,
    outputs: &[Place],
    slices: &[Slice],
    steps: &mut Vec<Step>,
) {
    let (_, pool) = runner.pools(placed.store);
    for (begin, end) in slices {
        for ((layout, span), place) in shape.outputs.iter().zip(&placed.outputs).zip(outputs) {
            let first = layout.dtype.bytes_for(begin * layout.slice_elements);
            let bytes = layout.dtype.bytes_for((end - begin) * layout.slice_elements);
            if bytes > 0 {
                let (offset, address) = (span.offset + first, place.address + first);
                steps.push(Step::Download { pool, offset, bytes, address });
            }
        }
    }
}

/// An element outside the sample is NaN or infinite: asks the oracle about its row.
fn odd_row(
    trial: &mut GpuTrial<'_>,
    index: usize,
    call: &ArenaCall,
    staged: &Staged,
    (output, element, seen): (usize, u64, &[Slice]),
    label: &str,
) -> Result<(), Stop> {
    let setup = trial.setup;
    let shape = &setup.shapes[index];
    let row = element / shape.outputs[output].slice_elements.max(1);
    if seen.iter().any(|(begin, end)| (*begin..*end).contains(&row)) {
        return Ok(());
    }
    let slices = [(row, row + 1)];
    let mut steps = Vec::new();
    downloads(trial, shape, &call.placed, &staged.outputs, &slices, &mut steps);
    let timeout = trial.timeout(index);
    trial.runner.run(Vec::new(), steps, timeout)?;
    trial.state.oracle.begin(&setup.contract, shape, &call.placed, &slices)?;
    let answers = trial.state.oracle.finish(&setup.contract, shape, &slices)?;
    let outputs = &trial.state.arena.outputs;
    compare(&setup.contract, shape, outputs, &call.placed, &answers, label, &mut trial.tally)
}

fn laws(trial: &mut GpuTrial<'_>, index: usize, call: &ArenaCall, label: &str) -> Result<(), Stop> {
    let setup = trial.setup;
    let found = trial.state.oracle.violations(&setup.contract, &setup.shapes[index], &call.placed)?;
    lawful(setup, &found, label)
}

/// Whether every law holds.
pub(crate) fn lawful(setup: &Setup, found: &[f64], label: &str) -> Result<(), Stop> {
    for (invariant, violation) in setup.contract.invariants.iter().zip(found.iter().copied()) {
        if violation.is_nan() || violation > 1.0 {
            let detail =
                format!("{label}: `{}` is violated {violation:.3} times as much as allowed", invariant.name);
            return Err(Stop::rejected(FailureClass::InvariantViolated, detail));
        }
    }
    Ok(())
}

/// Workload and case for messages; a held-out shape stays secret.
pub(crate) fn label(setup: &Setup, job: Job) -> String {
    let contract = &setup.contract;
    let workload = &contract.workloads[job.shape];
    let case = &contract.cases[job.case].name;
    match workload.role {
        Role::HeldOut => format!("a held-out shape, {case}"),
        _ => format!("{} {case}", workload.name),
    }
}
