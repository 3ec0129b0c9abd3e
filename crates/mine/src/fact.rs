//! Which gene value wins, by how much.
//!
//! Two values of a gene are compared over *matched pairs*: attempts of the same run and template that differ in this gene
//! and in no other. The estimate is the median of the pairs' log ratios with a bootstrap interval over the pairs (see
//! `kernsmith-stats`). One attempt may stand in several pairs, so that the interval is a little too narrow where few
//! distinct attempts make many pairs; both numbers are given.

use std::collections::{BTreeMap, BTreeSet};

use kernsmith_core::{Digest, GeneValue, Genome};
use kernsmith_stats::bootstrap_ratio_ci;
use serde::{Deserialize, Serialize};

use crate::archive::{Archive, Attempt, Scope};

const MIN_PAIRS: usize = 3;
/// With fewer pairs no interval of a median holds in 95 of 100 cases whatever the distribution: five of a kind come up once
/// in sixteen (David and Nagaraja, "Order Statistics", Wiley, 2003, section 7.1).
const MIN_PAIRS_FOR_CERTAINTY: usize = 6;
const LEVEL: f64 = 0.95;
const RESAMPLES: usize = 2000;
/// The interval depends on nothing but the pairs.
const SEED: u64 = 0x6d69_6e65;

/// One value of a gene against another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// Where this was measured.
    pub scope: Scope,
    /// The template.
    pub template: String,
    /// The gene.
    pub gene: String,
    /// The value that is ahead.
    pub value: GeneValue,
    /// The value that it is ahead of.
    pub against: GeneValue,
    /// How much faster it is: median over the pairs.
    pub ratio: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// Whether the interval lies above 1 and there are at least six pairs.
    pub certain: bool,
    /// Matched pairs.
    pub pairs: u32,
    /// Distinct attempts in them.
    pub attempts: u32,
    /// Runs that they come from.
    pub runs: u32,
}

/// All comparisons with at least three matched pairs, the certain ones first, the largest gains first.
pub fn facts(archive: &Archive) -> Vec<Fact> {
    let mut found = Vec::new();
    for ((scope, template), attempts) in archive.by_template() {
        let genes: BTreeSet<&String> = attempts.iter().flat_map(|attempt| attempt.genome.keys()).collect();
        for gene in genes {
            for ((first, second), pairs) in matched(gene, &attempts) {
                let compared = compare(&archive.scopes[scope], template, gene, first, second, &pairs);
                found.extend(compared);
            }
        }
    }
    found.sort_by(|a, b| b.certain.cmp(&a.certain).then(b.ratio.total_cmp(&a.ratio)));
    found
}

type Pairs<'a> = BTreeMap<(&'a GeneValue, &'a GeneValue), Vec<(&'a Attempt, &'a Attempt)>>;

/// Pairs of timed attempts of one run that differ in this gene alone.
fn matched<'a>(gene: &str, attempts: &[&'a Attempt]) -> Pairs<'a> {
    let mut groups: BTreeMap<(&str, Genome), BTreeMap<&GeneValue, &Attempt>> = BTreeMap::new();
    for attempt in attempts.iter().filter(|attempt| attempt.ratio().is_some()) {
        let Some(value) = attempt.genome.get(gene) else { continue };
        let mut rest = attempt.genome.clone();
        rest.remove(gene);
        groups.entry((&attempt.run, rest)).or_default().entry(value).or_insert(attempt);
    }
    let mut pairs = Pairs::new();
    for values in groups.values() {
        for (place, (first, a)) in values.iter().enumerate() {
            for (second, b) in values.iter().skip(place + 1) {
                pairs.entry((*first, *second)).or_default().push((*a, *b));
            }
        }
    }
    pairs
}

fn compare(
    scope: &Scope,
    template: &str,
    gene: &str,
    first: &GeneValue,
    second: &GeneValue,
    pairs: &[(&Attempt, &Attempt)],
) -> Option<Fact> {
    if pairs.len() < MIN_PAIRS {
        return None;
    }
    // Ratios to the baseline are speeds: the bootstrap's "baseline over candidate" is first over second.
    let (a, b): (Vec<f64>, Vec<f64>) =
        pairs.iter().filter_map(|(a, b)| Some((a.ratio()?, b.ratio()?))).unzip();
    let interval = bootstrap_ratio_ci(&a, &b, true, LEVEL, RESAMPLES, SEED).ok()?;
    let ahead = interval.ratio >= 1.0;
    let (ratio, low, high) = if ahead {
        (interval.ratio, interval.low, interval.high)
    } else {
        (1.0 / interval.ratio, 1.0 / interval.high, 1.0 / interval.low)
    };
    let (value, against) = if ahead { (first, second) } else { (second, first) };
    let distinct: BTreeSet<(&str, Digest)> =
        pairs.iter().flat_map(|(a, b)| [(a.run.as_str(), a.key), (b.run.as_str(), b.key)]).collect();
    let runs: BTreeSet<&str> = pairs.iter().map(|(a, _)| a.run.as_str()).collect();
    Some(Fact {
        scope: scope.clone(),
        template: template.to_owned(),
        gene: gene.to_owned(),
        value: value.clone(),
        against: against.clone(),
        ratio,
        low,
        high,
        certain: low > 1.0 && pairs.len() >= MIN_PAIRS_FOR_CERTAINTY,
        pairs: pairs.len() as u32,
        attempts: distinct.len() as u32,
        runs: runs.len() as u32,
    })
}
