//! Checking evidence against the bundle that it is of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kernsmith_core::event::Opened;
use kernsmith_core::{Digest, Entry, Event, Seq};
use kernsmith_experiment_log::{RunReader, verify};

use crate::bundle::read_manifest;
use crate::error::BatchError;
use crate::manifest::{BATCH_FORMAT, Item, Job, Manifest};
use crate::result::{BUNDLE_FACT, BUNDLE_FILE, RESULT_FILE, Returned, ReturnedRun};
use crate::unpack::{Holds, unpack};

/// Evidence that fits its bundle.
#[derive(Debug, Clone)]
pub struct Checked {
    /// What it says of itself.
    pub returned: Returned,
    /// What the bundle said of itself.
    pub manifest: Manifest,
    /// Its runs.
    pub runs: Vec<CheckedRun>,
}

/// A run that fits its job.
#[derive(Debug, Clone)]
pub struct CheckedRun {
    /// What is said of it.
    pub returned: ReturnedRun,
    /// Its files.
    pub directory: PathBuf,
    /// Candidates that no judgement is about, by where they came from.
    pub missing: Vec<String>,
    /// Candidates whose last judgement passed.
    pub accepted: usize,
    /// Candidates whose last judgement failed.
    pub rejected: usize,
}

/// Unpacks evidence into a folder and holds every entry against the bundle; `bundle` is the one that is asked for, if any.
pub fn open_result(path: &Path, into: &Path, bundle: Option<Digest>) -> Result<Checked, BatchError> {
    unpack(path, Holds::Evidence, into)?;
    let refuse = |problem: String| BatchError::refused(path, problem);
    let bytes = std::fs::read(into.join(RESULT_FILE)).map_err(BatchError::io("read", path))?;
    let returned: Returned = serde_json::from_slice(&bytes)
        .map_err(|error| refuse(format!("`{RESULT_FILE}` cannot be read: {error}")))?;
    if returned.format > BATCH_FORMAT {
        return Err(refuse(format!("its format {} is newer than {BATCH_FORMAT}", returned.format)));
    }
    let (number, manifest) = read_manifest(&into.join(BUNDLE_FILE), path)?;
    if number != returned.bundle {
        let problem = format!("it is said to be of bundle {}, and holds bundle {number}", returned.bundle);
        return Err(refuse(problem));
    }
    if let Some(wanted) = bundle.filter(|wanted| *wanted != number) {
        return Err(refuse(format!("it is of bundle {number}, not of bundle {wanted}")));
    }
    let runs = returned.runs.iter().map(|run| {
        let directory = into.join("runs").join(run.run.as_str());
        let job = manifest.jobs.get(run.job);
        let job = job.ok_or_else(|| refuse(format!("the bundle has no job {}", run.job)))?;
        check_run(run, job, number, directory).map_err(|problem| match problem {
            Problem::Log(error) => error,
            Problem::Differs(text) => refuse(format!("run {}: {text}", run.run)),
        })
    });
    let runs = runs.collect::<Result<_, BatchError>>()?;
    Ok(Checked { returned, manifest, runs })
}

enum Problem {
    Log(BatchError),
    Differs(String),
}

impl<E: Into<BatchError>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Log(error.into())
    }
}

fn check_run(
    returned: &ReturnedRun,
    job: &Job,
    bundle: Digest,
    directory: PathBuf,
) -> Result<CheckedRun, Problem> {
    let report = verify(&directory)?;
    if let Some(damage) = report.damages.iter().find(|damage| !damage.recoverable) {
        return Err(Problem::Differs(damage.to_string()));
    }
    if (report.entries, report.last) != (returned.entries, returned.last) {
        return Err(Problem::Differs(format!(
            "it has {} entries ending in {}, and is said to have {} ending in {}",
            report.entries, report.last, returned.entries, returned.last
        )));
    }
    let reader = RunReader::open(&directory)?;
    check_opened(reader.opened(), returned, job, bundle)?;
    let mut tally =
        Tally { job, proposals: BTreeMap::new(), verdicts: BTreeMap::new(), repeats: BTreeMap::new() };
    for entry in reader.entries()? {
        let entry = entry?;
        tally.take(&entry).map_err(|text| Problem::Differs(format!("entry {}: {text}", entry.seq)))?;
    }
    let outcomes: Vec<(&str, Option<bool>)> = tally.outcomes();
    let count = |wanted| outcomes.iter().filter(|(_, outcome)| *outcome == Some(wanted)).count();
    let missing = outcomes.iter().filter(|(_, outcome)| outcome.is_none());
    Ok(CheckedRun {
        missing: missing.map(|(from, _)| (*from).to_owned()).collect(),
        accepted: count(true),
        rejected: count(false),
        returned: returned.clone(),
        directory,
    })
}

/// What the entries of a run say of the candidates of its job.
struct Tally<'a> {
    job: &'a Job,
    /// Place of the candidate in the job.
    proposals: BTreeMap<Seq, usize>,
    verdicts: BTreeMap<Seq, bool>,
    repeats: BTreeMap<Seq, Seq>,
}

impl<'a> Tally<'a> {
    /// Holds an entry against the job; in words what does not fit.
    fn take(&mut self, entry: &Entry) -> Result<(), String> {
        match &entry.event {
            Event::Proposed(proposed) => {
                let place = self.job.candidates.iter().position(|item| item.is(proposed));
                let source = proposed.source.short();
                let place = place.ok_or_else(|| {
                    format!("the bundle holds no candidate with source {source} and this plan")
                })?;
                self.proposals.insert(entry.seq, place);
            }
            Event::Judged { proposal, evidence } => {
                let place = self.proposals.get(proposal);
                let item = place.map(|place| &self.job.candidates[*place]);
                let item = item.ok_or_else(|| format!("it judges {proposal}, which is no candidate"))?;
                differs("source", &evidence.candidate.source.short(), &item.source.short())?;
                self.verdicts.insert(*proposal, evidence.is_accepted());
            }
            Event::Deduplicated { proposal, of, .. } => drop(self.repeats.insert(*proposal, *of)),
            // A contract's own baseline is covered by the contract's digest.
            Event::BaselineFrozen(frozen) => {
                if let Some(baseline) = &self.job.baseline {
                    differs("baseline", &frozen.source.short(), &baseline.source.short())?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Where each candidate came from, and its last verdict; that of its twin where it is one.
    fn outcomes(&self) -> Vec<(&'a str, Option<bool>)> {
        let verdict =
            |seq: &Seq| self.verdicts.get(seq).or_else(|| self.verdicts.get(self.repeats.get(seq)?));
        let places = self.job.candidates.iter().enumerate();
        let outcome = |(place, item): (usize, &'a Item)| {
            let proposal = self.proposals.iter().find(|(_, found)| **found == place);
            (item.from.as_str(), proposal.and_then(|(seq, _)| verdict(seq)).copied())
        };
        places.map(outcome).collect()
    }
}

fn differs(what: &str, ours: &str, theirs: &str) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("its {what} is `{ours}`, the bundle says `{theirs}`")) }
}

fn check_opened(opened: &Opened, returned: &ReturnedRun, job: &Job, bundle: Digest) -> Result<(), Problem> {
    let own_number = opened.environment.get(BUNDLE_FACT).cloned().unwrap_or_default();
    let pairs = [
        ("name", opened.run_id.to_string(), returned.run.to_string()),
        ("bundle", own_number, bundle.to_string()),
        ("contract", opened.contract.clone(), job.contract.clone()),
        ("contract digest", opened.contract_digest.to_string(), job.contract_digest.to_string()),
        ("target", opened.target.to_string(), job.target.to_string()),
    ];
    pairs.iter().try_for_each(|(what, ours, theirs)| differs(what, ours, theirs)).map_err(Problem::Differs)
}
