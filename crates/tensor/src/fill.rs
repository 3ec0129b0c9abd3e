//! Fills a tensor with seeded values.

use crate::distribution::Distribution;
use crate::dtype::DType;
use crate::sample::Sampler;

/// Elements drawn at a time; a multiple of two, so that half bytes stay together.
const BLOCK: usize = 512;

/// Fills `bytes` with the elements 0, 1, … of a tensor.
///
/// Element `i` depends only on the distribution, the seed, `row_elements` and `i`. `row_elements` is the length of one
/// row, for the distributions that know rows. The distribution must have passed [`Distribution::check`].
///
/// How values are drawn: 64 bits per element from the `SplitMix64` finaliser over a key of the seed plus a multiple of the
/// index. A Gaussian is the exact quantile at 1023 probabilities k/1024, joined by straight lines between 1/1024 and
/// 1023/1024 and exact beyond; it reaches about ±9 standard deviations, and its density is off by at most a few per cent
/// in the bins next to the tails. Student's t is made the same way, with Pareto tails `edge · u^(-1/ν)` in the outermost two
/// bins. Every value is then rounded to the element type (see [`DType::encode`]); an e8m0 takes the
/// magnitude. On machines with another mathematical library the last digit of `heavy_tail`, `zipf` and `log_uniform` may
/// differ. The bits are not cryptographic: whoever needs secret inputs must draw a secret seed, a new one each time.
pub fn fill(dtype: DType, distribution: &Distribution, seed: u64, row_elements: usize, bytes: &mut [u8]) {
    fill_from(dtype, distribution, seed, row_elements, 0, bytes);
}

/// Fills `bytes` with the elements `first`, `first + 1`, …, exactly as [`fill`] would in the whole tensor.
///
/// `first` must be even for f4e2m1, whose elements share bytes. Trailing bytes that hold no whole element are left alone.
pub fn fill_from(
    dtype: DType,
    distribution: &Distribution,
    seed: u64,
    row_elements: usize,
    first: u64,
    bytes: &mut [u8],
) {
    debug_assert!(dtype.bits() >= 8 || first.is_multiple_of(2), "two elements share a byte");
    let sampler = Sampler::new(distribution, seed, row_elements);
    let mut values = [0.0f64; BLOCK];
    let mut index = first;
    for block in bytes.chunks_mut(dtype.bytes_for(BLOCK as u64) as usize) {
        let count = dtype.elements_in(block.len() as u64) as usize;
        let values = &mut values[..count];
        sampler.block(index, values);
        if dtype == DType::E8M0 {
            for value in values.iter_mut() {
                *value = value.abs();
            }
        }
        dtype.encode(values, block);
        index += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DRAWN: [Distribution; 6] = [
        Distribution::STANDARD,
        Distribution::Uniform { low: -3.0, high: 5.0 },
        Distribution::HeavyTail { scale: 1.0, degrees: 3.0 },
        Distribution::Spikes { std: 1.0, spike: 100.0, every: 16 },
        Distribution::Integers { low: 0, high: 1 },
        Distribution::Zipf { count: 100, exponent: 1.1 },
    ];

    proptest! {
        #[test]
        fn a_slice_made_apart_is_the_slice_of_the_whole(
            seed in any::<u64>(), start in 0usize..700, length in 0usize..700, kind in 0usize..6, which in 0usize..14
        ) {
            let dtype = DType::ALL[which];
            let start = start & !1;
            let bytes = |elements: usize| dtype.bytes_for(elements as u64) as usize;
            let mut whole = vec![0u8; bytes(start + length)];
            fill(dtype, &DRAWN[kind], seed, 64, &mut whole);
            let mut slice = vec![0u8; whole.len() - bytes(start)];
            fill_from(dtype, &DRAWN[kind], seed, 64, start as u64, &mut slice);
            prop_assert_eq!(&whole[bytes(start)..], &slice[..]);
        }
    }

    #[test]
    fn neighbouring_seeds_have_nothing_in_common() {
        for distribution in DRAWN.iter().take(3) {
            let mut tensors = [[0u8; 4096]; 2];
            for (seed, bytes) in tensors.iter_mut().enumerate() {
                fill(DType::F32, distribution, seed as u64, 64, bytes);
            }
            let (a, b) = (tensors[0].as_chunks::<4>().0, tensors[1].as_chunks::<4>().0);
            assert_eq!(a.iter().zip(b).filter(|(a, b)| a == b).count(), 0);
            assert!(!a.windows(4).any(|window| window == &b[..4]), "one stream is a shift of the other");
        }
    }

    #[test]
    fn all_types_take_all_distributions() {
        for dtype in DType::ALL {
            for distribution in &DRAWN {
                let mut bytes = vec![0u8; 256];
                fill(dtype, distribution, 3, 16, &mut bytes);
                let mut values = vec![0.0; dtype.elements_in(256) as usize];
                dtype.decode(&bytes, &mut values);
                assert!(values.iter().all(|value| value.is_finite()), "{dtype} {distribution:?}");
            }
        }
    }
}
