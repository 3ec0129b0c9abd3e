//! Fast scans over the bytes of a tensor.

use crate::dtype::DType;

const BLOCK_BYTES: usize = 4096;

/// The index of the first element that is NaN or infinite; `None` for integers.
pub fn first_non_finite(dtype: DType, bytes: &[u8]) -> Option<u64> {
    let found = match dtype {
        DType::F64 => {
            scan(bytes, |word| u64::from_le_bytes(word) & 0x7ff0_0000_0000_0000 == 0x7ff0_0000_0000_0000)
        }
        DType::F32 => scan(bytes, |word| u32::from_le_bytes(word) & 0x7f80_0000 == 0x7f80_0000),
        DType::F16 => scan(bytes, |word| u16::from_le_bytes(word) & 0x7c00 == 0x7c00),
        DType::Bf16 => scan(bytes, |word| u16::from_le_bytes(word) & 0x7f80 == 0x7f80),
        DType::F8E4M3FN => scan(bytes, |[byte]| byte & 0x7f == 0x7f),
        DType::F8E5M2 => scan(bytes, |[byte]| byte & 0x7c == 0x7c),
        DType::E8M0 => scan(bytes, |[byte]| byte == 0xff),
        _ => None,
    };
    found.map(|index| index as u64)
}

/// Looks at whole blocks without a branch per element, then again at the block that has a hit.
#[inline]
fn scan<const N: usize>(bytes: &[u8], hit: impl Fn([u8; N]) -> bool) -> Option<usize> {
    for (block, slice) in bytes.chunks(BLOCK_BYTES).enumerate() {
        let words = slice.as_chunks::<N>().0;
        if words.iter().fold(false, |any, word| any | hit(*word)) {
            let inside = words.iter().position(|word| hit(*word))?;
            return Some(block * (BLOCK_BYTES / N) + inside);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_non_finite_element_is_found_in_every_float_type() {
        for dtype in DType::ALL {
            let mut values = vec![1.0; 5000];
            let mut bytes = vec![0u8; dtype.bytes_for(5000) as usize];
            dtype.encode(&values, &mut bytes);
            assert_eq!(first_non_finite(dtype, &bytes), None, "{dtype}");
            values[4321] = f64::NAN;
            dtype.encode(&values, &mut bytes);
            let expected = (dtype.is_float() && dtype != DType::F4E2M1).then_some(4321);
            assert_eq!(first_non_finite(dtype, &bytes), expected, "{dtype}");
        }
    }
}
