//! The kinds of attack that an auditor is asked for, as a first tree of strategies.

use kernsmith_core::{Edit, NewNode, NodeId, NodeKind, Prediction};

/// Ways to cheat that harnesses have fallen for (docs/verification-contract.md names them), each a strategy of its own.
pub(super) const ATTACKS: [(&str, &str); 8] = [
    ("stale results", "Keep results of earlier calls and hand them out again when a call looks the same."),
    (
        "shapes that are not looked at",
        "Be right on the shapes that are tested, and wrong on others that are legal.",
    ),
    (
        "elements that are not looked at",
        "Leave out or approximate elements that are unlikely to be compared.",
    ),
    ("less precision", "Compute with less precision than asked for, within what the comparison lets pass."),
    (
        "inputs that are not tried",
        "Be wrong where inputs are unusual: huge, tiny, negative, equal, NaN, infinite.",
    ),
    ("work outside the call", "Return before the work is done, or do it before the call."),
    ("another kernel under the clock", "Behave differently when being timed than when being checked."),
    (
        "the boundary of the sandbox",
        "Read or write what belongs to the harness: poison, guard pages, its clock, its stack.",
    ),
];

/// A family for each of them.
pub(super) fn attacks() -> Vec<Edit> {
    let family = |(title, rationale): &(&str, &str)| {
        let node = NewNode {
            kind: NodeKind::Family,
            title: (*title).to_owned(),
            rationale: (*rationale).to_owned(),
            template: None,
            fixed: std::collections::BTreeMap::new(),
            axes: Vec::new(),
            predicted: Prediction { ratio: 1.0, low: 0.5, high: 2.0 },
            difficulty: 5,
            expected_instructions: Vec::new(),
        };
        Edit::Insert { parent: NodeId::ROOT, node }
    };
    ATTACKS.iter().map(family).collect()
}

#[cfg(test)]
mod tests {
    use kernsmith_planner::Tree;

    use super::*;

    #[test]
    fn the_attacks_are_a_legal_first_tree() {
        Tree::default().validate(&attacks()).unwrap();
    }
}
