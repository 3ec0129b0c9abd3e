//! What each strategy may reach: a Gaussian model over the tree.
//!
//! The logarithm of what endless work on a node would reach is taken to be that of its parent plus a step of unknown size. Two
//! kinds of evidence bear on it: the node's own best, which lies below by what is still to be gained there, and the
//! prediction, which is believed as far as predictions have been right in this run. On a tree such a model is solved exactly
//! by one pass up and one pass down (Pearl, "Probabilistic reasoning in intelligent systems", 1988).

use kernsmith_core::NodeKind;

use crate::node::Node;
use crate::tree::Tree;

/// Standard deviation of a step: from the contract to a family, and from a node to its child.
const FAMILY_STEP: f64 = 0.7;
const STEP: f64 = 0.1;
/// Before any work, a node's best is expected this far below what it may reach; each pass in its lineage closes a share.
const GAP: f64 = 0.45;
const LEARNING: f64 = 0.09;
/// Standard deviation of what is still to be gained, as a share of it, and the least that it is taken for.
const GAP_DOUBT: f64 = 1.0;
const LEAST_DOUBT: f64 = 0.05;
/// Before any outcome: how much a predicted difference is worth, give or take; the error that is left then, and as how many
/// outcomes that opinion counts.
const PRIOR_SLOPE: f64 = 1.0;
const SLOPE_DOUBT: f64 = 0.45;
const PRIOR_ERROR: f64 = 0.22;
const PRIOR_PAIRS: f64 = 10.0;
/// Standard deviation of what predictions of one depth are off by together.
const DEPTH_SHIFT: f64 = 0.3;
/// Depths that are told apart; deeper nodes count as the last.
const DEPTHS: usize = 6;
/// Rounds of fitting slope, shifts and error in turn.
const ROUNDS: usize = 5;

/// A normal distribution by its precision; precision 0 says nothing.
#[derive(Debug, Clone, Copy)]
struct Gauss {
    precision: f64,
    mean: f64,
}

impl Gauss {
    const NOTHING: Self = Self { precision: 0.0, mean: 0.0 };

    const fn new(mean: f64, deviation: f64) -> Self {
        Self { precision: 1.0 / (deviation * deviation), mean }
    }

    fn and(self, other: Self) -> Self {
        let precision = self.precision + other.precision;
        if precision <= 0.0 {
            return Self::NOTHING;
        }
        Self { precision, mean: (self.precision * self.mean + other.precision * other.mean) / precision }
    }

    /// Without what `other` had said.
    fn without(self, other: Self) -> Self {
        let precision = self.precision - other.precision;
        if precision <= 1e-12 {
            return Self::NOTHING;
        }
        Self { precision, mean: (self.precision * self.mean - other.precision * other.mean) / precision }
    }

    /// Seen over a step of that deviation.
    fn across(self, step: f64) -> Self {
        if self.precision <= 0.0 {
            return self;
        }
        Self { precision: 1.0 / (1.0 / self.precision + step * step), mean: self.mean }
    }
}

/// What a node may reach, as a logarithm: mean and standard deviation, by node number.
pub(crate) struct Belief {
    pub(crate) mean: Vec<f64>,
    pub(crate) deviation: Vec<f64>,
}

/// How predictions relate to outcomes: `reach = centre + shift of the depth + slope (prediction - said)`, give or take `error`.
#[derive(Debug, Clone, Copy)]
struct Trust {
    slope: f64,
    /// Precision of the slope.
    precision: f64,
    /// Means of predictions and outcomes.
    said: f64,
    centre: f64,
    shifts: [f64; DEPTHS],
    error: f64,
    pairs: f64,
}

/// A prediction and what evidence says of it.
struct Pair {
    said: f64,
    reach: f64,
    depth: usize,
}

impl Belief {
    pub(crate) fn new(tree: &Tree) -> Self {
        let nodes: Vec<&Node> = tree.nodes().collect();
        let evidence = evidence(&nodes);
        let trust = Trust::new(&nodes, &evidence);
        let own: Vec<Gauss> = nodes
            .iter()
            .zip(&evidence)
            .map(|(node, evidence)| match node.kind {
                NodeKind::Root => Gauss::new(trust.centre, 2.0),
                _ => evidence.and(trust.says(node)),
            })
            .collect();
        let step = |node: &Node| {
            if node.kind == NodeKind::Family { FAMILY_STEP } else { STEP }
        };
        let mut below = own.clone();
        let mut sent = vec![Gauss::NOTHING; nodes.len()];
        for (at, node) in nodes.iter().enumerate().rev() {
            if let Some(parent) = node.parent {
                sent[at] = below[at].across(step(node));
                below[parent.0 as usize] = below[parent.0 as usize].and(sent[at]);
            }
        }
        let mut whole = below;
        for (at, node) in nodes.iter().enumerate() {
            if let Some(parent) = node.parent {
                let above = whole[parent.0 as usize].without(sent[at]);
                whole[at] = whole[at].and(above.across(step(node)));
            }
        }
        Self {
            mean: whole.iter().map(|gauss| gauss.mean).collect(),
            deviation: whole.iter().map(|gauss| gauss.precision.max(1e-9).sqrt().recip()).collect(),
        }
    }
}

/// What the nodes' own bests say.
fn evidence(nodes: &[&Node]) -> Vec<Gauss> {
    let mut work = vec![0.0; nodes.len()];
    let mut out = Vec::with_capacity(nodes.len());
    for (at, node) in nodes.iter().enumerate() {
        let above = node.parent.map_or(0.0, |parent| work[parent.0 as usize]);
        work[at] = above + f64::from(node.accepted);
        out.push(match node.best_ratio() {
            Some(ratio) => {
                let left = GAP * (-LEARNING * (work[at] - 1.0)).exp();
                Gauss::new(ratio.ln() + left, (GAP_DOUBT * left).max(LEAST_DOUBT))
            }
            None => Gauss::NOTHING,
        });
    }
    out
}

impl Trust {
    /// Ridge regression of outcomes on predictions (Hoerl and Kennard, 1970), with the error estimated along the way.
    fn new(nodes: &[&Node], evidence: &[Gauss]) -> Self {
        let pairs = pairs(nodes, evidence);
        let count = pairs.len() as f64;
        let mut trust = Self {
            slope: PRIOR_SLOPE,
            precision: SLOPE_DOUBT.powi(-2),
            said: 0.0,
            centre: 0.0,
            shifts: [0.0; DEPTHS],
            error: PRIOR_ERROR,
            pairs: count,
        };
        if pairs.is_empty() {
            let said = nodes.iter().filter(|node| node.kind != NodeKind::Root).map(|node| said(node));
            trust.said = said.sum::<f64>() / (nodes.len() - 1).max(1) as f64;
            trust.centre = trust.said;
            return trust;
        }
        trust.said = pairs.iter().map(|pair| pair.said).sum::<f64>() / count;
        trust.centre = pairs.iter().map(|pair| pair.reach).sum::<f64>() / count;
        for _ in 0..ROUNDS {
            trust.refine(&pairs);
        }
        trust
    }

    fn refine(&mut self, pairs: &[Pair]) {
        let noise = self.error * self.error;
        let mut sums = [(0.0, noise / (DEPTH_SHIFT * DEPTH_SHIFT)); DEPTHS];
        for pair in pairs {
            let (sum, weight) = &mut sums[pair.depth];
            *sum += pair.reach - self.centre - self.slope * (pair.said - self.said);
            *weight += 1.0;
        }
        self.shifts = sums.map(|(sum, weight)| sum / weight);
        let prior = SLOPE_DOUBT.powi(-2);
        let (mut xx, mut xy) = (0.0, 0.0);
        for pair in pairs {
            let x = pair.said - self.said;
            xx += x * x;
            xy += x * (pair.reach - self.centre - self.shifts[pair.depth]);
        }
        self.precision = prior + xx / noise;
        self.slope = (xy / noise + prior * PRIOR_SLOPE) / self.precision;
        let left: f64 =
            pairs.iter().map(|pair| (pair.reach - self.expects(pair.said, pair.depth)).powi(2)).sum();
        self.error = ((left + PRIOR_PAIRS * PRIOR_ERROR.powi(2)) / (self.pairs + PRIOR_PAIRS)).sqrt();
    }

    fn expects(&self, said: f64, depth: usize) -> f64 {
        self.centre + self.shifts[depth] + self.slope * (said - self.said)
    }

    /// What a node's prediction says of what it may reach; the doubt grows with the distance from predictions seen so far.
    fn says(&self, node: &Node) -> Gauss {
        let away = said(node) - self.said;
        let variance = self.error.powi(2) * (1.0 + 1.0 / (1.0 + self.pairs)) + away * away / self.precision;
        Gauss::new(self.expects(said(node), depth(node)), variance.sqrt())
    }
}

/// Predictions are about a node and everything below it, so the best that evidence allows there is what they are held against.
fn pairs(nodes: &[&Node], evidence: &[Gauss]) -> Vec<Pair> {
    let mut reach: Vec<Option<f64>> =
        evidence.iter().map(|known| (known.precision > 0.0).then_some(known.mean)).collect();
    for node in nodes.iter().rev() {
        let (Some(parent), Some(own)) = (node.parent, reach[node.id.0 as usize]) else { continue };
        let above = &mut reach[parent.0 as usize];
        *above = above.map(|above| above.max(own));
    }
    let strategies = nodes.iter().zip(reach).filter(|(node, _)| node.kind != NodeKind::Root);
    strategies
        .filter_map(|(node, reach)| Some(Pair { said: said(node), reach: reach?, depth: depth(node) }))
        .collect()
}

fn said(node: &Node) -> f64 {
    node.predicted.ratio.max(f64::MIN_POSITIVE).ln()
}

fn depth(node: &Node) -> usize {
    (node.depth as usize).min(DEPTHS - 1)
}

#[cfg(test)]
mod tests {
    use kernsmith_core::{NodeId, NodeKind};

    use super::*;
    use crate::testing::{History, node};

    /// Six families with predictions from 1 to 6; `truth` says what each gives.
    fn six(truth: impl Fn(f64) -> f64) -> History {
        let mut history = History::new();
        for said in 1..=6 {
            history.insert(NodeId::ROOT, node(NodeKind::Family, &format!("f{said}"), f64::from(said)));
        }
        for said in 1..=5 {
            for _ in 0..3 {
                history.pass(NodeId(said), truth(f64::from(said)));
            }
        }
        history
    }

    #[test]
    fn predictions_that_were_right_are_believed_and_others_are_not() {
        let believed = |truth: &dyn Fn(f64) -> f64| {
            let belief = Belief::new(&six(truth).tree);
            belief.mean[6] - belief.mean[1]
        };
        let right = believed(&|said| said);
        let wrong = believed(&|said| 6.0 - said);
        assert!(right > 1.0, "{right}");
        assert!(wrong < 0.2, "{wrong}");
    }

    #[test]
    fn what_was_tried_is_doubted_less() {
        let belief = Belief::new(&six(|said| said).tree);
        assert!((1..=5).all(|tried| belief.deviation[tried] < belief.deviation[6]));
    }

    #[test]
    fn good_news_of_a_child_raises_its_siblings() {
        let mut history = History::with_families(&["a", "b"]);
        for parent in [1, 2] {
            for title in ["x", "y"] {
                history.insert(NodeId(parent), node(NodeKind::Decision, title, 2.0));
            }
        }
        history.pass(NodeId(3), 5.0);
        history.pass(NodeId(5), 2.0);
        let belief = Belief::new(&history.tree);
        assert!(belief.mean[4] > belief.mean[6]);
    }
}
