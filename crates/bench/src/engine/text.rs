//! Sources that look like kernels and say nothing.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Names are made of so many letters, each worth 5 bits: a compressor cannot guess them.
const NAME_LETTERS: u32 = 8;

/// A source of exactly `bytes` bytes, the same for the same `seed` and `number`: statements over pseudo-random names, in
/// the shape of unrolled C++. zstd at level 3 takes a 12 kB one down to a bit more than half.
pub(crate) fn source(seed: u64, number: u64, bytes: usize) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(number);
    let mut text = String::with_capacity(bytes + 64);
    text.push_str("extern \"C\" void kernel(const float* x, float* y, long n) {\n");
    while text.len() + 2 < bytes {
        text.push_str("  const float ");
        name(&mut text, random.random());
        text.push_str(" = fmaf(");
        name(&mut text, random.random());
        text.push_str(", ");
        name(&mut text, random.random());
        text.push_str(", x[");
        name(&mut text, random.random());
        text.push_str("]);\n");
    }
    text.truncate(bytes.saturating_sub(2));
    text.push_str("}\n");
    text
}

fn name(text: &mut String, mut bits: u64) {
    for _ in 0..NAME_LETTERS {
        text.push(char::from(LETTERS[(bits & 31) as usize]));
        bits >>= 5;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_their_size_and_differ() {
        let (one, other) = (source(1, 1, 12_000), source(1, 2, 12_000));
        assert_eq!((one.len(), other.len()), (12_000, 12_000));
        assert_ne!(one, other);
        assert_eq!(one, source(1, 1, 12_000));
    }
}
