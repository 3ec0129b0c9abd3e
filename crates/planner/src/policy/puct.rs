//! PUCT (Silver et al., Nature 550, 2017) walked from the root down, over states whose value is the best outcome that was
//! reached from them (max-backup, as in TTT-Discover, arXiv 2601.16175). Predictions enter as a prior by rank and as the
//! first value of what was never tried. `docs/planner.md` has the formula.

use kernsmith_core::NodeId;
use rand::RngExt;
use rand_chacha::ChaCha12Rng;

use crate::node::Node;
use crate::view::View;

/// Share of the prior that all arms have alike, so that no arm starves.
const UNIFORM_SHARE: f64 = 0.25;
/// Rank `k` of the prior weighs `exp(-k / PRIOR_RANKS)`.
const PRIOR_RANKS: f64 = 2.0;
/// The `c` of the formula, where `exploration` is 1.
const EXPLORATION: f64 = 0.7;

pub(crate) fn choose(view: &View<'_>, random: &mut ChaCha12Rng) -> Option<NodeId> {
    let calibration = view.tree.calibration();
    let predictions: Vec<_> = view.nodes.iter().map(|node| calibration.apply(view.tree, node)).collect();
    let expected = predictions.iter().map(|predicted| predicted.ratio.ln()).collect();
    let optimistic = predictions.iter().map(|predicted| predicted.high.ln()).collect();
    Puct { view, expected, optimistic }.descend(random)
}

struct Puct<'a> {
    view: &'a View<'a>,
    /// Calibrated predictions: expected and optimistic logarithm.
    expected: Vec<f64>,
    optimistic: Vec<f64>,
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

impl Puct<'_> {
    fn descend(&self, random: &mut ChaCha12Rng) -> Option<NodeId> {
        let mut id = NodeId::ROOT;
        loop {
            let arms = self.arms(self.view.tree.node(id)?);
            let arm = self.best_arm(&arms, random)?;
            if arm.stay {
                return Some(arm.id);
            }
            id = arm.id;
        }
    }

    fn arms(&self, node: &Node) -> Vec<Arm> {
        let at = node.id.0 as usize;
        let stay = self.view.may_select(node).then(|| Arm {
            id: node.id,
            stay: true,
            visits: node.proposed,
            expected: self.expected[at],
            // Refinement of a node may start from anything that was found below it.
            value: self.value(at, self.view.visits[at]),
        });
        let children =
            node.children().iter().filter(|child| self.view.selectable[child.0 as usize]).map(|&id| {
                let at = id.0 as usize;
                let visits = self.view.visits[at];
                Arm { id, stay: false, visits, expected: self.expected[at], value: self.value(at, visits) }
            });
        stay.into_iter().chain(children).collect()
    }

    /// Best outcome in 0..=1 of the range seen in the whole tree; what was never tried is worth what it might reach at best.
    fn value(&self, at: usize, visits: u32) -> f64 {
        let logarithm = match (self.view.best[at], visits) {
            (Some(best), _) => best,
            (None, 0) => self.optimistic[at],
            (None, _) => self.view.low,
        };
        ((logarithm - self.view.low) / self.view.scale).clamp(0.0, 1.0)
    }

    /// `Q + c P sqrt(1 + N) / (1 + n)`; values are in units of the range, which is the formula's `scale`.
    fn best_arm(&self, arms: &[Arm], random: &mut ChaCha12Rng) -> Option<Arm> {
        let options = &self.view.tree.options().select;
        let priors = self.priors(arms);
        let total: u32 = arms.iter().map(|arm| arm.visits).sum();
        let score = |arm: &Arm, prior: f64| {
            arm.value
                + EXPLORATION * options.exploration * prior * f64::from(1 + total).sqrt()
                    / f64::from(1 + arm.visits)
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
    fn priors(&self, arms: &[Arm]) -> Vec<f64> {
        let gain = |arm: &Arm| arm.expected + self.reliability(arm.id).ln();
        let rank = |arm: &Arm| arms.iter().filter(|other| gain(other) > gain(arm) + 1e-9).count();
        let weights: Vec<f64> = arms.iter().map(|arm| (-(rank(arm) as f64) / PRIOR_RANKS).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let uniform = UNIFORM_SHARE / arms.len().max(1) as f64;
        weights.iter().map(|weight| (1.0 - UNIFORM_SHARE) * weight / sum + uniform).collect()
    }

    /// Chance that a candidate of the node passes: its own record, on top of two imagined passes.
    fn reliability(&self, id: NodeId) -> f64 {
        self.view.tree.node(id).map_or(1.0, |node| {
            let passed = f64::from(node.accepted) + 2.0;
            passed / (passed + f64::from(node.conclusive_failures()))
        })
    }
}
