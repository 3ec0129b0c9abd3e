//! The tree of strategies: what was predicted, what came out, and what was closed.

use kernsmith_core::{NodeId, NodeKind};
use kernsmith_planner::{Calibration, CalibrationGroup, CalibrationScore, Node, Status, Tree};
use serde::Serialize;

use crate::number::{NOTHING, interval, or_nothing, percent, ratio, significant};

/// The tree, with what became of its predictions.
#[derive(Debug, Clone, Serialize)]
pub struct Strategies {
    /// One row a node, parents before children, the root left out.
    pub rows: Vec<StrategyRow>,
    /// How good the predictions were, in a sentence.
    pub calibration: String,
    /// The same by family, axis and proposer.
    pub groups: Vec<GroupRow>,
    /// Closed nodes with the reason.
    pub closed: Vec<ClosedRow>,
}

/// One node.
#[derive(Debug, Clone, Serialize)]
pub struct StrategyRow {
    /// Its name, as `n7`.
    pub id: String,
    /// Steps below the families.
    pub indent: u32,
    /// What it stands for.
    pub kind: String,
    /// Short name.
    pub title: String,
    /// Where it stands.
    pub status: String,
    /// Proposals of this very node.
    pub attempts: u32,
    /// Of these, how many passed.
    pub accepted: u32,
    /// Predicted ratio with its interval.
    pub predicted: String,
    /// Best measured ratio of this very node.
    pub measured: String,
    /// Measured over predicted: 1 is a perfect prediction.
    pub surprise: String,
    /// Whether the measured ratio lies in the predicted interval; empty where nothing was measured.
    pub hit: String,
}

/// One family, axis or proposer of the calibration.
#[derive(Debug, Clone, Serialize)]
pub struct GroupRow {
    /// `overall`, `family`, `axis` or `proposer`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Predictions with an outcome.
    pub pairs: u32,
    /// Geometric mean of measured over predicted.
    pub measured_over_predicted: String,
    /// Factor that later predictions are corrected by.
    pub correction: String,
}

/// One closed node.
#[derive(Debug, Clone, Serialize)]
pub struct ClosedRow {
    /// Its name.
    pub id: String,
    /// Titles from the family down.
    pub path: String,
    /// How it was closed.
    pub status: String,
    /// Why.
    pub reason: String,
    /// Conclusive failures by class.
    pub failures: String,
}

pub(crate) fn table(tree: &Tree) -> Strategies {
    let mut nodes = Vec::new();
    collect(tree, NodeId::ROOT, &mut nodes);
    let learned = tree.calibration();
    Strategies {
        calibration: calibration(&learned),
        groups: learned.groups.iter().filter(|group| group.pairs > 0).map(group_row).collect(),
        closed: nodes
            .iter()
            .filter(|node| !node.status.is_open())
            .map(|node| closed_row(tree, node))
            .collect(),
        rows: nodes.into_iter().map(row).collect(),
    }
}

/// Depth first, so that a row stands below its parent.
fn collect<'a>(tree: &'a Tree, id: NodeId, nodes: &mut Vec<&'a Node>) {
    let Some(node) = tree.node(id) else { return };
    if id != NodeId::ROOT {
        nodes.push(node);
    }
    for &child in node.children() {
        collect(tree, child, nodes);
    }
}

fn row(node: &Node) -> StrategyRow {
    let measured = node.best_ratio();
    StrategyRow {
        id: node.id.to_string(),
        indent: node.depth.saturating_sub(1),
        kind: kind_word(node.kind).to_owned(),
        title: node.title.clone(),
        status: status_word(node.status),
        attempts: node.proposed,
        accepted: node.accepted,
        predicted: format!(
            "{} ({})",
            ratio(node.predicted.ratio),
            interval(node.predicted.low, node.predicted.high)
        ),
        measured: or_nothing(measured, ratio),
        surprise: or_nothing(measured.map(|measured| measured / node.predicted.ratio), ratio),
        hit: match measured {
            None => String::new(),
            Some(_) if is_hit(node) => "inside".to_owned(),
            Some(measured) if measured > node.predicted.high => "above".to_owned(),
            Some(_) => "below".to_owned(),
        },
    }
}

fn is_hit(node: &Node) -> bool {
    node.best_ratio().is_some_and(|measured| (node.predicted.low..=node.predicted.high).contains(&measured))
}

fn closed_row(tree: &Tree, node: &Node) -> ClosedRow {
    let failures = node.failures.iter().map(|(class, count)| format!("{class} {count}"));
    ClosedRow {
        id: node.id.to_string(),
        path: path(tree, node.id),
        status: status_word(node.status),
        reason: node.closed_because.clone().unwrap_or_else(|| NOTHING.to_owned()),
        failures: failures.collect::<Vec<_>>().join(", "),
    }
}

/// The planner's own score of its predictions, in words.
fn calibration(calibration: &Calibration) -> String {
    let sentence = |subject: &str, score: &CalibrationScore| {
        let direction = if score.bias < 0.0 { "too high" } else { "too low" };
        format!(
            "Of {} {subject} with an outcome, {} came out inside the predicted interval (90 % would be calibrated); predictions were \
             off by a factor of {} on average and {direction} by a factor of {}.",
            score.pairs,
            percent(score.coverage),
            significant(score.mean_abs_log_error.exp()),
            significant(score.bias.abs().exp()),
        )
    };
    let mut text = match calibration.strategies.pairs {
        0 => "No strategy has an outcome yet, so nothing is known about the predictions.".to_owned(),
        _ => sentence("strategies", &calibration.strategies),
    };
    if calibration.proposals.pairs > 0 {
        text.push(' ');
        text.push_str(&sentence("proposals with a prediction of their own", &calibration.proposals));
    }
    text
}

fn group_row(group: &CalibrationGroup) -> GroupRow {
    GroupRow {
        kind: group.kind.to_owned(),
        name: group.name.clone(),
        pairs: group.pairs,
        measured_over_predicted: ratio(group.mean_log_error.exp()),
        correction: ratio(group.shift.exp()),
    }
}

/// Titles from the family down to the node.
pub(crate) fn path(tree: &Tree, id: NodeId) -> String {
    let Some(node) = tree.node(id) else { return id.to_string() };
    if id == NodeId::ROOT {
        return "the contract itself".to_owned();
    }
    let mut titles: Vec<&str> =
        tree.ancestors(id).filter(|node| node.id != NodeId::ROOT).map(|node| node.title.as_str()).collect();
    titles.reverse();
    titles.push(&node.title);
    titles.join(" › ")
}

const fn kind_word(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Root => "root",
        NodeKind::Family => "family",
        NodeKind::Decision => "decision",
        NodeKind::Action => "action",
    }
}

fn status_word(status: Status) -> String {
    status.as_str().replace('_', " ")
}
