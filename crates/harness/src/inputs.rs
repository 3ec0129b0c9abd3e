//! Inputs out of secret seeds.

use kernsmith_op_contract::{Case, Contract};
use kernsmith_tensor::{DType, Distribution, fill, fill_from};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use crate::layout::TensorLayout;

/// Bytes of one tensor that are drawn one by one; the rest of a larger tensor repeats whole rows of them in secret order.
///
/// Drawing costs several times as much as copying. A kernel gains nothing from a repeated row that it would have to find.
const DRAWN_BYTES: u64 = 1 << 20;
/// Below this, a second thread costs more than it saves.
const PARALLEL_BYTES: usize = 4 << 20;

/// Fills one input tensor.
pub(crate) fn draw(
    contract: &Contract,
    case: &Case,
    input: usize,
    layout: &TensorLayout,
    rng: &mut ChaCha12Rng,
    bytes: &mut [u8],
) {
    let seed = rng.random::<u64>();
    let distribution = distribution(contract, case, input, layout);
    let row_bytes = layout.dtype.bytes_for(layout.row_elements);
    let unit = if row_bytes == 0 || row_bytes > DRAWN_BYTES / 4 { 4096 } else { row_bytes };
    let drawn = (DRAWN_BYTES / unit * unit) as usize;
    if bytes.len() <= 2 * drawn || distribution.is_structured() {
        fill(layout.dtype, &distribution, seed, layout.row_elements as usize, bytes);
        return;
    }
    let (source, rest) = bytes.split_at_mut(drawn);
    fill(layout.dtype, &distribution, seed, layout.row_elements as usize, source);
    let unit = unit as usize;
    for block in rest.chunks_mut(drawn) {
        // Each block begins at another row, and goes round.
        let turn = rng.random_range(0..drawn / unit) * unit;
        let head = (drawn - turn).min(block.len());
        block[..head].copy_from_slice(&source[turn..turn + head]);
        let tail = block.len() - head;
        block[head..].copy_from_slice(&source[..tail]);
    }
}

/// Fills a whole pool of values that windows will be cut from, with all cores.
pub(crate) fn draw_pool(
    dtype: DType,
    distribution: &Distribution,
    seed: u64,
    row_elements: u64,
    bytes: &mut [u8],
) {
    let row = row_elements as usize;
    if bytes.len() < PARALLEL_BYTES {
        fill(dtype, distribution, seed, row, bytes);
        return;
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // Whole pages, so that every part begins at an even element.
    let part = (bytes.len().div_ceil(cores)).next_multiple_of(4096);
    std::thread::scope(|scope| {
        for (index, chunk) in bytes.chunks_mut(part).enumerate() {
            let first = dtype.elements_in((index * part) as u64);
            scope.spawn(move || fill_from(dtype, distribution, seed, row, first, chunk));
        }
    });
}

/// The distribution of an input; every input of a case that loaded has one.
pub(crate) fn distribution(
    contract: &Contract,
    case: &Case,
    input: usize,
    layout: &TensorLayout,
) -> Distribution {
    let drawn = case.inputs.get(&contract.inputs[input].name).copied().unwrap_or(Distribution::STANDARD);
    layout.limit.map_or(drawn, |limit| drawn.with_limit(limit))
}

/// A number that changes when the bytes change; large tensors are sampled every sixteenth page.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    const FULL: usize = 1 << 20;
    const PAGE: usize = 4096;
    let step = if bytes.len() <= FULL { 1 } else { 16 };
    let pages = bytes.chunks(PAGE).step_by(step);
    pages.fold(0, |sum, page| {
        let (words, tail) = page.as_chunks::<8>();
        let of_words = words.iter().zip(1_u64..).fold(0_u64, |sum, (word, place)| {
            sum.wrapping_add(u64::from_le_bytes(*word).wrapping_mul(place | 1))
        });
        let of_tail =
            tail.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(257).wrapping_add(u64::from(*byte)));
        sum.rotate_left(7) ^ of_words.wrapping_add(of_tail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_changes_the_fingerprint() {
        let mut bytes = vec![3_u8; 10_001];
        let before = fingerprint(&bytes);
        for place in [0, 4095, 4096, 10_000] {
            bytes[place] ^= 1;
            assert_ne!(fingerprint(&bytes), before, "{place}");
            bytes[place] ^= 1;
        }
        assert_eq!(fingerprint(&bytes), before);
    }

    #[test]
    fn a_pool_drawn_by_many_threads_is_the_same_as_by_one() {
        let mut one = vec![0_u8; 5 << 20];
        let mut many = one.clone();
        fill(DType::F32, &Distribution::STANDARD, 7, 100, &mut one);
        draw_pool(DType::F32, &Distribution::STANDARD, 7, 100, &mut many);
        assert!(one == many);
    }
}
