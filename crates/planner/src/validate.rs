//! Edit scripts are checked before they are logged; what is logged always applies.

use std::collections::BTreeMap;

use kernsmith_core::{Edit, NewNode, NodeId, NodeKind, Prediction};

use crate::node::{Node, Status};
use crate::tree::Tree;

/// Inserts that one script may hold, but for the first one on an empty tree.
pub const MAX_INSERTS: usize = 3;
/// Steps from the root to the deepest node.
const MAX_DEPTH: u32 = 8;
const MAX_TITLE_BYTES: usize = 120;
/// A predicted ratio beyond this is a slip of the pen.
const MAX_RATIO: f64 = 1e5;

/// One thing that is wrong with an edit script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("edit {index}: {problem}")]
pub struct EditProblem {
    /// Place of the edit in its script, from 0.
    pub index: usize,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Tree {
    /// Checks an edit script as a whole; a later edit may refer to a node that an earlier one inserts.
    ///
    /// Ids are handed out in order of insertion, so the first insert of a script gets the number of nodes, root included.
    pub fn validate(&self, edits: &[Edit]) -> Result<(), Vec<EditProblem>> {
        let mut problems = Vec::new();
        let inserts = edits.iter().filter(|edit| matches!(edit, Edit::Insert { .. })).count();
        if inserts > MAX_INSERTS && !self.is_empty() {
            let problem = format!(
                "a script may insert {MAX_INSERTS} nodes, this one inserts {inserts}; send the rest later"
            );
            problems.push(EditProblem { index: 0, problem });
        }
        // Only nodes matter here, and there are few of them: the script is tried on a copy without the attempts.
        let mut trial = self.skeleton();
        for (index, edit) in edits.iter().enumerate() {
            match trial.problem_with(edit) {
                Some(problem) => problems.push(EditProblem { index, problem }),
                None => trial.try_edit(edit),
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn skeleton(&self) -> Self {
        let mut copy = Self::new(self.options.clone());
        for node in self.nodes() {
            if node.id == NodeId::ROOT {
                continue;
            }
            let mut node = node.clone();
            node.children.clear();
            node.ranking.clear();
            node.recent_failures.clear();
            copy.attach(node);
        }
        copy
    }

    fn try_edit(&mut self, edit: &Edit) {
        match edit {
            Edit::Insert { parent, node } => {
                let node = Node::new(self.next_id(), self.node(*parent), node.clone(), "");
                self.attach(node);
            }
            Edit::Update { .. } => {}
            Edit::Prune { node, rationale } => self.prune("", *node, rationale),
        }
    }

    /// Why an edit cannot be applied to the tree as it stands.
    pub(crate) fn problem_with(&self, edit: &Edit) -> Option<String> {
        match edit {
            Edit::Insert { parent, node } => self.problem_with_insert(*parent, node),
            Edit::Update { node, predicted, .. } => {
                self.problem_with_target(*node, "updated").or_else(|| problem_with_prediction(predicted))
            }
            Edit::Prune { node, .. } => self.problem_with_target(*node, "pruned"),
        }
    }

    fn problem_with_target(&self, id: NodeId, verb: &str) -> Option<String> {
        match self.node(id) {
            None => Some(format!("there is no node {id}")),
            Some(_) if id == NodeId::ROOT => Some(format!("the root cannot be {verb}")),
            Some(_) => None,
        }
    }

    fn problem_with_insert(&self, parent_id: NodeId, new: &NewNode) -> Option<String> {
        let Some(parent) = self.node(parent_id) else { return Some(format!("there is no node {parent_id}")) };
        if matches!(parent.status, Status::Pruned | Status::DeadEnd) {
            return Some(format!("{parent_id} is closed ({})", parent.status.as_str()));
        }
        if parent.depth >= MAX_DEPTH {
            return Some(format!("{parent_id} is already {MAX_DEPTH} levels deep"));
        }
        let siblings = parent.children().iter().filter_map(|&child| self.node(child));
        if siblings.into_iter().any(|sibling| sibling.title == new.title) {
            return Some(format!("{parent_id} already has a child `{}`", new.title));
        }
        problem_with_kind(parent.kind, new.kind)
            .or_else(|| problem_with_title(&new.title))
            .or_else(|| problem_with_genes(&parent.fixed, new))
            .or_else(|| problem_with_prediction(&new.predicted))
    }
}

fn problem_with_kind(parent: NodeKind, kind: NodeKind) -> Option<String> {
    let legal = match parent {
        NodeKind::Root => kind == NodeKind::Family,
        NodeKind::Family | NodeKind::Decision => matches!(kind, NodeKind::Decision | NodeKind::Action),
        NodeKind::Action => kind == NodeKind::Action,
    };
    let rule = "below the root stand families, below families and decisions stand decisions and actions, \
                below actions stand actions";
    (!legal).then(|| format!("{kind:?} cannot stand below {parent:?}: {rule}"))
}

fn problem_with_title(title: &str) -> Option<String> {
    let legal = !title.trim().is_empty() && title.len() <= MAX_TITLE_BYTES && !title.contains('\n');
    (!legal).then(|| format!("a title is one line of 1 to {MAX_TITLE_BYTES} bytes"))
}

fn problem_with_genes(
    inherited: &BTreeMap<String, kernsmith_core::GeneValue>,
    new: &NewNode,
) -> Option<String> {
    let clash = new.fixed.iter().find(|(name, value)| inherited.get(*name).is_some_and(|old| old != *value));
    clash.map(|(name, value)| format!("gene `{name}` = {value}, but a node above fixes it to another value"))
}

fn problem_with_prediction(predicted: &Prediction) -> Option<String> {
    let Prediction { ratio, low, high } = *predicted;
    let finite = [ratio, low, high].iter().all(|value| value.is_finite() && *value > 0.0);
    let ordered = low <= ratio && ratio <= high;
    (!(finite && ordered && high <= MAX_RATIO))
        .then(|| format!("prediction {ratio} [{low}, {high}] is not 0 < low <= ratio <= high <= {MAX_RATIO}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{History, node};

    fn insert(parent: u32, kind: NodeKind, title: &str) -> Edit {
        Edit::Insert { parent: NodeId(parent), node: node(kind, title, 2.0) }
    }

    #[test]
    fn the_first_script_may_be_long_and_refer_to_its_own_nodes() {
        let mut edits = vec![insert(0, NodeKind::Family, "a")];
        edits.extend((0..6).map(|index| insert(1, NodeKind::Decision, &format!("d{index}"))));
        assert_eq!(Tree::default().validate(&edits), Ok(()));
        let history = History::with_families(&["f"]);
        let problems = history.tree.validate(&edits).unwrap_err();
        assert!(problems[0].problem.contains("may insert 3"), "{problems:?}");
    }

    #[test]
    fn every_problem_is_named_with_its_place() {
        let history = History::with_families(&["a"]);
        let mut bad = node(NodeKind::Decision, "x", 2.0);
        bad.predicted.low = 3.0;
        let edits = [
            insert(0, NodeKind::Family, "a"),
            insert(0, NodeKind::Action, "b"),
            insert(9, NodeKind::Action, "c"),
            Edit::Insert { parent: NodeId(1), node: bad },
            Edit::Prune { node: NodeId::ROOT, rationale: String::new() },
            Edit::Prune { node: NodeId(1), rationale: String::new() },
            insert(1, NodeKind::Decision, "below pruned"),
        ];
        let problems = history.tree.validate(&edits).unwrap_err();
        let places: Vec<usize> = problems.iter().skip(1).map(|problem| problem.index).collect();
        assert_eq!(places, [0, 1, 2, 3, 4, 6], "{problems:?}");
    }

    #[test]
    fn a_child_cannot_contradict_a_fixed_gene() {
        let mut history = History::with_families(&["a"]);
        let mut decision = node(NodeKind::Decision, "x", 2.0);
        decision.fixed.insert("threads".to_owned(), kernsmith_core::GeneValue::Int(2));
        history.insert(NodeId(1), decision.clone());
        decision.title = "y".to_owned();
        decision.fixed.insert("threads".to_owned(), kernsmith_core::GeneValue::Int(4));
        let edits = [Edit::Insert { parent: NodeId(2), node: decision }];
        assert!(history.tree.validate(&edits).unwrap_err()[0].problem.contains("threads"));
    }
}
