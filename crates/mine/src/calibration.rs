//! What predictions were worth, over runs.
//!
//! A node's prediction is compared with the best ratio at or below it, once for its family and once for each of its axis
//! tags; a proposal's own prediction with its measured ratio, for its proposer. Logarithms of ratios throughout.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::archive::{Archive, Pair};

/// Predictions of one family, axis tag or proposer against outcomes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationRow {
    /// Contract name and version.
    pub contract: String,
    /// `family`, `axis` or `proposer`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Predictions with an outcome.
    pub pairs: u32,
    /// Runs that they come from.
    pub runs: u32,
    /// Mean of `ln(measured / predicted)`: below 0 the predictions were too high.
    pub bias: f64,
    /// Mean of `|ln(measured / predicted)|`: 0.69 means wrong by a factor of two.
    pub mean_abs_log_error: f64,
    /// Share of outcomes inside the predicted interval, meant to be 0.9.
    pub coverage: f64,
}

/// One row a group, the groups with most pairs first within their kind.
pub fn calibration(archive: &Archive) -> Vec<CalibrationRow> {
    let mut groups: BTreeMap<(&str, &str, &str), Vec<&Pair>> = BTreeMap::new();
    for pair in archive.pairs.iter().filter(|pair| is_usable(pair)) {
        groups.entry((&pair.contract, pair.kind, &pair.name)).or_default().push(pair);
    }
    let mut rows: Vec<CalibrationRow> = groups.into_iter().map(|(group, pairs)| row(group, &pairs)).collect();
    rows.sort_by(|a, b| {
        (&a.contract, &a.kind, b.pairs, &a.name).cmp(&(&b.contract, &b.kind, a.pairs, &b.name))
    });
    rows
}

fn is_usable(pair: &Pair) -> bool {
    [pair.predicted.ratio, pair.measured].iter().all(|ratio| ratio.is_finite() && *ratio > 0.0)
}

fn row((contract, kind, name): (&str, &str, &str), pairs: &[&Pair]) -> CalibrationRow {
    let count = pairs.len() as f64;
    let errors = || pairs.iter().map(|pair| (pair.measured / pair.predicted.ratio).ln());
    let inside = |pair: &&&Pair| (pair.predicted.low..=pair.predicted.high).contains(&pair.measured);
    let runs: BTreeSet<&str> = pairs.iter().map(|pair| pair.run.as_str()).collect();
    CalibrationRow {
        contract: contract.to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        pairs: pairs.len() as u32,
        runs: runs.len() as u32,
        bias: errors().sum::<f64>() / count,
        mean_abs_log_error: errors().map(f64::abs).sum::<f64>() / count,
        coverage: pairs.iter().filter(inside).count() as f64 / count,
    }
}
