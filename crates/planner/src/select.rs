//! Which node to work on next.
//!
//! The tree is looked at once, as a [`View`]; the policy of the options then names a node, or one after another for a batch.

use kernsmith_core::NodeId;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use crate::tree::Tree;
use crate::view::View;

impl Tree {
    /// The next node to work on; `None` when no node is open.
    ///
    /// The answer depends on the tree, `ordinal` and `seed` only.
    pub fn select(&self, ordinal: u64, seed: u64) -> Option<NodeId> {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        random.set_stream(ordinal);
        self.options().select.policy.choose(&View::new(self), &mut random)
    }

    /// Up to `width` nodes to work on at the same time, best first, none above or below another one (lineage blocking).
    ///
    /// The proposals made so far are the ordinal of the random stream.
    pub fn select_batch(&self, width: usize, seed: u64) -> Vec<NodeId> {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        random.set_stream(self.counts().proposed);
        let mut view = View::new(self);
        let mut chosen = Vec::new();
        while chosen.len() < width {
            let Some(id) = self.options().select.policy.choose(&view, &mut random) else { break };
            view.block(id);
            chosen.push(id);
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use kernsmith_core::{NodeId, NodeKind};

    use crate::node::Node;
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
