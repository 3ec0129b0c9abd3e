//! G10 `plausibility`: not faster than the device allows. Statistics alone never reject: a suspicious time is measured again.

use kernsmith_core::FailureClass;
use kernsmith_op_contract::Role;

use super::timing;
use crate::error::Stop;
use crate::gpu::ceilings;
use crate::gpu::trial::GpuTrial;
use crate::timing::summarise;

/// Times below this part of the roofline bound are suspicious; calibration itself is that uncertain.
const SUSPICIOUS: f64 = 0.9;
/// Times below this part of the bound that was measured again are impossible.
const IMPOSSIBLE: f64 = 0.6;

/// Compares each workload's time with its roofline bound.
pub(crate) fn check(trial: &mut GpuTrial<'_>) -> Result<String, Stop> {
    let setup = trial.setup;
    let bench = setup.shapes_of(Role::Bench);
    let performance = trial.performance.as_ref();
    let rows = bench.into_iter().zip(performance.iter().flat_map(|performance| &performance.workloads));
    let suspects: Vec<usize> = rows
        .filter(|(_, row)| row.sol_us.is_some_and(|sol_us| row.median_us < SUSPICIOUS * sol_us))
        .map(|(index, _)| index)
        .collect();
    if suspects.is_empty() {
        let score = performance.and_then(|performance| performance.sol_score);
        return Ok(score.map_or("not calibrated".to_owned(), |score| format!("SOL score {score:.3}")));
    }
    let mut baseline = trial.state.take_baseline(setup)?;
    for index in &suspects {
        ceilings::copy(setup, &mut trial.state.calibration, &mut baseline, *index)?;
        let series = timing::pairs_again(trial, &mut baseline, *index)?;
        let again = summarise(setup, &trial.state.calibration, &[(*index, series)], 1.0, 1)?;
        let row = &again.workloads[0];
        if row.sol_us.is_some_and(|sol_us| row.median_us < IMPOSSIBLE * sol_us) {
            let detail = format!(
                "{}: {:.2} µs, twice, where the device's ceilings allow {:.2} µs",
                setup.shapes[*index].name,
                row.median_us,
                row.sol_us.unwrap_or(0.0)
            );
            return Err(Stop::rejected(FailureClass::Implausible, detail));
        }
    }
    trial.state.baseline = Some(baseline);
    trial.notes.push(format!("{} workloads were measured again: faster than the ceilings", suspects.len()));
    Ok(format!("{} workloads measured again", suspects.len()))
}
