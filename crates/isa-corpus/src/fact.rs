//! One fact: a key of some targets, its value, how sure it is, and where it comes from.

use std::fmt;
use std::ops::Range;

use kernsmith_core::Target;
use serde::Serialize;

/// How sure a fact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Read in a primary source, or seen in a run of ours.
    Verified,
    /// Read in a secondary source only.
    Reported,
    /// Not checked against any source.
    Unverified,
}

impl Confidence {
    /// The word in tables and packets.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Reported => "reported",
            Self::Unverified => "unverified",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Verified, Self::Reported, Self::Unverified].into_iter().find(|c| c.as_str() == text)
    }
}

/// The value of a fact.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Words, lists and formulas.
    Text(String),
}

impl Value {
    pub(crate) fn parse(text: &str) -> Self {
        let digits = text.replace('_', "");
        if let Ok(value) = digits.parse() {
            return Self::Int(value);
        }
        match digits.parse::<f64>() {
            Ok(value) if value.is_finite() => Self::Float(value),
            _ => Self::Text(text.to_owned()),
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Text(_) => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fact {
    /// Its name in the whole corpus, such as `sm_90a.shared_memory.block_max`.
    pub id: String,
    /// What it is about: the id without its first word. One key of one target has one value.
    pub key: String,
    /// What it holds for.
    pub targets: Vec<Target>,
    /// Its value.
    pub value: Value,
    /// Unit of the value; empty for words and plain counts.
    pub unit: String,
    /// The fact in a sentence.
    pub statement: String,
    /// How sure it is.
    pub confidence: Confidence,
    /// Id of its source; empty for an unverified fact without one.
    pub source: String,
    /// Where in the source.
    pub section: String,
    /// The chapter that it stands in.
    pub chapter: String,
    /// The section of the chapter that it stands in.
    pub anchor: String,
    /// Its line in the chapter's file, from 1.
    pub line: usize,
    /// The bytes of its row in the chapter's file.
    #[serde(skip)]
    pub(crate) span: Range<usize>,
}

impl Fact {
    /// Whether it holds for a target.
    pub fn holds_for(&self, target: &Target) -> bool {
        self.targets.contains(target)
    }

    /// Value and unit.
    pub fn quantity(&self) -> String {
        if self.unit.is_empty() { self.value.to_string() } else { format!("{} {}", self.value, self.unit) }
    }

    /// One line for a packet. What is not verified says so.
    pub fn line(&self) -> String {
        let mark = match self.confidence {
            Confidence::Verified => String::new(),
            other => format!(" [{}]", other.as_str().to_uppercase()),
        };
        let source = if self.source.is_empty() { String::new() } else { format!(" ({})", self.source) };
        format!("- {} = {}{mark}: {}{source}", self.id, self.quantity(), self.statement)
    }

    /// The whole number that a rule may compute with, in the fact's own unit.
    pub fn integer(&self) -> Option<i64> {
        match self.value {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }

    /// The number in its base unit.
    fn base(&self) -> Option<(f64, &str)> {
        let (factor, unit) = scale(&self.unit);
        Some((self.value.number()? * factor, unit))
    }

    /// Whether another fact says the same, units of memory and words' case aside.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        match (self.base(), other.base()) {
            (Some((a, unit)), Some((b, other_unit))) => {
                unit == other_unit && (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
            }
            (None, None) => self.value.to_string().eq_ignore_ascii_case(&other.value.to_string()),
            _ => false,
        }
    }
}

/// Factor to the base unit, and the base unit.
fn scale(unit: &str) -> (f64, &str) {
    match unit {
        "KiB" => (1024.0, "bytes"),
        "MiB" => (1024.0 * 1024.0, "bytes"),
        "GiB" => (1024.0 * 1024.0 * 1024.0, "bytes"),
        "GHz" => (1e3, "MHz"),
        "TB/s" => (1e3, "GB/s"),
        "PFLOP/s" => (1e3, "TFLOP/s"),
        other => (1.0, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(value: &str, unit: &str) -> Fact {
        Fact {
            id: "a.b".into(),
            key: "b".into(),
            targets: vec![],
            value: Value::parse(value),
            unit: unit.into(),
            statement: "words".into(),
            confidence: Confidence::Unverified,
            source: String::new(),
            section: String::new(),
            chapter: "a".into(),
            anchor: "s".into(),
            line: 1,
            span: 0..0,
        }
    }

    #[test]
    fn units_of_memory_are_compared_by_size() {
        assert!(fact("227", "KiB").agrees_with(&fact("232_448", "bytes")));
        assert!(!fact("228", "KiB").agrees_with(&fact("232448", "bytes")));
        assert!(!fact("4", "cycles").agrees_with(&fact("4", "bytes")));
        assert!(fact("OCP", "").agrees_with(&fact("ocp", "")));
        assert!(!fact("FNUZ", "").agrees_with(&fact("4", "")));
    }

    #[test]
    fn what_is_not_verified_says_so() {
        assert!(fact("4", "cycles").line().contains("= 4 cycles [UNVERIFIED]: words"));
    }
}
