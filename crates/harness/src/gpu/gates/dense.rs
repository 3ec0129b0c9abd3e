//! G9 `timed_outputs`, second part: whole outputs of the bench shapes, against those of the frozen baseline.
//!
//! The oracle can look at a few rows of a large output only. The baseline is slow, simple, and held against the oracle too; it says
//! where to look. The candidate runs first and its outputs are put aside; then its code is unloaded, and only then does the
//! baseline run, in the same process: nothing that is expected is on the device while a candidate can run. A trusted kernel finds the
//! rows in which the two differ most, and the oracle decides about those: a difference alone rejects nobody.

use kernsmith_core::Gate;
use kernsmith_op_contract::Role;
use kernsmith_wire::gpu::{Cell, GROUPS, Step};
use rand::RngExt as _;

use crate::arena::Placed;
use crate::check::compare;
use crate::error::{HarnessError, Stop};
use crate::gpu::checked;
use crate::gpu::lanes::Place;
use crate::gpu::timed::{Turn, Turns};
use crate::gpu::trial::GpuTrial;
use crate::layout::Shape;
use crate::oracle::Slice;

/// Rows of a shape that the oracle decides about, at most.
const ROWS_MAX: usize = 4;
/// It may spend so many times as much on them as on one sampled call.
const FLOPS_FACTOR: f64 = 4.0;
/// How long trusted code may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);

/// What a candidate has left of one shape.
struct Kept {
    index: usize,
    turn: Turn,
    outputs: Vec<(u64, u64)>,
}

/// Compares every element of every bench shape's outputs.
pub(crate) fn check(trial: &mut GpuTrial<'_>) -> Result<String, Stop> {
    let setup = trial.setup;
    let bench: Vec<usize> =
        setup.shapes_of(Role::Bench).into_iter().filter(|index| is_dense(&setup.shapes[*index])).collect();
    if bench.is_empty() {
        return Ok(
            "no output of floats whose rows can be told apart: not compared with the baseline".to_owned()
        );
    }
    let mut kept = Vec::new();
    for index in bench {
        kept.push(run_candidate(trial, index).map_err(|stop| stop.within(&setup.shapes[index].name))?);
    }
    let (plan, cubin) = (&setup.baseline.plan, trial.state.baseline_cubin.clone());
    trial.runner.replace(setup, plan, &cubin).map_err(|stop| stop.trusted(&setup.baseline.name))?;
    let (mut elements, mut decided) = (0, 0);
    for kept in &kept {
        let shape = &setup.shapes[kept.index];
        elements += shape.output_elements();
        decided += look(trial, kept).map_err(|stop| stop.within(&shape.name))?;
        trial.runner.worker.release(&kept.outputs)?;
    }
    Ok(format!("{elements} elements compared with the baseline's, the oracle decided about {decided} rows"))
}

/// Whether outputs are floats in rows of the partition axis.
fn is_dense(shape: &Shape) -> bool {
    let dense = |layout: &crate::layout::TensorLayout| {
        crate::gpu::lanes::cell(layout.dtype) != Cell::Block
            && layout.elements > 0
            && layout.elements == shape.extent * layout.slice_elements
    };
    !shape.outputs.is_empty() && shape.outputs.iter().all(dense)
}

/// One call on timed content; its outputs are put aside.
fn run_candidate(trial: &mut GpuTrial<'_>, index: usize) -> Result<Kept, Stop> {
    let setup = trial.setup;
    let shape = &setup.shapes[index];
    let Some(pool) = trial.state.timed.get(&index).cloned() else {
        return Err(HarnessError::Statistics("no timed buffers".to_owned()).into());
    };
    trial.runner.furnish(index, &pool)?;
    let turn = Turns::new(setup.rng()).next(&pool);
    let (inputs, outputs) = trial.runner.lanes.place_timed(index, shape, &pool.away(&turn));
    let wanted: Vec<u64> = outputs.iter().map(|place| place.bytes).collect();
    let aside = trial.runner.worker.reserve(&wanted)?;
    let mut steps = poison(trial, &outputs);
    steps.extend(trial.runner.spoil_workspaces(&mut trial.rng));
    steps.push(Step::Call(0));
    steps.extend(outputs.iter().zip(&aside).map(|(place, (to, _))| Step::Copy {
        from: place.address,
        to: *to,
        bytes: place.bytes.next_multiple_of(16),
    }));
    let call = trial.runner.call(setup, shape, &inputs, &outputs)?;
    let timeout = trial.timeout(index);
    trial.runner.run(vec![call], steps, timeout)?;
    Ok(Kept { index, turn, outputs: aside })
}

fn poison(trial: &mut GpuTrial<'_>, outputs: &[Place]) -> Vec<Step> {
    let secret = trial.rng.random();
    let lay =
        |place: &Place| Step::Poison { address: place.address, bytes: place.bytes, cell: place.cell, secret };
    outputs.iter().map(lay).collect()
}

/// The baseline on the same content; the oracle decides about the rows that differ most, of both. Returns how many.
fn look(trial: &mut GpuTrial<'_>, kept: &Kept) -> Result<usize, Stop> {
    let setup = trial.setup;
    let shape = &setup.shapes[kept.index];
    let name = &setup.baseline.name;
    let Some(pool) = trial.state.timed.get(&kept.index).cloned() else { return Ok(0) };
    let (inputs, outputs) = trial.runner.lanes.place_timed(kept.index, shape, &pool.away(&kept.turn));
    let mut steps = poison(trial, &outputs);
    steps.push(Step::Call(0));
    let pairs = outputs.iter().zip(&kept.outputs).zip(&shape.outputs);
    steps.extend(pairs.map(|((place, ours), layout)| Step::Differences {
        ours: ours.0,
        theirs: place.address,
        rows: shape.extent,
        row_elements: layout.slice_elements,
        cell: place.cell,
    }));
    let call = trial.runner.call(setup, shape, &inputs, &outputs)?;
    let values = trial.runner.run(vec![call], steps, PATIENCE).map_err(|stop| stop.trusted(name))?.values;
    let slices = suspects(shape, &values, setup.options.oracle_flops_max);
    if slices.is_empty() {
        return Ok(0);
    }
    let placed = pool.placed(&kept.turn);
    trial.state.oracle.begin(&setup.contract, shape, &placed, &slices)?;
    let fetched = fetch(trial, shape, &placed, &outputs, &slices);
    let answers = trial.state.oracle.finish(&setup.contract, shape, &slices)?;
    fetched?;
    let tally = &mut trial.tally;
    let label = "where it differs most from the baseline";
    compare(&setup.contract, shape, &pool.outputs, &placed, &answers, label, tally)
        .map_err(|stop| Stop::from(stop.trusted(name)))?;
    let mut ours = outputs;
    for (place, aside) in ours.iter_mut().zip(&kept.outputs) {
        place.address = aside.0;
    }
    fetch(trial, shape, &placed, &ours, &slices)?;
    compare(&setup.contract, shape, &pool.outputs, &placed, &answers, label, &mut trial.tally)
        .map_err(|stop| stop.at(Gate::TimedOutputs))?;
    Ok(slices.len())
}

fn fetch(
    trial: &mut GpuTrial<'_>,
    shape: &Shape,
    placed: &Placed,
    outputs: &[Place],
    slices: &[Slice],
) -> Result<(), Stop> {
    let mut steps = Vec::new();
    checked::fetch(&trial.runner, shape, placed, outputs, slices, &mut steps);
    trial.runner.run(Vec::new(), steps, PATIENCE).map(|_| ())
}

/// The rows that differ most, in their order.
fn suspects(shape: &Shape, values: &[u64], oracle_flops_max: f64) -> Vec<Slice> {
    let flops_a_row = (shape.flops / shape.extent.max(1) as f64).max(1.0);
    let most = ((FLOPS_FACTOR * oracle_flops_max / flops_a_row) as usize).clamp(1, ROWS_MAX);
    // The measure's bits are the upper half, and of floats that are not negative the larger one has the larger bits.
    let mut found: Vec<u64> = values.iter().copied().filter(|word| word >> 32 != 0).collect();
    debug_assert!(values.len().is_multiple_of(GROUPS));
    found.sort_unstable_by(|a, b| b.cmp(a));
    let mut rows: Vec<u64> = Vec::new();
    for row in found.iter().map(|word| word & 0xffff_ffff).filter(|row| *row < shape.extent) {
        if rows.len() < most && !rows.contains(&row) {
            rows.push(row);
        }
    }
    rows.sort_unstable();
    rows.into_iter().map(|row| (row, row + 1)).collect()
}

#[cfg(test)]
mod tests {
    use kernsmith_core::Bindings;

    use super::*;

    fn word(measure: f32, row: u64) -> u64 {
        u64::from(measure.to_bits()) << 32 | row
    }

    #[test]
    fn the_rows_that_differ_most_are_decided_about_and_equal_ones_are_not() {
        let shape = |flops| Shape {
            name: "s".into(),
            axes: Bindings::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            extent: 100,
            flops,
            bytes: 0.0,
        };
        let values = [
            word(0.1, 8),
            word(0.0, 1),
            word(7.0, 42),
            word(0.2, 3),
            word(0.3, 4),
            word(0.01, 5),
            word(0.4, 6),
            word(0.5, 900),
        ];
        assert_eq!(suspects(&shape(1e4), &values, 8e6), [(3, 4), (4, 5), (6, 7), (42, 43)]);
        assert_eq!(suspects(&shape(1e12), &values, 8e6), [(42, 43)], "a costly row is one row");
        assert!(suspects(&shape(1e4), &[0; 8], 8e6).is_empty());
    }
}
