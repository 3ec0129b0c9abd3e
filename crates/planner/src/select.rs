//! Which node to work on next.
//!
//! PUCT (Silver et al., Nature 550, 2017) walked from the root down, over states whose value is the best outcome that was
//! reached from them (max-backup, as in TTT-Discover, arXiv 2601.16175). Predictions enter as a prior by rank and as the
//! first value of what was never tried. `docs/planner.md` has the formula.

use std::collections::BTreeSet;

use kernsmith_core::{NodeId, NodeKind};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::node::Node;
use crate::options::Policy;
use crate::tree::Tree;

/// The logarithmic range of values is never taken for smaller than this (about 5 %), or noise would steer.
const MIN_SCALE: f64 = 0.05;
/// Share of the prior that all arms have alike, so that no arm starves.
const UNIFORM_SHARE: f64 = 0.25;

impl Tree {
    /// The next node to work on; `None` when no node is open.
    ///
    /// The answer depends on the tree, `ordinal` and `seed` only.
    pub fn select(&self, ordinal: u64, seed: u64) -> Option<NodeId> {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        random.set_stream(ordinal);
        Selection::new(self).next(self.options.select.policy, &mut random)
    }

    /// Up to `width` nodes to work on at the same time, best first, none above or below another one (lineage blocking).
    ///
    /// The proposals made so far are the ordinal of the random stream.
    pub fn select_batch(&self, width: usize, seed: u64) -> Vec<NodeId> {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        random.set_stream(self.counts().proposed);
        let mut selection = Selection::new(self);
        let mut chosen = Vec::new();
        while chosen.len() < width {
            let Some(id) = selection.next(self.options.select.policy, &mut random) else { break };
            selection.block(id);
            chosen.push(id);
        }
        chosen
    }
}

struct Selection<'a> {
    tree: &'a Tree,
    nodes: Vec<&'a Node>,
    /// Visits at or below each node: proposals of any fate, in flight included.
    visits: Vec<u32>,
    /// Best logarithm of a ratio at or below each node.
    best: Vec<Option<f64>>,
    /// Calibrated predictions: expected and optimistic logarithm.
    expected: Vec<f64>,
    optimistic: Vec<f64>,
    /// Whether anything at or below may be selected.
    selectable: Vec<bool>,
    blocked: BTreeSet<NodeId>,
    low: f64,
    scale: f64,
}

/// One way on from a node: into a child, or to stay and refine the node itself.
#[derive(Debug, Clone, Copy)]
struct Arm {
    id: NodeId,
    stay: bool,
    visits: u32,
    expected: f64,
    value: f64,
}

impl<'a> Selection<'a> {
    fn new(tree: &'a Tree) -> Self {
        let nodes: Vec<&Node> = tree.nodes().collect();
        let calibration = tree.calibration();
        let predictions: Vec<_> = nodes.iter().map(|node| calibration.apply(tree, node)).collect();
        let own: Vec<f64> = nodes.iter().filter_map(|node| node.best_ratio()).map(f64::ln).collect();
        let low = own.iter().copied().reduce(f64::min).unwrap_or(0.0);
        let high = own.iter().copied().reduce(f64::max).unwrap_or(0.0);
        let mut selection = Self {
            visits: below(&nodes, |node| node.proposed),
            best: tree.best_below_all().into_iter().map(|best| best.map(f64::ln)).collect(),
            expected: predictions.iter().map(|predicted| predicted.ratio.ln()).collect(),
            optimistic: predictions.iter().map(|predicted| predicted.high.ln()).collect(),
            selectable: Vec::new(),
            blocked: BTreeSet::new(),
            low,
            scale: (high - low).max(MIN_SCALE),
            tree,
            nodes,
        };
        selection.mark_selectable();
        selection
    }

    fn may_select(&self, node: &Node) -> bool {
        node.kind != NodeKind::Root && node.status.is_open() && !self.blocked.contains(&node.id)
    }

    fn mark_selectable(&mut self) {
        let mut selectable: Vec<bool> = self.nodes.iter().map(|node| self.may_select(node)).collect();
        for node in self.nodes.iter().rev() {
            if let Some(parent) = node.parent {
                selectable[parent.0 as usize] |= selectable[node.id.0 as usize];
            }
        }
        self.selectable = selectable;
    }

    fn next(&self, policy: Policy, random: &mut ChaCha12Rng) -> Option<NodeId> {
        match policy {
            Policy::WorldModel => self.descend(random),
            Policy::Random => {
                let open: Vec<NodeId> =
                    self.nodes.iter().filter(|node| self.may_select(node)).map(|node| node.id).collect();
                (!open.is_empty()).then(|| open[random.random_range(0..open.len())])
            }
        }
    }

    fn descend(&self, random: &mut ChaCha12Rng) -> Option<NodeId> {
        let mut id = NodeId::ROOT;
        loop {
            let arms = self.arms(self.tree.node(id)?);
            let arm = self.best_arm(&arms, random)?;
            if arm.stay {
                return Some(arm.id);
            }
            id = arm.id;
        }
    }

    fn arms(&self, node: &Node) -> Vec<Arm> {
        let at = node.id.0 as usize;
        let stay = self.may_select(node).then(|| Arm {
            id: node.id,
            stay: true,
            visits: node.proposed,
            expected: self.expected[at],
            // Refinement of a node may start from anything that was found below it.
            value: self.value(at, self.visits[at]),
        });
        let children = node.children().iter().filter(|child| self.selectable[child.0 as usize]).map(|&id| {
            let at = id.0 as usize;
            let visits = self.visits[at];
            Arm { id, stay: false, visits, expected: self.expected[at], value: self.value(at, visits) }
        });
        stay.into_iter().chain(children).collect()
    }

    /// Best outcome in 0..=1 of the range seen in the whole tree; what was never tried is worth what it might reach at best.
    fn value(&self, at: usize, visits: u32) -> f64 {
        let logarithm = match (self.best[at], visits) {
            (Some(best), _) => best,
            (None, 0) => self.optimistic[at],
            (None, _) => self.low,
        };
        ((logarithm - self.low) / self.scale).clamp(0.0, 1.0)
    }

    /// `Q + c P sqrt(1 + N) / (1 + n)`; values are in units of the range, which is the formula's `scale`.
    fn best_arm(&self, arms: &[Arm], random: &mut ChaCha12Rng) -> Option<Arm> {
        let options = &self.tree.options.select;
        let priors = self.priors(arms, options.prior_ranks);
        let total: u32 = arms.iter().map(|arm| arm.visits).sum();
        let score = |arm: &Arm, prior: f64| {
            arm.value + options.exploration * prior * f64::from(1 + total).sqrt() / f64::from(1 + arm.visits)
        };
        let mut best: Option<(f64, Arm)> = None;
        for (arm, prior) in arms.iter().zip(priors) {
            let score = score(arm, prior) + 1e-9 * random.random::<f64>();
            if best.is_none_or(|(highest, _)| score > highest) {
                best = Some((score, *arm));
            }
        }
        best.map(|(_, arm)| arm)
    }

    /// Softmax over ranks of the expected gain, mixed with the uniform distribution; equal expectations share a rank.
    fn priors(&self, arms: &[Arm], ranks: f64) -> Vec<f64> {
        let gain = |arm: &Arm| arm.expected + self.reliability(arm.id).ln();
        let rank = |arm: &Arm| arms.iter().filter(|other| gain(other) > gain(arm) + 1e-9).count();
        let weights: Vec<f64> =
            arms.iter().map(|arm| (-(rank(arm) as f64) / ranks.max(1e-3)).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let uniform = UNIFORM_SHARE / arms.len().max(1) as f64;
        weights.iter().map(|weight| (1.0 - UNIFORM_SHARE) * weight / sum + uniform).collect()
    }

    /// Chance that a candidate of the node passes: its own record, on top of two imagined passes.
    fn reliability(&self, id: NodeId) -> f64 {
        self.tree.node(id).map_or(1.0, |node| {
            let passed = f64::from(node.accepted) + 2.0;
            passed / (passed + f64::from(node.conclusive_failures()))
        })
    }

    /// Counts a visit that is about to happen, and keeps its lineage out of the rest of the batch.
    fn block(&mut self, id: NodeId) {
        let below: Vec<NodeId> = self.tree.subtree(id).iter().map(|node| node.id).collect();
        let above: Vec<NodeId> = self.tree.ancestors(id).map(|node| node.id).collect();
        self.visits[id.0 as usize] += 1;
        for ancestor in &above {
            self.visits[ancestor.0 as usize] += 1;
        }
        self.blocked.extend(below.into_iter().chain(above));
        self.mark_selectable();
    }
}

fn below(nodes: &[&Node], count: impl Fn(&Node) -> u32) -> Vec<u32> {
    let mut sums: Vec<u32> = nodes.iter().map(|node| count(node)).collect();
    for node in nodes.iter().rev() {
        if let Some(parent) = node.parent {
            sums[parent.0 as usize] = sums[parent.0 as usize].saturating_add(sums[node.id.0 as usize]);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{History, node};

    /// Two families of four decisions; `measure` says what a node gives.
    fn search(evaluations: u64, measure: impl Fn(&str, u32) -> f64) -> History {
        let mut history = History::with_families(&["a", "b"]);
        for family in [1, 2] {
            for title in ["w", "x", "y", "z"] {
                history.insert(NodeId(family), node(NodeKind::Decision, title, 2.0));
            }
        }
        for ordinal in 0..evaluations {
            let id = history.tree.select(ordinal, 7).unwrap();
            let chosen = history.tree.node(id).unwrap();
            let family = history.tree.family(id).unwrap().title.clone();
            let ratio = measure(&format!("{family}{}", chosen.title), chosen.proposed);
            history.pass(id, ratio);
        }
        history
    }

    #[test]
    fn decisions_are_tried_widely_and_the_best_gets_most() {
        let history = search(60, |path, visit| match path {
            "by" => 6.0 + 0.05 * f64::from(visit),
            "bb" => 4.0,
            path if path.starts_with('b') => 3.0,
            _ => 2.5,
        });
        let decisions: Vec<&Node> =
            history.tree.nodes().filter(|node| node.kind == NodeKind::Decision).collect();
        let tried = decisions.iter().filter(|node| node.proposed > 0).count();
        assert!(tried >= 6, "only {tried} of 8 decisions were tried");
        let near = decisions.iter().filter(|node| history.tree.family(node.id).unwrap().title == "b");
        assert!(
            near.into_iter().all(|node| node.proposed > 0),
            "a decision of the best family was not tried"
        );
        let best = decisions.iter().max_by_key(|node| node.proposed).unwrap();
        assert_eq!(best.title, "y");
        assert_eq!(history.tree.family(best.id).unwrap().title, "b");
        assert!(best.proposed >= 15, "{}", best.proposed);
    }

    #[test]
    fn a_batch_holds_no_lineage() {
        let history = search(12, |_, visit| 2.0 + f64::from(visit));
        let batch = history.tree.select_batch(4, 3);
        assert!(batch.len() > 1);
        for &one in &batch {
            for other in batch.iter().filter(|other| **other != one) {
                assert!(history.tree.ancestors(one).all(|ancestor| ancestor.id != *other));
            }
        }
    }

    #[test]
    fn selection_depends_on_nothing_but_its_arguments() {
        let history = search(20, |_, visit| 2.0 + f64::from(visit));
        for ordinal in 0..8 {
            assert_eq!(history.tree.select(ordinal, 1), history.tree.clone().select(ordinal, 1));
        }
    }

    #[test]
    fn failures_and_proposals_in_flight_count_as_visits() {
        let mut history = History::with_families(&["a", "b"]);
        let first = history.tree.select(0, 5).unwrap();
        history.propose(first);
        let second = history.tree.select(1, 5).unwrap();
        assert_ne!(first, second, "a pending proposal makes its node less urgent");
    }

    #[test]
    fn closed_nodes_are_never_selected() {
        let mut history = History::with_families(&["a", "b"]);
        history.insert(NodeId(1), node(NodeKind::Decision, "x", 2.0));
        history.prune("user", NodeId(1));
        for ordinal in 0..20 {
            assert_eq!(history.tree.select(ordinal, 1), Some(NodeId(2)));
        }
        history.prune("user", NodeId(2));
        assert_eq!(history.tree.select(0, 1), None);
        assert!(history.tree.select_batch(3, 1).is_empty());
    }
}
