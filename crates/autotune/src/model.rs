//! What points look like to the model, and how much improvement it expects.

use crate::space::{Space, Values};

/// Turns points into rows of numbers within 0..=1.
#[derive(Debug, Clone)]
pub(crate) struct Features {
    /// Coordinates of each value of a dimension with a choice; a dimension may have more than one.
    singles: Vec<(usize, Vec<f64>)>,
    /// Words of categorical dimensions with more than two of them: place and word.
    words: Vec<(usize, u16)>,
    /// Pairs of sizes whose product may matter (threads in a block, bytes of a tile): places and shares of the range.
    pairs: Vec<Pair>,
}

#[derive(Debug, Clone)]
struct Pair {
    places: (usize, usize),
    /// Scaled logarithms of the two sizes' values; their sum is within 0..=1.
    parts: (Vec<f64>, Vec<f64>),
}

impl Features {
    /// Coordinates are logarithms where all values are positive, as sizes and counts are.
    pub(crate) fn new(space: &Space) -> Self {
        let mut features = Self { singles: Vec::new(), words: Vec::new(), pairs: Vec::new() };
        let mut sizes: Vec<(usize, Vec<f64>)> = Vec::new();
        for (place, dimension) in space.dimensions().iter().enumerate() {
            match &dimension.values {
                _ if dimension.len() < 2 => {}
                Values::Categorical(2) => features.singles.push((place, vec![0.0, 1.0])),
                Values::Categorical(count) => {
                    features.words.extend((0..*count as u16).map(|word| (place, word)));
                }
                Values::Ordered(values) if values.iter().all(|value| *value > 0.0) => {
                    let logarithms: Vec<f64> = values.iter().map(|value| value.log2()).collect();
                    features.singles.push((place, scaled(&logarithms, range(&logarithms))));
                    let twos = powers_of_two(values).filter(|twos| *twos != logarithms);
                    features.singles.extend(twos.map(|twos| (place, scaled(&twos, range(&twos)))));
                    if values.len() > 2 {
                        sizes.push((place, logarithms));
                    }
                }
                Values::Ordered(values) => features.singles.push((place, scaled(values, range(values)))),
            }
        }
        for (at, (one, a)) in sizes.iter().enumerate() {
            for (other, b) in &sizes[at + 1..] {
                let whole = range(a) + range(b);
                features
                    .pairs
                    .push(Pair { places: (*one, *other), parts: (scaled(a, whole), scaled(b, whole)) });
            }
        }
        features
    }

    /// One number a dimension (two where sizes are not all powers of two), one for each word of a longer categorical one, one
    /// for each pair of sizes.
    pub(crate) fn row(&self, point: &[u16]) -> Vec<f64> {
        let at = |place: usize| usize::from(point[place]);
        let singles = self.singles.iter().map(|(place, coordinates)| coordinates[at(*place)]);
        let words = self.words.iter().map(|(place, word)| f64::from(u8::from(point[*place] == *word)));
        let pairs =
            self.pairs.iter().map(|Pair { places, parts }| parts.0[at(places.0)] + parts.1[at(places.1)]);
        singles.chain(words).chain(pairs).collect()
    }
}

/// How often each value can be halved, where all are whole: what matters to lines, vectors and warps is not so much how large
/// a size is as whether they divide it.
fn powers_of_two(values: &[f64]) -> Option<Vec<f64>> {
    let whole = values.iter().all(|value| value.fract() == 0.0 && *value < u64::MAX as f64);
    whole.then(|| values.iter().map(|value| f64::from((*value as u64).trailing_zeros())).collect())
}

fn range(values: &[f64]) -> f64 {
    let low = values.iter().copied().fold(f64::MAX, f64::min);
    let high = values.iter().copied().fold(f64::MIN, f64::max);
    if high > low { high - low } else { 1.0 }
}

/// Distance from the smallest value, in units of `range`.
fn scaled(values: &[f64], range: f64) -> Vec<f64> {
    let low = values.iter().copied().fold(f64::MAX, f64::min);
    values.iter().map(|value| (value - low) / range).collect()
}

/// Expected improvement over `best` of a normal distribution (Jones, Schonlau and Welch, J. Global Optimization 13, 1998).
pub(crate) fn expected_improvement(mean: f64, deviation: f64, best: f64) -> f64 {
    if deviation <= 1e-12 {
        return (mean - best).max(0.0);
    }
    let z = (mean - best) / deviation;
    (mean - best) * cumulative(z) + deviation * density(z)
}

fn density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// Standard normal distribution function, error below 1e-7 (Abramowitz and Stegun, 26.2.17).
fn cumulative(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let polynomial = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let upper = density(z) * polynomial;
    if z >= 0.0 { 1.0 - upper } else { upper }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn improvement_grows_with_mean_and_with_doubt() {
        assert!(expected_improvement(1.0, 0.1, 0.9) > expected_improvement(0.8, 0.1, 0.9));
        assert!(expected_improvement(0.8, 0.5, 0.9) > expected_improvement(0.8, 0.1, 0.9));
        assert!((cumulative(1.96) - 0.975).abs() < 1e-4 && (cumulative(-1.96) - 0.025).abs() < 1e-4);
        assert!((expected_improvement(2.0, 0.0, 1.5) - 0.5).abs() < 1e-12);
    }
}
