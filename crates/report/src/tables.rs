//! Rows of the report's tables.

use std::collections::BTreeMap;

use kernsmith_core::evidence::{
    Environment, GateReport, ObjectFacts, Rival, RivalTiming, Security, Validation, WorkloadTiming,
};
use kernsmith_core::{Evidence, FailureClass};
use kernsmith_planner::Counts;
use serde::Serialize;

use crate::number::{NOTHING, duration, interval, microseconds, or_nothing, percent, ratio, significant};
use crate::spend::ModelSpend;
use crate::story::Story;

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// What it is like.
    pub value: String,
}

impl Fact {
    pub(crate) fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// One bench workload.
#[derive(Debug, Clone, Serialize)]
pub struct WorkloadRow {
    /// Its name.
    pub name: String,
    /// Its axes.
    pub axes: String,
    /// Its weight.
    pub weight: String,
    /// The candidate's median.
    pub median: String,
    /// The baseline's median.
    pub baseline: String,
    /// The ratio.
    pub ratio: String,
    /// Its 95 % interval.
    pub interval: String,
    /// The roofline bound.
    pub sol: String,
    /// The score against it.
    pub sol_score: String,
    /// Share of the calibrated copy bandwidth.
    pub copy_fraction: String,
    /// Samples, with outliers and cache state.
    pub samples: String,
}

/// Another named baseline.
#[derive(Debug, Clone, Serialize)]
pub struct RivalRow {
    /// Its name.
    pub name: String,
    /// Its median.
    pub median: String,
    /// How much faster the candidate is.
    pub ratio: String,
    /// The 95 % interval of that.
    pub interval: String,
    /// Why there are no numbers.
    pub note: String,
}

/// One gate.
#[derive(Debug, Clone, Serialize)]
pub struct GateRow {
    /// Its name.
    pub gate: String,
    /// Its outcome.
    pub outcome: String,
    /// Time spent in it.
    pub time: String,
    /// What it did.
    pub note: String,
}

/// Rejections of one class.
#[derive(Debug, Clone, Serialize)]
pub struct RejectionRow {
    /// The class.
    pub class: String,
    /// What it means.
    pub meaning: String,
    /// How many.
    pub count: u64,
    /// Length of its bar, in percent of the longest.
    pub bar_percent: u64,
}

pub(crate) fn workloads(timings: &[WorkloadTiming]) -> Vec<WorkloadRow> {
    timings
        .iter()
        .map(|timing| WorkloadRow {
            name: timing.workload.clone(),
            axes: timing
                .axes
                .iter()
                .map(|(axis, value)| format!("{axis}={value}"))
                .collect::<Vec<_>>()
                .join(" "),
            weight: significant(timing.weight),
            median: microseconds(timing.median_us),
            baseline: microseconds(timing.baseline_us),
            ratio: ratio(timing.ratio),
            interval: interval(timing.ci_low, timing.ci_high),
            sol: or_nothing(timing.sol_us, microseconds),
            sol_score: or_nothing(timing.sol_score, significant),
            copy_fraction: or_nothing(timing.copy_fraction, significant),
            samples: format!(
                "{} of {} calls, {} outliers, {}",
                timing.samples_us.len(),
                timing.calls_per_sample,
                timing.outliers,
                if timing.cold { "cold" } else { "warm" }
            ),
        })
        .collect()
}

/// A row a rival, and one below it for each workload that was measured on its own.
pub(crate) fn rivals(rivals: &[Rival]) -> Vec<RivalRow> {
    rivals
        .iter()
        .flat_map(|rival| std::iter::once(whole(rival)).chain(rival.workloads.iter().map(part)))
        .collect()
}

fn whole(rival: &Rival) -> RivalRow {
    let version = rival.version.clone().unwrap_or_default();
    RivalRow {
        name: rival.name.clone(),
        median: or_nothing(rival.median_us, microseconds),
        ratio: or_nothing(rival.ratio, ratio),
        interval: match (rival.ci_low, rival.ci_high) {
            (Some(low), Some(high)) => interval(low, high),
            _ => NOTHING.to_owned(),
        },
        note: rival.skipped.as_ref().map_or(version, |reason| format!("not measured: {reason}")),
    }
}

fn part(timing: &RivalTiming) -> RivalRow {
    RivalRow {
        name: format!("– {}", timing.workload),
        median: microseconds(timing.median_us),
        ratio: ratio(timing.ratio),
        interval: interval(timing.ci_low, timing.ci_high),
        note: format!("{}; the candidate {}", timing.how, microseconds(timing.candidate_us)),
    }
}

pub(crate) fn gates(reports: &[GateReport]) -> Vec<GateRow> {
    reports
        .iter()
        .map(|report| GateRow {
            gate: report.gate.to_string(),
            outcome: if report.passed { "passed" } else { "rejected" }.to_owned(),
            time: format!("{} ms", significant(report.wall_ms)),
            note: report.note.clone(),
        })
        .collect()
}

pub(crate) fn validation(validation: &Validation) -> Vec<Fact> {
    let mut facts = vec![
        Fact::new("calls compared with the oracle", validation.calls_checked.to_string()),
        Fact::new("elements compared with the oracle", validation.elements_checked.to_string()),
    ];
    if let Some(worst) = &validation.worst {
        let text = format!(
            "{} of its bound: {}[{}] is {}, the oracle says {} ({})",
            percent(worst.error_over_bound),
            worst.tensor,
            worst.index,
            worst.got,
            worst.expected,
            worst.case
        );
        facts.push(Fact::new("largest error", text));
    }
    facts
}

pub(crate) fn environment(environment: &Environment) -> Vec<Fact> {
    vec![
        Fact::new("device", environment.device.clone()),
        Fact::new("operating system", environment.os.clone()),
        Fact::new("compiler", environment.compiler.clone()),
        Fact::new("compiler digest", environment.compiler_digest.clone()),
        Fact::new("flags", environment.flags.join(" ")),
        Fact::new("fingerprint", environment.fingerprint.clone()),
    ]
}

pub(crate) fn object(evidence: &Evidence) -> Vec<Fact> {
    let artifacts = &evidence.artifacts;
    let mut facts = Vec::new();
    if let Some(milliseconds) = artifacts.build_ms {
        facts.push(Fact::new("compile time", format!("{} ms", significant(milliseconds))));
    }
    if let Some(object) = &artifacts.object {
        facts.extend(object_facts(object));
    }
    facts
}

fn object_facts(object: &ObjectFacts) -> Vec<Fact> {
    let families = object.families.iter().map(|(family, count)| format!("{family} {count}"));
    vec![
        Fact::new("machine code", format!("{} bytes", object.text_bytes)),
        Fact::new("writable data", format!("{} bytes", object.data_bytes)),
        Fact::new("instruction families", listed(families)),
        Fact::new("vector spills", object.vector_spills.to_string()),
        Fact::new("exports", listed(object.exports.iter().cloned())),
        Fact::new("imports", listed(object.imports.iter().cloned())),
        Fact::new("libraries", listed(object.libraries.iter().cloned())),
    ]
}

pub(crate) fn security(security: &Security) -> Vec<Fact> {
    let mut facts = vec![Fact::new("sandbox reached", listed(std::iter::once(security.sandbox.clone())))];
    facts.push(Fact::new("missing layers", listed(security.missing.iter().cloned())));
    if !security.notes.is_empty() {
        facts.push(Fact::new("observations", security.notes.join("; ")));
    }
    facts
}

fn listed(items: impl Iterator<Item = String>) -> String {
    let text = items.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "none".to_owned() } else { text }
}

/// A limit of the configuration; 0 is none.
pub(crate) fn limit(config: &serde_json::Value, key: &str) -> Option<f64> {
    config["budget"][key].as_f64().filter(|limit| *limit > 0.0)
}

/// The limits of the configuration's `budget` section, with what was used of those that we can count.
pub(crate) fn budget(config: &serde_json::Value, story: &Story) -> Vec<Fact> {
    let counts = story.tree.counts();
    let row = |name: &str, key: &str, used: String, show: fn(f64) -> String| {
        let limit =
            limit(config, key).map_or_else(|| "no limit".to_owned(), |limit| format!("of {}", show(limit)));
        Fact::new(name, format!("{used}, {limit}"))
    };
    let whole = |count: f64| format!("{count:.0}");
    let mut rows = vec![
        row("wall time", "wall_seconds", duration(story.wall_seconds), duration),
        row("candidates proposed", "candidates", counts.proposed.to_string(), whole),
        row("candidates judged", "evaluations", counts.judged.to_string(), whole),
    ];
    if let Some(goal) = limit(config, "goal_ratio") {
        rows.push(Fact::new("goal", format!("lower bound of {}", ratio(goal))));
    }
    rows.extend(story.models.iter().flat_map(ModelSpend::facts));
    rows
}

pub(crate) fn fates(counts: &Counts) -> Vec<Fact> {
    let mut facts = vec![
        Fact::new("proposed", counts.proposed.to_string()),
        Fact::new("deduplicated (seen before, not judged)", counts.deduplicated.to_string()),
        Fact::new("accepted", counts.accepted.to_string()),
        Fact::new("rejected", counts.rejected_total().to_string()),
        Fact::new("inconclusive (the apparatus failed)", counts.inconclusive.to_string()),
        Fact::new("not judged yet", counts.pending.to_string()),
        Fact::new("judgements, all lanes", counts.judgements.to_string()),
    ];
    facts.push(Fact::new("accept rate", or_nothing(counts.accept_rate(), percent)));
    facts
}

pub(crate) fn rejections(counts: &Counts) -> Vec<RejectionRow> {
    let most = counts.rejected.values().copied().max().unwrap_or(1).max(1);
    let mut rows: Vec<RejectionRow> = counts
        .rejected
        .iter()
        .map(|(class, &count)| RejectionRow {
            class: class.to_string(),
            meaning: class.meaning().trim().to_owned(),
            count,
            bar_percent: (count * 100).div_ceil(most),
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows
}

/// Rejections by class name, for machines.
pub(crate) fn rejected_by_name(rejected: &BTreeMap<FailureClass, u64>) -> BTreeMap<String, u64> {
    rejected.iter().map(|(class, &count)| (class.to_string(), count)).collect()
}
