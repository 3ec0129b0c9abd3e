//! The tree as a policy sees it: what was tried, what came out, what is expected, what may be chosen.

use std::collections::BTreeSet;

use kernsmith_core::{NodeId, NodeKind};

use crate::node::Node;
use crate::tree::Tree;

/// The logarithmic range of values is never taken for smaller than this (about 5 %), or noise would steer.
const MIN_SCALE: f64 = 0.05;

/// The tree as a policy sees it; tables go by node number.
pub(crate) struct View<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) nodes: Vec<&'a Node>,
    /// Visits at or below each node: proposals of any fate, in flight included.
    pub(crate) visits: Vec<u32>,
    /// Best logarithm of a ratio at or below each node.
    pub(crate) best: Vec<Option<f64>>,
    /// Whether anything at or below may be selected.
    pub(crate) selectable: Vec<bool>,
    blocked: BTreeSet<NodeId>,
    chosen: BTreeSet<NodeId>,
    /// Lowest of the nodes' bests, and their range.
    pub(crate) low: f64,
    pub(crate) scale: f64,
}

impl<'a> View<'a> {
    pub(crate) fn new(tree: &'a Tree) -> Self {
        let nodes: Vec<&Node> = tree.nodes().collect();
        let own: Vec<f64> = nodes.iter().filter_map(|node| node.best_ratio()).map(f64::ln).collect();
        let low = own.iter().copied().reduce(f64::min).unwrap_or(0.0);
        let high = own.iter().copied().reduce(f64::max).unwrap_or(0.0);
        let mut view = Self {
            visits: visits_below(&nodes),
            best: tree.best_below_all().into_iter().map(|best| best.map(f64::ln)).collect(),
            selectable: Vec::new(),
            blocked: BTreeSet::new(),
            chosen: BTreeSet::new(),
            low,
            scale: (high - low).max(MIN_SCALE),
            tree,
            nodes,
        };
        view.mark_selectable();
        view
    }

    /// Whether the node itself may be worked on.
    pub(crate) fn may_select(&self, node: &Node) -> bool {
        node.kind != NodeKind::Root && node.status.is_open() && !self.blocked.contains(&node.id)
    }

    /// All nodes that may be worked on, in order of insertion.
    pub(crate) fn open(&self) -> impl Iterator<Item = &'a Node> {
        self.nodes.iter().copied().filter(|node| self.may_select(node))
    }

    /// Visits of a node itself that are about to happen in this batch: 1 where it was chosen.
    pub(crate) fn waiting(&self, id: NodeId) -> u32 {
        u32::from(self.chosen.contains(&id))
    }

    /// Nodes chosen so far in this batch.
    pub(crate) fn chosen_count(&self) -> usize {
        self.chosen.len()
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

    /// Counts a visit that is about to happen, and keeps its lineage out of the rest of the batch.
    pub(crate) fn block(&mut self, id: NodeId) {
        let below: Vec<NodeId> = self.tree.subtree(id).iter().map(|node| node.id).collect();
        let above: Vec<NodeId> = self.tree.ancestors(id).map(|node| node.id).collect();
        self.chosen.insert(id);
        self.visits[id.0 as usize] += 1;
        for ancestor in &above {
            self.visits[ancestor.0 as usize] += 1;
        }
        self.blocked.extend(below.into_iter().chain(above));
        self.mark_selectable();
    }
}

fn visits_below(nodes: &[&Node]) -> Vec<u32> {
    let mut sums: Vec<u32> = nodes.iter().map(|node| node.proposed).collect();
    for node in nodes.iter().rev() {
        if let Some(parent) = node.parent {
            sums[parent.0 as usize] = sums[parent.0 as usize].saturating_add(sums[node.id.0 as usize]);
        }
    }
    sums
}
