//! What a later search takes from a memory: what not to try again, and what to expect.

use std::collections::{BTreeMap, HashMap};

use kernsmith_core::{Digest, Genome, Prediction};

use crate::archive::Scope;
use crate::dead_end::{DeadEnd, MIN_ATTEMPTS};
use crate::memory::{Memory, Prior, Settled};

/// What holds in one scope. Everything learned elsewhere has expired and is only counted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Guidance {
    /// Choices that never work.
    pub dead_ends: Vec<DeadEnd>,
    /// Genomes with a conclusive outcome, by template.
    pub settled: BTreeMap<String, Vec<Settled>>,
    /// What was left out, and why, in words.
    pub expired: Vec<String>,
    priors: Vec<Prior>,
    by_key: HashMap<Digest, (String, usize)>,
    failed: HashMap<String, HashMap<Genome, String>>,
}

impl Memory {
    /// What of it holds in `scope`; a pure function of both.
    pub fn guidance(&self, scope: &Scope) -> Guidance {
        let mut guidance = Guidance::default();
        let name = |scope: &Scope| scope.contract.split('@').next().unwrap_or_default().to_owned();
        for part in &self.scopes {
            let differences = part.scope.differences(scope);
            if differences.is_empty() {
                guidance.dead_ends.extend(part.dead_ends.iter().cloned());
                guidance.priors.extend(part.priors.iter().cloned());
                for row in &part.settled {
                    guidance.settled.entry(row.template.clone()).or_default().push(row.clone());
                }
            } else if name(&part.scope) == name(scope) {
                guidance.expired.push(format!(
                    "{} dead ends and {} outcomes of {} on {}: another {}",
                    part.dead_ends.len(),
                    part.settled.len(),
                    part.scope.contract,
                    part.scope.target,
                    differences.join(", another ")
                ));
            }
        }
        guidance.reckon();
        guidance
    }
}

impl Guidance {
    /// Drops what the templates have outgrown: `key_of` renders a genome as it would be proposed now and gives the candidate's
    /// key (`None` where the template refuses it). A dead end stays while enough of its evidence still is what it was.
    pub fn check_templates(&mut self, key_of: impl Fn(&str, &Genome) -> Option<Digest>) {
        let mut outgrown = 0;
        for rows in self.settled.values_mut() {
            let before = rows.len();
            rows.retain(|row| key_of(&row.template, &row.genome) == Some(row.key));
            outgrown += before - rows.len();
        }
        let standing: std::collections::HashSet<&str> =
            self.settled.values().flatten().map(|row| row.at.as_str()).collect();
        let before = self.dead_ends.len();
        let holds = |dead_end: &DeadEnd| {
            let left = dead_end.evidence.iter().filter(|at| standing.contains(at.as_str())).count();
            dead_end.subject.template.is_none() || left >= MIN_ATTEMPTS
        };
        self.dead_ends.retain(holds);
        let dropped = before - self.dead_ends.len();
        if outgrown + dropped > 0 {
            self.expired
                .push(format!("{dropped} dead ends and {outgrown} outcomes: their templates have changed"));
        }
        self.reckon();
    }

    /// Why a genome need not be tried again, with the evidence; `None` where it may be.
    pub fn refuses(&self, template: &str, genome: &Genome) -> Option<String> {
        if let Some(reason) = self.failed.get(template).and_then(|failed| failed.get(genome)) {
            return Some(reason.clone());
        }
        let dead_end = self.dead_ends.iter().find(|dead_end| dead_end.subject.covers(template, genome))?;
        let (count, evidence) = (dead_end.attempts, dead_end.evidence.iter().take(MIN_ATTEMPTS));
        let evidence: Vec<&str> = evidence.map(String::as_str).collect();
        Some(format!("{} is a dead end: {count} attempts, such as {}", dead_end.subject, evidence.join(", ")))
    }

    /// The genomes of a template that failed, each on its own.
    pub fn failed_genomes(&self, template: &str) -> impl Iterator<Item = &Genome> {
        self.settled
            .get(template)
            .into_iter()
            .flatten()
            .filter(|row| row.failure.is_some())
            .map(|row| &row.genome)
    }

    /// The outcome of exactly this candidate.
    pub fn known(&self, key: &Digest) -> Option<&Settled> {
        let (template, place) = self.by_key.get(key)?;
        self.settled.get(template)?.get(*place)
    }

    /// What to expect of a template with some genes fixed, as a ratio to the frozen baseline; `None` where nothing is known.
    ///
    /// The best under all of several conditions is at most the best under each: the lowest of the single priors counts, with
    /// its own interval, and genes that nobody has tried say nothing.
    pub fn predict(&self, template: &str, fixed: &Genome) -> Option<Prediction> {
        let fits = |prior: &&Prior| {
            prior.template == template
                && prior.gene.as_ref().is_none_or(|(name, value)| fixed.get(name) == Some(value))
        };
        let lowest = |a: &Prior, b: &Prior| a.predicted.ratio.total_cmp(&b.predicted.ratio);
        self.priors.iter().filter(fits).min_by(|a, b| lowest(a, b)).map(|prior| prior.predicted)
    }

    /// Makes the look-ups again.
    fn reckon(&mut self) {
        self.by_key.clear();
        self.failed.clear();
        for (template, rows) in &self.settled {
            for (place, row) in rows.iter().enumerate() {
                self.by_key.insert(row.key, (template.clone(), place));
                if let Some(class) = row.failure {
                    let reason = format!("it failed before: {class}, see {}", row.at);
                    self.failed.entry(template.clone()).or_default().insert(row.genome.clone(), reason);
                }
            }
        }
    }
}
