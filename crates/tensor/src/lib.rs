//! Element types, seeded inputs and comparison of tensors.
//!
//! A tensor is a slice of bytes, dense and little-endian, with a [`DType`]. Inputs come from a [`Distribution`] and a
//! seed ([`fill`]); outputs are poisoned before a call ([`poison`]) and compared with an oracle's answer afterwards
//! ([`Comparison`]).
//!
//! **Invariant:** this crate does no I/O, reads no clock and draws no randomness that was not seeded by an argument.

mod compare;
mod distribution;
mod dtype;
mod fill;
mod minifloat;
mod poison;
mod sample;
mod scan;
mod structured;
mod student;
mod tolerance;

pub use compare::{Comparison, RMS_MINIMUM_ELEMENTS};
pub use distribution::{Distribution, DistributionError};
pub use dtype::DType;
pub use fill::{fill, fill_from};
pub use poison::{POISON_VARIANTS, first_poison, poison};
pub use scan::first_non_finite;
pub use tolerance::{Element, Mismatch, MismatchKind, Tolerance};
