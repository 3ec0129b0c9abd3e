//! G5 `correctness`: right on all shapes, distributions and secret seeds.

use kernsmith_core::Lane;
use kernsmith_op_contract::Role;
use rand::RngExt as _;

use crate::battery::{self, Job};
use crate::error::Stop;
use crate::layout::Side;
use crate::trial::Trial;

/// Checked shapes in the screen lane besides the smallest bench shape.
const SCREEN_SHAPES: usize = 4;

/// A trusted baseline is checked in every case on shapes up to this many operations.
const PATIENT_FLOPS: f64 = 1e8;

/// Every workload in every case; in the screen lane a few small ones in two cases.
pub(crate) fn check(trial: &mut Trial<'_>) -> Result<String, Stop> {
    let jobs = match trial.lane {
        Lane::Screen => screen(trial)?,
        Lane::Verify | Lane::Confirm => all(trial),
    };
    let before = trial.tally.clone();
    battery::run(trial, &jobs)?;
    let calls = trial.tally.calls - before.calls;
    Ok(format!("{calls} calls, {} elements compared", trial.tally.elements - before.elements))
}

/// For trusted code: bench shapes, on which it may be very slow, in one case only.
pub(crate) fn check_trusted(trial: &mut Trial<'_>) -> Result<(), Stop> {
    let workloads = &trial.contract().workloads;
    let mut jobs = all(trial);
    jobs.retain(|job| workloads[job.shape].role != Role::Bench || job.case == 0);
    battery::run(trial, &jobs)
}

fn all(trial: &Trial<'_>) -> Vec<Job> {
    let contract = trial.contract();
    let mut jobs = Vec::new();
    for (shape, workload) in contract.workloads.iter().enumerate() {
        // A textbook baseline may need seconds a call: of large shapes one case is enough to trust it.
        let slow = trial.patient && trial.setup.shapes[shape].flops > PATIENT_FLOPS;
        for case in 0..if slow { 1 } else { contract.cases.len() } {
            // Laws cost as much as a reference of the whole output: large shapes get them once.
            let invariants = workload.role != Role::Bench || case == 0;
            jobs.push(job(shape, case, jobs.len(), invariants));
        }
    }
    jobs
}

fn screen(trial: &mut Trial<'_>) -> Result<Vec<Job>, Stop> {
    let contract = trial.contract();
    let cases = contract.cases.len();
    let mut shapes = trial.setup.shapes_of(Role::Verify);
    let size = |shape: &usize| trial.setup.shapes[*shape].output_elements();
    shapes.sort_by_key(size);
    // Spread over the sizes: the smallest, the largest and some between.
    let step = (shapes.len().saturating_sub(1) / (SCREEN_SHAPES - 1)).max(1);
    let mut chosen: Vec<usize> = shapes.iter().rev().step_by(step).take(SCREEN_SHAPES).copied().collect();
    chosen.push(trial.setup.smallest_bench()?);
    let mut jobs = Vec::new();
    for shape in chosen {
        let other = if cases > 1 { trial.rng.random_range(1..cases) } else { 0 };
        let invariants = trial.setup.shapes[shape].output_elements() < 1 << 16;
        jobs.push(job(shape, 0, jobs.len(), invariants));
        jobs.push(job(shape, other, jobs.len(), invariants));
    }
    Ok(jobs)
}

/// Sides and poisons alternate, out of step with each other.
const fn job(shape: usize, case: usize, ordinal: usize, invariants: bool) -> Job {
    let side = if ordinal.is_multiple_of(2) { Side::Right } else { Side::Left };
    Job { shape, case, side, variant: (ordinal / 2 % 2) as u32, invariants }
}
