//! Student's t as a table: quantiles joined by straight lines, and a Pareto tail on either side.

use std::f64::consts::FRAC_PI_2;

/// Bins of equal probability.
pub(crate) const BINS: usize = 1024;
/// Bins next to the tail, where the quantile bends and is integrated in smaller steps.
const BENT: usize = 16;

/// Quantiles of Student's t with the given degrees of freedom.
pub(crate) struct Student {
    /// Start and width of each bin; the outermost two are not used.
    bins: Box<[(f64, f64); BINS]>,
    /// The magnitude that is exceeded with a probability of 1/1024 on each side.
    edge: f64,
    degrees: f64,
}

impl Student {
    /// With `t = √ν tan θ` the density is in proportion to `cos^(ν-1) θ` on a finite interval, so the quantile is
    /// found by integrating `dθ/dp`, by Runge and Kutta's classical method, from the median outward.
    pub(crate) fn new(degrees: f64) -> Self {
        let density = |angle: f64| angle.cos().max(0.0).powf(degrees - 1.0);
        let mass = 2.0 * simpson(density, FRAC_PI_2);
        let slope = |angle: f64| mass / density(angle.min(FRAC_PI_2 - 1e-9));
        let mut bins = Box::new([(0.0, 0.0); BINS]);
        let (mut angle, mut start) = (0.0, 0.0);
        for bin in BINS / 2..BINS - 1 {
            let steps = if bin >= BINS - BENT { 8 } else { 1 };
            let step = 1.0 / (BINS * steps) as f64;
            for _ in 0..steps {
                let first = slope(angle);
                let second = slope(angle + first * step / 2.0);
                let third = slope(angle + second * step / 2.0);
                let fourth = slope(angle + third * step);
                angle += (first + 2.0 * (second + third) + fourth) * step / 6.0;
            }
            let end = degrees.sqrt() * angle.tan();
            bins[bin] = (start, end - start);
            bins[BINS - 1 - bin] = (-end, end - start);
            start = end;
        }
        Self { bins, edge: start, degrees }
    }

    /// The value at a place, between 0 and 1, in a bin.
    #[inline]
    pub(crate) fn value(&self, bin: usize, place: f64) -> f64 {
        if bin.wrapping_sub(1) >= BINS - 2 {
            let magnitude = self.edge * place.powf(-1.0 / self.degrees);
            return if bin == 0 { -magnitude } else { magnitude };
        }
        let (start, width) = self.bins[bin];
        start + width * place
    }
}

/// The integral from 0 to `end` by Simpson's rule.
fn simpson(function: impl Fn(f64) -> f64, end: f64) -> f64 {
    const INTERVALS: u32 = 256;
    let width = end / f64::from(INTERVALS);
    let inner: f64 =
        (1..INTERVALS).map(|place| f64::from(2 + 2 * (place % 2)) * function(f64::from(place) * width)).sum();
    (function(0.0) + inner + function(end)) * width / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_agree_with_published_ones() {
        // Probability 1023/1024 and 7/8 in closed form: ν = 1 is tan(π(p - 1/2)), ν = 2 is (2p - 1) / √(2p(1 - p)).
        let one = Student::new(1.0);
        let closed = |p: f64| (std::f64::consts::PI * (p - 0.5)).tan();
        assert!((one.edge / closed(1023.0 / 1024.0) - 1.0).abs() < 1e-3, "{}", one.edge);
        assert!((one.value(896, 0.0) - closed(0.875)).abs() < 1e-6);
        let two = Student::new(2.0);
        let closed = |p: f64| (2.0 * p - 1.0) / (2.0 * p * (1.0 - p)).sqrt();
        assert!((two.edge / closed(1023.0 / 1024.0) - 1.0).abs() < 1e-3, "{}", two.edge);
        assert!((two.value(896, 0.0) - closed(0.875)).abs() < 1e-6);
        // ν = 3: the table value for 97.5 %.
        let three = Student::new(3.0);
        assert!((three.value(998, 0.4) - 3.182_446).abs() < 2e-3, "{}", three.value(998, 0.4));
    }

    #[test]
    fn both_sides_are_mirror_images_and_nothing_is_infinite() {
        for degrees in [1.0, 2.5, 3.0, 30.0] {
            let student = Student::new(degrees);
            for bin in 0..BINS {
                let (here, there) = (student.value(bin, 0.25), student.value(BINS - 1 - bin, 0.75));
                let mirrored = bin == 0 || bin == BINS - 1 || (here + there).abs() < 1e-9;
                assert!(here.is_finite() && mirrored, "{degrees} {bin}: {here} {there}");
            }
        }
    }
}
