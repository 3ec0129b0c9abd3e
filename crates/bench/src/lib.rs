//! Measures planner and engine on landscapes, recorded spaces and null ports.
//!
//! Every measurement is a pure function of its seeds, so that a table can be made again anywhere. `docs/bench.md` says how
//! each number is defined.

mod ablation;
mod engine;
mod error;
mod landscape;
mod recorded;
mod simulate;
mod synthetic;
mod t4;
mod threads;

pub use ablation::{AblationOptions, AblationReport, AblationRow, Arm, Saved, TerrainRow, measure_ablation};
pub use engine::{EngineOptions, EngineReport, Reopened, measure_engine, measure_reopening};
pub use error::BenchError;
pub use landscape::{ScoreQuality, Terrain};
pub use recorded::{RecordedOptions, RecordedReport, SpaceRow, measure_recorded};
pub use synthetic::{PolicyRow, SyntheticOptions, SyntheticReport, measure_synthetic};
pub use t4::RecordedSpace;
