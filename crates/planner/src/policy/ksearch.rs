//! The order that K-Search goes by (arXiv 2602.19128): the untried strategy with the highest score, then work on it until it
//! stagnates.
//!
//! Scores are taken as they were said. Among untried strategies whose parent is the root or has passed, and that are not the
//! hardest, the order is score, then ease, then age. Work on one strategy ends when its best, or its lead over its base, has
//! not improved for [`WINDOW`] attempts. Where nothing is untried, the strategy with the best outcome is taken up again.

use kernsmith_core::{NodeId, NodeKind};
use rand_chacha::ChaCha12Rng;

use crate::node::Node;
use crate::view::View;

/// Attempts without improvement that end the work on a strategy: the default of the published program.
const WINDOW: u32 = 5;
/// Harder strategies wait until no other is left.
const HARDEST: u8 = 4;

pub(crate) fn choose(view: &View<'_>, _: &mut ChaCha12Rng) -> Option<NodeId> {
    let latest = view.tree.attempts().next_back().and_then(|attempt| view.tree.node(attempt.node));
    let goes_on = |node: &&Node| view.may_select(node) && node.since_best.max(node.since_base) < WINDOW;
    latest.filter(goes_on).or_else(|| untried(view)).or_else(|| best_tried(view)).map(|node| node.id)
}

fn untried<'a>(view: &View<'a>) -> Option<&'a Node> {
    let grounded = |node: &Node| {
        let parent = node.parent.and_then(|parent| view.tree.node(parent));
        parent.is_some_and(|parent| parent.kind == NodeKind::Root || parent.accepted > 0)
    };
    let frontier: Vec<&Node> =
        view.open().filter(|node| node.proposed + view.waiting(node.id) == 0).collect();
    let legal = frontier.iter().copied().filter(|node| grounded(node) && node.difficulty <= HARDEST);
    legal.reduce(higher).or_else(|| frontier.iter().copied().reduce(higher))
}

/// Score first, then ease, then age.
fn higher<'a>(one: &'a Node, other: &'a Node) -> &'a Node {
    let order = other.predicted.ratio.total_cmp(&one.predicted.ratio);
    if order.reverse().then(other.difficulty.cmp(&one.difficulty)).is_lt() { other } else { one }
}

fn best_tried<'a>(view: &View<'a>) -> Option<&'a Node> {
    let ratio = |node: &Node| node.best_ratio().unwrap_or(0.0);
    view.open().reduce(|best, next| if ratio(next) > ratio(best) { next } else { best })
}
