//! Packing what came of a batch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kernsmith_core::{Digest, RunId};
use kernsmith_experiment_log::{Content, run_files, summarise, verify};
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::error::BatchError;
use crate::manifest::BATCH_FORMAT;
use crate::unpack::{Holds, pack};

/// The fact of an `opened` entry that holds the bundle's number.
pub const BUNDLE_FACT: &str = "bundle";
/// The fact of an `opened` entry that holds the job's place in the manifest.
pub const JOB_FACT: &str = "bundle_job";
pub(crate) const RESULT_FILE: &str = "result.json";
pub(crate) const BUNDLE_FILE: &str = "bundle.json";

/// What evidence says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// [`BATCH_FORMAT`].
    pub format: u32,
    /// The bundle's number.
    pub bundle: Digest,
    /// The machine: `device`, `driver`, `os`, `compiler`, `program`, `program_digest`, `sandbox` and so on.
    pub facts: BTreeMap<String, String>,
    /// One run a job that was begun.
    pub runs: Vec<ReturnedRun>,
}

/// One run among the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnedRun {
    /// Its name.
    pub run: RunId,
    /// Place of its job in the manifest.
    pub job: usize,
    /// Its entries.
    pub entries: u64,
    /// Digest of its last line.
    pub last: Digest,
    /// Why it ended, where it did.
    pub closed: Option<String>,
}

/// Writes runs of a bundle as one file. A damaged run is refused.
pub fn write_result(
    output: &Path,
    bundle: &Bundle,
    facts: BTreeMap<String, String>,
    runs: &[(usize, RunId, PathBuf)],
) -> Result<u64, BatchError> {
    let mut contents = Vec::new();
    let mut returned = Vec::new();
    for (job, run, directory) in runs {
        let report = verify(directory)?;
        if let Some(damage) = report.damages.iter().find(|damage| !damage.recoverable) {
            return Err(BatchError::refused(directory, damage.to_string()));
        }
        let closed = summarise(directory)?.closed;
        let (entries, last) = (report.entries, report.last);
        returned.push(ReturnedRun { run: run.clone(), job: *job, entries, last, closed });
        let files = run_files(directory).into_iter();
        contents.extend(files.map(|(name, path)| (format!("runs/{run}/{name}"), Content::File(path))));
    }
    let result = Returned { format: BATCH_FORMAT, bundle: bundle.number, facts, runs: returned };
    let text =
        serde_json::to_vec_pretty(&result).map_err(|error| BatchError::refused(output, error.to_string()))?;
    let own = [
        (RESULT_FILE.to_owned(), Content::Bytes(text)),
        (BUNDLE_FILE.to_owned(), Content::File(bundle.manifest_path())),
    ];
    pack(output, Holds::Evidence, own.into_iter().chain(contents).collect())
}
