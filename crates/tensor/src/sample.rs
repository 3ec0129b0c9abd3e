//! Seeded values: a counter-based hash, and every distribution as a function of (seed, index).

use std::sync::OnceLock;

use crate::distribution::Distribution;
use crate::minifloat::power_of_two;
use crate::structured::{Offsets, permuted};
use crate::student::{BINS, Student};

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of `SplitMix64`: a bijection of 64 bits in which every input bit moves every output bit.
///
/// Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, with the constants of
/// Stafford's variant 13.
#[inline]
pub(crate) const fn scramble(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// 64 random bits for a place in a stream.
#[inline]
pub(crate) const fn hash(key: u64, index: u64) -> u64 {
    scramble(key.wrapping_add(index.wrapping_mul(GOLDEN)))
}

/// The key of a seed's stream; streams of one seed, and streams of neighbouring seeds, are unrelated.
pub(crate) const fn key(seed: u64, stream: u64) -> u64 {
    scramble(scramble(seed ^ 0x6b65_726e_736d_6974).wrapping_add(stream.wrapping_mul(GOLDEN)))
}

/// Evenly spread over 0..1, the ends excluded.
#[inline]
fn unit(bits: u64) -> f64 {
    ((bits >> 11) as f64 + 0.5) * power_of_two(-53)
}

/// Draws the values of one tensor.
pub(crate) struct Sampler {
    distribution: Distribution,
    key: u64,
    second_key: u64,
    row_elements: u64,
    bins: &'static [(f64, f64); BINS],
    /// Made when the first value is drawn from it.
    student: OnceLock<Student>,
}

impl Sampler {
    pub(crate) fn new(distribution: &Distribution, seed: u64, row_elements: usize) -> Self {
        Self {
            distribution: *distribution,
            key: key(seed, 0),
            second_key: key(seed, 1),
            row_elements: row_elements.max(1) as u64,
            bins: normal_bins(),
            student: OnceLock::new(),
        }
    }

    /// Writes the values of elements `first`, `first + 1`, ….
    pub(crate) fn block(&self, first: u64, values: &mut [f64]) {
        match self.distribution {
            Distribution::Normal { mean, std } => each(first, values, |i| mean + std * self.normal(i)),
            Distribution::Uniform { low, high } => {
                each(first, values, |i| low + (high - low) * unit(hash(self.key, i)));
            }
            Distribution::Constant { value } => values.fill(value),
            Distribution::HeavyTail { scale, degrees } => {
                let law = self.student.get_or_init(|| Student::new(degrees));
                each(first, values, |i| {
                    let bits = hash(self.key, i);
                    scale * law.value((bits >> 54) as usize, unit(bits << 10))
                });
            }
            Distribution::Spikes { std, spike, every } => {
                each(first, values, |i| self.spiked(i, std, spike, every));
            }
            Distribution::ZeroRows { std, every } => each(first, values, |i| {
                if (i / self.row_elements).is_multiple_of(every) { 0.0 } else { std * self.normal(i) }
            }),
            Distribution::Alternating { magnitude } => each(first, values, |i| {
                if (i % self.row_elements).is_multiple_of(2) { magnitude } else { -magnitude }
            }),
            Distribution::Integers { low, high } => each(first, values, |i| self.integer(i, low, high)),
            Distribution::Binary => each(first, values, |i| (hash(self.key, i) >> 63) as f64),
            Distribution::Ramp { low, high } => {
                let steps = (self.row_elements - 1).max(1) as f64;
                each(first, values, |i| low + (high - low) * ((i % self.row_elements) as f64 / steps));
            }
            Distribution::Zipf { count, exponent } => {
                let law = Zipf::new(count, exponent);
                each(first, values, |i| law.number(hash(self.key, i)));
            }
            Distribution::LogUniform { low, high } => {
                let (low, high) = (low.ln(), high.ln());
                each(first, values, |i| (low + (high - low) * unit(hash(self.key, i))).exp());
            }
            Distribution::Offsets { limit, jitter, skew, empty_every } => {
                let offsets = Offsets { last: self.row_elements - 1, limit, jitter, skew, empty_every };
                each(first, values, |i| offsets.at(i % self.row_elements, |i| unit(hash(self.key, i))));
            }
            Distribution::Permutation { limit } => {
                each(first, values, |i| permuted(self.key, i, limit) as f64);
            }
        }
    }

    /// Ten bits choose a bin of equal probability, the rest a place in it; only the outermost two bins are curved.
    #[inline]
    fn normal(&self, index: u64) -> f64 {
        let bits = hash(self.key, index);
        let bin = (bits >> 54) as usize;
        let place = unit(bits << 10);
        if bin.wrapping_sub(1) >= BINS - 2 {
            return tail(bin, place);
        }
        let (start, width) = self.bins[bin];
        start + width * place
    }

    fn spiked(&self, index: u64, std: f64, spike: f64, every: u64) -> f64 {
        let bits = hash(self.second_key, index);
        if unit(bits) * every as f64 >= 1.0 {
            return std * self.normal(index);
        }
        if bits & 1 == 0 { spike } else { -spike }
    }

    /// A whole number by multiplication; the bias is at most the count divided by 2^64.
    fn integer(&self, index: u64, low: i64, high: i64) -> f64 {
        let count = (i128::from(high) - i128::from(low) + 1) as u128;
        let offset = (u128::from(hash(self.key, index)) * count) >> 64;
        (i128::from(low) + offset as i128) as f64
    }
}

#[inline]
fn each(first: u64, values: &mut [f64], value_of: impl Fn(u64) -> f64) {
    for (offset, value) in values.iter_mut().enumerate() {
        *value = value_of(first + offset as u64);
    }
}

/// Start and width of every bin of the Gaussian; the outermost two are never used.
fn normal_bins() -> &'static [(f64, f64); BINS] {
    static TABLE: OnceLock<[(f64, f64); BINS]> = OnceLock::new();
    TABLE.get_or_init(|| {
        std::array::from_fn(|bin| {
            let edge = |bin: usize| normal_quantile(bin.clamp(1, BINS - 1) as f64 / BINS as f64);
            (edge(bin), edge(bin + 1) - edge(bin))
        })
    })
}

#[cold]
#[inline(never)]
fn tail(bin: usize, place: f64) -> f64 {
    let probability = place / BINS as f64;
    if bin == 0 { normal_quantile(probability) } else { -normal_quantile(probability) }
}

/// The quantile function of the standard Gaussian, to about sixteen digits.
///
/// Source: Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution", Applied Statistics 37, 1988.
fn normal_quantile(probability: f64) -> f64 {
    let centred = probability - 0.5;
    if centred.abs() <= 0.425 {
        return centred * ratio(0.180_625 - centred * centred, &CENTRE.0, &CENTRE.1);
    }
    let radius = (-probability.min(1.0 - probability).ln()).sqrt();
    let magnitude = if radius <= 5.0 {
        ratio(radius - 1.6, &MIDDLE.0, &MIDDLE.1)
    } else {
        ratio(radius - 5.0, &FAR.0, &FAR.1)
    };
    magnitude.copysign(centred)
}

/// Two polynomials of degree seven, one over the other; coefficients from the constant term up.
fn ratio(x: f64, above: &[f64; 8], below: &[f64; 8]) -> f64 {
    let value = |coefficients: &[f64; 8]| coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c);
    value(above) / value(below)
}

type Rational = ([f64; 8], [f64; 8]);

#[rustfmt::skip]
const CENTRE: Rational = (
    [3.387_132_872_796_366_5e0, 1.331_416_678_917_843_8e2, 1.971_590_950_306_551_3e3, 1.373_169_376_550_946e4,
     4.592_195_393_154_987e4, 6.726_577_092_700_87e4, 3.343_057_558_358_813e4, 2.509_080_928_730_122_7e3],
    [1.0, 4.231_333_070_160_091e1, 6.871_870_074_920_579e2, 5.394_196_021_424_751e3,
     2.121_379_430_158_659_7e4, 3.930_789_580_009_271e4, 2.872_908_573_572_194_3e4, 5.226_495_278_852_854e3],
);
#[rustfmt::skip]
const MIDDLE: Rational = (
    [1.423_437_110_749_683_5e0, 4.630_337_846_156_546e0, 5.769_497_221_460_691e0, 3.647_848_324_763_204_5e0,
     1.270_458_252_452_368_4e0, 2.417_807_251_774_506e-1, 2.272_384_498_926_918_4e-2, 7.745_450_142_783_414e-4],
    [1.0, 2.053_191_626_637_759e0, 1.676_384_830_183_803_8e0, 6.897_673_349_851e-1,
     1.481_039_764_274_800_8e-1, 1.519_866_656_361_645_7e-2, 5.475_938_084_995_345e-4, 1.050_750_071_644_416_9e-9],
);
#[rustfmt::skip]
const FAR: Rational = (
    [6.657_904_643_501_103e0, 5.463_784_911_164_114e0, 1.784_826_539_917_291_3e0, 2.965_605_718_285_048_7e-1,
     2.653_218_952_657_612_4e-2, 1.242_660_947_388_078_4e-3, 2.711_555_568_743_487_6e-5, 2.010_334_399_292_288_1e-7],
    [1.0, 5.998_322_065_558_88e-1, 1.369_298_809_227_358e-1, 1.487_536_129_085_061_5e-2,
     7.868_691_311_456_133e-4, 1.846_318_317_510_054_8e-5, 1.421_511_758_316_446e-7, 2.044_263_103_389_939_8e-15],
);

/// Zipf's law by rejection-inversion.
///
/// Source: Hörmann and Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions",
/// ACM TOMACS 6, 1996.
struct Zipf {
    count: f64,
    exponent: f64,
    area_low: f64,
    area_high: f64,
    shortcut: f64,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Self {
        let mut law = Self { count: count as f64, exponent, area_low: 0.0, area_high: 0.0, shortcut: 0.0 };
        law.area_low = law.area(1.5) - 1.0;
        law.area_high = law.area(law.count + 0.5);
        law.shortcut = 2.0 - law.area_inverse(law.area(2.5) - law.weight(2.0));
        law
    }

    fn weight(&self, x: f64) -> f64 {
        x.powf(-self.exponent)
    }

    /// The integral of the weight from 1 to `x`.
    fn area(&self, x: f64) -> f64 {
        let power = 1.0 - self.exponent;
        if power.abs() < 1e-9 { x.ln() } else { (x.powf(power) - 1.0) / power }
    }

    fn area_inverse(&self, area: f64) -> f64 {
        let power = 1.0 - self.exponent;
        if power.abs() < 1e-9 { area.exp() } else { (1.0 + area * power).max(0.0).powf(1.0 / power) }
    }

    fn number(&self, mut bits: u64) -> f64 {
        loop {
            let area = self.area_high + unit(bits) * (self.area_low - self.area_high);
            let x = self.area_inverse(area);
            let candidate = x.round().clamp(1.0, self.count);
            let covered = area >= self.area(candidate + 0.5) - self.weight(candidate);
            if candidate - x <= self.shortcut || covered {
                return candidate - 1.0;
            }
            bits = hash(bits, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(distribution: Distribution, count: usize) -> Vec<f64> {
        let mut values = vec![0.0; count];
        Sampler::new(&distribution, 7, 100).block(0, &mut values);
        values
    }

    fn moments(values: &[f64]) -> (f64, f64) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
        (mean, variance.sqrt())
    }

    #[test]
    fn the_quantile_agrees_with_published_values() {
        for (probability, quantile) in
            [(0.975, 1.959_963_984_540_054), (1e-10, -6.361_340_902_404_056), (1e-20, -9.262_340_089_798_408)]
        {
            let found = normal_quantile(probability);
            assert!((found - quantile).abs() < 1e-13, "{probability}: {found}");
        }
    }

    #[test]
    fn the_gaussian_has_its_moments_and_its_tails() {
        let values = draw(Distribution::STANDARD, 1_000_000);
        let (mean, deviation) = moments(&values);
        assert!(mean.abs() < 0.005 && (deviation - 1.0).abs() < 0.005, "{mean} {deviation}");
        let beyond = |limit: f64| values.iter().filter(|value| value.abs() > limit).count();
        assert!((44_800..46_200).contains(&beyond(2.0)), "{}", beyond(2.0));
        assert!((2_500..2_900).contains(&beyond(3.0)), "{}", beyond(3.0));
        assert!((30..100).contains(&beyond(4.0)), "{}", beyond(4.0));
    }

    #[test]
    fn tails_are_heavy_where_they_should_be() {
        let values = draw(Distribution::HeavyTail { scale: 1.0, degrees: 3.0 }, 200_000);
        let beyond = values.iter().filter(|value| value.abs() > 3.182_446).count();
        assert!((9_500..10_500).contains(&beyond), "5 % of t(3) lie beyond 3.18, found {beyond}");
    }

    #[test]
    fn zipf_numbers_follow_the_law_and_stay_below_the_count() {
        for exponent in [0.0, 0.7, 1.0, 1.5] {
            let values = draw(Distribution::Zipf { count: 10, exponent }, 100_000);
            let total: f64 = (1..=10).map(|k| f64::from(k).powf(-exponent)).sum();
            for k in 0..10 {
                let found = values.iter().filter(|value| (**value - f64::from(k)).abs() < 0.5).count() as f64;
                let expected = 100_000.0 * f64::from(k + 1).powf(-exponent) / total;
                assert!(
                    (found - expected).abs() < 6.0 * expected.sqrt(),
                    "{exponent} {k}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn integers_reach_both_ends_and_spikes_are_rare() {
        let values = draw(Distribution::Integers { low: -2, high: 2 }, 10_000);
        for wanted in -2..=2 {
            assert!(values.iter().any(|value| (value - f64::from(wanted)).abs() < 1e-9));
        }
        let values = draw(Distribution::Spikes { std: 1.0, spike: 1e6, every: 100 }, 100_000);
        let spikes = values.iter().filter(|value| value.abs() > 1e5).count();
        assert!((850..1150).contains(&spikes), "{spikes}");
    }

    #[test]
    fn rows_are_zero_ramps_climb_and_signs_alternate() {
        let rows = draw(Distribution::ZeroRows { std: 1.0, every: 2 }, 300);
        assert!(rows[..100].iter().all(|value| value.abs() < 1e-300) && rows[100].abs() > 0.0);
        let ramp = draw(Distribution::Ramp { low: 1.0, high: 2.0 }, 200);
        assert!(
            (ramp[0] - 1.0).abs() < 1e-12
                && (ramp[99] - 2.0).abs() < 1e-12
                && (ramp[100] - 1.0).abs() < 1e-12
        );
        let signs = draw(Distribution::Alternating { magnitude: 3.0 }, 4);
        assert!((signs[0] - 3.0).abs() < 1e-12 && (signs[1] + 3.0).abs() < 1e-12);
        let log = draw(Distribution::LogUniform { low: 1e-3, high: 1e3 }, 1000);
        assert!(log.iter().all(|value| (1e-3..=1e3).contains(value)));
    }
}
