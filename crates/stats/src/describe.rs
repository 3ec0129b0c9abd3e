//! Medians, quantiles and outliers.

/// The median; NaN of an empty list.
pub fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// The quantile at `q` in 0..=1, linear between order statistics; NaN of an empty list.
///
/// Source: type 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", The American Statistician 50, 1996.
pub fn quantile(samples: &[f64], q: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    quantile_of_sorted(&sorted, q)
}

/// [`quantile`] of samples that are already in order.
pub(crate) fn quantile_of_sorted(sorted: &[f64], q: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let place = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let fraction = place - place.floor();
    if fraction <= 0.0 {
        return sorted[below];
    }
    sorted[below] + (sorted[above] - sorted[below]) * fraction
}

/// The median of the distances from the median (MAD), not scaled; NaN of an empty list.
pub fn median_absolute_deviation(samples: &[f64]) -> f64 {
    let centre = median(samples);
    let distances: Vec<f64> = samples.iter().map(|sample| (sample - centre).abs()).collect();
    median(&distances)
}

/// The places of samples whose modified z-score `0.6745 (x - median) / MAD` is beyond ±3.5, in order.
///
/// Where more than half of the samples are equal (MAD is 0), the mean absolute deviation takes its place, with the factor
/// 0.7979. Outliers are reported, never removed. Source: Iglewicz and Hoaglin, "How to Detect and Handle Outliers",
/// ASQC Quality Press, 1993.
pub fn mad_outliers(samples: &[f64]) -> Vec<usize> {
    let centre = median(samples);
    let deviation = median_absolute_deviation(samples);
    let per_unit = if deviation > 0.0 {
        0.6745 / deviation
    } else {
        let mean = samples.iter().map(|sample| (sample - centre).abs()).sum::<f64>() / samples.len() as f64;
        0.7979 / mean
    };
    let is_far = |sample: f64| ((sample - centre) * per_unit).abs() > 3.5;
    samples.iter().enumerate().filter(|&(_, &sample)| is_far(sample)).map(|(place, _)| place).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-12 * a.abs().max(b.abs()).max(1e-300)
    }

    #[test]
    fn quantiles_are_those_of_type_seven() {
        let samples = [4.0, 1.0, 3.0, 2.0];
        assert!(close(median(&samples), 2.5));
        assert!(close(quantile(&samples, 0.25), 1.75));
        assert!(close(quantile(&samples, 1.0), 4.0));
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_lone_spike_is_an_outlier_and_equal_samples_have_none() {
        let mut samples = vec![10.0, 10.1, 9.9, 10.2, 9.8, 10.05, 9.95];
        assert!(mad_outliers(&samples).is_empty());
        samples.push(12.0);
        assert_eq!(mad_outliers(&samples), [7]);
        assert!(mad_outliers(&[5.0; 10]).is_empty());
        let mut mostly_equal = vec![5.0; 20];
        mostly_equal[3] = 6.0;
        assert_eq!(mad_outliers(&mostly_equal), [3]);
    }

    proptest! {
        #[test]
        fn order_and_scale_do_not_matter(mut samples in prop::collection::vec(0.1f64..100.0, 1..60), factor in 0.01f64..100.0) {
            let before = median(&samples);
            let outliers = mad_outliers(&samples).len();
            samples.reverse();
            prop_assert!(close(median(&samples), before));
            prop_assert_eq!(mad_outliers(&samples).len(), outliers);
            let scaled: Vec<f64> = samples.iter().map(|sample| sample * factor).collect();
            prop_assert!(close(median(&scaled), before * factor));
        }

        #[test]
        fn quantiles_never_fall(samples in prop::collection::vec(-1e3f64..1e3, 1..60), a in 0.0f64..1.0, b in 0.0f64..1.0) {
            prop_assert!(quantile(&samples, a.min(b)) <= quantile(&samples, a.max(b)));
        }
    }
}
