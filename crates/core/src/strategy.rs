//! The words of the world model: nodes of intent, and the edits that change the tree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::candidate::{GeneValue, Prediction};
use crate::id::NodeId;

/// What a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// The contract itself.
    Root,
    /// A kernel family: a mapping of work to the machine that excludes its siblings.
    Family,
    /// A decision within a family that excludes its siblings.
    Decision,
    /// A step that composes with others.
    Action,
}

/// A node as it is inserted; the tree gives it its id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewNode {
    /// What it stands for.
    pub kind: NodeKind,
    /// Short name, unique among its siblings.
    pub title: String,
    /// The choice that it makes, in one sentence.
    pub rationale: String,
    /// Template that implements it, as `<skill>/<template>`; `None` inherits the parent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Genes that this node fixes; children inherit them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fixed: BTreeMap<String, GeneValue>,
    /// Axis tags such as `vector=avx512` or `threads`; calibration and coverage are kept by tag.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub axes: Vec<String>,
    /// Expected ratio to the frozen baseline, with an interval.
    pub predicted: Prediction,
    /// 1 (a flag) to 5 (a research project).
    pub difficulty: u8,
    /// Instruction families that the binary should contain when this strategy survived the compiler.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected_instructions: Vec<String>,
}

/// One change of the tree. At most three inserts come in one edit script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Edit {
    /// Adds a child.
    Insert {
        /// The parent.
        parent: NodeId,
        /// The child.
        node: NewNode,
    },
    /// Changes what is expected of a node.
    Update {
        /// The node.
        node: NodeId,
        /// The new prediction.
        predicted: Prediction,
        /// Why.
        rationale: String,
    },
    /// Closes a node and everything below it.
    Prune {
        /// The node.
        node: NodeId,
        /// Why.
        rationale: String,
    },
}
