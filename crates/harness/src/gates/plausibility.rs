//! G10 `plausibility`: not faster than the machine allows.
//!
//! Statistics alone never reject: a suspicious time is measured again, against a ceiling that is measured again too.

use kernsmith_core::FailureClass;

use crate::calibration;
use crate::error::Stop;
use crate::gates::timing;
use crate::timing::summarise;
use crate::trial::Trial;

/// Times below this part of the roofline bound are suspicious; calibration itself is that uncertain.
const SUSPICIOUS: f64 = 0.95;

/// Times below this part of the raised bound are impossible. Between the two a machine that was busy during calibration is
/// the likelier culprit: such a candidate passes with a note.
const IMPOSSIBLE: f64 = 0.6;

/// Compares each workload's time with its roofline bound.
pub(crate) fn check(trial: &mut Trial<'_>) -> Result<String, Stop> {
    let suspects = suspects(trial);
    if suspects.is_empty() {
        let score = trial.performance.as_ref().and_then(|performance| performance.sol_score);
        return Ok(score.map_or("not calibrated".to_owned(), |score| format!("SOL score {score:.3}")));
    }
    let setup = trial.setup;
    let mut baseline = trial.device.take_baseline(setup)?;
    for index in &suspects {
        calibration::raise(setup, trial.device, *index)?;
        let series = timing::workload(trial, &mut baseline, *index)?;
        let shape = &setup.shapes[*index];
        let measured = [(*index, series)];
        let again = summarise(setup, &trial.device.calibration, &measured, 1.0, 1)?;
        let row = &again.workloads[0];
        if row.sol_us.is_some_and(|sol_us| row.median_us < IMPOSSIBLE * sol_us) {
            let detail = format!(
                "{}: {:.2} µs, twice, where the machine's ceilings allow {:.2} µs",
                shape.name,
                row.median_us,
                row.sol_us.unwrap_or(0.0)
            );
            return Err(Stop::rejected(FailureClass::Implausible, detail));
        }
    }
    trial.device.baseline = Some(baseline);
    rescore(trial);
    trial.notes.push(format!("{} workloads were measured again: faster than the ceilings", suspects.len()));
    Ok(format!("{} workloads measured again", suspects.len()))
}

/// The raised ceilings count for the scores too.
fn rescore(trial: &mut Trial<'_>) {
    let calibration = &trial.device.calibration;
    let Some(performance) = &mut trial.performance else {
        return;
    };
    for (row, index) in
        performance.workloads.iter_mut().zip(trial.setup.shapes_of(kernsmith_op_contract::Role::Bench))
    {
        let shape = &trial.setup.shapes[index];
        row.sol_us = calibration.sol_us(shape.flops, shape.bytes);
        row.sol_score =
            row.sol_us.map(|sol_us| kernsmith_core::score::sol_score(row.median_us, row.baseline_us, sol_us));
    }
}

fn suspects(trial: &Trial<'_>) -> Vec<usize> {
    let bench = trial.setup.shapes_of(kernsmith_op_contract::Role::Bench);
    let Some(performance) = &trial.performance else {
        return Vec::new();
    };
    let rows = bench.into_iter().zip(&performance.workloads);
    rows.filter(|(_, row)| row.sol_us.is_some_and(|sol_us| row.median_us < SUSPICIOUS * sol_us))
        .map(|(index, _)| index)
        .collect()
}
