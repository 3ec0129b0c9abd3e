//! The autotuner's own optimizer on recorded spaces.
//!
//! An evaluation is one distinct configuration looked up, failing ones included. The optimizer may know legal values and
//! restrictions, nothing else; every seed begins with an empty state.

use std::collections::HashSet;

use kernsmith_autotune::{Observation, Optimizer, OptimizerOptions, Point, Request};
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use serde::Serialize;

use crate::error::BenchError;
use crate::t4::RecordedSpace;
use crate::threads::in_parallel;

/// How recorded spaces are searched.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedOptions {
    /// Independent searches of each space.
    pub seeds: u64,
    /// Evaluations at which the best so far is noted; the largest one is how long a search lasts.
    pub budgets: Vec<u64>,
    /// Searches at the same time; the numbers do not depend on it.
    pub threads: usize,
    /// The optimizer.
    pub optimizer: OptimizerOptions,
}

/// What searching recorded spaces gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordedReport {
    /// Evaluations at which the best so far was noted, ascending.
    pub budgets: Vec<u64>,
    /// Searches of each space.
    pub seeds: u64,
    /// One row a space, in the order given.
    pub spaces: Vec<SpaceRow>,
    /// Geometric mean over the spaces of the mean of optimum/best, one for each budget.
    pub geometric_mean: Vec<f64>,
}

/// What searching one space gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpaceRow {
    /// The space.
    pub space: String,
    /// Legal configurations.
    pub configurations: usize,
    /// Those of them that fail.
    pub failing: usize,
    /// Mean over the seeds of optimum/best, one for each budget; 0 counts where nothing passed.
    pub mean: Vec<f64>,
    /// Its 10th percentile: nine searches in ten are better.
    pub p10: Vec<f64>,
    /// Mean after each evaluation, from the first.
    pub curve: Vec<f64>,
}

/// Searches every space with every seed.
///
/// `done` hears of every search that ends: how many have, and of how many.
pub fn measure_recorded(
    spaces: &[RecordedSpace],
    options: &RecordedOptions,
    done: &(dyn Fn(usize, usize) + Sync),
) -> Result<RecordedReport, BenchError> {
    let mut budgets = options.budgets.clone();
    budgets.sort_unstable();
    budgets.dedup();
    let illegal = |name, value: String, legal| Err(BenchError::Option { name, value, legal });
    let Some(&longest) = budgets.last() else {
        return illegal("budgets", "empty".to_owned(), "name at least one number of evaluations");
    };
    if budgets[0] == 0 {
        return illegal("budgets", "0".to_owned(), "a search has at least one evaluation");
    }
    if options.seeds == 0 {
        return illegal("seeds", "0".to_owned(), "at least one search is needed");
    }
    let optimizers: Vec<Optimizer> =
        spaces.iter().map(|known| Optimizer::new(known.space.clone(), options.optimizer.clone())).collect();
    let searches = spaces.len() * options.seeds as usize;
    let search = |at: usize| {
        let (place, seed) = (at % spaces.len(), (at / spaces.len()) as u64);
        search(&spaces[place], &optimizers[place], seed, longest)
    };
    let curves = in_parallel(searches, options.threads, search, &|ended| done(ended, searches));
    let rows: Vec<SpaceRow> = spaces
        .iter()
        .enumerate()
        .map(|(place, known)| {
            let own: Vec<&[f64]> =
                curves.iter().skip(place).step_by(spaces.len()).map(Vec::as_slice).collect();
            row(known, &own, &budgets)
        })
        .collect();
    let mean = |at: usize| {
        let logarithms = rows.iter().map(|row| row.mean[at].ln());
        (logarithms.sum::<f64>() / rows.len().max(1) as f64).exp()
    };
    let geometric_mean = (0..budgets.len()).map(mean).collect();
    Ok(RecordedReport { budgets, seeds: options.seeds, spaces: rows, geometric_mean })
}

/// One search: optimum/best after each evaluation.
fn search(known: &RecordedSpace, optimizer: &Optimizer, seed: u64, evaluations: u64) -> Vec<f64> {
    let mut history: Vec<Observation> = Vec::new();
    let mut taken: HashSet<Point> = HashSet::new();
    let fixed = vec![None; known.space.dimensions().len()];
    let mut best = f64::INFINITY;
    let mut curve = Vec::new();
    for ordinal in 0..evaluations {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        random.set_stream(ordinal);
        let request = Request { history: &history, taken: &taken, fixed: &fixed, first: None };
        let Some(suggestion) = optimizer.suggest(&request, &mut random) else { break };
        let time = known.times.get(&suggestion.point).copied().flatten();
        best = best.min(time.unwrap_or(f64::INFINITY));
        curve.push(known.optimum / best);
        taken.insert(suggestion.point.clone());
        // The proposer's value is the logarithm of a speed ratio; a constant factor makes no difference.
        history.push(Observation { point: suggestion.point, value: time.map(|time| -time.ln()) });
    }
    curve
}

fn row(known: &RecordedSpace, curves: &[&[f64]], budgets: &[u64]) -> SpaceRow {
    let longest = budgets.last().copied().unwrap_or(0) as usize;
    // A space smaller than the budget is searched to its end.
    let at = |curve: &[f64], evaluations: usize| {
        curve.get(evaluations - 1).or(curve.last()).copied().unwrap_or(0.0)
    };
    let values =
        |evaluations: usize| -> Vec<f64> { curves.iter().map(|curve| at(curve, evaluations)).collect() };
    let mean = |evaluations: usize| values(evaluations).iter().sum::<f64>() / curves.len().max(1) as f64;
    let p10 = |evaluations: usize| kernsmith_stats::quantile(&values(evaluations), 0.1);
    SpaceRow {
        space: known.name.clone(),
        configurations: known.times.len(),
        failing: known.failing(),
        mean: budgets.iter().map(|&budget| mean(budget as usize)).collect(),
        p10: budgets.iter().map(|&budget| p10(budget as usize)).collect(),
        curve: (1..=longest).map(mean).collect(),
    }
}
