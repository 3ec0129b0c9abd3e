//! The Mann–Whitney rank test.

use crate::StatsError;
use crate::normal;

/// Below this many samples altogether, and without ties, the test is exact.
const EXACT_UP_TO: usize = 40;

/// The outcome of a rank test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankTest {
    /// Pairs in which the first list's sample is the larger, ties counted half.
    pub u: f64,
    /// `u` over the number of pairs: the chance that a sample of the first list is larger than one of the second.
    pub superiority: f64,
    /// Two-sided probability of a `u` at least this far from the middle if both lists came from one distribution.
    pub p_value: f64,
}

/// Whether two lists of samples come from the same distribution.
///
/// Up to forty samples without ties the exact distribution of U is counted; otherwise the Gaussian approximation with
/// tie and continuity correction. Sources: Mann and Whitney, "On a Test of Whether one of Two Random Variables is
/// Stochastically Larger than the Other", Annals of Mathematical Statistics 18, 1947 (with the recurrence for the exact
/// counts); Hollander and Wolfe, "Nonparametric Statistical Methods", section 4.1 (ties).
pub fn mann_whitney(first: &[f64], second: &[f64]) -> Result<RankTest, StatsError> {
    if first.is_empty() || second.is_empty() {
        return Err(StatsError::Empty);
    }
    if let Some(index) = first.iter().chain(second).position(|sample| sample.is_nan()) {
        return Err(StatsError::NotPositive { index, value: f64::NAN });
    }
    let (rank_sum, ties) = rank_sum_of_first(first, second);
    let (n, m) = (first.len() as f64, second.len() as f64);
    let u = rank_sum - n * (n + 1.0) / 2.0;
    let p_value = if ties > 0.0 || first.len() + second.len() > EXACT_UP_TO {
        approximate(u, n, m, ties)
    } else {
        exact(u, first.len(), second.len())
    };
    Ok(RankTest { u, superiority: u / (n * m), p_value })
}

/// The first list's sum of mid-ranks, and the sum of `t^3 - t` over groups of `t` equal samples.
fn rank_sum_of_first(first: &[f64], second: &[f64]) -> (f64, f64) {
    let tagged = |samples: &[f64], is_first: bool| samples.iter().map(|&s| (s, is_first)).collect::<Vec<_>>();
    let mut all = tagged(first, true);
    all.extend(tagged(second, false));
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut sum, mut ties, mut start) = (0.0, 0.0, 0);
    for group in all.chunk_by(|a, b| a.0 >= b.0) {
        let size = group.len() as f64;
        let rank = start as f64 + f64::midpoint(1.0, size);
        sum += rank * group.iter().filter(|member| member.1).count() as f64;
        ties += size * size * size - size;
        start += group.len();
    }
    (sum, ties)
}

fn approximate(u: f64, n: f64, m: f64, ties: f64) -> f64 {
    let total = n + m;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let distance = ((u - n * m / 2.0).abs() - 0.5).max(0.0);
    (2.0 * normal::cumulative(-distance / variance.sqrt())).min(1.0)
}

/// Counts the arrangements of `n` and `m` samples by their U, one sample of the first list at a time.
fn exact(u: f64, n: usize, m: usize) -> f64 {
    // counts[j][k]: arrangements of the samples so far with j of the second list and U = k.
    let mut counts = vec![vec![0.0; n * m + 1]; m + 1];
    for row in &mut counts {
        row[0] = 1.0;
    }
    for _ in 0..n {
        // The largest sample is of the first list and beats all j, or of the second list and beats none.
        let previous = counts.clone();
        for j in 0..=m {
            for k in 0..=n * m {
                let largest_is_first = if k >= j { previous[j][k - j] } else { 0.0 };
                let largest_is_second = if j > 0 { counts[j - 1][k] } else { 0.0 };
                counts[j][k] = largest_is_first + largest_is_second;
            }
        }
    }
    let total: f64 = counts[m].iter().sum();
    let near_end = u.min((n * m) as f64 - u).round() as usize;
    let tail: f64 = counts[m][..=near_end].iter().sum();
    (2.0 * tail / total).min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha12Rng;

    use super::*;

    #[test]
    fn small_cases_are_exact() {
        // Three below three: one arrangement of twenty, two-sided 0.1.
        let test = mann_whitney(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]).unwrap();
        assert!((test.p_value - 0.1).abs() < 1e-12 && test.u.abs() < 1e-12);
        // U of 2 with 3 and 4 samples: 4 of 35 arrangements have U of at most 2.
        let test = mann_whitney(&[1.0, 2.0, 5.0], &[3.0, 4.0, 6.0, 7.0]).unwrap();
        assert!((test.p_value - 8.0 / 35.0).abs() < 1e-12, "{test:?}");
    }

    #[test]
    fn the_approximation_is_close_to_the_exact_value() {
        let exact_value = exact(120.0, 18, 20);
        let approximate_value = approximate(120.0, 18.0, 20.0, 0.0);
        assert!((exact_value - approximate_value).abs() < 0.003, "{exact_value} {approximate_value}");
    }

    #[test]
    fn equal_samples_tell_nothing() {
        let test = mann_whitney(&[2.0; 9], &[2.0; 9]).unwrap();
        assert!((test.p_value - 1.0).abs() < 1e-12 && (test.superiority - 0.5).abs() < 1e-12);
    }

    #[test]
    fn one_in_twenty_equal_distributions_is_called_different() {
        let mut rng = ChaCha12Rng::seed_from_u64(5);
        let mut draw = |count| -> Vec<f64> { (0..count).map(|_| rng.random::<f64>()).collect() };
        let trials = 2000;
        let called =
            (0..trials).filter(|_| mann_whitney(&draw(30), &draw(30)).unwrap().p_value < 0.05).count();
        assert!((60..140).contains(&called), "{called} of {trials}");
    }

    proptest! {
        #[test]
        fn exchanging_the_lists_changes_only_the_side(
            a in prop::collection::vec(0u8..20, 1..30), b in prop::collection::vec(0u8..20, 1..30)
        ) {
            let (a, b): (Vec<f64>, Vec<f64>) = (a.into_iter().map(f64::from).collect(), b.into_iter().map(f64::from).collect());
            let (one, other) = (mann_whitney(&a, &b).unwrap(), mann_whitney(&b, &a).unwrap());
            prop_assert!((one.p_value - other.p_value).abs() < 1e-12);
            prop_assert!((one.superiority + other.superiority - 1.0).abs() < 1e-12);
            prop_assert!((0.0..=1.0).contains(&one.p_value));
        }
    }
}
