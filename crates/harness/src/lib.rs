//! Judges candidates: the gates, parent side.
//!
//! [`Harness`] implements [`kernsmith_core::Evaluate`] for the processor that it runs on, and for a GPU (`gpu/`). Each gate is a
//! file of its own in `gates/`, in the order of [`kernsmith_core::Gate`]; what each defends against is in
//! `docs/verification-contract.md`, what they cost in `docs/harness-cost.md`, and every field of the packet that comes out
//! in `docs/evidence-schema.md`.
//!
//! **Invariant:** seeds, expected values, clocks and verdicts stay in this process; candidate code never runs in it.

mod arena;
mod arguments;
mod baseline;
mod battery;
mod calibration;
mod check;
mod device;
mod error;
mod evaluate;
mod evidence;
mod gates;
mod gpu;
mod harness;
mod inputs;
mod layout;
mod lint;
mod options;
mod oracle;
mod process;
mod rivals;
mod runner;
mod setup;
mod static_gates;
mod threads;
mod timing;
mod trial;

pub use calibration::Calibration;
pub use error::HarnessError;
pub use evaluate::Prepared;
pub use gpu::{GpuFacts, Tool, gpu_facts, gpu_target};
pub use harness::{GpuRequest, Harness, OpenRequest};
pub use options::HarnessOptions;
pub use static_gates::{StaticReport, StaticRequest, evaluate_static};

#[cfg(test)]
mod documents;
