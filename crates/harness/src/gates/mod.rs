//! The gates, one file each, in the order of [`kernsmith_core::Gate`].
//!
//! A gate is a function that says yes with a short note, or no with a class and a detail. It knows nothing of the gates
//! before and behind it; `evaluate.rs` calls them in order, and an option may switch one off.

pub(crate) mod admit;
pub(crate) mod audit;
pub(crate) mod build;
pub(crate) mod confirmation;
pub(crate) mod correctness;
pub(crate) mod load;
pub(crate) mod phase;
pub(crate) mod plausibility;
pub(crate) mod quiescence;
pub(crate) mod smoke;
pub(crate) mod timed_outputs;
pub(crate) mod timing;

mod imports;
