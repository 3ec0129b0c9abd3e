//! Beam search: level by level, the best few of each level are refined further.
//!
//! A node is eligible when its parent is the root or among the best of its own level. The shallowest level with an eligible
//! node that has fewer than [`TRIES`] attempts gets the next one, the highest prediction first; when all levels have had
//! theirs, the best nodes of the whole tree are worked on in turn.

use kernsmith_core::NodeId;
use rand_chacha::ChaCha12Rng;

use crate::node::Node;
use crate::view::View;

/// Nodes of a level that go on.
const WIDTH: usize = 4;
/// Attempts that a node has before it is compared.
const TRIES: u32 = 3;

pub(crate) fn choose(view: &View<'_>, _: &mut ChaCha12Rng) -> Option<NodeId> {
    let tries = |node: &Node| node.proposed + view.waiting(node.id);
    let mut parents = vec![NodeId::ROOT];
    while !parents.is_empty() {
        let in_level = |node: &&&Node| node.parent.is_some_and(|parent| parents.contains(&parent));
        let level: Vec<&Node> = view.nodes.iter().filter(in_level).copied().collect();
        let next = level.iter().copied().filter(|node| view.may_select(node) && tries(node) < TRIES);
        let next = next.reduce(|best, node| {
            let sooner = tries(node).cmp(&tries(best)).reverse();
            if sooner.then(node.predicted.ratio.total_cmp(&best.predicted.ratio)).is_gt() {
                node
            } else {
                best
            }
        });
        if let Some(node) = next {
            return Some(node.id);
        }
        parents = best(level.into_iter()).into_iter().map(|node| node.id).collect();
    }
    let beam = best(view.open());
    beam.into_iter()
        .reduce(|best, node| if tries(node) < tries(best) { node } else { best })
        .map(|node| node.id)
}

/// The best nodes by what they reached themselves; what never passed comes last.
fn best<'a>(nodes: impl Iterator<Item = &'a Node>) -> Vec<&'a Node> {
    let mut nodes: Vec<&Node> = nodes.collect();
    let ratio = |node: &Node| node.best_ratio().unwrap_or(0.0);
    nodes.sort_by(|a, b| ratio(b).total_cmp(&ratio(a)).then(a.id.cmp(&b.id)));
    nodes.truncate(WIDTH);
    nodes
}
