//! Poison: what an output holds before a call, so that an element which the kernel never wrote is seen.
//!
//! The pattern is a function of a secret and the place, so a kernel can neither know it nor write it by accident. It is
//! laid down and looked for in words of eight bytes. A hit needs as many words in a row as make forty secret bits, so
//! that an honest kernel is never blamed; a single element that was not written is caught by its wrong value instead.

use crate::dtype::DType;
use crate::sample::{hash, key};

/// How many kinds of poison there are: 0 is quiet NaN with a secret payload, 1 is plausible finite garbage.
///
/// Integers have no NaN: 0 is any value and 1 is small whole numbers. Formats of eight bits and fewer are random
/// bits in both; a bool is always 0 or 1.
pub const POISON_VARIANTS: u32 = 2;
const SECRET_BITS_WANTED: u32 = 40;

/// Fills `bytes` with poison of a variant (taken modulo [`POISON_VARIANTS`]).
pub fn poison(dtype: DType, variant: u32, secret: u64, bytes: &mut [u8]) {
    let pattern = Pattern::new(dtype, variant, secret);
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for (place, word) in words.iter_mut().enumerate() {
        *word = pattern.word(place as u64).to_le_bytes();
    }
    let last = pattern.word(words.len() as u64).to_le_bytes();
    let length = tail.len();
    tail.copy_from_slice(&last[..length]);
}

/// The index of the first element that still holds the poison which [`poison`] laid down with the same arguments.
///
/// An unwritten stretch is reported when it holds whole words with forty secret bits together (one word for most types,
/// two for 16-bit types, five for bool); a tail of four to seven bytes counts by itself. Shorter stretches are left to
/// the comparison of values.
pub fn first_poison(dtype: DType, variant: u32, secret: u64, bytes: &[u8]) -> Option<u64> {
    let pattern = Pattern::new(dtype, variant, secret);
    let (words, tail) = bytes.as_chunks::<8>();
    let needed = SECRET_BITS_WANTED.div_ceil(pattern.secret_bits) as usize;
    let element = |place: usize| dtype.elements_in(place as u64 * 8);
    let mut run = 0;
    for (place, word) in words.iter().enumerate() {
        if u64::from_le_bytes(*word) != pattern.word(place as u64) {
            run = 0;
            continue;
        }
        run += 1;
        if run == needed {
            return Some(element(place + 1 - needed));
        }
    }
    let last = pattern.word(words.len() as u64).to_le_bytes();
    let enough = pattern.secret_bits * tail.len() as u32 / 8 >= SECRET_BITS_WANTED / 2;
    (enough && tail == &last[..tail.len()]).then(|| element(words.len()))
}

/// Bits that are the same in every word, and bits that are secret.
struct Pattern {
    key: u64,
    secret_mask: u64,
    fixed: u64,
    secret_bits: u32,
}

impl Pattern {
    fn new(dtype: DType, variant: u32, secret: u64) -> Self {
        let variant = variant % POISON_VARIANTS;
        let (secret_mask, fixed) = if variant == 0 { nan_masks(dtype) } else { plausible_masks(dtype) };
        Self {
            key: key(secret, 0x706f_6973 + u64::from(variant)),
            secret_mask,
            fixed,
            secret_bits: secret_mask.count_ones(),
        }
    }

    #[inline]
    fn word(&self, place: u64) -> u64 {
        hash(self.key, place) & self.secret_mask | self.fixed
    }
}

/// Secret bits and fixed bits of a word of quiet NaNs.
const fn nan_masks(dtype: DType) -> (u64, u64) {
    match dtype {
        DType::F64 => (0x8007_ffff_ffff_ffff, 0x7ff8_0000_0000_0000),
        DType::F32 => (0x803f_ffff_803f_ffff, 0x7fc0_0000_7fc0_0000),
        DType::F16 => (0x81ff_81ff_81ff_81ff, 0x7e00_7e00_7e00_7e00),
        DType::Bf16 => (0x803f_803f_803f_803f, 0x7fc0_7fc0_7fc0_7fc0),
        DType::Bool => (0x0101_0101_0101_0101, 0),
        _ => (u64::MAX, 0),
    }
}

/// Secret bits and fixed bits of a word of numbers that could be results: floats from 1/8 to 16, or small integers.
const fn plausible_masks(dtype: DType) -> (u64, u64) {
    match dtype {
        // The exponent field is 1023 - 3 + (0..=3): three free bits would leave the range, two do not.
        DType::F64 => (0x803f_ffff_ffff_ffff, 0x3fc0_0000_0000_0000),
        DType::F32 => (0x81ff_ffff_81ff_ffff, 0x3e00_0000_3e00_0000),
        DType::F16 => (0x8fff_8fff_8fff_8fff, 0x3000_3000_3000_3000),
        DType::Bf16 => (0x81ff_81ff_81ff_81ff, 0x3e00_3e00_3e00_3e00),
        DType::I64 => (0x0000_0000_ffff_ffff, 0),
        DType::I32 => (0x0000_ffff_0000_ffff, 0),
        DType::I16 => (0x00ff_00ff_00ff_00ff, 0),
        DType::Bool => (0x0101_0101_0101_0101, 0),
        _ => (u64::MAX, 0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_garbage_is_finite_and_plausible_and_the_nan_is_nan() {
        for dtype in [DType::F64, DType::F32, DType::F16, DType::Bf16] {
            for variant in 0..POISON_VARIANTS {
                let mut bytes = vec![0u8; 800];
                poison(dtype, variant, 5, &mut bytes);
                let mut values = vec![0.0; dtype.elements_in(800) as usize];
                dtype.decode(&bytes, &mut values);
                let as_wanted = |value: &f64| match variant {
                    0 => value.is_nan(),
                    _ => (0.1..20.0).contains(&value.abs()),
                };
                assert!(values.iter().all(as_wanted), "{dtype} {variant} {values:?}");
            }
        }
    }

    #[test]
    fn another_secret_is_another_pattern() {
        let mut bytes = vec![0u8; 4096];
        poison(DType::F32, 1, 1, &mut bytes);
        assert_eq!(first_poison(DType::F32, 1, 2, &bytes), None);
        assert_eq!(first_poison(DType::F32, 0, 1, &bytes), None);
        assert_eq!(first_poison(DType::F32, 1, 1, &bytes), Some(0));
    }

    #[test]
    fn constant_and_zero_outputs_are_not_poison() {
        for dtype in DType::ALL {
            for variant in 0..POISON_VARIANTS {
                for fill in [0u8, 1, 0x7f, 0xff] {
                    for length in [1, 3, 5, 7, 8, 15, 64, 1000] {
                        let bytes = vec![fill; length];
                        assert_eq!(
                            first_poison(dtype, variant, 9, &bytes),
                            None,
                            "{dtype} {variant} {fill} {length}"
                        );
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_stretch_that_was_not_written_is_found(
            secret in any::<u64>(), start in 0usize..40, which in 0usize..14, variant in 0u32..POISON_VARIANTS
        ) {
            let dtype = DType::ALL[which];
            let mut bytes = vec![0u8; 1024];
            poison(dtype, variant, secret, &mut bytes);
            bytes[..start * 8].fill(0x2a);
            prop_assert_eq!(first_poison(dtype, variant, secret, &bytes), Some(dtype.elements_in(start as u64 * 8)));
            let end = bytes.len() - 64;
            bytes[..end].fill(0x2a);
            let found = first_poison(dtype, variant, secret, &bytes);
            prop_assert_eq!(found, Some(dtype.elements_in(end as u64)));
            bytes.fill(0x2a);
            prop_assert_eq!(first_poison(dtype, variant, secret, &bytes), None);
        }
    }
}
