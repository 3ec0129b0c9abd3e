//! What lies in an output before a call.

use kernsmith_tensor::{DType, first_poison, poison};

/// Outputs up to this size are always poisoned in full.
const SPARSE_ABOVE_BYTES: usize = 256 << 10;
const LINE_BYTES: usize = 64;
/// One cache line in so many is poisoned in a large timed output; which one is secret.
const LINES: usize = 16;

/// Poison of one kind under one secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Poison {
    /// NaN payloads or plausible numbers.
    pub(crate) variant: u32,
    pub(crate) secret: u64,
    /// Whether a large output holds it in a secret sixteenth of its cache lines only: writing all of it before every
    /// call would cost as much as the call.
    pub(crate) sparse: bool,
}

impl Poison {
    /// Poisons an output.
    pub(crate) fn lay(&self, dtype: DType, bytes: &mut [u8]) {
        if !self.sparse || bytes.len() <= SPARSE_ABOVE_BYTES {
            return poison(dtype, self.variant, self.secret, bytes);
        }
        for group in 0..bytes.len() / (LINES * LINE_BYTES) {
            let (line, secret) = self.line(group);
            poison(dtype, self.variant, secret, &mut bytes[line..line + LINE_BYTES]);
        }
    }

    /// The first element that still is poisoned.
    pub(crate) fn first(&self, dtype: DType, bytes: &[u8]) -> Option<u64> {
        if !self.sparse || bytes.len() <= SPARSE_ABOVE_BYTES {
            return first_poison(dtype, self.variant, self.secret, bytes);
        }
        (0..bytes.len() / (LINES * LINE_BYTES)).find_map(|group| {
            let (line, secret) = self.line(group);
            let first = first_poison(dtype, self.variant, secret, &bytes[line..line + LINE_BYTES])?;
            Some(dtype.elements_in(line as u64) + first)
        })
    }

    /// First byte of a group's poisoned line, and its own secret.
    fn line(&self, group: usize) -> (usize, u64) {
        let mixed = (self.secret ^ group as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let place = (mixed >> 40) as usize % LINES;
        ((group * LINES + place) * LINE_BYTES, mixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparse_poison_is_found_where_a_stretch_was_not_written() {
        let poison = Poison { variant: 0, secret: 77, sparse: true };
        let mut bytes = vec![0_u8; 1 << 20];
        poison.lay(DType::F32, &mut bytes);
        assert!(poison.first(DType::F32, &bytes).is_some());
        let written = bytes.len() / 2;
        bytes[..written].fill(0);
        let first = poison.first(DType::F32, &bytes).unwrap();
        assert!(first >= written as u64 / 4 && first < written as u64 / 4 + 512, "{first}");
        bytes.fill(0);
        assert_eq!(poison.first(DType::F32, &bytes), None);
    }

    #[test]
    fn small_outputs_are_poisoned_in_full() {
        for variant in 0..2 {
            let poison = Poison { variant, secret: 5, sparse: true };
            let mut bytes = vec![0_u8; 4000];
            poison.lay(DType::F32, &mut bytes);
            bytes[..3992].fill(0);
            assert_eq!(poison.first(DType::F32, &bytes), Some(998));
        }
    }
}
