//! Integers that are positions in another tensor, each computed from its index alone.

use crate::sample::hash;

/// Row boundaries of one packed tensor.
pub(crate) struct Offsets {
    /// Index of the last boundary.
    pub(crate) last: u64,
    /// The last boundary.
    pub(crate) limit: u64,
    pub(crate) jitter: f64,
    pub(crate) skew: f64,
    pub(crate) empty_every: u64,
}

impl Offsets {
    /// The boundary before row `index`; `chance` draws from 0..1 by index.
    pub(crate) fn at(&self, index: u64, chance: impl Fn(u64) -> f64) -> f64 {
        let empties = self.empty_every > 0 && (1..self.last).contains(&index);
        let closes_an_empty_row = empties && (index - 1).is_multiple_of(self.empty_every);
        self.boundary(if closes_an_empty_row { index - 1 } else { index }, chance)
    }

    /// Boundaries lie one step apart, moved by less than half a step each, so that they never change places.
    fn boundary(&self, index: u64, chance: impl Fn(u64) -> f64) -> f64 {
        if index == 0 || index >= self.last {
            return if index == 0 { 0.0 } else { self.limit as f64 };
        }
        let place = index as f64 + self.jitter * (chance(index) - 0.5);
        // Without skew the power is exactly 1, and whole boundaries stay whole.
        let share = self.limit as f64 * place / self.last as f64;
        (share * (place / self.last as f64).powf(self.skew - 1.0)).floor()
    }
}

/// Element `index` of a permutation of the numbers below `count`: a Feistel network over the next even number of bits,
/// entered again until the number is below `count`.
///
/// Source: Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002.
pub(crate) fn permuted(key: u64, index: u64, count: u64) -> u64 {
    const ROUNDS: u64 = 4;
    if count < 2 {
        return 0;
    }
    let half_bits = (u64::BITS - (count - 1).leading_zeros()).div_ceil(2);
    let mask = (1 << half_bits) - 1;
    let mut number = index % count;
    loop {
        let (mut left, mut right) = (number >> half_bits, number & mask);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ hash(key ^ (round << 56), right) & mask);
        }
        number = left << half_bits | right;
        if number < count {
            return number;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{DType, Distribution, fill};

    fn integers(distribution: Distribution, seed: u64, elements: usize) -> Vec<i32> {
        let mut bytes = vec![0_u8; 4 * elements];
        fill(DType::I32, &distribution, seed, elements, &mut bytes);
        bytes.as_chunks::<4>().0.iter().map(|word| i32::from_le_bytes(*word)).collect()
    }

    proptest! {
        #[test]
        fn offsets_run_from_zero_to_the_limit_and_never_back(
            seed in any::<u64>(), rows in 1_usize..300, limit in 0_u64..100_000,
            jitter in 0.0..=1.0_f64, skew in 0.5..6.0_f64, every in prop::sample::select(vec![0_u64, 2, 3, 7])
        ) {
            let drawn = Distribution::Offsets { limit, jitter, skew, empty_every: every };
            let offsets = integers(drawn, seed, rows + 1);
            prop_assert_eq!((offsets[0], offsets[rows]), (0, limit as i32));
            prop_assert!(offsets.windows(2).all(|pair| pair[0] <= pair[1]), "{:?}", offsets);
            if every > 0 {
                let empty = (0..rows - 1).step_by(every as usize);
                prop_assert!(empty.into_iter().all(|row| offsets[row] == offsets[row + 1]), "{:?}", offsets);
            }
        }

        #[test]
        fn a_permutation_has_every_number_once(seed in any::<u64>(), count in 1_usize..3000) {
            let mut numbers = integers(Distribution::Permutation { limit: count as u64 }, seed, count);
            numbers.sort_unstable();
            prop_assert!(numbers.iter().zip(0..).all(|(number, expected)| *number == expected));
        }
    }

    #[test]
    fn another_seed_is_another_order_and_no_order_is_the_natural_one() {
        let first = integers(Distribution::Permutation { limit: 1000 }, 1, 1000);
        let second = integers(Distribution::Permutation { limit: 1000 }, 2, 1000);
        let same = |other: &[i32]| first.iter().zip(other).filter(|(a, b)| a == b).count();
        let natural: Vec<i32> = (0..1000).collect();
        assert!(same(&second) < 20 && same(&natural) < 20, "{} {}", same(&second), same(&natural));
    }

    #[test]
    fn without_jitter_all_rows_are_alike_and_with_it_they_depend_on_the_seed() {
        let even = Distribution::Offsets { limit: 400, jitter: 0.0, skew: 1.0, empty_every: 0 };
        assert!(integers(even, 1, 101).windows(2).all(|pair| pair[1] - pair[0] == 4));
        assert!(even.is_fixed());
        let ragged = Distribution::Offsets { limit: 400, jitter: 1.0, skew: 1.0, empty_every: 0 };
        assert_ne!(integers(ragged, 1, 101), integers(ragged, 2, 101));
        let lengths: Vec<i32> = integers(ragged, 1, 101).windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(lengths.iter().any(|length| *length <= 1) && lengths.iter().any(|length| *length >= 6));
    }
}
