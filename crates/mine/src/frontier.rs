//! What was tried and what was not: one row for each value of each gene.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use kernsmith_core::{Digest, GeneValue};
use serde::{Deserialize, Serialize};

use crate::archive::{Archive, Attempt, Known};

/// The legal values of one gene, so that untried ones can be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// The template, as `<skill>/<template>`.
    pub template: String,
    /// The gene.
    pub gene: String,
    /// Its values.
    pub values: Vec<GeneValue>,
}

/// One value of one gene.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontierRow {
    /// Contract name and version.
    pub contract: String,
    /// Built for.
    pub target: String,
    /// The template.
    pub template: String,
    /// The gene.
    pub gene: String,
    /// Its value.
    pub value: GeneValue,
    /// Distinct candidates; 0 where nobody has tried it.
    pub tried: u32,
    /// Those that passed.
    pub passed: u32,
    /// Those that failed conclusively.
    pub failed: u32,
    /// Those of which nothing is known.
    pub unknown: u32,
    /// The best ratio.
    pub best_ratio: Option<f64>,
    /// Who reached it, as `<run>#<seq>`.
    pub best_at: Option<String>,
    /// Runs that tried it.
    pub runs: u32,
    /// Those of them that another machine wrote.
    #[serde(default)]
    pub imported: u32,
}

#[derive(Debug, Default)]
struct Cell<'a> {
    tried: BTreeSet<Digest>,
    passed: BTreeSet<Digest>,
    failed: BTreeSet<Digest>,
    best: Option<(f64, String)>,
    runs: BTreeSet<&'a str>,
}

/// All values that were tried, and those of `domains` that were not, under every contract and target whose runs used the
/// template. Toolchains are taken together: this is about where to look, not about what is true.
pub fn frontier(archive: &Archive, domains: &[Domain]) -> Vec<FrontierRow> {
    let mut cells: BTreeMap<(&str, &str, &str, &str, GeneValue), Cell<'_>> = BTreeMap::new();
    for ((scope, template), attempts) in archive.by_template() {
        let scope = &archive.scopes[scope];
        for domain in domains.iter().filter(|domain| domain.template == template) {
            for value in &domain.values {
                let key = (&*scope.contract, &*scope.target, template, &*domain.gene, value.clone());
                cells.entry(key).or_default();
            }
        }
        for attempt in attempts {
            for (gene, value) in &attempt.genome {
                let key = (&*scope.contract, &*scope.target, template, gene.as_str(), value.clone());
                cells.entry(key).or_default().add(attempt);
            }
        }
    }
    cells
        .into_iter()
        .map(|((contract, target, template, gene, value), cell)| FrontierRow {
            contract: contract.to_owned(),
            target: target.to_owned(),
            template: template.to_owned(),
            gene: gene.to_owned(),
            value,
            tried: cell.tried.len() as u32,
            passed: cell.passed.len() as u32,
            failed: cell.failed.difference(&cell.passed).count() as u32,
            unknown: (cell.tried.len() - cell.passed.union(&cell.failed).count()) as u32,
            best_ratio: cell.best.as_ref().map(|(ratio, _)| *ratio),
            best_at: cell.best.map(|(_, at)| at),
            runs: cell.runs.len() as u32,
            imported: cell.runs.iter().filter(|run| archive.imported.contains(**run)).count() as u32,
        })
        .collect()
}

impl<'a> Cell<'a> {
    fn add(&mut self, attempt: &'a Attempt) {
        self.tried.insert(attempt.key);
        self.runs.insert(&attempt.run);
        match attempt.known {
            Known::Failed(_) => drop(self.failed.insert(attempt.key)),
            Known::Passed { .. } | Known::Untimed => drop(self.passed.insert(attempt.key)),
            Known::Nothing => {}
        }
        if let Some(ratio) = attempt.ratio()
            && self.best.as_ref().is_none_or(|(best, _)| ratio > *best)
        {
            self.best = Some((ratio, attempt.at()));
        }
    }
}

/// The rows as CSV with a header (RFC 4180).
pub fn frontier_csv(rows: &[FrontierRow]) -> String {
    let mut text =
        "contract,target,template,gene,value,tried,passed,failed,unknown,best_ratio,best_at,runs,imported\n"
            .to_owned();
    for row in rows {
        let value = row.value.to_string();
        let names = [&row.contract, &row.target, &row.template, &row.gene, &value].map(|name| quoted(name));
        let best = row.best_ratio.map_or_else(String::new, |ratio| ratio.to_string());
        let at = row.best_at.as_deref().unwrap_or_default();
        let _ = writeln!(
            text,
            "{},{},{},{},{},{best},{at},{},{}",
            names.join(","),
            row.tried,
            row.passed,
            row.failed,
            row.unknown,
            row.runs,
            row.imported
        );
    }
    text
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}
