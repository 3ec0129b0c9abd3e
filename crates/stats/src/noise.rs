//! The noise floor: how large a ratio between two identical binaries can look on this machine.

use crate::StatsError;
use crate::bootstrap::RatioInterval;
use crate::describe::quantile;

/// The ratio that 95 % of A/A measurements stay below, whichever side was called the baseline; at least 1.
///
/// Each element of `aa_ratios` is the result of one whole A/A measurement (not one pair of samples). With fewer than
/// twenty of them this is the largest one seen.
pub fn noise_floor(aa_ratios: &[f64]) -> Result<f64, StatsError> {
    if aa_ratios.is_empty() {
        return Err(StatsError::Empty);
    }
    if let Some(index) = aa_ratios.iter().position(|ratio| !(ratio.is_finite() && *ratio > 0.0)) {
        return Err(StatsError::NotPositive { index, value: aa_ratios[index] });
    }
    let distances: Vec<f64> = aa_ratios.iter().map(|ratio| ratio.ln().abs()).collect();
    let level = if distances.len() < 20 { 1.0 } else { 0.95 };
    Ok(quantile(&distances, level).exp())
}

/// The noise floor out of a single A/A measurement: the end of its interval that is further from 1.
pub fn noise_floor_of_interval(aa: &RatioInterval) -> f64 {
    aa.high.ln().abs().max(aa.low.ln().abs()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_side_of_the_deviation_does_not_matter() {
        let floor = noise_floor(&[0.98, 1.01, 1.0]).unwrap();
        assert!((floor - 1.0 / 0.98).abs() < 1e-12);
        assert!((noise_floor(&[1.0; 30]).unwrap() - 1.0).abs() < 1e-12);
        assert!(noise_floor(&[]).is_err() && noise_floor(&[1.0, -1.0]).is_err());
    }

    #[test]
    fn one_freak_among_many_does_not_raise_the_floor() {
        let mut ratios = vec![1.01; 60];
        ratios[7] = 2.0;
        assert!(noise_floor(&ratios).unwrap() < 1.02);
    }

    #[test]
    fn an_interval_gives_its_further_end() {
        let interval = RatioInterval { ratio: 1.0, low: 0.95, high: 1.02 };
        assert!((noise_floor_of_interval(&interval) - 1.0 / 0.95).abs() < 1e-12);
    }
}
