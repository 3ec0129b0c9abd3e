//! Monte Carlo tree search with UCT (Kocsis and Szepesvari, "Bandit based Monte-Carlo planning", ECML 2006): mean outcomes
//! and visit counts, no predictions.

use kernsmith_core::NodeId;
use rand::seq::IteratorRandom;
use rand_chacha::ChaCha12Rng;

use crate::view::View;

/// Weight of exploration. The textbook has the square root of 2 for rewards in 0..1; of 0.1, 0.35, 0.7 and 1.41 this one gave
/// the least regret on the landscapes of `kernsmith bench planner`.
const EXPLORATION: f64 = 0.7;

pub(crate) fn choose(view: &View<'_>, random: &mut ChaCha12Rng) -> Option<NodeId> {
    let rewards = rewards(view);
    let mut at = NodeId::ROOT;
    loop {
        let node = view.tree.node(at)?;
        // Work on the node itself is one way on; each child with something open below it is another.
        let stay = view.may_select(node).then(|| (at, node.proposed, rewards.own[at.0 as usize]));
        let children = node.children().iter().filter(|child| view.selectable[child.0 as usize]);
        let children =
            children.map(|&child| (child, view.visits[child.0 as usize], rewards.below[child.0 as usize]));
        let arms: Vec<(NodeId, u32, f64)> = stay.into_iter().chain(children).collect();
        let fresh = arms.iter().filter(|(_, visits, _)| *visits == 0).choose(random);
        let total: u32 = arms.iter().map(|(_, visits, _)| visits).sum();
        let worth = |&(_, visits, sum): &(NodeId, u32, f64)| {
            let visits = f64::from(visits.max(1));
            sum / visits + EXPLORATION * (f64::from(total.max(1)).ln() / visits).sqrt()
        };
        let best = || arms.iter().reduce(|best, arm| if worth(arm) > worth(best) { arm } else { best });
        let (next, ..) = *fresh.or_else(best)?;
        if next == at {
            return Some(at);
        }
        at = next;
    }
}

/// Sums of rewards in 0..1 by node: of its own attempts, and of those at or below it. A failure is worth 0.
struct Rewards {
    own: Vec<f64>,
    below: Vec<f64>,
}

fn rewards(view: &View<'_>) -> Rewards {
    let ratios = || view.tree.attempts().filter_map(|attempt| Some((attempt.node, attempt.ratio()?.ln())));
    let low = ratios().map(|(_, ratio)| ratio).fold(0.0, f64::min);
    let high = ratios().map(|(_, ratio)| ratio).fold(low, f64::max);
    let range = if high > low { high - low } else { 1.0 };
    let mut own = vec![0.0; view.nodes.len()];
    for (node, ratio) in ratios() {
        own[node.0 as usize] += (ratio - low) / range;
    }
    let mut below = own.clone();
    for node in view.nodes.iter().rev() {
        if let Some(parent) = node.parent {
            below[parent.0 as usize] += below[node.id.0 as usize];
        }
    }
    Rewards { own, below }
}
