//! How much an output may differ, and what is said about one that differs too much.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dtype::DType;

/// How much an output may differ from the oracle's answer.
///
/// One element passes when `|got - expected| <= ulps * u * scale`, where `u` is the unit round-off of `compute` and
/// `scale` comes with the expected value. All elements together pass when the root mean square of
/// `(got - expected) / (u * scale)` is at most `rms_ulps`: a kernel that quietly computes in a lower precision may stay
/// under every element's bound, but not under the mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    /// The type in which the kernel is expected to compute.
    pub compute: DType,
    /// Bound of one element, in rounding errors.
    #[serde(default)]
    pub ulps: f64,
    /// Bound of the root mean square over all elements, in rounding errors; 0 switches it off.
    #[serde(default)]
    pub rms_ulps: f64,
    /// Whether values must be equal after rounding to the output's type (-0 equals +0, NaN matches NaN).
    #[serde(default)]
    pub exact: bool,
}

impl Tolerance {
    /// Every element must be equal.
    pub const EXACT: Self = Self { compute: DType::F64, ulps: 0.0, rms_ulps: 0.0, exact: true };

    /// A bound per element only.
    pub const fn ulps(compute: DType, ulps: f64) -> Self {
        Self { compute, ulps, rms_ulps: 0.0, exact: false }
    }
}

/// One output element and its error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Element {
    /// Flat index into the output.
    pub index: u64,
    /// What the kernel wrote.
    pub got: f64,
    /// What the oracle says.
    pub expected: f64,
    /// Error divided by the bound; above 1 is a failure, infinite where no error is allowed or a NaN is involved.
    pub error_over_bound: f64,
}

/// Why an output does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MismatchKind {
    /// An element is outside its bound.
    Value,
    /// An element is NaN or infinite where the oracle's is not, or the other way round.
    NonFinite,
    /// Every element is within its bound, but the error as a whole is that of a lower precision.
    Precision,
    /// The oracle's own scale is negative, NaN or infinite: the apparatus is to blame, not the kernel.
    Oracle,
}

/// An output that does not pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Mismatch {
    /// Why.
    pub kind: MismatchKind,
    /// The worst element of that kind.
    pub element: Element,
    /// Elements that fail.
    pub failed: u64,
    /// Elements that were compared.
    pub checked: u64,
    /// Root mean square of the error in rounding errors of the compute type, over elements with a scale.
    pub rms_ulps: f64,
    /// What it may be; 0 where it was not judged.
    pub rms_ulps_allowed: f64,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Element { index, got, expected, error_over_bound } = self.element;
        match self.kind {
            MismatchKind::Precision => write!(
                f,
                "the error over {} elements is {:.3} rounding errors (root mean square), {:.3} are allowed; \
                 worst element {index}: got {got:e}, expected {expected:e}",
                self.checked, self.rms_ulps, self.rms_ulps_allowed
            ),
            MismatchKind::Oracle => write!(f, "the oracle gave no usable scale for element {index}"),
            MismatchKind::Value | MismatchKind::NonFinite => write!(
                f,
                "element {index}: got {got:e}, expected {expected:e}, {error_over_bound:.3} times the bound; \
                 {} of {} elements fail",
                self.failed, self.checked
            ),
        }
    }
}
