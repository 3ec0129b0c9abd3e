//! Element types, from f64 down to four-bit floats and power-of-two scales.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::minifloat::{BF16, F4E2M1, F8E4M3FN, F8E5M2, F16, Minifloat, power_of_two, table};

/// The type of a tensor's elements. Storage is dense and little-endian; two f4e2m1 elements share a byte, low half first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// OCP E4M3 without infinity.
    F8E4M3FN,
    /// OCP E5M2.
    F8E5M2,
    /// OCP E2M1, two to a byte.
    F4E2M1,
    /// OCP E8M0: a power of two, used as a block scale.
    E8M0,
    /// Signed integer of 64 bits; [`DType::decode`] rounds beyond 2^53.
    I64,
    /// Signed integer of 32 bits.
    I32,
    /// Signed integer of 16 bits.
    I16,
    /// Signed integer of 8 bits.
    I8,
    /// Unsigned integer of 8 bits.
    U8,
    /// One byte, 0 or 1.
    Bool,
}

const E4M3_VALUES: [f64; 256] = table(F8E4M3FN);
const E5M2_VALUES: [f64; 256] = table(F8E5M2);

impl DType {
    /// Every type.
    pub const ALL: [Self; 14] = [
        Self::F64,
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::F8E4M3FN,
        Self::F8E5M2,
        Self::F4E2M1,
        Self::E8M0,
        Self::I64,
        Self::I32,
        Self::I16,
        Self::I8,
        Self::U8,
        Self::Bool,
    ];

    /// The name used in contracts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F8E4M3FN => "f8e4m3fn",
            Self::F8E5M2 => "f8e5m2",
            Self::F4E2M1 => "f4e2m1",
            Self::E8M0 => "e8m0",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::Bool => "bool",
        }
    }

    /// Bits of one element.
    pub const fn bits(self) -> u32 {
        match self {
            Self::F64 | Self::I64 => 64,
            Self::F32 | Self::I32 => 32,
            Self::F16 | Self::Bf16 | Self::I16 => 16,
            Self::F8E4M3FN | Self::F8E5M2 | Self::E8M0 | Self::I8 | Self::U8 | Self::Bool => 8,
            Self::F4E2M1 => 4,
        }
    }

    /// Bytes that `elements` elements fill; an odd number of half bytes is rounded up.
    pub const fn bytes_for(self, elements: u64) -> u64 {
        match self {
            Self::F4E2M1 => elements.div_ceil(2),
            _ => elements * (self.bits() as u64 / 8),
        }
    }

    /// Whole elements that `bytes` bytes hold.
    pub const fn elements_in(self, bytes: u64) -> u64 {
        match self {
            Self::F4E2M1 => bytes * 2,
            _ => bytes / (self.bits() as u64 / 8),
        }
    }

    /// Whether the type holds floating-point numbers.
    pub const fn is_float(self) -> bool {
        !matches!(self, Self::I64 | Self::I32 | Self::I16 | Self::I8 | Self::U8 | Self::Bool)
    }

    /// The largest relative error of one rounding to nearest, `2^-precision`; 0 for integers.
    ///
    /// Source: N. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, section 2.1.
    pub const fn unit_roundoff(self) -> f64 {
        match self {
            Self::F64 => power_of_two(-53),
            Self::F32 => power_of_two(-24),
            Self::F16 => power_of_two(-11),
            Self::Bf16 => power_of_two(-8),
            Self::F8E4M3FN => power_of_two(-4),
            Self::F8E5M2 => power_of_two(-3),
            Self::F4E2M1 => power_of_two(-2),
            Self::E8M0 => power_of_two(-1),
            _ => 0.0,
        }
    }

    /// The largest finite value.
    pub const fn largest(self) -> f64 {
        match self {
            Self::F64 => f64::MAX,
            Self::F32 => f32::MAX as f64,
            Self::E8M0 => power_of_two(127),
            Self::I64 => i64::MAX as f64,
            Self::I32 => i32::MAX as f64,
            Self::I16 => i16::MAX as f64,
            Self::I8 => i8::MAX as f64,
            Self::U8 => u8::MAX as f64,
            Self::Bool => 1.0,
            _ => match self.minifloat() {
                Some(format) => format.largest(),
                None => f64::MAX,
            },
        }
    }

    /// The absolute error that every kernel may make near zero, whatever its scale.
    ///
    /// f32 and f64 kernels may flush subnormal numbers to zero; smaller formats get half their smallest step.
    pub(crate) const fn underflow(self) -> f64 {
        match self {
            Self::F64 => f64::MIN_POSITIVE,
            Self::F32 | Self::Bf16 => power_of_two(-126),
            _ => match self.minifloat() {
                Some(format) => format.half_smallest(),
                None => 0.0,
            },
        }
    }

    /// Whether an overflowing result is written as infinity.
    pub(crate) const fn has_infinity(self) -> bool {
        match self {
            Self::F64 | Self::F32 => true,
            _ => match self.minifloat() {
                Some(format) => format.has_infinity(),
                None => false,
            },
        }
    }

    pub(crate) const fn minifloat(self) -> Option<Minifloat> {
        match self {
            Self::F16 => Some(F16),
            Self::Bf16 => Some(BF16),
            Self::F8E4M3FN => Some(F8E4M3FN),
            Self::F8E5M2 => Some(F8E5M2),
            Self::F4E2M1 => Some(F4E2M1),
            _ => None,
        }
    }

    /// Writes the exact values of the elements in `bytes` to `values`, as many as fit in both.
    pub fn decode(self, bytes: &[u8], values: &mut [f64]) {
        match self {
            Self::F64 => decode_words(bytes, values, f64::from_le_bytes),
            Self::F32 => decode_words(bytes, values, |word| f64::from(f32::from_le_bytes(word))),
            Self::F16 => decode_words(bytes, values, |word| F16.decode(u16::from_le_bytes(word))),
            Self::Bf16 => decode_words(bytes, values, |word| {
                f64::from(f32::from_bits(u32::from(u16::from_le_bytes(word)) << 16))
            }),
            Self::F8E4M3FN => decode_words(bytes, values, |[byte]| E4M3_VALUES[usize::from(byte)]),
            Self::F8E5M2 => decode_words(bytes, values, |[byte]| E5M2_VALUES[usize::from(byte)]),
            Self::F4E2M1 => decode_halves(bytes, values),
            Self::E8M0 => decode_words(bytes, values, |[byte]| decode_e8m0(byte)),
            Self::I64 => decode_words(bytes, values, |word| i64::from_le_bytes(word) as f64),
            Self::I32 => decode_words(bytes, values, |word| f64::from(i32::from_le_bytes(word))),
            Self::I16 => decode_words(bytes, values, |word| f64::from(i16::from_le_bytes(word))),
            Self::I8 => decode_words(bytes, values, |word| f64::from(i8::from_le_bytes(word))),
            Self::U8 | Self::Bool => decode_words(bytes, values, |[byte]| f64::from(byte)),
        }
    }

    /// Writes `values` to `bytes`, each rounded to the nearest element, ties to even; as many as fit in both.
    ///
    /// Too large magnitudes become infinity where the type has one and the largest value where it has none; integers
    /// saturate and take NaN as 0; a bool is 1 unless its value is 0; a negative e8m0 becomes NaN.
    pub fn encode(self, values: &[f64], bytes: &mut [u8]) {
        match self {
            Self::F64 => encode_words(values, bytes, f64::to_le_bytes),
            Self::F32 => encode_words(values, bytes, |value| (value as f32).to_le_bytes()),
            Self::F16 => encode_words(values, bytes, |value| F16.encode(value).to_le_bytes()),
            Self::Bf16 => encode_words(values, bytes, |value| BF16.encode(value).to_le_bytes()),
            Self::F8E4M3FN => encode_words(values, bytes, |value| [F8E4M3FN.encode(value) as u8]),
            Self::F8E5M2 => encode_words(values, bytes, |value| [F8E5M2.encode(value) as u8]),
            Self::F4E2M1 => encode_halves(values, bytes),
            Self::E8M0 => encode_words(values, bytes, |value| [encode_e8m0(value)]),
            Self::I64 => encode_words(values, bytes, |value| (value.round_ties_even() as i64).to_le_bytes()),
            Self::I32 => encode_words(values, bytes, |value| (value.round_ties_even() as i32).to_le_bytes()),
            Self::I16 => encode_words(values, bytes, |value| (value.round_ties_even() as i16).to_le_bytes()),
            Self::I8 => encode_words(values, bytes, |value| (value.round_ties_even() as i8).to_le_bytes()),
            Self::U8 => encode_words(values, bytes, |value| [value.round_ties_even() as u8]),
            Self::Bool => encode_words(values, bytes, |value| [u8::from(value.abs() > 0.0)]),
        }
    }

    /// One value after rounding to this type; see [`DType::encode`].
    pub fn round(self, value: f64) -> f64 {
        let (mut bytes, mut rounded) = ([0u8; 8], [0.0]);
        self.encode(&[value], &mut bytes[..self.bytes_for(1) as usize]);
        self.decode(&bytes[..self.bytes_for(1) as usize], &mut rounded);
        rounded[0]
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[inline]
fn decode_words<const N: usize>(bytes: &[u8], values: &mut [f64], value_of: impl Fn([u8; N]) -> f64) {
    for (word, value) in bytes.as_chunks::<N>().0.iter().zip(values) {
        *value = value_of(*word);
    }
}

#[inline]
fn encode_words<const N: usize>(values: &[f64], bytes: &mut [u8], word_of: impl Fn(f64) -> [u8; N]) {
    for (word, &value) in bytes.as_chunks_mut::<N>().0.iter_mut().zip(values) {
        *word = word_of(value);
    }
}

fn decode_halves(bytes: &[u8], values: &mut [f64]) {
    for (&byte, pair) in bytes.iter().zip(values.chunks_mut(2)) {
        for (half, value) in pair.iter_mut().enumerate() {
            *value = F4E2M1.decode(u16::from(byte >> (4 * half) & 0xf));
        }
    }
}

fn encode_halves(values: &[f64], bytes: &mut [u8]) {
    for (byte, pair) in bytes.iter_mut().zip(values.chunks(2)) {
        let low = F4E2M1.encode(pair[0]);
        let high = pair.get(1).map_or(0, |&value| F4E2M1.encode(value));
        *byte = (low | high << 4) as u8;
    }
}

fn decode_e8m0(byte: u8) -> f64 {
    if byte == 0xff { f64::NAN } else { power_of_two(i32::from(byte) - 127) }
}

/// The nearest power of two; halfway between two of them the even code wins.
fn encode_e8m0(value: f64) -> u8 {
    if value.is_nan() || value < 0.0 {
        return 0xff;
    }
    let exponent = (value.to_bits() >> 52) as i32 - 1023;
    let below = exponent + 127;
    if below < 0 {
        return 0;
    }
    if below >= 254 {
        return 254;
    }
    let fraction = value / power_of_two(exponent) - 1.0;
    let up = fraction > 0.5 || (fraction >= 0.5 && below % 2 == 1);
    (below + i32::from(up)) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_in_files_are_the_names_in_print() {
        for dtype in DType::ALL {
            assert_eq!(serde_json::to_string(&dtype).unwrap(), format!("\"{dtype}\""));
        }
    }

    #[test]
    fn every_byte_of_every_byte_sized_type_survives_a_round_trip() {
        for dtype in [DType::F8E4M3FN, DType::F8E5M2, DType::F4E2M1, DType::E8M0, DType::I8, DType::U8] {
            for byte in 0..=255u8 {
                let (mut values, mut back) = ([0.0; 2], [0u8]);
                let count = dtype.elements_in(1) as usize;
                dtype.decode(&[byte], &mut values[..count]);
                if values.iter().any(|value| value.is_nan()) {
                    continue;
                }
                dtype.encode(&values[..count], &mut back);
                assert_eq!(back[0], byte, "{dtype} {values:?}");
            }
        }
    }

    #[test]
    fn integers_saturate_and_a_bool_is_zero_or_one() {
        assert!((DType::I8.round(1e9) - 127.0).abs() < 1e-12);
        assert!((DType::U8.round(-3.0)).abs() < 1e-12);
        assert!((DType::I32.round(2.5) - 2.0).abs() < 1e-12);
        assert!((DType::Bool.round(-0.25) - 1.0).abs() < 1e-12);
        assert!((DType::E8M0.round(3.0) - 2.0).abs() < 1e-12);
        assert!((DType::E8M0.round(6.0) - 8.0).abs() < 1e-12);
    }

    #[test]
    fn odd_half_bytes_are_rounded_up() {
        assert_eq!(DType::F4E2M1.bytes_for(5), 3);
        assert_eq!(DType::F32.bytes_for(5), 20);
    }

    proptest! {
        #[test]
        fn rounding_errs_by_at_most_the_unit_roundoff(value in -1e4f64..1e4) {
            for dtype in [DType::F64, DType::F32, DType::F16, DType::Bf16, DType::F8E5M2] {
                let error = (dtype.round(value) - value).abs();
                prop_assert!(error <= dtype.unit_roundoff() * value.abs() + dtype.underflow(), "{} {}", dtype, value);
            }
        }

        #[test]
        fn rounding_twice_changes_nothing(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            for dtype in DType::ALL {
                let once = dtype.round(value);
                prop_assert!(once.is_nan() || once.to_bits() == dtype.round(once).to_bits(), "{} {}", dtype, value);
            }
        }
    }
}
