//! One ratio out of several workloads.

use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use crate::StatsError;
use crate::bootstrap::{LogRatio, RatioInterval, Scratch, check_level, interval};

/// The samples of one workload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Workload<'a> {
    /// Its weight; above 0.
    pub weight: f64,
    /// Baseline times.
    pub baseline: &'a [f64],
    /// Candidate times.
    pub candidate: &'a [f64],
    /// Whether sample `i` of both was measured side by side.
    pub paired: bool,
}

/// The weighted geometric mean of positive values; NaN where there are none.
///
/// Only the geometric mean of ratios does not depend on which side is called the baseline. Source: Fleming and Wallace,
/// "How not to lie with statistics: the correct way to summarize benchmark results", CACM 29, 1986.
pub fn weighted_geometric_mean(values: impl IntoIterator<Item = (f64, f64)>) -> f64 {
    let (weights, sum) = values
        .into_iter()
        .fold((0.0, 0.0), |(weights, sum), (weight, value)| (weights + weight, sum + weight * value.ln()));
    (sum / weights).exp()
}

/// The weighted geometric mean of the workloads' ratios, with its interval.
///
/// Each resample draws every workload anew and takes the mean of the results, so the interval knows that errors of
/// different workloads partly cancel; it is narrower than a mean of the single intervals.
pub fn combine_workloads(
    workloads: &[Workload<'_>],
    level: f64,
    resamples: usize,
    seed: u64,
) -> Result<RatioInterval, StatsError> {
    check_level(level, resamples)?;
    if workloads.is_empty() {
        return Err(StatsError::Empty);
    }
    if let Some(bad) =
        workloads.iter().find(|workload| !(workload.weight.is_finite() && workload.weight > 0.0))
    {
        return Err(StatsError::Argument { name: "weight", value: bad.weight, legal: "a number above 0" });
    }
    let total: f64 = workloads.iter().map(|workload| workload.weight).sum();
    let shares: Vec<(f64, LogRatio)> = workloads
        .iter()
        .map(|w| Ok((w.weight / total, LogRatio::new(w.baseline, w.candidate, w.paired)?)))
        .collect::<Result<_, StatsError>>()?;
    let estimate = shares.iter().map(|(share, samples)| share * samples.estimate()).sum();
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let mut scratch = Scratch::default();
    let draws = (0..resamples)
        .map(|_| shares.iter().map(|(share, samples)| share * samples.resample(&mut rng, &mut scratch)).sum())
        .collect();
    Ok(interval(estimate, draws, level, None))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bootstrap_ratio_ci;

    #[test]
    fn weights_are_exponents() {
        let mean = weighted_geometric_mean([(1.0, 2.0), (3.0, 4.0)]);
        assert!((mean - (2.0f64 * 64.0).powf(0.25)).abs() < 1e-12);
        assert!(weighted_geometric_mean([]).is_nan());
    }

    #[test]
    fn one_workload_alone_is_its_own_interval() {
        let (a, b) = ([3.0, 3.1, 2.9, 3.3, 3.05], [1.0, 1.1, 0.9, 1.05, 1.2]);
        let alone = combine_workloads(
            &[Workload { weight: 2.0, baseline: &a, candidate: &b, paired: true }],
            0.95,
            500,
            9,
        );
        assert_eq!(alone, bootstrap_ratio_ci(&a, &b, true, 0.95, 500, 9));
        assert_eq!(combine_workloads(&[], 0.95, 500, 9), Err(StatsError::Empty));
    }

    proptest! {
        #[test]
        fn the_mean_lies_between_the_workloads(
            pairs in prop::collection::vec((1.0f64..3.0, 1.0f64..3.0), 4..30), weight in 0.1f64..10.0
        ) {
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
            let workload = |weight, baseline, candidate| Workload { weight, baseline, candidate, paired: true };
            let both = [workload(1.0, &a[..], &b[..]), workload(weight, &b[..], &a[..])];
            let single: Vec<f64> = both.iter().map(|w| combine_workloads(&[*w], 0.9, 50, 1).unwrap().ratio).collect();
            let joint = combine_workloads(&both, 0.9, 50, 1).unwrap();
            let (low, high) = (single[0].min(single[1]), single[0].max(single[1]));
            prop_assert!(joint.ratio >= low - 1e-9 && joint.ratio <= high + 1e-9);
            prop_assert!(joint.low <= joint.ratio && joint.ratio <= joint.high);
        }
    }
}
