//! G5 `correctness`: right on all shapes, distributions and secret seeds.

use kernsmith_op_contract::Role;
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use crate::check::Tally;
use crate::error::Stop;
use crate::gpu::checked::{self, Job};
use crate::gpu::exam;
use crate::gpu::trial::GpuTrial;
use crate::layout::Side;
use crate::setup::Setup;

/// Checked shapes in the screen lane.
const SCREEN_SHAPES: usize = 3;
/// Inputs of a bench shape that are drawn anew for one secret case besides the first; the contents of larger ones come from the
/// timed pool, and are compared there.
const FRESH_BYTES: u64 = 48 << 20;

/// Every small workload in every case, large ones in the first and a secret other case; in the screen lane a few small ones. All
/// of it was drawn and answered ahead.
pub(crate) fn check(trial: &mut GpuTrial<'_>) -> Result<String, Stop> {
    let before = trial.tally.clone();
    let sheet = trial.state.sheets.take(trial.lane)?;
    let outcome = exam::sit(trial, &sheet);
    trial.state.sheets.renew(sheet);
    outcome?;
    Ok(told(trial, &before))
}

/// For trusted code: large shapes, on which it may be very slow, only in the first case.
pub(crate) fn check_trusted(trial: &mut GpuTrial<'_>) -> Result<(), Stop> {
    let mut jobs = all(trial.setup, &mut trial.rng);
    let workloads = &trial.setup.contract.workloads;
    jobs.retain(|job| workloads[job.shape].role != Role::Bench || job.case == 0);
    jobs.into_iter().try_for_each(|job| checked::run(trial, job))
}

fn told(trial: &GpuTrial<'_>, before: &Tally) -> String {
    let calls = trial.tally.calls - before.calls;
    format!("{calls} calls, {} elements compared", trial.tally.elements - before.elements)
}

/// What is checked in the screen lane, or in the others.
pub(crate) fn jobs(setup: &Setup, screen: bool, rng: &mut ChaCha12Rng) -> Vec<Job> {
    if screen { self::screen(setup, rng) } else { all(setup, rng) }
}

fn all(setup: &Setup, rng: &mut ChaCha12Rng) -> Vec<Job> {
    let contract = &setup.contract;
    let cases = contract.cases.len();
    let mut jobs = Vec::new();
    for (shape, workload) in contract.workloads.iter().enumerate() {
        let bench = workload.role == Role::Bench;
        let bytes = setup.shapes[shape].input_bytes();
        let other = if cases > 1 { rng.random_range(1..cases) } else { 0 };
        for case in 0..cases {
            let wanted = !bench || (bytes <= FRESH_BYTES && (case == 0 || case == other));
            if wanted {
                jobs.push(job(shape, case, jobs.len(), !bench || case == 0));
            }
        }
    }
    jobs
}

fn screen(setup: &Setup, rng: &mut ChaCha12Rng) -> Vec<Job> {
    let cases = setup.contract.cases.len();
    let mut shapes = setup.shapes_of(Role::Verify);
    shapes.sort_by_key(|shape| setup.shapes[*shape].output_elements());
    let step = (shapes.len().saturating_sub(1) / (SCREEN_SHAPES - 1)).max(1);
    let chosen: Vec<usize> = shapes.iter().rev().step_by(step).take(SCREEN_SHAPES).copied().collect();
    let mut jobs = Vec::new();
    for shape in chosen {
        let other = if cases > 1 { rng.random_range(1..cases) } else { 0 };
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
