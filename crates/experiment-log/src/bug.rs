//! Defects of the harness: a candidate that was accepted and should not have been, with everything that shows it.

use std::path::{Path, PathBuf};

use kernsmith_core::{Evidence, Plan, RunId, Seq};
use serde::Serialize;

use crate::LogError;
use crate::seal::sync_directory;

/// The folder of filed defects, below the log's root.
pub const BUGS_FOLDER: &str = "harness-bugs";

/// A defect of the harness.
#[derive(Debug, Clone, Copy)]
pub struct HarnessBug<'a> {
    /// The run in which it was found.
    pub run: &'a RunId,
    /// The `Proposed` entry.
    pub proposal: Seq,
    /// The candidate's source.
    pub source: &'a str,
    /// Its plan.
    pub plan: &'a Plan,
    /// Why its author thought that it would pass.
    pub rationale: &'a str,
    /// The judgement that accepted it.
    pub accepted: &'a Evidence,
    /// The stricter one that refused it.
    pub refused: &'a Evidence,
}

/// Writes a folder with source, plan, both judgements and a page about them; the same defect is written over.
pub fn file_bug(root: &Path, bug: &HarnessBug<'_>) -> Result<PathBuf, LogError> {
    let directory = root.join(BUGS_FOLDER).join(format!("{}-{:04}", bug.run, bug.proposal.0));
    std::fs::create_dir_all(&directory).map_err(LogError::io("create", &directory))?;
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        std::fs::write(&path, bytes).map_err(LogError::io("write", &path))
    };
    write("source.cpp", bug.source.as_bytes())?;
    write("plan.json", &json(bug.plan))?;
    write("accepted.json", &json(bug.accepted))?;
    write("refused.json", &json(bug.refused))?;
    write("README.md", page(bug).as_bytes())?;
    sync_directory(&directory)?;
    Ok(directory)
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Everything here has been in the log as JSON already.
    serde_json::to_vec_pretty(value).unwrap_or_default()
}

fn page(bug: &HarnessBug<'_>) -> String {
    let failure = bug.refused.failure.as_ref().map(ToString::to_string).unwrap_or_default();
    let weakened = &bug.accepted.environment.weakened;
    let weakened = if weakened.is_empty() {
        String::new()
    } else {
        format!("\nThe judgement that accepted it was weakened: {}.\n", weakened.join(", "))
    };
    format!(
        "# A candidate that should not have been accepted\n\n\
         Run `{}`, attempt {}, contract `{}`.\n\n\
         Accepted by the harness as it was configured (`accepted.json`), refused by a stricter judgement with fresh seeds and more \
         shapes (`refused.json`): {failure}\n{weakened}\n## Its author's words\n\n{}\n",
        bug.run, bug.proposal, bug.accepted.candidate.contract, bug.rationale
    )
}
