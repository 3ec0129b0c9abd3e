//! Values with their own spelling: sizes in bytes, and seeds.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A size in bytes; written as a whole number or as text with a binary suffix: `"64Ki"`, `"1Mi"`, `"4Gi"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteCount(pub u64);

/// The seed of everything random in a search; written as a whole number or as `"random"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// Drawn when the search starts, and recorded.
    Random,
    /// Always this one.
    Fixed(u64),
}

impl ByteCount {
    fn parse(text: &str) -> Option<Self> {
        let (digits, shift) = match text.get(text.len().checked_sub(2)?..)? {
            "Ki" => (&text[..text.len() - 2], 10),
            "Mi" => (&text[..text.len() - 2], 20),
            "Gi" => (&text[..text.len() - 2], 30),
            _ => (text, 0),
        };
        digits.trim().parse::<u64>().ok()?.checked_mul(1 << shift).map(Self)
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, suffix) in [(30, "Gi"), (20, "Mi"), (10, "Ki")] {
            if self.0 > 0 && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{suffix}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random => f.write_str("random"),
            Self::Fixed(seed) => write!(f, "{seed}"),
        }
    }
}

struct ByteCountVisitor;

impl Visitor<'_> for ByteCountVisitor {
    type Value = ByteCount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"4Gi\", \"512Mi\", \"64Ki\" or a whole number of bytes")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<ByteCount, E> {
        Ok(ByteCount(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<ByteCount, E> {
        u64::try_from(value)
            .map(ByteCount)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(value), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ByteCount, E> {
        ByteCount::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

struct SeedVisitor;

impl Visitor<'_> for SeedVisitor {
    type Value = Seed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"random\" or a whole number from 0 up")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Seed, E> {
        Ok(Seed::Fixed(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Seed, E> {
        u64::try_from(value)
            .map(Seed::Fixed)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(value), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Seed, E> {
        match text {
            "random" => Ok(Seed::Random),
            _ => text
                .parse()
                .map(Seed::Fixed)
                .map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for ByteCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ByteCountVisitor)
    }
}

impl Serialize for ByteCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SeedVisitor)
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Random => serializer.serialize_str("random"),
            Self::Fixed(seed) => serializer.serialize_u64(*seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_suffixes() {
        for (text, bytes) in [("\"4Gi\"", 4 << 30), ("\"64Ki\"", 64 << 10), ("77", 77), ("\"77\"", 77)] {
            assert_eq!(serde_json::from_str::<ByteCount>(text).unwrap().0, bytes, "{text}");
        }
        for bad in ["\"4G\"", "-1", "\"\"", "\"Gi\"", "\"99999999999999Gi\"", "1.5"] {
            assert!(serde_json::from_str::<ByteCount>(bad).is_err(), "{bad}");
        }
        assert_eq!(ByteCount(4 << 30).to_string(), "4Gi");
        assert_eq!(ByteCount(1000).to_string(), "1000");
    }

    #[test]
    fn a_seed_survives_json() {
        for seed in [Seed::Random, Seed::Fixed(u64::MAX)] {
            let text = serde_json::to_string(&seed).unwrap();
            assert_eq!(serde_json::from_str::<Seed>(&text).unwrap(), seed);
        }
        assert!(serde_json::from_str::<Seed>("\"dice\"").is_err());
    }
}
