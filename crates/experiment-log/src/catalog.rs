//! Looking over the runs of one log folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kernsmith_core::event::Opened;
use kernsmith_core::{FailureClass, RunId, Seq, Verdict};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::error::run_name;
use crate::history::{Chain, Lines};
use crate::line::Line;
use crate::{HISTORY_FILE, LogError, RUNS_FOLDER, SEAL_FILE, provenance};

/// Whether a run is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It is being written, or was interrupted: it can go on.
    Open,
    /// It is done.
    Sealed,
    /// A line is not what was written; what stands before it was counted.
    Damaged,
}

/// One run in a few words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Its name.
    pub run: String,
    /// Its folder.
    pub directory: PathBuf,
    /// Contract name; empty where the run never began.
    pub contract: String,
    /// What it searches for; empty where the run never began.
    pub target: String,
    /// Time of the first entry; empty where the run never began.
    pub started: String,
    /// Durable entries.
    pub entries: u64,
    /// Candidates that were proposed.
    pub candidates: u64,
    /// Candidates that passed; a later rejection takes that back, a failure of the apparatus does not.
    pub accepted: u64,
    /// Confirmed ratio of the champion.
    pub best_ratio: Option<f64>,
    /// Why it ended, where it did.
    pub closed: Option<String>,
    /// Whether it is done.
    pub state: RunState,
    /// Where it was taken from, where another machine wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported_from: Option<String>,
}

#[derive(Deserialize)]
struct JudgedPart {
    proposal: Seq,
    evidence: VerdictPart,
}

#[derive(Deserialize)]
struct VerdictPart {
    verdict: Verdict,
    failure: Option<FailurePart>,
}

#[derive(Deserialize)]
struct FailurePart {
    class: FailureClass,
}

#[derive(Deserialize)]
struct PromotedPart {
    ratio: f64,
}

#[derive(Deserialize)]
struct ClosedPart {
    reason: String,
}

/// All runs below `root`, oldest first, those of the same millisecond by name. A folder that is no run is passed over; no folder at all is an empty list.
pub fn list(root: &Path) -> Result<Vec<RunSummary>, LogError> {
    let mut summaries: Vec<RunSummary> =
        directories(root)?.iter().map(|directory| summarise(directory)).collect::<Result<_, _>>()?;
    summaries.sort_by_cached_key(|summary| (instant(&summary.started), summary.run.clone()));
    Ok(summaries)
}

/// One run in a few words. Damage is a state here; [`crate::verify`] names it.
pub fn summarise(directory: &Path) -> Result<RunSummary, LogError> {
    let mut lines = Lines::open(directory)?;
    let sealed = directory.join(SEAL_FILE).exists();
    let mut summary = RunSummary {
        run: run_name(directory),
        directory: directory.to_owned(),
        contract: String::new(),
        target: String::new(),
        started: String::new(),
        entries: 0,
        candidates: 0,
        accepted: 0,
        best_ratio: None,
        closed: None,
        state: if sealed { RunState::Sealed } else { RunState::Open },
        imported_from: provenance(directory).map(|provenance| provenance.from),
    };
    let mut verdicts = HashMap::new();
    let mut chain = Chain::start();
    while lines.advance()? {
        let noted =
            chain.check(lines.bytes()).is_ok_and(|line| note(&line, &mut summary, &mut verdicts).is_ok());
        if !noted {
            summary.state = RunState::Damaged;
            break;
        }
        summary.entries += 1;
    }
    summary.accepted = verdicts.values().filter(|&&verdict| verdict == Verdict::Accepted).count() as u64;
    Ok(summary)
}

/// Takes what the summary needs out of one line; the rest of the event is skipped.
fn note(
    line: &Line<'_>,
    summary: &mut RunSummary,
    verdicts: &mut HashMap<Seq, Verdict>,
) -> Result<(), serde_json::Error> {
    summary.closed = None;
    match &*line.event_name() {
        "opened" => {
            let opened: Opened = line.part()?;
            summary.contract = opened.contract;
            summary.target = opened.target.to_string();
            summary.started = line.time.clone().into_owned();
        }
        "proposed" => {
            line.part::<IgnoredAny>()?;
            summary.candidates += 1;
        }
        "judged" => {
            let JudgedPart { proposal, evidence } = line.part()?;
            let conclusive = evidence.failure.is_none_or(|failure| failure.class.is_conclusive());
            // A kernel that was ever caught stays caught, as it does in the tree.
            if conclusive && verdicts.get(&proposal) != Some(&Verdict::Rejected) {
                verdicts.insert(proposal, evidence.verdict);
            }
        }
        "promoted" => summary.best_ratio = Some(line.part::<PromotedPart>()?.ratio),
        "closed" => summary.closed = Some(line.part::<ClosedPart>()?.reason),
        _ => {
            line.part::<IgnoredAny>()?;
        }
    }
    Ok(())
}

/// The folder of the run that `name` means: its whole name, a prefix that only one run has, `latest`, or a path.
pub fn find(root: &Path, name: &str) -> Result<PathBuf, LogError> {
    if name.contains(std::path::MAIN_SEPARATOR) && Path::new(name).join(HISTORY_FILE).is_file() {
        return Ok(PathBuf::from(name));
    }
    let directories = directories(root)?;
    let problem = |text: String| LogError::NotFound { problem: text };
    if name == "latest" {
        return latest(&directories).ok_or_else(|| {
            problem(format!("{} holds no run yet; `kernsmith search` makes one", root.display()))
        });
    }
    if let Some(exact) = directories.iter().find(|directory| run_name(directory) == name) {
        return Ok(exact.clone());
    }
    let fitting: Vec<&PathBuf> = directories
        .iter()
        .filter(|directory| !name.is_empty() && run_name(directory).starts_with(name))
        .collect();
    match fitting.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(problem(format!(
            "no run below {} begins with `{name}`; there are: {}",
            root.display(),
            names(&directories)
        ))),
        _ => {
            let fitting: Vec<PathBuf> = fitting.into_iter().cloned().collect();
            Err(problem(format!("`{name}` fits more than one run: {}", names(&fitting))))
        }
    }
}

/// When that was. Times do not sort as text where some have fewer digits: `…:01.5Z` is before `…:01.52Z`.
fn instant(time: &str) -> Option<Timestamp> {
    time.parse().ok()
}

fn latest(directories: &[PathBuf]) -> Option<PathBuf> {
    let started = |directory: &PathBuf| -> Option<(Option<Timestamp>, String)> {
        let mut lines = Lines::open(directory).ok()?;
        lines.advance().ok().filter(|whole| *whole)?;
        let time = instant(&Chain::start().check(lines.bytes()).ok()?.time);
        Some((time, run_name(directory)))
    };
    directories
        .iter()
        .filter_map(|directory| Some((started(directory)?, directory)))
        .max()
        .map(|(_, d)| d.clone())
}

fn names(directories: &[PathBuf]) -> String {
    const SHOWN: usize = 5;
    if directories.is_empty() {
        return "none".to_owned();
    }
    let mut text = directories
        .iter()
        .rev()
        .take(SHOWN)
        .map(|directory| run_name(directory))
        .collect::<Vec<_>>()
        .join(", ");
    if directories.len() > SHOWN {
        text.push_str(", …");
    }
    text
}

/// The folders of runs below `root`, by name.
pub(crate) fn directories(root: &Path) -> Result<Vec<PathBuf>, LogError> {
    let runs = root.join(RUNS_FOLDER);
    let listing = match std::fs::read_dir(&runs) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(LogError::io("list", &runs)(error)),
    };
    let mut directories = Vec::new();
    for folder in listing {
        let folder = folder.map_err(LogError::io("list", &runs))?;
        let is_run_name = folder.file_name().to_str().is_some_and(|name| name.parse::<RunId>().is_ok());
        if is_run_name && folder.path().join(HISTORY_FILE).is_file() {
            directories.push(folder.path());
        }
    }
    directories.sort();
    Ok(directories)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_fewer_digits_come_in_their_place() {
        let times = ["2026-11-21T17:35:01Z", "2026-11-21T17:35:01.5Z", "2026-11-21T17:35:01.52Z"];
        assert!(
            times.is_sorted_by_key(|time| instant(time)) && times.iter().all(|time| instant(time).is_some())
        );
        assert_eq!(instant("yesterday"), None);
    }
}
