//! Owns experiment-log/: the append-only record of every attempt.
//!
//! A run is a folder `runs/<run>/` with `history.jsonl` (one entry a line, chained by digest), `blobs.pack` (sources,
//! content-addressed and compressed) and, once it is done, `seal.json`. The written format is `experiment-log/README.md`.
//!
//! [`RunWriter`] implements [`kernsmith_core::Record`]: a group of events is durable when `append` returns, and nothing is
//! acknowledged before. [`RunReader`] streams entries back, [`verify`] names every damage, [`list`] and [`find`] look
//! over the runs of one log folder.

mod ahead;
mod archive;
mod bug;
mod bundle;
mod catalog;
mod error;
mod fork;
mod history;
mod index;
mod line;
mod lock;
mod pack;
mod parquet;
mod reader;
mod seal;
mod staging;
mod verify;
mod writer;

pub use archive::{Archive, Content, Part, write_archive};
pub use bug::{BUGS_FOLDER, HarnessBug, file_bug};
pub use bundle::{
    BUNDLE_FORMAT, PROVENANCE_FILE, Provenance, Taken, import, import_again, importable, provenance,
    run_files, write_bundle,
};
pub use catalog::{RunState, RunSummary, find, list, summarise};
pub use error::LogError;
pub use fork::{Forked, fork};
pub use index::{Cell, INDEX_FILE, Index, IndexUpdate, RowObject, RunIndex, Table, VIEWS};
pub use parquet::write_parquet;
pub use reader::{Entries, RunReader};
pub use seal::Seal;
pub use verify::{Damage, DamageKind, VerifyReport, verify};
pub use writer::RunWriter;

use std::path::{Path, PathBuf};

use kernsmith_core::RunId;

/// The entries of a run, one a line.
pub const HISTORY_FILE: &str = "history.jsonl";
/// The blobs of a run.
pub const PACK_FILE: &str = "blobs.pack";
/// The seal of a run that is done.
pub const SEAL_FILE: &str = "seal.json";
/// Held by the one writer of a run; holds its process id.
pub const LOCK_FILE: &str = "writer.lock";
/// The folder of all runs, below the log's root.
pub const RUNS_FOLDER: &str = "runs";

/// The folder of a run below the log's root; a [`RunId`] is always a safe folder name.
pub fn run_directory(root: &Path, run: &RunId) -> PathBuf {
    root.join(RUNS_FOLDER).join(run.as_str())
}

#[cfg(test)]
mod tests;
