//! Every policy on every terrain with every quality of scores: the regret that is left.

use kernsmith_planner::Policy;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde::Serialize;

use crate::error::BenchError;
use crate::landscape::{Landscape, ScoreQuality, Terrain};
use crate::simulate::Simulation;
use crate::threads::in_parallel;

/// Resamples of a bootstrap interval.
const RESAMPLES: usize = 2000;
/// Its level.
const LEVEL: f64 = 0.95;

/// How landscapes are searched.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticOptions {
    /// Landscapes of each terrain.
    pub seeds: u64,
    /// Evaluations in each search.
    pub evaluations: u64,
    /// The policies that are compared.
    pub policies: Vec<Policy>,
    /// Searches at the same time; the numbers do not depend on it.
    pub threads: usize,
}

/// What the policies left to be found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SyntheticReport {
    /// Evaluations in each search.
    pub evaluations: u64,
    /// Landscapes of each terrain.
    pub seeds: u64,
    /// One row a policy, quality and terrain; `terrain` is `all` for all of them together.
    pub rows: Vec<PolicyRow>,
}

/// What one policy left to be found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyRow {
    /// The policy.
    pub policy: String,
    /// Quality of the scores.
    pub scores: ScoreQuality,
    /// The terrain, or `all`.
    pub terrain: String,
    /// Mean regret at the end, `ln(optimum / true value of the best)`: 0.1 is about a tenth.
    pub regret: f64,
    /// Bootstrap interval of the mean over landscapes, 95 %.
    pub ci_low: f64,
    /// Its upper end.
    pub ci_high: f64,
    /// Regret over that of `random` on the same landscapes; `None` where `random` was not asked for.
    pub to_random: Option<f64>,
    /// Mean regret after each evaluation; for `all` only, to keep the answer small.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<f64>,
}

/// Searches all landscapes with all policies. Landscapes and the proposer's dice are the same for every policy.
///
/// `done` hears of every search that ends: how many have, and of how many.
pub fn measure_synthetic(
    options: &SyntheticOptions,
    done: &(dyn Fn(usize, usize) + Sync),
) -> Result<SyntheticReport, BenchError> {
    let illegal = |name, legal| Err(BenchError::Option { name, value: "0".to_owned(), legal });
    if options.seeds == 0 {
        return illegal("seeds", "at least one landscape is needed");
    }
    if options.evaluations == 0 {
        return illegal("evaluations", "a search has at least one evaluation");
    }
    let seeds = options.seeds as usize;
    let cases: Vec<(ScoreQuality, Policy)> = ScoreQuality::ALL
        .into_iter()
        .flat_map(|quality| options.policies.iter().map(move |&policy| (quality, policy)))
        .collect();
    let grounds = Terrain::ALL.len() * seeds;
    let count = cases.len() * grounds;
    let search = |at: usize| {
        let ((quality, policy), ground) = (cases[at / grounds], at % grounds);
        let (terrain, seed) = (Terrain::ALL[ground / seeds], (ground % seeds) as u64);
        let landscape = Landscape::new(terrain, quality, seed);
        Simulation::new(&landscape, policy, seed).run(options.evaluations)
    };
    let curves = in_parallel(count, options.threads, search, &|ended| done(ended, count));
    let mut rows = Vec::new();
    for (place, &(quality, policy)) in cases.iter().enumerate() {
        let own = &curves[place * grounds..(place + 1) * grounds];
        let random = cases.iter().position(|case| *case == (quality, Policy::Random));
        let random = random.map(|place| &curves[place * grounds..(place + 1) * grounds]);
        for (terrain, range) in grounds_by_terrain(seeds) {
            let row =
                |own: &[Vec<f64>], random: Option<&[Vec<f64>]>| row(policy, quality, terrain, own, random);
            rows.push(row(&own[range.clone()], random.map(|random| &random[range])));
        }
    }
    Ok(SyntheticReport { evaluations: options.evaluations, seeds: options.seeds, rows })
}

/// All grounds together, then each terrain's.
fn grounds_by_terrain(seeds: usize) -> Vec<(&'static str, std::ops::Range<usize>)> {
    let own = |(place, terrain): (usize, Terrain)| (terrain.as_str(), place * seeds..(place + 1) * seeds);
    let all = ("all", 0..Terrain::ALL.len() * seeds);
    std::iter::once(all).chain(Terrain::ALL.into_iter().enumerate().map(own)).collect()
}

fn row(
    policy: Policy,
    scores: ScoreQuality,
    terrain: &str,
    curves: &[Vec<f64>],
    random: Option<&[Vec<f64>]>,
) -> PolicyRow {
    let last = |curves: &[Vec<f64>]| -> Vec<f64> {
        curves.iter().filter_map(|curve| curve.last().copied()).collect()
    };
    let regrets = last(curves);
    let (ci_low, ci_high) = bootstrap_mean(&regrets);
    let length = if terrain == "all" { curves.first().map_or(0, Vec::len) } else { 0 };
    let at = |evaluation: usize| mean(&curves.iter().map(|curve| curve[evaluation]).collect::<Vec<_>>());
    PolicyRow {
        policy: policy.as_str().to_owned(),
        scores,
        terrain: terrain.to_owned(),
        regret: mean(&regrets),
        ci_low,
        ci_high,
        to_random: random.map(|random| mean(&regrets) / mean(&last(random))),
        curve: (0..length).map(at).collect(),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Percentile bootstrap of a mean, with a fixed seed (Efron, 1979).
fn bootstrap_mean(values: &[f64]) -> (f64, f64) {
    let mut random = ChaCha12Rng::seed_from_u64(0);
    let resample = |random: &mut ChaCha12Rng| {
        let drawn = (0..values.len()).map(|_| values[random.random_range(0..values.len())]);
        drawn.sum::<f64>() / values.len() as f64
    };
    let means: Vec<f64> = (0..RESAMPLES).map(|_| resample(&mut random)).collect();
    let tail = (1.0 - LEVEL) / 2.0;
    (kernsmith_stats::quantile(&means, tail), kernsmith_stats::quantile(&means, 1.0 - tail))
}
