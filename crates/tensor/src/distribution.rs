//! What inputs look like: named distributions with their parameters.

use serde::{Deserialize, Serialize};

/// How the elements of an input are drawn. Values are rounded to the tensor's type; see [`crate::DType::encode`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Distribution {
    /// Gaussian; see [`crate::fill`] for how far it is exact.
    Normal {
        /// Centre; 0 by default.
        #[serde(default)]
        mean: f64,
        /// Standard deviation; 1 by default.
        #[serde(default = "one")]
        std: f64,
    },
    /// Evenly spread over `low..high`.
    Uniform {
        /// Smallest value.
        low: f64,
        /// Upper end, not reached before rounding.
        high: f64,
    },
    /// One value everywhere.
    Constant {
        /// That value.
        value: f64,
    },
    /// Student's t times `scale`: rare, very large magnitudes.
    HeavyTail {
        /// Factor.
        scale: f64,
        /// Degrees of freedom, from 1 up; 3 by default. Fewer make heavier tails.
        #[serde(default = "three")]
        degrees: f64,
    },
    /// Gaussian, with one element in `every` (at random places) replaced by plus or minus `spike`.
    Spikes {
        /// Standard deviation of the rest.
        std: f64,
        /// Magnitude of a spike.
        spike: f64,
        /// Mean distance between spikes, in elements.
        every: u64,
    },
    /// Gaussian, with rows 0, `every`, 2·`every`, … all zero.
    ZeroRows {
        /// Standard deviation of the other rows.
        std: f64,
        /// Distance between zero rows.
        every: u64,
    },
    /// Plus and minus `magnitude` in turn along a row: sums cancel.
    Alternating {
        /// The magnitude.
        magnitude: f64,
    },
    /// Whole numbers from `low` to `high`, both included, equally likely.
    Integers {
        /// Smallest number.
        low: i64,
        /// Largest number.
        high: i64,
    },
    /// 0 or 1, equally likely.
    Binary,
    /// From `low` to `high` in even steps along every row.
    Ramp {
        /// First value of a row.
        low: f64,
        /// Last value of a row.
        high: f64,
    },
    /// Whole numbers below `count`, number `k` with a probability in proportion to `(k + 1)^-exponent`.
    Zipf {
        /// How many numbers there are.
        count: u64,
        /// 0 is uniform, 1 is the classical law.
        exponent: f64,
    },
    /// The logarithm is evenly spread; all values are positive.
    LogUniform {
        /// Smallest value, above 0.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// Where ragged rows begin in a packed tensor: from 0 in steps that are never negative up to `limit`, which is the last
    /// element. A row of `n + 1` elements delimits `n` rows.
    Offsets {
        /// The last element, the sum of all lengths; 0: what the contract says of the tensor.
        #[serde(default)]
        limit: u64,
        /// How much the lengths vary by chance, from 0 (all alike) to 1 (from 0 to twice the mean).
        #[serde(default)]
        jitter: f64,
        /// Above 1, early rows are short and late ones long: row boundaries lie at the power `skew` of their share.
        #[serde(default = "one")]
        skew: f64,
        /// Rows 0, `empty_every`, 2·`empty_every`, … are empty, the last row excepted; 0: none. At least 2 otherwise.
        #[serde(default)]
        empty_every: u64,
    },
    /// Distinct whole numbers below `limit` in random order, as in a page table; a tensor longer than `limit` goes round.
    Permutation {
        /// How many numbers there are; 0: what the contract says of the tensor.
        #[serde(default)]
        limit: u64,
    },
}

/// A distribution whose parameters make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {problem}")]
pub struct DistributionError {
    /// The parameter.
    pub field: &'static str,
    /// What is wrong with it, and what is legal.
    pub problem: String,
}

const fn one() -> f64 {
    1.0
}

const fn three() -> f64 {
    3.0
}

impl Distribution {
    /// The standard Gaussian.
    pub const STANDARD: Self = Self::Normal { mean: 0.0, std: 1.0 };

    /// The name used in contracts.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Normal { .. } => "normal",
            Self::Uniform { .. } => "uniform",
            Self::Constant { .. } => "constant",
            Self::HeavyTail { .. } => "heavy_tail",
            Self::Spikes { .. } => "spikes",
            Self::ZeroRows { .. } => "zero_rows",
            Self::Alternating { .. } => "alternating",
            Self::Integers { .. } => "integers",
            Self::Binary => "binary",
            Self::Ramp { .. } => "ramp",
            Self::Zipf { .. } => "zipf",
            Self::LogUniform { .. } => "log_uniform",
            Self::Offsets { .. } => "offsets",
            Self::Permutation { .. } => "permutation",
        }
    }

    /// Whether the elements do not depend on the seed.
    pub const fn is_fixed(&self) -> bool {
        match self {
            Self::Constant { .. } | Self::Alternating { .. } | Self::Ramp { .. } => true,
            Self::Offsets { jitter, .. } => *jitter <= 0.0,
            _ => false,
        }
    }

    /// Whether the elements are positions in another tensor: a part cut out of such a tensor makes no sense on its own, nor
    /// does one with a changed element.
    pub const fn is_structured(&self) -> bool {
        matches!(self, Self::Offsets { .. } | Self::Permutation { .. })
    }

    /// The same distribution with its `limit` filled in where it was left open.
    #[must_use]
    pub const fn with_limit(self, bound: u64) -> Self {
        match self {
            Self::Offsets { limit: 0, jitter, skew, empty_every } => {
                Self::Offsets { limit: bound, jitter, skew, empty_every }
            }
            Self::Permutation { limit: 0 } => Self::Permutation { limit: bound },
            other => other,
        }
    }

    /// Says which parameter makes no sense; [`crate::fill`] expects a distribution that passed.
    pub fn check(&self) -> Result<(), DistributionError> {
        match *self {
            Self::Normal { mean, std } => finite("mean", mean).and(not_negative("std", std)),
            Self::Uniform { low, high } | Self::Ramp { low, high } => {
                finite("low", low).and(finite("high", high)).and(ordered(low <= high))
            }
            Self::Constant { value } => finite("value", value),
            Self::HeavyTail { scale, degrees } => {
                not_negative("scale", scale).and(at_least_one_degree(degrees))
            }
            Self::Spikes { std, spike, every } => {
                not_negative("std", std).and(finite("spike", spike)).and(at_least_one("every", every))
            }
            Self::ZeroRows { std, every } => not_negative("std", std).and(at_least_one("every", every)),
            Self::Alternating { magnitude } => finite("magnitude", magnitude),
            Self::Integers { low, high } => ordered(low <= high),
            Self::Binary | Self::Permutation { .. } => Ok(()),
            Self::Zipf { count, exponent } => {
                at_least_one("count", count).and(not_negative("exponent", exponent))
            }
            Self::LogUniform { low, high } => {
                positive("low", low).and(finite("high", high)).and(ordered(low <= high))
            }
            Self::Offsets { jitter, skew, empty_every, .. } => {
                let share = require((0.0..=1.0).contains(&jitter), "jitter", "is outside 0 to 1");
                let every = require(empty_every != 1, "empty_every", "is 1: use 0 for none, or 2 and more");
                share.and(positive("skew", skew)).and(every)
            }
        }
    }
}

fn require(legal: bool, field: &'static str, problem: &str) -> Result<(), DistributionError> {
    if legal { Ok(()) } else { Err(DistributionError { field, problem: problem.to_owned() }) }
}

fn finite(field: &'static str, value: f64) -> Result<(), DistributionError> {
    require(value.is_finite(), field, &format!("is {value}: a finite number is needed"))
}

fn not_negative(field: &'static str, value: f64) -> Result<(), DistributionError> {
    require(value.is_finite() && value >= 0.0, field, &format!("is {value}: a number from 0 up is needed"))
}

fn positive(field: &'static str, value: f64) -> Result<(), DistributionError> {
    require(value.is_finite() && value > 0.0, field, &format!("is {value}: a number above 0 is needed"))
}

fn at_least_one(field: &'static str, value: u64) -> Result<(), DistributionError> {
    require(value > 0, field, "is 0: a whole number from 1 up is needed")
}

fn at_least_one_degree(degrees: f64) -> Result<(), DistributionError> {
    let problem = format!("is {degrees}: a number from 1 to 1000 is needed");
    require((1.0..=1000.0).contains(&degrees), "degrees", &problem)
}

fn ordered(legal: bool) -> Result<(), DistributionError> {
    require(legal, "high", "is below `low`: exchange the two")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_written_with_its_kind() {
        let text = r#"{"kind":"heavy_tail","scale":2.0}"#;
        let distribution: Distribution = serde_json::from_str(text).unwrap();
        assert_eq!(distribution, Distribution::HeavyTail { scale: 2.0, degrees: 3.0 });
        assert_eq!(serde_json::from_str::<Distribution>(r#"{"kind":"binary"}"#).unwrap().kind(), "binary");
        assert!(serde_json::from_str::<Distribution>(r#"{"kind":"normal","sd":2.0}"#).is_err());
    }

    #[test]
    fn senseless_parameters_are_named() {
        let error = Distribution::Uniform { low: 2.0, high: 1.0 }.check().unwrap_err();
        assert_eq!(error.field, "high");
        assert!(Distribution::Zipf { count: 0, exponent: 1.0 }.check().is_err());
        assert!(Distribution::LogUniform { low: 0.0, high: 1.0 }.check().is_err());
        assert!(Distribution::STANDARD.check().is_ok());
    }
}
