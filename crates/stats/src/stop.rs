//! When to stop measuring.

use crate::describe::quantile_of_sorted;
use crate::normal;

/// Measures until the interval of the median is narrow enough.
///
/// The half-width is that of a distribution-free interval of the median, which costs a sort and no resampling, so the rule
/// can be asked after every pair. Looking again and again makes the final interval a little too narrow; the verdict
/// therefore comes from [`crate::bootstrap_ratio_ci`] over all samples, and only confirmation in a fresh process counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequentialStop {
    /// Wanted half-width of the 95 % interval of the log ratio: 0.01 is one per cent.
    pub target_half_width: f64,
    /// Never stop before.
    pub min_samples: usize,
    /// Never go on after.
    pub max_samples: usize,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Take another sample.
    Continue,
    /// The interval is narrow enough.
    Precise,
    /// It is not, but there are as many samples as allowed.
    Exhausted,
}

impl SequentialStop {
    /// What to do after the samples so far; `log_ratios` are the logarithms of the pairs' ratios, in any order.
    pub fn after(&self, log_ratios: &[f64]) -> Step {
        let enough = log_ratios.len() >= self.min_samples;
        if enough && median_half_width(log_ratios, 0.95) <= self.target_half_width {
            return Step::Precise;
        }
        if log_ratios.len() >= self.max_samples { Step::Exhausted } else { Step::Continue }
    }
}

/// Half the width of a distribution-free interval of the median at `level`; infinite below six samples.
///
/// The ends are the order statistics at `n/2 ± z √n/2`, interpolated. Source: Conover, "Practical Nonparametric
/// Statistics", 3rd edition, section 3.2.
pub fn median_half_width(samples: &[f64], level: f64) -> f64 {
    let count = samples.len() as f64;
    if samples.len() < 6 {
        return f64::INFINITY;
    }
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let reach = normal::quantile(f64::midpoint(1.0, level)) * count.sqrt() / 2.0;
    // Ranks count from 1, quantiles of type 7 stretch the ranks 1 to n over 0 to 1.
    let at = |rank: f64| quantile_of_sorted(&sorted, (rank - 1.0) / (count - 1.0));
    (at(count / 2.0 + reach + 1.0) - at(count / 2.0 - reach)) / 2.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha12Rng;

    use super::*;

    const RULE: SequentialStop = SequentialStop { target_half_width: 0.01, min_samples: 10, max_samples: 40 };

    #[test]
    fn quiet_samples_stop_early_and_noisy_ones_run_out() {
        assert_eq!(RULE.after(&[0.5; 9]), Step::Continue);
        assert_eq!(RULE.after(&[0.5; 10]), Step::Precise);
        let noisy: Vec<f64> = (0..40).map(|i| f64::from(i % 7)).collect();
        assert_eq!(RULE.after(&noisy[..39]), Step::Continue);
        assert_eq!(RULE.after(&noisy), Step::Exhausted);
        assert!(median_half_width(&[1.0; 5], 0.95).is_infinite());
    }

    #[test]
    fn the_cheap_interval_covers_the_median_too() {
        let mut rng = ChaCha12Rng::seed_from_u64(2);
        let trials = 2000;
        let covered = (0..trials)
            .filter(|_| {
                let samples: Vec<f64> = (0..30).map(|_| rng.random::<f64>()).collect();
                (crate::median(&samples) - 0.5).abs() <= median_half_width(&samples, 0.95)
            })
            .count();
        assert!(covered > trials * 92 / 100, "{covered} of {trials}");
    }

    proptest! {
        #[test]
        fn the_half_width_scales_and_ignores_shifts(
            samples in prop::collection::vec(-1.0f64..1.0, 6..80), factor in 0.1f64..10.0, shift in -5.0f64..5.0
        ) {
            let before = median_half_width(&samples, 0.95);
            let moved: Vec<f64> = samples.iter().map(|sample| sample * factor + shift).collect();
            prop_assert!((median_half_width(&moved, 0.95) - before * factor).abs() < 1e-9);
            prop_assert!(median_half_width(&samples, 0.99) >= before);
        }
    }
}
