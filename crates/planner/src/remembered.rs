//! What earlier searches found dead, brought into this search as edits.
//!
//! Which memories still hold (same contract version, toolchain and target) is decided where they are mined; what is handed over
//! here is honoured. The edits are logged like any other, so that the tree stays a fold of its log.

use std::collections::BTreeMap;

use kernsmith_core::{Edit, GeneValue};

use crate::node::Node;
use crate::tree::Tree;

/// The author of edits that come from memory: what it prunes is a dead end.
pub const MEMORY: &str = "memory";

/// A choice that an earlier search found dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadChoice {
    /// Template, as `<skill>/<template>`.
    pub template: String,
    /// The genes that make the choice; none stands for the whole template.
    pub genes: BTreeMap<String, GeneValue>,
    /// The evidence, in words.
    pub reason: String,
}

impl Tree {
    /// The edits that close what is remembered as dead, under the author [`MEMORY`]: strategies that are bound to make one of
    /// the choices, the topmost only. Strategies that have passed in this very search stay open: what was just seen outweighs
    /// what is remembered.
    pub fn remembered(&self, choices: &[DeadChoice]) -> Vec<Edit> {
        let dead = |node: &Node| choices.iter().find(|choice| choice.binds(node));
        let open = self.nodes().filter(|node| node.parent.is_some() && node.status.is_open());
        open.filter(|node| !self.subtree(node.id).iter().any(|below| below.accepted > 0))
            .filter(|node| !self.ancestors(node.id).any(|above| dead(above).is_some()))
            .filter_map(|node| Some(Edit::Prune { node: node.id, rationale: dead(node)?.reason.clone() }))
            .collect()
    }
}

impl DeadChoice {
    /// Whether every genome of the strategy makes this choice.
    fn binds(&self, node: &Node) -> bool {
        node.template.as_deref() == Some(&self.template)
            && self.genes.iter().all(|(name, value)| node.fixed.get(name) == Some(value))
    }
}

#[cfg(test)]
mod tests {
    use kernsmith_core::{Event, NodeId, NodeKind};

    use super::*;
    use crate::Status;
    use crate::testing::{History, node};

    fn threads(count: i64) -> BTreeMap<String, GeneValue> {
        BTreeMap::from([("threads".to_owned(), GeneValue::Int(count))])
    }

    fn two_decisions() -> History {
        let mut history = History::with_families(&["a"]);
        for count in [1, 2] {
            let mut decision = node(NodeKind::Decision, &format!("threads={count}"), 2.0);
            decision.fixed = threads(count);
            history.insert(NodeId(1), decision);
        }
        history
    }

    #[test]
    fn what_is_remembered_as_dead_is_closed_and_the_rest_stays_open() {
        let mut history = two_decisions();
        let choice = DeadChoice {
            template: "skill/a".to_owned(),
            genes: threads(2),
            reason: "4 attempts, such as run#12".to_owned(),
        };
        let edits = history.tree.remembered(&[choice]);
        assert!(history.tree.validate(&edits).is_ok());
        history.push(Event::TreeEdited { author: MEMORY.to_owned(), edits });
        let status = |id| history.tree.node(NodeId(id)).unwrap().status;
        assert_eq!((status(1), status(2), status(3)), (Status::Open, Status::Open, Status::DeadEnd));
        assert!((0..20).all(|ordinal| history.tree.select(ordinal, 1) != Some(NodeId(3))));
    }

    #[test]
    fn a_dead_template_is_closed_once_and_what_passed_here_is_not() {
        let mut history = two_decisions();
        let whole =
            DeadChoice { template: "skill/a".to_owned(), genes: BTreeMap::new(), reason: String::new() };
        assert_eq!(history.tree.remembered(std::slice::from_ref(&whole)).len(), 1);
        assert_eq!(
            history.tree.remembered(&[DeadChoice { template: "skill/b".to_owned(), ..whole.clone() }]),
            []
        );
        history.pass(NodeId(2), 2.0);
        let edits = history.tree.remembered(&[whole]);
        assert!(edits.iter().all(|edit| matches!(edit, Edit::Prune { node: NodeId(3), .. })), "{edits:?}");
    }
}
