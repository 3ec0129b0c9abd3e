//! Measures planner and engine on landscapes, recorded spaces and null ports.
//!
//! Every measurement is a pure function of its seeds, so that a table can be made again anywhere. `docs/bench.md` says how
//! each number is defined.

mod engine;
mod error;
mod recorded;
mod t4;
mod threads;

pub use engine::{EngineOptions, EngineReport, measure_engine};
pub use error::BenchError;
pub use recorded::{RecordedOptions, RecordedReport, SpaceRow, measure_recorded};
pub use t4::RecordedSpace;
