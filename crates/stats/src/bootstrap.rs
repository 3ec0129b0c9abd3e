//! Bootstrap intervals of a ratio of medians.
//!
//! Sources: Efron and Tibshirani, "An Introduction to the Bootstrap", Chapman and Hall, 1993 (percentile interval,
//! chapter 13; `BCa`, chapter 14).

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::StatsError;
use crate::describe::quantile_of_sorted;
use crate::normal;

/// A ratio with its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatioInterval {
    /// Baseline time over candidate time; above 1 is faster.
    pub ratio: f64,
    /// Lower end of the interval; at most `ratio`.
    pub low: f64,
    /// Upper end of it; at least `ratio`.
    pub high: f64,
}

/// How an interval is read off the resamples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// The quantiles of the resampled estimates.
    #[default]
    Percentile,
    /// The same, corrected for bias and acceleration. The acceleration comes from the jackknife, which is rough for
    /// medians, so that this is for comparison with the percentile interval rather than for verdicts.
    Bca,
}

impl RatioInterval {
    /// Half the width of the interval on the logarithmic scale: about its relative half-width.
    pub fn half_width(&self) -> f64 {
        (self.high / self.low).ln() / 2.0
    }

    /// Whether the whole interval lies above `floor`, such as the A/A noise floor.
    pub fn clears(&self, floor: f64) -> bool {
        self.low > floor
    }
}

/// The interval of baseline over candidate at `level`, by the percentile method.
///
/// Paired: the median of the pairs' log ratios, pairs resampled together; this is the right one for interleaved
/// measurements, in which both sides of a pair saw the same weather. Not paired: the ratio of the two medians, both
/// lists resampled on their own.
pub fn bootstrap_ratio_ci(
    baseline: &[f64],
    candidate: &[f64],
    paired: bool,
    level: f64,
    resamples: usize,
    seed: u64,
) -> Result<RatioInterval, StatsError> {
    bootstrap_ratio_ci_with(Method::Percentile, baseline, candidate, paired, level, resamples, seed)
}

/// [`bootstrap_ratio_ci`] with a choice of method.
pub fn bootstrap_ratio_ci_with(
    method: Method,
    baseline: &[f64],
    candidate: &[f64],
    paired: bool,
    level: f64,
    resamples: usize,
    seed: u64,
) -> Result<RatioInterval, StatsError> {
    check_level(level, resamples)?;
    let samples = LogRatio::new(baseline, candidate, paired)?;
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let mut scratch = Scratch::default();
    let draws = (0..resamples).map(|_| samples.resample(&mut rng, &mut scratch)).collect();
    Ok(interval(samples.estimate(), draws, level, (method == Method::Bca).then(|| samples.jackknife())))
}

pub(crate) fn check_level(level: f64, resamples: usize) -> Result<(), StatsError> {
    if !(level > 0.0 && level < 1.0) {
        return Err(StatsError::Argument {
            name: "level",
            value: level,
            legal: "between 0 and 1, such as 0.95",
        });
    }
    if resamples == 0 {
        return Err(StatsError::Argument {
            name: "resamples",
            value: 0.0,
            legal: "at least 1, such as 2000",
        });
    }
    Ok(())
}

/// The interval around an estimate on the log scale; with jackknife values it is the `BCa` one.
pub(crate) fn interval(
    estimate: f64,
    mut draws: Vec<f64>,
    level: f64,
    jackknife: Option<Vec<f64>>,
) -> RatioInterval {
    draws.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    let (low, high) = match jackknife {
        None => (tail, 1.0 - tail),
        Some(values) => corrected_tails(estimate, &draws, &values, tail),
    };
    // With few resamples the quantiles may lie on one side of the estimate: an interval always holds its estimate.
    let low = quantile_of_sorted(&draws, low).min(estimate);
    let high = quantile_of_sorted(&draws, high).max(estimate);
    RatioInterval { ratio: estimate.exp(), low: low.exp(), high: high.exp() }
}

/// Efron and Tibshirani, equations 14.10 to 14.15.
fn corrected_tails(estimate: f64, draws: &[f64], jackknife: &[f64], tail: f64) -> (f64, f64) {
    let below = draws.iter().filter(|&&draw| draw < estimate).count() as f64;
    let equal = draws.iter().filter(|&&draw| draw <= estimate).count() as f64 - below;
    let count = draws.len() as f64;
    let bias = normal::quantile(((below + equal / 2.0) / count).clamp(0.5 / count, 1.0 - 0.5 / count));
    let mean = jackknife.iter().sum::<f64>() / jackknife.len() as f64;
    let (squares, cubes) = jackknife.iter().fold((0.0, 0.0), |(squares, cubes), value| {
        let distance = mean - value;
        (squares + distance * distance, cubes + distance * distance * distance)
    });
    let acceleration = if squares > 0.0 { cubes / (6.0 * f64::powf(squares, 1.5)) } else { 0.0 };
    let corrected = |probability: f64| {
        let shifted = bias + normal::quantile(probability);
        normal::cumulative(bias + shifted / (1.0 - acceleration * shifted))
    };
    (corrected(tail), corrected(1.0 - tail))
}

/// Samples of a log ratio, sorted so that the median of a resample needs no sorting.
pub(crate) enum LogRatio {
    /// The logarithms of the pairs' ratios.
    Paired(Vec<f64>),
    /// The logarithms of baseline and candidate times.
    Apart(Vec<f64>, Vec<f64>),
}

/// How often each sample was drawn.
#[derive(Default)]
pub(crate) struct Scratch(Vec<u32>);

impl LogRatio {
    pub(crate) fn new(baseline: &[f64], candidate: &[f64], paired: bool) -> Result<Self, StatsError> {
        let (baseline, candidate) = (logarithms(baseline)?, logarithms(candidate)?);
        if !paired {
            return Ok(Self::Apart(sorted(baseline), sorted(candidate)));
        }
        if baseline.len() != candidate.len() {
            return Err(StatsError::Unpaired { baseline: baseline.len(), candidate: candidate.len() });
        }
        Ok(Self::Paired(sorted(baseline.iter().zip(&candidate).map(|(b, c)| b - c).collect())))
    }

    pub(crate) fn estimate(&self) -> f64 {
        match self {
            Self::Paired(ratios) => quantile_of_sorted(ratios, 0.5),
            Self::Apart(baseline, candidate) => {
                quantile_of_sorted(baseline, 0.5) - quantile_of_sorted(candidate, 0.5)
            }
        }
    }

    pub(crate) fn resample(&self, rng: &mut ChaCha12Rng, scratch: &mut Scratch) -> f64 {
        match self {
            Self::Paired(ratios) => resampled_median(ratios, rng, scratch),
            Self::Apart(baseline, candidate) => {
                resampled_median(baseline, rng, scratch) - resampled_median(candidate, rng, scratch)
            }
        }
    }

    /// The estimates with each sample left out in turn.
    fn jackknife(&self) -> Vec<f64> {
        let without = |samples: &[f64], left_out: usize| {
            let mut rest = samples.to_vec();
            rest.remove(left_out);
            if rest.is_empty() { samples[left_out] } else { quantile_of_sorted(&rest, 0.5) }
        };
        let each =
            |samples: &[f64]| -> Vec<f64> { (0..samples.len()).map(|i| without(samples, i)).collect() };
        match self {
            Self::Paired(ratios) => each(ratios),
            Self::Apart(baseline, candidate) => {
                let (above, below) = (quantile_of_sorted(baseline, 0.5), quantile_of_sorted(candidate, 0.5));
                let left = each(baseline).into_iter().map(|value| value - below);
                left.chain(each(candidate).into_iter().map(|value| above - value)).collect()
            }
        }
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn logarithms(samples: &[f64]) -> Result<Vec<f64>, StatsError> {
    if samples.is_empty() {
        return Err(StatsError::Empty);
    }
    match samples.iter().position(|sample| !(sample.is_finite() && *sample > 0.0)) {
        Some(index) => Err(StatsError::NotPositive { index, value: samples[index] }),
        None => Ok(samples.iter().map(|sample| sample.ln()).collect()),
    }
}

/// The median of as many draws with replacement as there are samples: draws are counted by rank and the ranks walked
/// up to the middle, which costs a few hundred additions instead of a sort.
fn resampled_median(sorted: &[f64], rng: &mut ChaCha12Rng, scratch: &mut Scratch) -> f64 {
    let count = sorted.len();
    scratch.0.clear();
    scratch.0.resize(count, 0);
    for _ in 0..count {
        // A product of 32 random bits and the count: its bias, count / 2^32, is far below any interval's own error.
        let place = (u64::from(rng.random::<u32>()) * count as u64) >> 32;
        scratch.0[place as usize] += 1;
    }
    let upper_rank = (count / 2) as u32;
    let lower_rank = ((count - 1) / 2) as u32;
    let (mut seen, mut lower) = (0, None);
    for (place, &times) in scratch.0.iter().enumerate() {
        seen += times;
        if lower.is_none() && seen > lower_rank {
            lower = Some(sorted[place]);
        }
        if seen > upper_rank {
            return f64::midpoint(lower.unwrap_or(sorted[place]), sorted[place]);
        }
    }
    sorted[count - 1]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noisy(rng: &mut ChaCha12Rng, count: usize, centre: f64) -> Vec<f64> {
        // Sum of uniforms times an occasional one-sided delay: about what a timer sees.
        (0..count)
            .map(|_| {
                let bell: f64 = (0..4).map(|_| rng.random::<f64>() - 0.5).sum();
                let delay = if rng.random::<f64>() < 0.1 { rng.random::<f64>() } else { 0.0 };
                centre * (0.05 * bell + 0.2 * delay).exp()
            })
            .collect()
    }

    #[test]
    fn intervals_cover_the_truth_about_as_often_as_they_say() {
        let mut rng = ChaCha12Rng::seed_from_u64(11);
        for (paired, method, count) in [
            (true, Method::Percentile, 30),
            (true, Method::Percentile, 101),
            (false, Method::Percentile, 40),
            (true, Method::Bca, 60),
        ] {
            let trials = 600;
            let covered = (0..trials)
                .filter(|&trial| {
                    let (baseline, candidate) = (noisy(&mut rng, count, 30.0), noisy(&mut rng, count, 10.0));
                    let found =
                        bootstrap_ratio_ci_with(method, &baseline, &candidate, paired, 0.95, 400, trial);
                    let found = found.unwrap();
                    found.low <= 3.0 && 3.0 <= found.high
                })
                .count() as f64;
            let share = covered / f64::from(trials as u32);
            assert!((0.92..=0.985).contains(&share), "{paired} {method:?} {count}: {share}");
        }
    }

    #[test]
    fn bad_samples_are_named() {
        let run = |a: &[f64], b: &[f64]| bootstrap_ratio_ci(a, b, true, 0.95, 100, 1);
        assert_eq!(run(&[], &[]), Err(StatsError::Empty));
        assert_eq!(run(&[1.0], &[1.0, 2.0]), Err(StatsError::Unpaired { baseline: 1, candidate: 2 }));
        assert_eq!(run(&[1.0, 0.0], &[1.0, 2.0]), Err(StatsError::NotPositive { index: 1, value: 0.0 }));
        assert!(bootstrap_ratio_ci(&[1.0], &[1.0], true, 1.5, 100, 1).is_err());
    }

    #[test]
    fn one_seed_gives_one_interval() {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let (a, b) = (noisy(&mut rng, 50, 2.0), noisy(&mut rng, 50, 1.0));
        let run = |seed| bootstrap_ratio_ci(&a, &b, true, 0.95, 500, seed).unwrap();
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }

    proptest! {
        #[test]
        fn the_interval_holds_its_estimate_and_scales(
            pairs in prop::collection::vec((0.5f64..5.0, 0.5f64..5.0), 1..60), factor in 0.1f64..10.0, paired: bool
        ) {
            let (baseline, candidate): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
            let found = bootstrap_ratio_ci(&baseline, &candidate, paired, 0.95, 200, 5).unwrap();
            prop_assert!(found.low <= found.ratio && found.ratio <= found.high);
            let slower: Vec<f64> = baseline.iter().map(|sample| sample * factor).collect();
            let scaled = bootstrap_ratio_ci(&slower, &candidate, paired, 0.95, 200, 5).unwrap();
            for (a, b) in [(found.ratio, scaled.ratio), (found.low, scaled.low), (found.high, scaled.high)] {
                prop_assert!((a * factor / b - 1.0).abs() < 1e-9);
            }
        }

        #[test]
        fn the_order_of_pairs_does_not_matter(
            mut pairs in prop::collection::vec((0.5f64..5.0, 0.5f64..5.0), 1..40)
        ) {
            let run = |pairs: &[(f64, f64)]| {
                let (baseline, candidate): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
                bootstrap_ratio_ci(&baseline, &candidate, true, 0.95, 200, 5).unwrap()
            };
            let before = run(&pairs);
            pairs.reverse();
            prop_assert_eq!(run(&pairs), before);
        }
    }
}
