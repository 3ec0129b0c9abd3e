//! Paired differences: their mean, its interval, and a permutation test.
//!
//! Sources: Fisher, "The Design of Experiments", Oliver and Boyd, 1935, section 21 (the test by exchange within pairs); Efron and
//! Tibshirani, "An Introduction to the Bootstrap", Chapman and Hall, 1993, chapter 13 (percentile interval).

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::StatsError;
use crate::describe::quantile_of_sorted;

/// What pairs of measurements say about a difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedDifference {
    /// Mean difference.
    pub mean: f64,
    /// Lower end of its 95 % bootstrap interval over pairs.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// Two-sided probability of a mean at least this far from 0 if each pair's two sides could as well be exchanged.
    pub p_value: f64,
}

/// The mean of paired differences with its interval and the test by exchange within pairs, both by `draws` random draws.
///
/// # Errors
///
/// No differences, or one that is no number.
pub fn paired_difference(differences: &[f64], draws: u32, seed: u64) -> Result<PairedDifference, StatsError> {
    if differences.is_empty() {
        return Err(StatsError::Empty);
    }
    if let Some(index) = differences.iter().position(|difference| !difference.is_finite()) {
        return Err(StatsError::NotPositive { index, value: differences[index] });
    }
    let count = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / count;
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    // Sums of the same numbers in another order may differ in the last bit, and are as far from 0 all the same.
    let far = mean.abs() * (1.0 - 1e-12);
    let flipped = |random: &mut ChaCha12Rng| {
        let sum: f64 = differences.iter().map(|d| if random.random_bool(0.5) { *d } else { -d }).sum();
        (sum / count).abs() >= far
    };
    let extreme = (0..draws).filter(|_| flipped(&mut random)).count();
    let mut means: Vec<f64> = (0..draws.max(1))
        .map(|_| {
            let resample = differences.iter().map(|_| differences[random.random_range(0..differences.len())]);
            resample.sum::<f64>() / count
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    Ok(PairedDifference {
        mean,
        low: quantile_of_sorted(&means, 0.025).min(mean),
        high: quantile_of_sorted(&means, 0.975).max(mean),
        p_value: (1.0 + extreme as f64) / (1.0 + f64::from(draws)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pairs_have_the_exact_probability() {
        // All eight of one sign: 2 of 256 exchanges are as far out.
        let test = paired_difference(&[1.0, 2.0, 1.5, 0.5, 3.0, 1.0, 2.5, 0.7], 40_000, 1).unwrap();
        assert!((test.p_value - 2.0 / 256.0).abs() < 0.002, "{test:?}");
        assert!(test.low > 0.0 && test.low < test.mean && test.mean < test.high, "{test:?}");
    }

    #[test]
    fn no_difference_is_none() {
        let test = paired_difference(&[0.0; 20], 500, 1).unwrap();
        assert!((test.p_value - 1.0).abs() < 1e-12 && test.mean.abs() < 1e-12);
        assert_eq!(paired_difference(&[], 500, 1), Err(StatsError::Empty));
        assert!(paired_difference(&[f64::NAN], 500, 1).is_err());
    }

    #[test]
    fn one_in_twenty_exchangeable_samples_is_called_different() {
        let mut random = ChaCha12Rng::seed_from_u64(5);
        let trials = 600;
        let called = (0..trials)
            .filter(|trial| {
                let sample: Vec<f64> = (0..30).map(|_| random.random::<f64>() - 0.5).collect();
                paired_difference(&sample, 400, *trial).unwrap().p_value < 0.05
            })
            .count();
        assert!((12..55).contains(&called), "{called} of {trials}");
    }
}
