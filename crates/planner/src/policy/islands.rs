//! Islands with MAP-Elites cells, after the evolutionary searches of programs (`OpenEvolve`, `FunSearch`; Mouret and Clune, arXiv
//! 1504.04909): no predictions.
//!
//! Families are dealt out over the islands, which take turns. A cell is a node, and its elite the node's best. A parent cell is
//! the island's best seven times in ten, any of its cells twice, and any cell of all islands once; the child is a new attempt at
//! the parent's node or at one of its open children, all with equal chance. Every [`MIGRATION`] turns an island's neighbour
//! may use its best cell too. Families that were never tried come first.

use kernsmith_core::NodeId;
use rand::RngExt;
use rand::seq::IteratorRandom;
use rand_chacha::ChaCha12Rng;

use crate::node::Node;
use crate::view::View;

const ISLANDS: usize = 5;
/// Chances of the best cell and of any cell of the island; the rest is any cell of all.
const EXPLOIT: f64 = 0.7;
const EXPLORE: f64 = 0.2;
/// Turns between two migrations along the ring.
const MIGRATION: u64 = 50;

pub(crate) fn choose(view: &View<'_>, random: &mut ChaCha12Rng) -> Option<NodeId> {
    let families: Vec<NodeId> = view.nodes.first()?.children().to_vec();
    let islands = families.len().clamp(1, ISLANDS);
    let turn = view.tree.counts().proposed + view.chosen_count() as u64;
    let island = (turn % islands as u64) as usize;
    let untried =
        families.iter().find(|id| view.selectable[id.0 as usize] && view.visits[id.0 as usize] == 0);
    if let Some(&family) = untried {
        return child(view, view.tree.node(family)?, random);
    }
    let home = |node: &Node| {
        let family = view.tree.family(node.id)?;
        families.iter().position(|id| *id == family.id).map(|place| place % islands)
    };
    let is_cell = |node: &&Node| node.accepted > 0 && view.selectable[node.id.0 as usize];
    let cells: Vec<&Node> = view.nodes.iter().copied().filter(is_cell).collect();
    let mut own: Vec<&Node> = cells.iter().copied().filter(|node| home(node) == Some(island)).collect();
    if turn / MIGRATION > 0 {
        let neighbour = (island + islands - 1) % islands;
        own.extend(best(cells.iter().copied().filter(|node| home(node) == Some(neighbour))));
    }
    let dice = random.random::<f64>();
    let parent = match dice {
        dice if dice < EXPLOIT => best(own.iter().copied()),
        dice if dice < EXPLOIT + EXPLORE => own.iter().copied().choose(random),
        _ => None,
    };
    let parent = parent.or_else(|| cells.iter().copied().choose(random));
    parent.and_then(|parent| child(view, parent, random)).or_else(|| super::random::choose(view, random))
}

fn best<'a>(cells: impl Iterator<Item = &'a Node>) -> Option<&'a Node> {
    let ratio = |node: &Node| node.best_ratio().unwrap_or(0.0);
    cells.reduce(|best, node| if ratio(node) > ratio(best) { node } else { best })
}

/// The node itself or one of its open children.
fn child(view: &View<'_>, node: &Node, random: &mut ChaCha12Rng) -> Option<NodeId> {
    let children = node.children().iter().filter_map(|&child| view.tree.node(child));
    children.chain([node]).filter(|node| view.may_select(node)).map(|node| node.id).choose(random)
}
