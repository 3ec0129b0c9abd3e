//! Which part of an output is compared with the oracle.

use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use crate::layout::Shape;
use crate::options::HarnessOptions;
use crate::oracle::{Oracle, Slice};

/// Everything up to this many times the limit of one call: small outputs are worth a full look.
const FULL_FACTOR: f64 = 4.0;

/// Neighbouring steps are taken together up to this many elements.
const BLOCK_ELEMENTS: u64 = 64;

/// The whole output where it is small; else the first, the last and some secret steps of the partition axis.
pub(crate) fn sample(shape: &Shape, options: &HarnessOptions, rng: &mut ChaCha12Rng) -> Vec<Slice> {
    let elements = shape.output_elements() as f64;
    let limit = options.oracle_elements_max as f64;
    if elements <= FULL_FACTOR * limit && shape.flops <= FULL_FACTOR * options.oracle_flops_max {
        return everything(shape);
    }
    rows(shape, count(shape, options), rng)
}

/// The whole output in one slice, or nothing where there is nothing.
pub(crate) fn everything(shape: &Shape) -> Vec<Slice> {
    if shape.extent == 0 || shape.output_elements() == 0 { Vec::new() } else { vec![(0, shape.extent)] }
}

/// How many steps the limits allow; at least two.
fn count(shape: &Shape, options: &HarnessOptions) -> u64 {
    let by_elements = options.oracle_elements_max / shape.slice_elements().max(1);
    let by_flops = options.oracle_flops_max / (shape.flops / shape.extent.max(1) as f64).max(1.0);
    let by_room = Oracle::capacity_elements() / shape.slice_elements().max(1);
    by_elements.min(by_flops as u64).clamp(2, by_room.max(2))
}

/// `count` steps in blocks of neighbours: a step may be one element, and every block costs a line of its own in the
/// oracle's frame.
fn rows(shape: &Shape, count: u64, rng: &mut ChaCha12Rng) -> Vec<Slice> {
    let block = (BLOCK_ELEMENTS / shape.slice_elements().max(1)).clamp(1, shape.extent);
    let blocks = shape.extent.div_ceil(block);
    let mut chosen = vec![0, blocks - 1];
    chosen.extend((2..count.div_ceil(block)).map(|_| rng.random_range(0..blocks)));
    chosen.sort_unstable();
    chosen.dedup();
    chosen.into_iter().map(|index| (index * block, ((index + 1) * block).min(shape.extent))).collect()
}

#[cfg(test)]
mod tests {
    use kernsmith_core::Bindings;
    use kernsmith_tensor::DType;
    use rand::SeedableRng as _;

    use super::*;
    use crate::layout::TensorLayout;

    fn shape(rows: u64, cols: u64, flops: f64) -> Shape {
        let output = TensorLayout {
            name: "y".into(),
            dtype: DType::F32,
            elements: rows * cols,
            bytes: rows * cols * 4,
            window_bytes: 0,
            row_elements: cols,
            slice_elements: cols,
            limit: None,
        };
        Shape {
            name: "s".into(),
            axes: Bindings::new(),
            inputs: vec![],
            outputs: vec![output],
            extent: rows,
            flops,
            bytes: 0.0,
        }
    }

    #[test]
    fn small_outputs_are_taken_whole_and_large_ones_by_rows() {
        let options = HarnessOptions::default();
        let mut rng = ChaCha12Rng::seed_from_u64(3);
        assert_eq!(sample(&shape(10, 10, 100.0), &options, &mut rng), [(0, 10)]);
        assert!(sample(&shape(0, 10, 0.0), &options, &mut rng).is_empty());
        let rows = sample(&shape(4096, 1024, 1e7), &options, &mut rng);
        assert!(rows.len() > 8 && rows.len() <= 16, "{}", rows.len());
        assert_eq!((rows[0], rows[rows.len() - 1]), ((0, 1), (4095, 4096)));
        let flat = sample(&shape(1 << 22, 1, 1e7), &options, &mut rng);
        assert!(flat.len() > 100 && flat.len() <= 256 && flat[0] == (0, 64), "{}", flat.len());
        let costly = sample(&shape(1024, 1024, 2e9), &options, &mut rng);
        assert!(costly.len() >= 2 && costly.len() <= 5, "{}", costly.len());
    }
}
