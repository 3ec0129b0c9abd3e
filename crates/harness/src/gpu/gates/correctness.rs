//! G5 `correctness`: right on all shapes, distributions and secret seeds.

use kernsmith_core::Lane;
use kernsmith_op_contract::Role;
use rand::RngExt as _;

use crate::error::Stop;
use crate::gpu::checked::{self, Job};
use crate::gpu::trial::GpuTrial;
use crate::layout::Side;

/// Checked shapes in the screen lane.
const SCREEN_SHAPES: usize = 3;
/// Inputs of a bench shape that are drawn anew for one secret case besides the first; the contents of larger ones come from the
/// timed pool, and are compared there.
const FRESH_BYTES: u64 = 48 << 20;

/// Every small workload in every case, large ones in the first and a secret other case; in the screen lane a few small ones.
pub(crate) fn check(trial: &mut GpuTrial<'_>) -> Result<String, Stop> {
    let jobs = if trial.lane == Lane::Screen { screen(trial) } else { all(trial) };
    run(trial, &jobs)
}

/// For trusted code: large shapes, on which it may be very slow, only in the first case.
pub(crate) fn check_trusted(trial: &mut GpuTrial<'_>) -> Result<(), Stop> {
    let mut jobs = all(trial);
    let workloads = &trial.setup.contract.workloads;
    jobs.retain(|job| workloads[job.shape].role != Role::Bench || job.case == 0);
    run(trial, &jobs).map(|_| ())
}

fn run(trial: &mut GpuTrial<'_>, jobs: &[Job]) -> Result<String, Stop> {
    let before = trial.tally.clone();
    for job in jobs {
        checked::run(trial, *job)?;
    }
    let calls = trial.tally.calls - before.calls;
    Ok(format!("{calls} calls, {} elements compared", trial.tally.elements - before.elements))
}

fn all(trial: &mut GpuTrial<'_>) -> Vec<Job> {
    let setup = trial.setup;
    let contract = &setup.contract;
    let cases = contract.cases.len();
    let mut jobs = Vec::new();
    for (shape, workload) in contract.workloads.iter().enumerate() {
        let bench = workload.role == Role::Bench;
        let bytes = setup.shapes[shape].input_bytes();
        let other = if cases > 1 { trial.rng.random_range(1..cases) } else { 0 };
        for case in 0..cases {
            let wanted = !bench || (bytes <= FRESH_BYTES && (case == 0 || case == other));
            if wanted {
                jobs.push(job(shape, case, jobs.len(), !bench || case == 0));
            }
        }
    }
    jobs
}

fn screen(trial: &mut GpuTrial<'_>) -> Vec<Job> {
    let contract = &trial.setup.contract;
    let cases = contract.cases.len();
    let mut shapes = trial.setup.shapes_of(Role::Verify);
    shapes.sort_by_key(|shape| trial.setup.shapes[*shape].output_elements());
    let step = (shapes.len().saturating_sub(1) / (SCREEN_SHAPES - 1)).max(1);
    let chosen: Vec<usize> = shapes.iter().rev().step_by(step).take(SCREEN_SHAPES).copied().collect();
    let mut jobs = Vec::new();
    for shape in chosen {
        let other = if cases > 1 { trial.rng.random_range(1..cases) } else { 0 };
        jobs.push(job(shape, 0, jobs.len(), false));
        jobs.push(job(shape, other, jobs.len(), false));
    }
    jobs
}

/// Sides and poisons alternate, out of step with each other.
const fn job(shape: usize, case: usize, ordinal: usize, invariants: bool) -> Job {
    let side = if ordinal.is_multiple_of(2) { Side::Right } else { Side::Left };
    Job { shape, case, side, variant: (ordinal / 2 % 2) as u32, invariants }
}
