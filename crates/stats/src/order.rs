//! Intervals of a median that hold for few samples: order statistics.

use crate::StatsError;
use crate::bootstrap::RatioInterval;

/// The shortest symmetric interval between two order statistics that holds the median of `sorted` at `level`, and what it
/// really covers; with too few samples for the level it is the range of all of them, which covers less.
///
/// Between the (k+1)-th smallest and the (k+1)-th largest of n independent samples of any continuous distribution lies the
/// median with probability `1 - 2 P(B <= k)`, `B` binomial over n fair coins; the range of all of them, k = 0, covers
/// `1 - 2^(1-n)`. Source: Conover, "Practical Nonparametric Statistics", 3rd edition, section 3.2.
fn median_interval(sorted: &[f64], level: f64) -> (f64, f64, f64) {
    let count = sorted.len();
    let mut chance = 0.5_f64.powi(count as i32);
    let (mut left_out, mut below) = (0, chance);
    loop {
        let next = left_out + 1;
        chance *= (count - left_out) as f64 / next as f64;
        if 2 * next >= count || 1.0 - 2.0 * (below + chance) < level {
            break;
        }
        below += chance;
        left_out = next;
    }
    (sorted[left_out], sorted[count - 1 - left_out], 1.0 - 2.0 * below)
}

/// Pairs that an interval of `workloads` ratios takes at `level`, at least: so many that the ranges of all of them hold all
/// medians at once (Bonferroni).
pub fn pairs_needed(level: f64, workloads: usize) -> usize {
    let miss = (1.0 - level) / workloads.max(1) as f64;
    (2..64).find(|&count| 0.5_f64.powi(count - 1) <= miss).unwrap_or(64) as usize
}

/// The ratio of paired workloads, each with its weight and samples, whose interval holds at `level` however few pairs there
/// are, as long as [`pairs_needed`] were made: order statistics of each workload, at levels that add up (Bonferroni).
pub fn few_pairs_interval(
    workloads: &[(f64, &[f64], &[f64])],
    level: f64,
) -> Result<RatioInterval, StatsError> {
    let total: f64 = workloads.iter().map(|(weight, ..)| weight).sum();
    let each = 1.0 - (1.0 - level) / workloads.len().max(1) as f64;
    let (mut estimate, mut low, mut high) = (0.0, 0.0, 0.0);
    for (weight, baseline, candidate) in workloads {
        if baseline.is_empty() {
            return Err(StatsError::Empty);
        }
        if baseline.len() != candidate.len() {
            return Err(StatsError::Unpaired { baseline: baseline.len(), candidate: candidate.len() });
        }
        let mut ratios: Vec<f64> = baseline
            .iter()
            .zip(*candidate)
            .map(|(baseline, candidate)| (baseline / candidate).ln())
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let (least, most, _) = median_interval(&ratios, each);
        let share = weight / total;
        estimate += share * crate::describe::quantile_of_sorted(&ratios, 0.5);
        low += share * least;
        high += share * most;
    }
    Ok(RatioInterval { ratio: estimate.exp(), low: low.exp(), high: high.exp() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha12Rng;

    use super::*;

    #[test]
    fn coverage_is_the_binomials() {
        let samples: Vec<f64> = (1..=9).map(f64::from).collect();
        let (low, high, coverage) = median_interval(&samples, 0.95);
        assert!((low - 2.0).abs() < 1e-12 && (high - 8.0).abs() < 1e-12);
        assert!((coverage - (1.0 - 20.0 / 512.0)).abs() < 1e-12, "{coverage}");
        let (low, high, coverage) = median_interval(&samples[..2], 0.95);
        assert!((low - 1.0).abs() < 1e-12 && (high - 2.0).abs() < 1e-12 && (coverage - 0.5).abs() < 1e-12);
    }

    #[test]
    fn more_workloads_need_more_pairs() {
        assert_eq!([1, 2, 3, 4].map(|workloads| pairs_needed(0.95, workloads)), [6, 7, 7, 8]);
        for workloads in 1..9 {
            let miss = 0.5_f64.powi(pairs_needed(0.95, workloads) as i32 - 1);
            assert!(miss * workloads as f64 <= 0.05);
        }
    }

    #[test]
    fn as_few_pairs_as_are_allowed_cover_the_truth_as_often_as_they_say() {
        let mut rng = ChaCha12Rng::seed_from_u64(4);
        for workloads in [1, 2, 3] {
            let count = pairs_needed(0.95, workloads);
            let trials = 2000;
            let covered = (0..trials)
                .filter(|_| {
                    let samples: Vec<(Vec<f64>, Vec<f64>)> = (0..workloads)
                        .map(|_| {
                            // One-sided delays on both sides, as a timer sees them: the ratio's median stays 3.
                            let mut side = |centre: f64| -> Vec<f64> {
                                (0..count).map(|_| centre * (rng.random::<f64>().powi(3)).exp()).collect()
                            };
                            (side(30.0), side(10.0))
                        })
                        .collect();
                    let views: Vec<(f64, &[f64], &[f64])> = samples
                        .iter()
                        .map(|(baseline, candidate)| (1.0, &baseline[..], &candidate[..]))
                        .collect();
                    let found = few_pairs_interval(&views, 0.95).unwrap();
                    found.low <= 3.0 && 3.0 <= found.high
                })
                .count();
            assert!(covered * 100 >= trials * 95, "{workloads} workloads: {covered} of {trials}");
        }
    }

    proptest! {
        #[test]
        fn the_interval_holds_its_estimate(
            pairs in prop::collection::vec((0.5f64..5.0, 0.5f64..5.0), 1..60), level in 0.5f64..0.99
        ) {
            let (baseline, candidate): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let found = few_pairs_interval(&[(2.0, &baseline, &candidate)], level).unwrap();
            prop_assert!(found.low <= found.ratio * (1.0 + 1e-12) && found.ratio <= found.high * (1.0 + 1e-12));
        }
    }
}
