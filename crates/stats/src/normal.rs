//! The standard Gaussian's distribution function and its inverse.

use std::f64::consts::{PI, SQRT_2, TAU};

/// The probability of a value below `z`, to about fourteen digits.
pub(crate) fn cumulative(z: f64) -> f64 {
    complementary_error(-z / SQRT_2) / 2.0
}

/// The complementary error function.
///
/// Near zero the Maclaurin series of erf, further out Laplace's continued fraction. Source: Abramowitz and Stegun,
/// "Handbook of Mathematical Functions", 7.1.6 and 7.1.14.
fn complementary_error(x: f64) -> f64 {
    let magnitude = x.abs();
    let value = if magnitude < 2.5 { 1.0 - error_series(magnitude) } else { error_fraction(magnitude) };
    if x < 0.0 { 2.0 - value } else { value }
}

fn error_series(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    let mut n = 0.0;
    while term > sum * 1e-17 {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    sum * 2.0 / PI.sqrt() * (-x * x).exp()
}

fn error_fraction(x: f64) -> f64 {
    let fraction = (1..=60).rev().fold(x, |below, n| x + f64::from(n) / 2.0 / below);
    (-x * x).exp() / (fraction * PI.sqrt())
}

/// The value below which `probability` lies: Newton's method on [`cumulative`], from a bracket halved first.
pub(crate) fn quantile(probability: f64) -> f64 {
    if probability > 0.5 {
        return -quantile(1.0 - probability);
    }
    let (mut low, mut high) = (-38.0, 0.0);
    for _ in 0..12 {
        let middle = f64::midpoint(low, high);
        if cumulative(middle) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    let mut z = f64::midpoint(low, high);
    for _ in 0..6 {
        let density = (-z * z / 2.0).exp() / TAU.sqrt();
        if density > 0.0 {
            z -= (cumulative(z) - probability) / density;
        }
    }
    z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_functions_agree_with_published_values() {
        for (z, probability) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (-1.959_963_984_540_054, 0.025),
            (-6.0, 9.865_876_450_376_946e-10),
        ] {
            assert!((cumulative(z) / probability - 1.0).abs() < 1e-11, "{z}: {}", cumulative(z));
            assert!((quantile(probability) - z).abs() < 1e-9, "{probability}: {}", quantile(probability));
        }
    }
}
