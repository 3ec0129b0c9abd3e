//! What never works: a choice with at least three distinct conclusive attempts and not one that was worth it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use kernsmith_core::{Digest, Genome};
use serde::{Deserialize, Serialize};

use crate::archive::{Archive, Attempt, Known, Scope};

/// Distinct conclusive attempts that a dead end needs.
pub const MIN_ATTEMPTS: usize = 3;
/// Two genes together make many choices, and some fail three times by bad luck: a pair is named only where the failure rate of
/// the rest of its template makes that as unlikely as this.
const MAX_CHANCE_OF_A_PAIR: f64 = 0.05;

/// A choice: a template, with one or two of its genes fixed; or a strategy by its titles, where there was no template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The template, as `<skill>/<template>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The fixed genes; none stands for the whole template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub genes: Genome,
    /// Titles from the family down, joined by ` / `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
}

/// How it does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadEndKind {
    /// Every attempt failed a gate.
    NeverPasses,
    /// Some passed, and each of those is slower than the baseline with its whole interval.
    NeverFaster,
}

/// A choice that never works, in one scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadEnd {
    /// The choice.
    pub subject: Subject,
    /// How it does not work.
    pub kind: DeadEndKind,
    /// Where this holds; it expires when any of it changes.
    pub scope: Scope,
    /// Distinct conclusive attempts.
    pub attempts: u32,
    /// Failures by class; `slower` counts those that passed.
    pub classes: BTreeMap<String, u32>,
    /// The best ratio among those that passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_ratio: Option<f64>,
    /// Probability of as many failures in a row at the failure rate of the template's other attempts.
    pub chance: f64,
    /// The attempts, as `<run>#<seq>`, one for each distinct candidate.
    pub evidence: Vec<String>,
}

impl Subject {
    /// Whether a genome of a template makes this choice.
    pub fn covers(&self, template: &str, genome: &Genome) -> bool {
        self.template.as_deref() == Some(template)
            && self.genes.iter().all(|(name, value)| genome.get(name) == Some(value))
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.template.as_deref().or(self.strategy.as_deref()).unwrap_or("anything"))?;
        for (name, value) in &self.genes {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

/// All dead ends, the widest choices only: where a template is dead its genes are not named, and so on.
pub fn dead_ends(archive: &Archive) -> Vec<DeadEnd> {
    let mut found = Vec::new();
    for ((scope, template), attempts) in archive.by_template() {
        found.extend(of_template(&archive.scopes[scope], template, &attempts));
    }
    let mut strategies: BTreeMap<(usize, &str), Vec<&Attempt>> = BTreeMap::new();
    for attempt in archive.attempts.iter().filter(|attempt| attempt.template.is_none()) {
        strategies.entry((attempt.scope, &attempt.strategy)).or_default().push(attempt);
    }
    for ((scope, strategy), attempts) in strategies {
        let subject = Subject { template: None, genes: Genome::new(), strategy: Some(strategy.to_owned()) };
        let tally = Tally::of(attempts.iter().copied());
        found.extend(
            tally.is_dead().then(|| tally.dead_end(subject, &archive.scopes[scope], &Tally::default())),
        );
    }
    found
}

/// Template alone, then single genes, then pairs.
fn of_template(scope: &Scope, template: &str, attempts: &[&Attempt]) -> Vec<DeadEnd> {
    let subject = |genes: &[(&str, &kernsmith_core::GeneValue)]| Subject {
        template: Some(template.to_owned()),
        genes: genes.iter().map(|(name, value)| ((*name).to_owned(), (*value).clone())).collect(),
        strategy: None,
    };
    let whole = Tally::of(attempts.iter().copied());
    if whole.is_dead() {
        return vec![whole.dead_end(subject(&[]), scope, &Tally::default())];
    }
    let mut singles: BTreeMap<_, Tally> = BTreeMap::new();
    let mut pairs: HashMap<_, Tally> = HashMap::new();
    for attempt in attempts {
        let genes: Vec<_> = attempt.genome.iter().map(|(name, value)| (name.as_str(), value)).collect();
        for (place, first) in genes.iter().enumerate() {
            singles.entry(*first).or_default().add(attempt);
            for second in &genes[place + 1..] {
                pairs.entry((*first, *second)).or_default().add(attempt);
            }
        }
    }
    let dead: HashSet<_> =
        singles.iter().filter(|(_, tally)| tally.is_dead()).map(|(gene, _)| *gene).collect();
    let mut found: Vec<DeadEnd> =
        dead.iter().map(|gene| singles[gene].dead_end(subject(&[*gene]), scope, &whole)).collect();
    for ((first, second), tally) in pairs {
        if tally.is_dead() && !dead.contains(&first) && !dead.contains(&second) {
            let pair = tally.dead_end(subject(&[first, second]), scope, &whole);
            found.extend((pair.chance <= MAX_CHANCE_OF_A_PAIR).then_some(pair));
        }
    }
    found.sort_by(|a, b| a.subject.cmp(&b.subject));
    found
}

/// What is known of one choice.
#[derive(Debug, Default)]
struct Tally {
    /// The first failure of each distinct candidate.
    failed: BTreeMap<Digest, (String, String)>,
    slower: BTreeMap<Digest, (String, f64)>,
    /// Candidates that passed and are not clearly slower. A timing that settles nothing is no failure.
    alive: BTreeSet<Digest>,
}

impl Tally {
    fn of<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> Self {
        let mut tally = Self::default();
        attempts.for_each(|attempt| tally.add(attempt));
        tally
    }

    fn add(&mut self, attempt: &Attempt) {
        match attempt.known {
            Known::Failed(class) => {
                let note = || (attempt.at(), class.as_str().to_owned());
                self.failed.entry(attempt.key).or_insert_with(note);
            }
            Known::Passed { ratio, high, .. } if high < 1.0 => {
                self.slower.entry(attempt.key).or_insert_with(|| (attempt.at(), ratio));
            }
            Known::Passed { .. } | Known::Untimed => drop(self.alive.insert(attempt.key)),
            Known::Nothing => {}
        }
    }

    fn distinct(&self) -> usize {
        self.failed.len() + self.slower.keys().filter(|key| !self.failed.contains_key(*key)).count()
    }

    fn is_dead(&self) -> bool {
        self.alive.is_empty() && self.distinct() >= MIN_ATTEMPTS
    }

    fn dead_end(&self, subject: Subject, scope: &Scope, whole: &Self) -> DeadEnd {
        let mut classes: BTreeMap<String, u32> = BTreeMap::new();
        self.failed.values().for_each(|(_, class)| *classes.entry(class.clone()).or_default() += 1);
        if !self.slower.is_empty() {
            classes.insert("slower".to_owned(), self.slower.len() as u32);
        }
        let best = self.slower.values().map(|(_, ratio)| *ratio).reduce(f64::max);
        let slower = self.slower.iter().filter(|(key, _)| !self.failed.contains_key(*key));
        let mut evidence: Vec<String> = self.failed.values().map(|(at, _)| at.clone()).collect();
        evidence.extend(slower.map(|(_, (at, _))| at.clone()));
        evidence.sort();
        DeadEnd {
            subject,
            kind: if best.is_some() { DeadEndKind::NeverFaster } else { DeadEndKind::NeverPasses },
            scope: scope.clone(),
            attempts: self.distinct() as u32,
            classes,
            best_ratio: best,
            chance: self.chance(whole),
            evidence,
        }
    }

    /// Failure rate of the rest, with half a failure and half a pass added, to the power of the attempts.
    fn chance(&self, whole: &Self) -> f64 {
        let others = whole.distinct().saturating_sub(self.distinct()) as f64;
        let rate = (others + 0.5) / (others + whole.alive.len() as f64 + 1.0);
        rate.powi(self.distinct() as i32)
    }
}
