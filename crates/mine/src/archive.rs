//! Every attempt of many runs, once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use kernsmith_core::event::{ForkedFrom, Opened};
use kernsmith_core::{Digest, Entry, Event, Evidence, FailureClass, Genome, NodeKind, Prediction, Seq};
use kernsmith_experiment_log::{LogError, RunReader, list};
use kernsmith_planner::{Attempted, Calibration, Outcome, Tree};
use serde::{Deserialize, Serialize};

use crate::MineError;

/// What an outcome depends on: when any of it changes, what was learned expires.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Contract name and version, as `rmsnorm_f32@1`.
    pub contract: String,
    /// Digest over all files of the contract.
    pub contract_digest: String,
    /// Built for.
    pub target: String,
    /// Fingerprint of device, compiler and so on, as the evidence names it.
    pub toolchain: String,
}

/// What is known of an attempt; only conclusive judgements make anything known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known {
    /// A gate said no.
    Failed(FailureClass),
    /// It passed and was timed: ratio to the frozen baseline and the ends of its interval.
    Passed {
        /// The ratio.
        ratio: f64,
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// It passed without times.
    Untimed,
    /// Nothing: it was never judged, or only the apparatus failed.
    Nothing,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The run's name.
    pub run: String,
    /// Its `Proposed` entry.
    pub seq: Seq,
    /// Place in [`Archive::scopes`].
    pub scope: usize,
    /// Equal keys are the same candidate.
    pub key: Digest,
    /// Template, where there is one.
    pub template: Option<String>,
    /// Genes, where there are some.
    pub genome: Genome,
    /// Titles from the family down to its node, joined by ` / `.
    pub strategy: String,
    /// What is known of it.
    pub known: Known,
}

/// A prediction and what came out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub(crate) contract: String,
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) run: String,
    pub(crate) predicted: Prediction,
    pub(crate) measured: f64,
}

/// Every attempt of many runs, once.
#[derive(Debug, Clone, Default)]
pub struct Archive {
    /// What outcomes depended on.
    pub scopes: Vec<Scope>,
    /// All attempts that are no duplicates, in order of runs.
    pub attempts: Vec<Attempt>,
    /// Names of the runs.
    pub runs: Vec<String>,
    /// Those of them that another machine wrote.
    pub imported: BTreeSet<String>,
    /// What was left out, and why.
    pub notes: Vec<String>,
    pub(crate) pairs: Vec<Pair>,
    /// The deciding evidence of each attempt: a fork's copy of it is the same evidence.
    seen: HashMap<Digest, usize>,
}

/// One run, read.
struct Reading {
    tree: Tree,
    sightings: HashMap<Seq, Sighting>,
}

impl Reading {
    fn of<E>(entries: impl Iterator<Item = Result<Entry, E>>) -> Result<Self, E> {
        let mut reading = Self { tree: Tree::default(), sightings: HashMap::new() };
        for entry in entries {
            let entry = entry?;
            reading.tree.apply(&entry);
            match &entry.event {
                Event::Proposed(proposed) => {
                    reading.sightings.entry(entry.seq).or_default().key.get_or_insert(proposed.key);
                }
                Event::Judged { proposal, evidence } => {
                    reading.sightings.entry(*proposal).or_default().see(evidence);
                }
                _ => {}
            }
        }
        Ok(reading)
    }
}

/// What the tree does not keep of an attempt.
#[derive(Default)]
struct Sighting {
    key: Option<Digest>,
    evidence: Option<Digest>,
    toolchain: String,
}

impl Attempt {
    /// Where it stands in the log, as `<run>#<seq>`.
    pub fn at(&self) -> String {
        format!("{}#{}", self.run, self.seq.0)
    }

    /// Ratio to the frozen baseline, where it passed and was timed.
    pub const fn ratio(&self) -> Option<f64> {
        match self.known {
            Known::Passed { ratio, .. } => Some(ratio),
            _ => None,
        }
    }
}

impl Archive {
    /// Reads the runs below `root`, those of one contract only where it is named (`rmsnorm_f32` or `rmsnorm_f32@1`). A damaged
    /// run is left out with a note.
    pub fn open(root: &Path, contract: Option<&str>) -> Result<Self, MineError> {
        let mut archive = Self::default();
        for summary in list(root)? {
            let reader = match RunReader::open(&summary.directory) {
                Ok(reader) => reader,
                Err(LogError::Empty { .. }) => continue,
                Err(error) => {
                    archive.notes.push(format!("{} left out: {error}", summary.run));
                    continue;
                }
            };
            let name = &reader.opened().contract;
            let versioned = format!("{name}@{}", reader.opened().contract_version);
            if contract.is_some_and(|wanted| wanted != name && wanted != versioned) {
                continue;
            }
            // What an auditor wrote was not written to be fast, and may have been accepted in a fire drill.
            if reader.opened().audit.is_some() {
                continue;
            }
            match Reading::of(reader.entries()?) {
                Ok(reading) => {
                    archive.settle(&summary.run, reading);
                    if summary.imported_from.is_some() {
                        archive.imported.insert(summary.run);
                    }
                }
                Err(error) => archive.notes.push(format!("{} left out: {error}", summary.run)),
            }
        }
        Ok(archive)
    }

    /// Takes in one run.
    pub fn take(&mut self, run: &str, entries: &[Entry]) {
        let Ok(reading) = Reading::of(entries.iter().cloned().map(Ok::<_, std::convert::Infallible>));
        self.settle(run, reading);
    }

    fn settle(&mut self, run: &str, reading: Reading) {
        let Reading { tree, mut sightings } = reading;
        let Some(opened) = tree.opened() else { return };
        self.runs.push(run.to_owned());
        let fork = opened.forked_from.as_ref();
        let calibration = tree.calibration();
        for attempt in tree.attempts() {
            let sighting = sightings.remove(&attempt.seq).unwrap_or_default();
            self.attempt(run, &tree, &calibration, attempt, &sighting);
        }
        self.predictions(run, &tree, opened, fork);
    }

    fn attempt(
        &mut self,
        run: &str,
        tree: &Tree,
        calibration: &Calibration,
        attempt: &Attempted,
        seen: &Sighting,
    ) {
        if matches!(attempt.outcome, Outcome::Duplicate { .. }) {
            return;
        }
        let known = known(attempt);
        if let Some(evidence) = seen.evidence
            && known != Known::Nothing
        {
            if self.seen.contains_key(&evidence) {
                return;
            }
            self.seen.insert(evidence, self.attempts.len());
        }
        let (Some(key), Some(opened)) = (seen.key, tree.opened()) else { return };
        let scope = self.scope(Scope::of(opened, &seen.toolchain));
        let path = tree.strategy(attempt.node, calibration).map(|strategy| strategy.path).unwrap_or_default();
        self.attempts.push(Attempt {
            run: run.to_owned(),
            seq: attempt.seq,
            scope,
            key,
            template: tree.template_of(attempt).map(str::to_owned),
            genome: tree.genome_of(attempt),
            strategy: path.join(" / "),
            known,
        });
    }

    fn scope(&mut self, scope: Scope) -> usize {
        let place = self.scopes.iter().position(|known| *known == scope);
        place.unwrap_or_else(|| {
            self.scopes.push(scope);
            self.scopes.len() - 1
        })
    }

    fn predictions(&mut self, run: &str, tree: &Tree, opened: &Opened, fork: Option<&ForkedFrom>) {
        let contract = format!("{}@{}", opened.contract, opened.contract_version);
        let mut pair = |kind, name: &str, predicted, measured| {
            let (contract, name, run) = (contract.clone(), name.to_owned(), run.to_owned());
            self.pairs.push(Pair { contract, kind, name, run, predicted, measured });
        };
        for node in tree.nodes().filter(|node| node.kind != NodeKind::Root) {
            let Some(measured) = tree.best_below(node.id) else { continue };
            let family = tree.family(node.id).map(|family| family.title.clone()).unwrap_or_default();
            pair("family", &family, node.predicted, measured);
            node.axes.iter().for_each(|axis| pair("axis", axis, node.predicted, measured));
        }
        for attempt in tree.attempts() {
            let copied = fork.is_some_and(|fork| fork.origin_of(attempt.seq).is_some());
            if let (false, Some(predicted), Some(measured)) = (copied, attempt.prediction, attempt.ratio()) {
                pair("proposer", tree.proposer_of(attempt), predicted, measured);
            }
        }
    }

    /// Attempts of one scope by template; those without a template are left out.
    pub(crate) fn by_template(&self) -> BTreeMap<(usize, &str), Vec<&Attempt>> {
        let mut groups: BTreeMap<(usize, &str), Vec<&Attempt>> = BTreeMap::new();
        for attempt in &self.attempts {
            if let Some(template) = &attempt.template {
                groups.entry((attempt.scope, template)).or_default().push(attempt);
            }
        }
        groups
    }
}

impl Scope {
    /// The scope of a run, or of a judgement where its toolchain is known better.
    pub fn of(opened: &Opened, toolchain: &str) -> Self {
        let of_run = || opened.environment.get("fingerprint").cloned().unwrap_or_default();
        Self {
            contract: format!("{}@{}", opened.contract, opened.contract_version),
            contract_digest: opened.contract_digest.to_string(),
            target: opened.target.to_string(),
            toolchain: if toolchain.is_empty() { of_run() } else { toolchain.to_owned() },
        }
    }

    /// What differs from another scope, in words; nothing where they are equal.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let pairs = [
            ("contract version", self.contract == other.contract),
            ("contract", self.contract_digest == other.contract_digest),
            ("target", self.target == other.target),
            ("toolchain", self.toolchain == other.toolchain),
        ];
        pairs.into_iter().filter(|(_, equal)| !equal).map(|(name, _)| name).collect()
    }
}

impl Sighting {
    fn see(&mut self, evidence: &Evidence) {
        let conclusive = evidence.failure.as_ref().is_none_or(|failure| failure.class.is_conclusive());
        if conclusive && self.evidence.is_none() {
            // The first conclusive judgement is in every copy of the attempt; later ones may not be.
            self.evidence = serde_json::to_vec(evidence).ok().map(|bytes| Digest::of(&bytes));
        }
        if conclusive && !evidence.environment.fingerprint.is_empty() {
            self.toolchain.clone_from(&evidence.environment.fingerprint);
        }
    }
}

fn known(attempt: &Attempted) -> Known {
    match (&attempt.outcome, &attempt.measured) {
        // A gain that did not come back says that the first timing was luck, not that the kernel fails.
        (Outcome::Rejected { class: FailureClass::NotConfirmed }, _) => Known::Nothing,
        (Outcome::Rejected { class }, _) if class.is_conclusive() => Known::Failed(*class),
        (Outcome::Accepted, Some(measured)) => {
            Known::Passed { ratio: measured.ratio, low: measured.ci_low, high: measured.ci_high }
        }
        (Outcome::Accepted, None) => Known::Untimed,
        _ => Known::Nothing,
    }
}
