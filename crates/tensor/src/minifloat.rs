//! Binary floating-point formats of at most sixteen bits, decoded and encoded exactly.
//!
//! Sources: IEEE 754-2019 for f16, the OCP "8-bit Floating Point Specification" 1.0 for E4M3 and E5M2, and the OCP
//! "Microscaling Formats Specification" 1.0 for E2M1.

/// A format with a sign bit, an exponent field and a mantissa field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Minifloat {
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: i32,
    specials: Specials,
}

/// What the largest exponent field stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Specials {
    /// Infinity and NaN, as in IEEE 754.
    Ieee,
    /// Only the code of all ones is NaN; there is no infinity.
    NanOnly,
    /// Ordinary numbers.
    None,
}

pub(crate) const F16: Minifloat = Minifloat::new(5, 10, Specials::Ieee);
pub(crate) const BF16: Minifloat = Minifloat::new(8, 7, Specials::Ieee);
pub(crate) const F8E4M3FN: Minifloat = Minifloat::new(4, 3, Specials::NanOnly);
pub(crate) const F8E5M2: Minifloat = Minifloat::new(5, 2, Specials::Ieee);
pub(crate) const F4E2M1: Minifloat = Minifloat::new(2, 1, Specials::None);

impl Minifloat {
    const fn new(exponent_bits: u32, mantissa_bits: u32, specials: Specials) -> Self {
        Self { exponent_bits, mantissa_bits, bias: (1 << (exponent_bits - 1)) - 1, specials }
    }

    const fn sign_mask(self) -> u16 {
        1 << (self.exponent_bits + self.mantissa_bits)
    }

    /// The code of the largest finite magnitude.
    const fn largest_code(self) -> u16 {
        match self.specials {
            Specials::Ieee => self.infinity_code() - 1,
            Specials::NanOnly => self.sign_mask() - 2,
            Specials::None => self.sign_mask() - 1,
        }
    }

    /// Exponent field all ones, mantissa zero; infinity in IEEE formats.
    const fn infinity_code(self) -> u16 {
        ((1 << self.exponent_bits) - 1) << self.mantissa_bits
    }

    const fn nan_code(self) -> Option<u16> {
        match self.specials {
            Specials::Ieee => Some(self.infinity_code() | 1 << (self.mantissa_bits - 1)),
            Specials::NanOnly => Some(self.sign_mask() - 1),
            Specials::None => None,
        }
    }

    /// The largest finite value.
    pub(crate) const fn largest(self) -> f64 {
        self.decode(self.largest_code())
    }

    /// Half the distance between two neighbours around zero.
    pub(crate) const fn half_smallest(self) -> f64 {
        power_of_two(-self.bias - self.mantissa_bits as i32)
    }

    /// The exact value of a code.
    pub(crate) const fn decode(self, code: u16) -> f64 {
        let magnitude = code & (self.sign_mask() - 1);
        let mantissa = (magnitude & ((1 << self.mantissa_bits) - 1)) as u64;
        let exponent = (magnitude >> self.mantissa_bits) as i32;
        let value = if magnitude > self.largest_code() {
            match self.specials {
                Specials::Ieee if mantissa == 0 => f64::INFINITY,
                _ => f64::NAN,
            }
        } else if exponent == 0 {
            mantissa as f64 * power_of_two(1 - self.bias - self.mantissa_bits as i32)
        } else {
            let field = (exponent - self.bias + 1023) as u64;
            f64::from_bits(field << 52 | mantissa << (52 - self.mantissa_bits))
        };
        if code & self.sign_mask() == 0 { value } else { -value }
    }

    /// The nearest code, ties to even.
    ///
    /// What is too large becomes infinity where the format has one, otherwise the largest finite value, as conversions
    /// in hardware do. NaN becomes the largest value with its sign where the format has no NaN.
    pub(crate) fn encode(self, value: f64) -> u16 {
        let sign = if value.is_sign_negative() { self.sign_mask() } else { 0 };
        let too_large = match self.specials {
            Specials::Ieee => self.infinity_code(),
            _ => self.largest_code(),
        };
        if value.is_nan() {
            return sign | self.nan_code().unwrap_or(too_large);
        }
        if value.is_infinite() {
            return sign | too_large;
        }
        let magnitude = value.abs();
        // The exponent of the last place is fixed below the smallest normal number, so subnormal numbers need no case
        // of their own: their rounded quotient simply lacks the leading one.
        let exponent = ((magnitude.to_bits() >> 52) as i32 - 1023).max(1 - self.bias);
        let quotient = magnitude * power_of_two(self.mantissa_bits as i32 - exponent);
        let rounded = quotient.round_ties_even() as i64;
        let code = (i64::from(exponent + self.bias - 1) << self.mantissa_bits) + rounded;
        if code > i64::from(self.largest_code()) { sign | too_large } else { sign | code as u16 }
    }

    /// Whether the format can say "infinity".
    pub(crate) const fn has_infinity(self) -> bool {
        matches!(self.specials, Specials::Ieee)
    }
}

/// Two to the power of `exponent`, which lies in -1022..=1023.
pub(crate) const fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// The values of all codes of a format of at most eight bits.
pub(crate) const fn table(format: Minifloat) -> [f64; 256] {
    let mut values = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        values[code] = format.decode(code as u16);
        code += 1;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(Minifloat, u32); 5] =
        [(F16, 65_536), (BF16, 65_536), (F8E4M3FN, 256), (F8E5M2, 256), (F4E2M1, 16)];

    #[test]
    fn every_code_of_every_format_survives_a_round_trip() {
        for (format, codes) in ALL {
            for code in 0..codes {
                let value = format.decode(code as u16);
                if value.is_nan() {
                    assert!(format.decode(format.encode(value)).is_nan(), "{format:?} {code:#x}");
                } else {
                    assert_eq!(u32::from(format.encode(value)), code, "{format:?} {value}");
                }
            }
        }
    }

    #[test]
    fn a_value_between_two_neighbours_goes_to_the_nearer_and_ties_go_to_even() {
        for (format, codes) in ALL {
            for code in 0..codes / 2 - 1 {
                let (low, high) = (format.decode(code as u16), format.decode(code as u16 + 1));
                if !low.is_finite() || !high.is_finite() {
                    continue;
                }
                let middle = f64::midpoint(low, high);
                let even = if code % 2 == 0 { code } else { code + 1 };
                assert_eq!(u32::from(format.encode(middle)), even, "{format:?} {middle}");
                assert_eq!(u32::from(format.encode(middle.next_down())), code, "{format:?} {middle}");
                assert_eq!(
                    u32::from(format.encode(-middle.next_up())),
                    codes / 2 + code + 1,
                    "{format:?} {middle}"
                );
            }
        }
    }

    #[test]
    fn known_values_are_decoded() {
        assert_eq!(F16.largest().to_bits(), 65_504f64.to_bits());
        assert_eq!(F8E4M3FN.largest().to_bits(), 448f64.to_bits());
        assert_eq!(F8E5M2.largest().to_bits(), 57_344f64.to_bits());
        assert_eq!(F4E2M1.largest().to_bits(), 6f64.to_bits());
        assert_eq!(BF16.largest().to_bits(), f64::from(f32::from_bits(0x7f7f_0000)).to_bits());
        assert!(F8E4M3FN.decode(0x7f).is_nan() && F8E4M3FN.decode(0xff).is_nan());
        assert!(F16.encode(65_520.0) == 0x7c00 && F16.encode(65_519.9) == 0x7bff);
    }
}
