//! Stagnation and closure: by rule, never by hope.

use kernsmith_core::{NodeId, NodeKind, Seq};

use crate::attempt::Outcome;
use crate::node::{Node, Status};
use crate::tree::Tree;

/// The author of closures that the engine writes when a proposer has nothing untried left.
const ENGINE: &str = "engine";

impl Tree {
    /// Takes in a verdict on `proposal`: counters, status, and the closure rules of its node and the nodes above.
    ///
    /// `fresh` says that the attempt had no verdict before; a node's counters move with its own fresh and conclusive
    /// attempts only.
    pub(crate) fn learn(&mut self, entry: Seq, proposal: Seq, fresh: bool) {
        let Some(attempt) = self.attempt(proposal) else { return };
        let id = attempt.node;
        let counted = fresh && !matches!(attempt.outcome, Outcome::Inconclusive | Outcome::Pending);
        let closure = self.options.closure.clone();
        self.state.resolved += u64::from(fresh);
        let best = self.best_ratio().unwrap_or(0.0);
        if improved(best, &mut self.state.reference, closure.min_gain) {
            self.state.resolved_at_best = self.state.resolved;
        }
        self.state.paradigm_due |= fresh && self.stagnates_again();
        self.state.refine_due |=
            fresh && self.state.resolved.is_multiple_of(u64::from(closure.refine_every.max(1)));
        let ahead = self.is_ahead_of_base(id);
        let Some(node) = self.node_mut(id) else { return };
        node.count(entry, counted, ahead, closure.min_gain);
        self.close_by_rule(id);
    }

    /// Whether the node, or something below it, beats the best of its parent and siblings (for a family: the baseline).
    fn is_ahead_of_base(&self, id: NodeId) -> bool {
        self.best_below(id).is_some_and(|ratio| ratio > self.base_ratio(id))
    }

    fn base_ratio(&self, id: NodeId) -> f64 {
        let parent = self.node(id).and_then(|node| self.node(node.parent?));
        let Some(parent) = parent.filter(|parent| parent.kind != NodeKind::Root) else { return 1.0 };
        let siblings = parent.children.iter().filter(|child| **child != id);
        siblings.filter_map(|&child| self.best_below(child)).chain(parent.best_ratio()).fold(1.0, f64::max)
    }

    /// Applies the rules to a node whose numbers have just changed, and the dead-end rule to its ancestors.
    fn close_by_rule(&mut self, id: NodeId) {
        if let Some(reason) = self.node(id).and_then(|node| self.exhaustion(node)) {
            self.close(id, Status::Exhausted, &reason);
        }
        let path: Vec<NodeId> =
            std::iter::once(id).chain(self.ancestors(id).map(|ancestor| ancestor.id)).collect();
        for id in path.into_iter().filter(|id| *id != NodeId::ROOT) {
            if let Some(reason) = self.dead_end(id) {
                self.close_below(id, Status::DeadEnd, &reason);
            }
        }
    }

    /// Why nothing new is expected of a node.
    fn exhaustion(&self, node: &Node) -> Option<String> {
        if !node.status.is_open() || node.kind == NodeKind::Root {
            return None;
        }
        let closure = &self.options.closure;
        let factor = if node.kind == NodeKind::Family { closure.family_factor } else { 1 };
        if node.since_best >= closure.patience.saturating_mul(factor) {
            return Some(format!("no new best in {} attempts", node.since_best));
        }
        (node.since_base >= closure.base_patience.saturating_mul(factor))
            .then(|| format!("never ahead of its base in the last {} attempts", node.since_base))
    }

    /// Why a node is a dead end: enough distinct conclusive failures in it and below it, and not one pass.
    ///
    /// Candidates that repeat an earlier one are deduplicated before they are judged, so that failures are distinct. A
    /// node with children must fail twice as often: one bad decision does not condemn a family.
    fn dead_end(&self, id: NodeId) -> Option<String> {
        let subtree = self.subtree(id);
        let open = subtree.iter().any(|node| node.status.is_open());
        let factor = if subtree.len() > 1 { 2 } else { 1 };
        let needed = self.options.closure.dead_end_attempts.max(1).saturating_mul(factor);
        let accepted: u32 = subtree.iter().map(|node| node.accepted).sum();
        let failed: u32 = subtree.iter().map(|node| node.conclusive_failures()).sum();
        (open && accepted == 0 && failed >= needed)
            .then(|| format!("{failed} conclusive failures and no pass"))
    }

    /// A prune edit. The engine's own prunes say that nothing untried is left; anybody else's are opinions.
    pub(crate) fn prune(&mut self, author: &str, id: NodeId, rationale: &str) {
        let subtree = self.subtree(id);
        let passed = subtree.iter().any(|node| node.accepted > 0);
        let status = match author {
            _ if passed => Status::Exhausted,
            ENGINE => Status::Exhausted,
            _ => Status::Pruned,
        };
        self.close_below(id, status, rationale);
    }

    fn close_below(&mut self, id: NodeId, status: Status, reason: &str) {
        let ids: Vec<NodeId> = self.subtree(id).iter().map(|node| node.id).collect();
        for id in ids {
            self.close(id, status, reason);
        }
    }

    fn close(&mut self, id: NodeId, status: Status, reason: &str) {
        let Some(node) = self.node_mut(id).filter(|node| node.status.is_open()) else { return };
        node.status = status;
        node.closed_because = Some(reason.to_owned());
        self.state.refine_due = true;
    }

    /// Whether a look at the tree is due: a node was closed, or many attempts were judged since the last one.
    ///
    /// It is asked for once: the next proposal or edit clears it.
    pub const fn wants_refinement(&self) -> bool {
        self.state.refine_due
    }

    /// Whether a new paradigm should be asked for: the whole frontier stagnates, and nobody was asked since the last verdict.
    ///
    /// It is asked for once in every `frontier_patience` verdicts without a new best.
    pub const fn wants_paradigm(&self) -> bool {
        self.state.paradigm_due
    }

    fn stagnates_again(&self) -> bool {
        let since = self.state.resolved_at_best.max(self.state.resolved_at_edit);
        let patience = u64::from(self.options.closure.frontier_patience.max(1));
        self.state.resolved > since && (self.state.resolved - since).is_multiple_of(patience)
    }

    /// Whether the whole frontier stagnates: no new best in the run for long, and no new strategies either.
    pub fn stagnating(&self) -> bool {
        let since = self.state.resolved_at_best.max(self.state.resolved_at_edit);
        self.state.resolved - since >= u64::from(self.options.closure.frontier_patience.max(1))
    }
}

impl Node {
    fn count(&mut self, entry: Seq, counted: bool, ahead: bool, min_gain: f64) {
        self.since_best += u32::from(counted);
        self.since_base += u32::from(counted);
        let own = self.best_ratio().unwrap_or(0.0);
        if improved(own, &mut self.reference, min_gain) {
            self.since_best = 0;
            self.last_improved = Some(entry);
        }
        if ahead {
            self.since_base = 0;
        }
        if self.status.is_open() {
            self.status = if own > 1.0 { Status::Proven } else { Status::Active };
        }
    }
}

/// Whether a best counts as a new one. A best that fell (a deeper lane corrected it) lowers the reference quietly.
fn improved(best: f64, reference: &mut f64, min_gain: f64) -> bool {
    let better = best > *reference * min_gain;
    if better || best < *reference {
        *reference = best;
    }
    better
}

#[cfg(test)]
mod tests {
    use crate::Status;
    use crate::testing::{History, node};
    use kernsmith_core::{FailureClass, NodeId, NodeKind};

    #[test]
    fn three_conclusive_failures_make_a_dead_end_and_infrastructure_never_counts() {
        let mut history = History::with_families(&["a", "b"]);
        for _ in 0..5 {
            history.fail(NodeId(1), FailureClass::Infrastructure);
        }
        history.fail(NodeId(1), FailureClass::CompileError);
        history.fail(NodeId(1), FailureClass::Crash);
        assert!(history.tree.node(NodeId(1)).unwrap().status.is_open());
        history.fail(NodeId(1), FailureClass::WrongResult);
        assert_eq!(history.tree.node(NodeId(1)).unwrap().status, Status::DeadEnd);
        assert!(history.tree.node(NodeId(2)).unwrap().status.is_open());
    }

    #[test]
    fn one_bad_decision_does_not_condemn_its_family() {
        let mut history = History::with_families(&["a"]);
        history.insert(NodeId(1), node(NodeKind::Decision, "x", 2.0));
        history.insert(NodeId(1), node(NodeKind::Decision, "y", 2.0));
        for _ in 0..3 {
            history.fail(NodeId(2), FailureClass::CompileError);
        }
        let status = |history: &History, id| history.tree.node(NodeId(id)).unwrap().status;
        assert_eq!(status(&history, 2), Status::DeadEnd);
        assert!(status(&history, 1).is_open() && status(&history, 3).is_open());
        for _ in 0..3 {
            history.fail(NodeId(3), FailureClass::CompileError);
        }
        assert_eq!(status(&history, 1), Status::DeadEnd);
    }

    #[test]
    fn a_pass_keeps_a_node_from_being_a_dead_end() {
        let mut history = History::with_families(&["a"]);
        history.pass(NodeId(1), 1.5);
        for _ in 0..10 {
            history.fail(NodeId(1), FailureClass::WrongResult);
        }
        assert_eq!(history.tree.node(NodeId(1)).unwrap().status, Status::Proven);
    }

    #[test]
    fn stagnation_exhausts_a_decision_and_a_gain_resets_it() {
        let mut history = History::with_families(&["a"]);
        history.insert(NodeId(1), node(NodeKind::Decision, "x", 2.0));
        let patience = history.tree.options().closure.patience;
        for step in 0..10 {
            history.pass(NodeId(2), 2.0 + f64::from(step));
        }
        assert_eq!(history.tree.node(NodeId(2)).unwrap().since_best, 0);
        for _ in 0..patience {
            assert!(history.tree.node(NodeId(2)).unwrap().status.is_open());
            history.pass(NodeId(2), 1.5);
        }
        assert_eq!(history.tree.node(NodeId(2)).unwrap().status, Status::Exhausted);
    }

    #[test]
    fn a_decision_behind_its_sibling_runs_out_of_base_patience() {
        let mut history = History::with_families(&["a"]);
        history.insert(NodeId(1), node(NodeKind::Decision, "x", 2.0));
        history.insert(NodeId(1), node(NodeKind::Decision, "y", 2.0));
        history.pass(NodeId(2), 10.0);
        for step in 0..history.tree.options().closure.base_patience {
            history.pass(NodeId(3), 2.0 * 1.01f64.powi(step as i32));
        }
        assert_eq!(history.tree.node(NodeId(3)).unwrap().status, Status::Exhausted);
        assert!(history.tree.node(NodeId(2)).unwrap().status.is_open());
    }

    #[test]
    fn the_engine_prunes_to_exhausted_and_others_to_pruned() {
        let mut history = History::with_families(&["a", "b"]);
        history.prune("engine", NodeId(1));
        assert!(history.tree.wants_refinement());
        history.prune("user", NodeId(2));
        assert_eq!(history.tree.node(NodeId(1)).unwrap().status, Status::Exhausted);
        assert_eq!(history.tree.node(NodeId(2)).unwrap().status, Status::Pruned);
        assert!(!history.tree.wants_refinement(), "a user's edit is an answer");
    }
}
