//! Facts and dead ends out of the log.
//!
//! An [`Archive`] is a fold of many runs: every attempt with its conclusive outcome, once, however often forks copied it. Out of
//! it come [`dead_ends`] (what never works), [`frontier`] (what was tried and what was not), [`facts`] (which gene value wins, by
//! how much) and [`calibration`] (what predictions were worth). [`Memory`] is all of this as a file, and [`Guidance`] is what
//! a later search takes from it. `docs/mining.md` explains the rules and the formats.

mod archive;
mod calibration;
mod dead_end;
mod fact;
mod frontier;
mod guidance;
mod memory;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use archive::{Archive, Attempt, Known, Scope};
pub use calibration::{CalibrationRow, calibration};
pub use dead_end::{DeadEnd, DeadEndKind, MIN_ATTEMPTS, Subject, dead_ends};
pub use fact::{Fact, facts};
pub use frontier::{Domain, FrontierRow, frontier, frontier_csv};
pub use guidance::Guidance;
pub use memory::{FRONTIER_FILE, MEMORY_FILE, MEMORY_FORMAT, Memory, Prior, ScopeMemory, Settled};

use std::path::PathBuf;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MineError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] kernsmith_experiment_log::LogError),
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The refusal.
        source: std::io::Error,
    },
    /// A memory is not what it should be.
    #[error("{}: {problem}; `kernsmith log dead-ends --write DIR` writes a new one", path.display())]
    BadMemory {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column where known.
        problem: String,
    },
}
