//! What was predicted, what came out, and how far a prediction should be believed.
//!
//! Two kinds of pairs are compared, as natural logarithms of ratios to the frozen baseline. *Strategies*: a node's
//! prediction with the best ratio at or below it; their errors are split into an overall shift, a shift by family and a
//! shift by axis tag. *Proposals*: a proposal's own prediction with its measured ratio, by proposer. A shift is shrunk
//! toward zero by the normal-normal rule `n tau^2 / (n tau^2 + sigma^2)` (Efron and Morris, JASA 70(350), 1975), with
//! `tau^2` and `sigma^2` estimated from the pairs themselves by moments.

use std::collections::BTreeMap;

use kernsmith_core::{NodeId, NodeKind, Prediction};

use crate::attempt::Attempted;
use crate::node::Node;
use crate::tree::Tree;

/// The quantile of the normal distribution that leaves 5 % on each side: predictions give 90 % intervals.
const Z90: f64 = 1.644_853_626_951_472_7;
/// Variances below this are rounding, not knowledge (log scale; 0.01 is a factor of about 1.1).
const VARIANCE_FLOOR: f64 = 0.01;
const SWEEPS: usize = 8;
/// Pairs that the prior belief "intervals are as wide as they should be" is worth.
const WIDTH_PRIOR_PAIRS: f64 = 3.0;

/// Shifts by group, and how good the predictions were.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// One row a group, in the order overall, families, axes, proposers.
    pub groups: Vec<CalibrationGroup>,
    /// How good the strategies' predictions were before calibration.
    pub strategies: CalibrationScore,
    /// How good the proposals' own predictions were.
    pub proposals: CalibrationScore,
    overall: f64,
    families: BTreeMap<NodeId, f64>,
    axes: BTreeMap<String, f64>,
    /// What 90 % intervals must be widened (or narrowed) by, as a factor of their logarithmic width.
    widening: f64,
}

/// One family, axis tag or proposer.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationGroup {
    /// `overall`, `family`, `axis` or `proposer`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Predictions with an outcome.
    pub pairs: u32,
    /// Mean of `ln(measured / predicted)`.
    pub mean_log_error: f64,
    /// The share of it that is believed, added to the logarithm of later predictions.
    pub shift: f64,
}

/// How good predictions were; all numbers are 0 without pairs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CalibrationScore {
    /// Predictions with an outcome.
    pub pairs: u32,
    /// Mean of `|ln(measured / predicted)|`: 0.69 means wrong by a factor of two.
    pub mean_abs_log_error: f64,
    /// Mean of `ln(measured / predicted)`: below 0 the predictions were too high.
    pub bias: f64,
    /// Share of outcomes inside the predicted interval, meant to be 0.9.
    pub coverage: f64,
}

/// Running sums over the pairs of one proposer; attempts enter and leave them as their verdicts change.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Sums {
    pairs: u32,
    error: f64,
    square: f64,
    absolute: f64,
    covered: u32,
}

struct Pair<'a> {
    family: NodeId,
    axes: &'a [String],
    error: f64,
    /// Half the predicted interval in units of a standard deviation.
    deviation: f64,
    covered: bool,
}

impl Tree {
    /// Predictions against outcomes, as of now.
    pub fn calibration(&self) -> Calibration {
        let best = self.best_below_all();
        let pairs: Vec<Pair<'_>> = self
            .nodes()
            .filter(|node| node.kind != NodeKind::Root)
            .filter_map(|node| self.pair(node, best.get(node.id.0 as usize).copied().flatten()?))
            .collect();
        let fit = Fit::new(&pairs);
        let mut groups = fit.rows(&pairs, self);
        groups.extend(self.proposer_rows());
        let mut proposals = Sums::default();
        self.state.predictions.values().for_each(|sums| proposals.merge(sums));
        Calibration {
            groups,
            strategies: score(&pairs),
            proposals: proposals.score(),
            overall: fit.overall,
            families: fit.families,
            axes: fit.axes,
            widening: widening(&pairs),
        }
    }

    /// A node's prediction after calibration.
    pub fn calibrated(&self, id: NodeId) -> Option<Prediction> {
        let calibration = self.calibration();
        self.node(id).map(|node| calibration.apply(self, node))
    }

    /// The best ratio at or below each node, by id; children come after their parents.
    pub(crate) fn best_below_all(&self) -> Vec<Option<f64>> {
        let nodes: Vec<&Node> = self.nodes().collect();
        let mut best: Vec<Option<f64>> = nodes.iter().map(|node| node.best_ratio()).collect();
        for node in nodes.iter().rev() {
            let Some(parent) = node.parent.map(|parent| parent.0 as usize) else { continue };
            let below = best[node.id.0 as usize];
            best[parent] = best[parent].into_iter().chain(below).reduce(f64::max);
        }
        best
    }

    fn pair<'a>(&self, node: &'a Node, measured: f64) -> Option<Pair<'a>> {
        let Prediction { ratio, low, high } = node.predicted;
        Some(Pair {
            family: self.family(node.id)?.id,
            axes: &node.axes,
            error: (measured / ratio).ln(),
            deviation: ((high / low).ln() / (2.0 * Z90)).max(VARIANCE_FLOOR.sqrt()),
            covered: (low..=high).contains(&measured),
        })
    }

    fn proposer_rows(&self) -> Vec<CalibrationGroup> {
        let proposers = self.state.predictions.iter().filter(|(_, sums)| sums.pairs > 0);
        let mut rows: Vec<CalibrationGroup> = proposers
            .map(|(proposer, sums)| {
                let pairs = f64::from(sums.pairs);
                let mean = sums.error / pairs;
                let variance = (sums.square / pairs - mean * mean).max(VARIANCE_FLOOR);
                let shift = shrink(sums.error, sums.pairs, variance, mean * mean - variance / pairs);
                CalibrationGroup {
                    kind: "proposer",
                    name: self.word(*proposer).to_owned(),
                    pairs: sums.pairs,
                    mean_log_error: mean,
                    shift,
                }
            })
            .collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }
}

impl Calibration {
    /// The prediction of a node after the shifts of its family and axes, with an interval as wide as the errors so far.
    pub fn apply(&self, tree: &Tree, node: &Node) -> Prediction {
        let family = tree.family(node.id).and_then(|family| self.families.get(&family.id));
        let axes: f64 = node.axes.iter().filter_map(|axis| self.axes.get(axis)).sum();
        let shift = self.overall + family.copied().unwrap_or(0.0) + axes;
        let Prediction { ratio, low, high } = node.predicted;
        let moved = ratio * shift.exp();
        let stretch = |end: f64| moved * (end / ratio).powf(self.widening);
        Prediction { ratio: moved, low: stretch(low), high: stretch(high) }
    }
}

/// `ln(measured / predicted) = overall + family + axes + noise`, by shrunken back-fitting.
struct Fit {
    overall: f64,
    families: BTreeMap<NodeId, f64>,
    axes: BTreeMap<String, f64>,
}

impl Fit {
    fn new(pairs: &[Pair<'_>]) -> Self {
        let mut fit = Self { overall: 0.0, families: BTreeMap::new(), axes: BTreeMap::new() };
        if pairs.is_empty() {
            return fit;
        }
        for _ in 0..SWEEPS {
            let residual = |fit: &Self, pair: &Pair<'_>| pair.error - fit.value(pair);
            let noise =
                pairs.iter().map(|pair| residual(&fit, pair).powi(2)).sum::<f64>() / pairs.len() as f64;
            let noise = noise.max(VARIANCE_FLOOR);
            let sum: f64 = pairs.iter().map(|pair| residual(&fit, pair) + fit.overall).sum();
            fit.overall = shrink(sum, pairs.len() as u32, noise, 1.0);
            let family = |fit: &Self, pair: &Pair<'_>| {
                let own = fit.families.get(&pair.family).copied().unwrap_or(0.0);
                vec![(pair.family, residual(fit, pair) + own)]
            };
            fit.families = effects(pairs.iter().flat_map(|pair| family(&fit, pair)), noise);
            let axes = |fit: &Self, pair: &Pair<'_>| {
                let left = residual(fit, pair);
                let own = |axis: &String| left + fit.axes.get(axis).copied().unwrap_or(0.0);
                pair.axes.iter().map(|axis| (axis.clone(), own(axis))).collect::<Vec<_>>()
            };
            fit.axes = effects(pairs.iter().flat_map(|pair| axes(&fit, pair)), noise);
        }
        fit
    }

    fn value(&self, pair: &Pair<'_>) -> f64 {
        let family = self.families.get(&pair.family).copied().unwrap_or(0.0);
        let axes: f64 = pair.axes.iter().filter_map(|axis| self.axes.get(axis)).sum();
        self.overall + family + axes
    }

    fn rows(&self, pairs: &[Pair<'_>], tree: &Tree) -> Vec<CalibrationGroup> {
        let row = |kind, name: String, shift, errors: Vec<f64>| CalibrationGroup {
            kind,
            name,
            pairs: errors.len() as u32,
            mean_log_error: errors.iter().sum::<f64>() / errors.len().max(1) as f64,
            shift,
        };
        let errors = |keep: &dyn Fn(&Pair<'_>) -> bool| -> Vec<f64> {
            pairs.iter().filter(|pair| keep(pair)).map(|pair| pair.error).collect()
        };
        let mut rows = vec![row("overall", "all".to_owned(), self.overall, errors(&|_| true))];
        for (family, shift) in &self.families {
            let title = tree.node(*family).map(|node| node.title.clone()).unwrap_or_default();
            rows.push(row("family", title, *shift, errors(&|pair| pair.family == *family)));
        }
        for (axis, shift) in &self.axes {
            rows.push(row("axis", axis.clone(), *shift, errors(&|pair| pair.axes.contains(axis))));
        }
        rows
    }
}

/// Shrunken group means. Between-group variance by moments: spread of the raw means less what noise explains.
fn effects<K: Ord>(values: impl Iterator<Item = (K, f64)>, noise: f64) -> BTreeMap<K, f64> {
    let mut sums: BTreeMap<K, (f64, u32)> = BTreeMap::new();
    for (key, value) in values {
        let sum = sums.entry(key).or_default();
        *sum = (sum.0 + value, sum.1 + 1);
    }
    let excess = sums.values().map(|(sum, count)| {
        let count = f64::from(*count);
        (sum / count).powi(2) - noise / count
    });
    let between = excess.sum::<f64>() / sums.len().max(1) as f64;
    sums.into_iter().map(|(key, (sum, count))| (key, shrink(sum, count, noise, between))).collect()
}

/// Posterior mean of a group: its raw mean times `n tau^2 / (n tau^2 + sigma^2)`.
fn shrink(sum: f64, count: u32, within: f64, between: f64) -> f64 {
    let between = between.max(VARIANCE_FLOOR);
    sum * between / (f64::from(count) * between + within)
}

/// How much wider intervals should be: root mean square of the errors in predicted deviations, with a prior at 1.
fn widening(pairs: &[Pair<'_>]) -> f64 {
    let squares: f64 = pairs.iter().map(|pair| (pair.error / pair.deviation).powi(2)).sum();
    ((squares + WIDTH_PRIOR_PAIRS) / (pairs.len() as f64 + WIDTH_PRIOR_PAIRS)).sqrt().clamp(0.5, 4.0)
}

fn score(pairs: &[Pair<'_>]) -> CalibrationScore {
    let mut sums = Sums::default();
    for pair in pairs {
        sums.add(pair.error, pair.covered, true);
    }
    sums.score()
}

impl Sums {
    fn add(&mut self, error: f64, covered: bool, enter: bool) {
        let sign = if enter { 1.0 } else { -1.0 };
        let step = |count: u32, by: u32| if enter { count + by } else { count.saturating_sub(by) };
        self.pairs = step(self.pairs, 1);
        self.covered = step(self.covered, u32::from(covered));
        self.error += sign * error;
        self.square += sign * error * error;
        self.absolute += sign * error.abs();
        if self.pairs == 0 {
            *self = Self::default();
        }
    }

    /// Takes an attempt in, or out again before its verdict changes.
    pub(crate) fn tally(&mut self, attempt: &Attempted, enter: bool) {
        let (Some(predicted), Some(ratio)) = (attempt.prediction, attempt.ratio()) else { return };
        if predicted.ratio.is_finite() && predicted.ratio > 0.0 {
            let covered = (predicted.low..=predicted.high).contains(&ratio);
            self.add((ratio / predicted.ratio).ln(), covered, enter);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.pairs += other.pairs;
        self.covered += other.covered;
        self.error += other.error;
        self.square += other.square;
        self.absolute += other.absolute;
    }

    fn score(&self) -> CalibrationScore {
        if self.pairs == 0 {
            return CalibrationScore::default();
        }
        let pairs = f64::from(self.pairs);
        CalibrationScore {
            pairs: self.pairs,
            mean_abs_log_error: self.absolute / pairs,
            bias: self.error / pairs,
            coverage: f64::from(self.covered) / pairs,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{History, node};
    use kernsmith_core::{NodeId, NodeKind};

    fn close(a: f64, b: f64, within: f64) -> bool {
        (a.ln() - b.ln()).abs() < within
    }

    #[test]
    fn without_outcomes_a_prediction_stands() {
        let history = History::with_families(&["a"]);
        let node = history.tree.node(NodeId(1)).unwrap();
        assert_eq!(history.tree.calibrated(NodeId(1)), Some(node.predicted));
        assert_eq!(history.tree.calibration().strategies.pairs, 0);
    }

    #[test]
    fn an_axis_that_disappoints_in_one_family_is_believed_less_in_another() {
        let mut history = History::with_families(&["a", "b"]);
        for (family, slow, fast) in [(1, "slow", "fast"), (2, "slow", "fast")] {
            for title in [slow, fast] {
                history.insert(NodeId(family), node(NodeKind::Decision, title, 8.0));
            }
        }
        history.pass(NodeId(3), 2.0);
        history.pass(NodeId(4), 8.0);
        let slow = history.tree.calibrated(NodeId(5)).unwrap();
        let fast = history.tree.calibrated(NodeId(6)).unwrap();
        assert!(slow.ratio < fast.ratio, "{slow:?} {fast:?}");
        assert!(slow.ratio > 2.0, "one outcome is not believed fully: {slow:?}");
    }

    #[test]
    fn many_outcomes_are_believed_nearly_fully_and_the_score_says_so() {
        let mut history = History::with_families(&["a"]);
        for index in 0..20 {
            history.insert(NodeId(1), node(NodeKind::Decision, &format!("d{index}"), 8.0));
            history.pass(NodeId(2 + index), 4.0);
        }
        history.insert(NodeId(1), node(NodeKind::Decision, "new", 8.0));
        let calibrated = history.tree.calibrated(NodeId(22)).unwrap();
        assert!(close(calibrated.ratio, 4.0, 0.1), "{calibrated:?}");
        let score = history.tree.calibration().strategies;
        assert!(close(score.mean_abs_log_error.exp(), 1.9, 0.1), "{score:?}");
        assert!(score.bias < 0.0);
    }
}
