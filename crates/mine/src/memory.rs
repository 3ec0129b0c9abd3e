//! What was learned, as a file: `memory.json`, and `frontier.csv` beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use kernsmith_core::{Digest, FailureClass, GeneValue, Genome, Prediction};
use serde::{Deserialize, Serialize};

use crate::MineError;
use crate::archive::{Archive, Attempt, Known, Scope};
use crate::calibration::{CalibrationRow, calibration};
use crate::dead_end::{DeadEnd, dead_ends};
use crate::fact::{Fact, facts};
use crate::frontier::{FrontierRow, frontier_csv};

/// The newest memory format.
pub const MEMORY_FORMAT: u32 = 1;
/// The memory's file name.
pub const MEMORY_FILE: &str = "memory.json";
/// The frontier's file name.
pub const FRONTIER_FILE: &str = "frontier.csv";
/// Passed attempts that are kept for each template, the best ones.
const PASSES_KEPT: usize = 200;
/// The quantile of the normal distribution that leaves 5 % on each side.
const Z90: f64 = 1.644_853_626_951_472_7;
/// One run's best says little about the next one's: the standard deviation of its logarithm that is assumed beforehand (a
/// factor of about 1.5), counted as one run.
const PRIOR_DEVIATION: f64 = 0.4;

/// What was learned from many runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// [`MEMORY_FORMAT`].
    pub format: u32,
    /// The runs that it was learned from.
    pub runs: Vec<String>,
    /// One part for each scope.
    pub scopes: Vec<ScopeMemory>,
    /// What predictions were worth; over all toolchains.
    pub calibration: Vec<CalibrationRow>,
}

/// What was learned in one scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeMemory {
    /// Where it holds.
    pub scope: Scope,
    /// Choices that never work.
    pub dead_ends: Vec<DeadEnd>,
    /// Genomes with a conclusive outcome: every failure, and the best passes of each template.
    pub settled: Vec<Settled>,
    /// What to expect of a template or of a gene value.
    pub priors: Vec<Prior>,
    /// Which gene value wins.
    pub facts: Vec<Fact>,
}

/// A genome with a conclusive outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settled {
    /// The template.
    pub template: String,
    /// The genes.
    pub genome: Genome,
    /// The candidate's key: where the template now makes another one of these genes, this is out of date.
    pub key: Digest,
    /// Why it failed, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureClass>,
    /// Ratio to the frozen baseline, where it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Where it stands, as `<run>#<seq>`.
    pub at: String,
}

/// The best ratio that a run reaches with a template, or with one value of one of its genes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prior {
    /// The template.
    pub template: String,
    /// The gene and its value; the whole template without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gene: Option<(String, GeneValue)>,
    /// Expected best ratio of the next run, with a 90 % interval.
    pub predicted: Prediction,
    /// Distinct candidates that passed.
    pub attempts: u32,
    /// Runs.
    pub runs: u32,
}

/// What every format has.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

impl Memory {
    /// Everything that an archive teaches; a pure function of it.
    pub fn of(archive: &Archive) -> Self {
        let mut scopes: Vec<ScopeMemory> = archive
            .scopes
            .iter()
            .map(|scope| ScopeMemory {
                scope: scope.clone(),
                dead_ends: Vec::new(),
                settled: Vec::new(),
                priors: Vec::new(),
                facts: Vec::new(),
            })
            .collect();
        for ((scope, template), attempts) in archive.by_template() {
            scopes[scope].settled.extend(settled(template, &attempts));
            scopes[scope].priors.extend(priors(template, &attempts));
        }
        let place = |scope: &Scope| archive.scopes.iter().position(|known| known == scope);
        for dead_end in dead_ends(archive) {
            if let Some(part) = place(&dead_end.scope).and_then(|place| scopes.get_mut(place)) {
                part.dead_ends.push(dead_end);
            }
        }
        for fact in facts(archive) {
            if let Some(part) = place(&fact.scope).and_then(|place| scopes.get_mut(place)) {
                part.facts.push(fact);
            }
        }
        Self { format: MEMORY_FORMAT, runs: archive.runs.clone(), scopes, calibration: calibration(archive) }
    }

    /// The part that holds in one scope, and nothing else: what a search in it is told.
    #[must_use]
    pub fn part(&self, scope: &Scope) -> Self {
        let holds = |part: &&ScopeMemory| part.scope.differences(scope).is_empty();
        let scopes: Vec<ScopeMemory> = self.scopes.iter().filter(holds).cloned().collect();
        let run = |at: &String| at.split_once('#').map_or(at.as_str(), |(run, _)| run).to_owned();
        let settled = scopes.iter().flat_map(|part| &part.settled).map(|row| run(&row.at));
        let ends = scopes.iter().flat_map(|part| &part.dead_ends).flat_map(|end| &end.evidence).map(run);
        let runs: BTreeSet<String> = settled.chain(ends).collect();
        Self { format: self.format, runs: runs.into_iter().collect(), scopes, calibration: Vec::new() }
    }

    /// Reads a memory; `path` is the file or the folder that holds it.
    pub fn read(path: &Path) -> Result<Self, MineError> {
        let path = if path.is_dir() { path.join(MEMORY_FILE) } else { path.to_owned() };
        let failed = |source| MineError::File { action: "read", path: path.clone(), source };
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        let bad = |problem: String| MineError::BadMemory { path: path.clone(), problem };
        let head: Head = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        if head.format == 0 || head.format > MEMORY_FORMAT {
            return Err(bad(format!(
                "format {} is not known, this program reads 1 to {MEMORY_FORMAT}",
                head.format
            )));
        }
        serde_json::from_str(&text).map_err(|error| bad(error.to_string()))
    }

    /// Writes `memory.json` and `frontier.csv` into a folder; each is there in full or as it was before.
    pub fn write(&self, directory: &Path, frontier: &[FrontierRow]) -> Result<[PathBuf; 2], MineError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| MineError::File { action, path, source }
        };
        std::fs::create_dir_all(directory).map_err(failed("create", directory))?;
        let text =
            serde_json::to_string_pretty(self).map_err(|error| failed("write", directory)(error.into()))?;
        let mut written = [PathBuf::new(), PathBuf::new()];
        let files = [(MEMORY_FILE, text + "\n"), (FRONTIER_FILE, frontier_csv(frontier))];
        for (place, (name, text)) in written.iter_mut().zip(files) {
            let (path, draft) = (directory.join(name), directory.join(format!("{name}.new")));
            let mut file = std::fs::File::create(&draft).map_err(failed("create", &draft))?;
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(failed("write", &draft))?;
            std::fs::rename(&draft, &path).map_err(failed("write", &path))?;
            *place = path;
        }
        Ok(written)
    }
}

/// One row a distinct candidate: all failures, and the best passes.
fn settled(template: &str, attempts: &[&Attempt]) -> Vec<Settled> {
    let mut rows: BTreeMap<Digest, Settled> = BTreeMap::new();
    for attempt in attempts {
        let (failure, ratio) = match attempt.known {
            Known::Failed(class) => (Some(class), None),
            Known::Passed { ratio, .. } => (None, Some(ratio)),
            Known::Untimed | Known::Nothing => continue,
        };
        let row = Settled {
            template: template.to_owned(),
            genome: attempt.genome.clone(),
            key: attempt.key,
            failure,
            ratio,
            at: attempt.at(),
        };
        let known = rows.entry(attempt.key).or_insert_with(|| row.clone());
        // One failure outweighs a pass elsewhere: a kernel that was ever caught stays caught.
        if known.failure.is_none() && row.failure.is_some() {
            *known = row;
        }
    }
    let (mut failures, mut passes): (Vec<Settled>, Vec<Settled>) =
        rows.into_values().partition(|row| row.failure.is_some());
    passes.sort_by(|a, b| b.ratio.unwrap_or(0.0).total_cmp(&a.ratio.unwrap_or(0.0)));
    passes.truncate(PASSES_KEPT);
    failures.sort_by(|a, b| (&a.genome, &a.at).cmp(&(&b.genome, &b.at)));
    failures.extend(passes);
    failures
}

fn priors(template: &str, attempts: &[&Attempt]) -> Vec<Prior> {
    let mut groups: BTreeMap<Option<(&String, &GeneValue)>, Vec<&Attempt>> = BTreeMap::new();
    for attempt in attempts.iter().filter(|attempt| attempt.ratio().is_some()) {
        groups.entry(None).or_default().push(attempt);
        for gene in &attempt.genome {
            groups.entry(Some(gene)).or_default().push(attempt);
        }
    }
    let prior = |(gene, group): (Option<(&String, &GeneValue)>, Vec<&Attempt>)| {
        let mut best: BTreeMap<&str, f64> = BTreeMap::new();
        for attempt in &group {
            let ratio = attempt.ratio().unwrap_or(0.0);
            best.entry(&attempt.run).and_modify(|known| *known = known.max(ratio)).or_insert(ratio);
        }
        let distinct: BTreeSet<Digest> = group.iter().map(|attempt| attempt.key).collect();
        Prior {
            template: template.to_owned(),
            gene: gene.map(|(name, value)| (name.clone(), value.clone())),
            predicted: next_best(&best.values().copied().collect::<Vec<_>>()),
            attempts: distinct.len() as u32,
            runs: best.len() as u32,
        }
    };
    groups.into_iter().map(prior).collect()
}

/// What the next run's best is expected to be: the geometric mean of the runs' bests, with the predictive interval of a normal
/// distribution of their logarithms, whose variance has one run's worth of [`PRIOR_DEVIATION`] mixed in.
fn next_best(bests: &[f64]) -> Prediction {
    let count = bests.len().max(1) as f64;
    let mean = bests.iter().map(|best| best.ln()).sum::<f64>() / count;
    let squares: f64 = bests.iter().map(|best| (best.ln() - mean).powi(2)).sum();
    let variance = (squares + PRIOR_DEVIATION * PRIOR_DEVIATION) / count;
    let half = Z90 * (variance * (1.0 + 1.0 / count)).sqrt();
    Prediction { ratio: mean.exp(), low: (mean - half).exp(), high: (mean + half).exp() }
}
