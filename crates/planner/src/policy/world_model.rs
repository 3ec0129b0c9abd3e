//! The open strategy that might reach most: optimism in the face of doubt, over the Gaussian belief of the whole tree.
//!
//! Upper confidence bounds on what endless work on a node would reach (Srinivas et al., "Gaussian process optimization in the
//! bandit setting", ICML 2010), less a little for every attempt that did not pass, those in flight included.

use kernsmith_core::NodeId;
use rand_chacha::ChaCha12Rng;

use crate::belief::Belief;
use crate::node::Node;
use crate::view::View;

/// Standard deviations of doubt that a node is credited with, where `exploration` is 1.
const OPTIMISM: f64 = 6.5;
/// What each attempt without a pass costs, as a logarithm of a ratio, shared out over the passes.
const LOST: f64 = 0.01;

pub(crate) fn choose(view: &View<'_>, _: &mut ChaCha12Rng) -> Option<NodeId> {
    let belief = Belief::new(view.tree);
    let optimism = OPTIMISM * view.tree.options().select.exploration;
    let worth = |node: &Node| {
        let at = node.id.0 as usize;
        let lost = f64::from(node.proposed.saturating_sub(node.accepted)) / (1.0 + f64::from(node.accepted));
        belief.mean[at] + optimism * belief.deviation[at] - LOST * lost
    };
    view.open().reduce(|best, node| if worth(node) > worth(best) { node } else { best }).map(|node| node.id)
}
