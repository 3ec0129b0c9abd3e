//! One intent and everything that is known about it.

use std::collections::{BTreeMap, BTreeSet};

use kernsmith_core::{FailureClass, GeneValue, NewNode, NodeId, NodeKind, Prediction, Seq};

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Never tried.
    Open,
    /// Tried, nothing faster than the baseline yet.
    Active,
    /// Something in it passed and beats the baseline.
    Proven,
    /// Nothing new is expected of it: stagnation, or nothing untried is left.
    Exhausted,
    /// Enough conclusive failures and no pass.
    DeadEnd,
    /// Somebody closed it with a reason.
    Pruned,
}

impl Status {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Active => "active",
            Self::Proven => "proven",
            Self::Exhausted => "exhausted",
            Self::DeadEnd => "dead_end",
            Self::Pruned => "pruned",
        }
    }

    /// Whether the node may be selected.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Active | Self::Proven)
    }
}

/// One intent and everything that is known about it; numbers are about the node itself, not what is below it.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// Its parent; `None` for the root.
    pub parent: Option<NodeId>,
    /// Steps from the root.
    pub depth: u32,
    /// What it stands for.
    pub kind: NodeKind,
    /// Short name.
    pub title: String,
    /// The choice that it makes.
    pub rationale: String,
    /// Template, own or inherited.
    pub template: Option<String>,
    /// Genes fixed by the node itself.
    pub own_fixed: BTreeMap<String, GeneValue>,
    /// Genes fixed by the node and its ancestors.
    pub fixed: BTreeMap<String, GeneValue>,
    /// Its own axis tags.
    pub axes: Vec<String>,
    /// What was predicted before calibration: ratio to the frozen baseline.
    pub predicted: Prediction,
    /// 1 to 5.
    pub difficulty: u8,
    /// Instruction families that the binary should contain, own or inherited.
    pub expected_instructions: Vec<String>,
    /// Who inserted it.
    pub author: String,
    /// Where it stands.
    pub status: Status,
    /// Why it was closed, where it was.
    pub closed_because: Option<String>,
    /// Proposals so far, duplicates and pending ones included: the visits of the selection.
    pub proposed: u32,
    /// Proposals that wait for their first judgement.
    pub pending: u32,
    /// Proposals that repeated an earlier candidate.
    pub deduplicated: u32,
    /// Proposals that passed.
    pub accepted: u32,
    /// Proposals of which only the apparatus knows why they failed.
    pub inconclusive: u32,
    /// Conclusive failures by class.
    pub failures: BTreeMap<FailureClass, u32>,
    /// The best passed and timed proposal of this very node.
    pub best: Option<Seq>,
    /// Resolved attempts since the node's own best improved.
    pub since_best: u32,
    /// Resolved attempts since the node was last ahead of its base.
    pub since_base: u32,
    /// The entry that last improved the node's own best.
    pub last_improved: Option<Seq>,
    /// Passed and timed proposals of this very node by ratio.
    pub(crate) ranking: BTreeSet<Ranked>,
    /// Why its latest failures failed.
    pub(crate) recent_failures: BTreeMap<Seq, String>,
    /// The best below it when it last counted as improved.
    pub(crate) reference: f64,
    pub(crate) children: Vec<NodeId>,
}

/// A ratio that can be a key: positive finite floats order like their bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ranked {
    bits: u64,
    /// Of two equal ratios the earlier proposal ranks higher.
    age: std::cmp::Reverse<Seq>,
}

impl Ranked {
    pub(crate) const fn new(ratio: f64, seq: Seq) -> Self {
        Self { bits: ratio.to_bits(), age: std::cmp::Reverse(seq) }
    }

    pub(crate) const fn ratio(self) -> f64 {
        f64::from_bits(self.bits)
    }

    pub(crate) const fn seq(self) -> Seq {
        self.age.0
    }
}

impl Node {
    pub(crate) fn root() -> Self {
        let new = NewNode {
            kind: NodeKind::Root,
            title: String::new(),
            rationale: String::new(),
            template: None,
            fixed: BTreeMap::new(),
            axes: Vec::new(),
            predicted: Prediction { ratio: 1.0, low: 1.0, high: 1.0 },
            difficulty: 1,
            expected_instructions: Vec::new(),
        };
        Self::new(NodeId::ROOT, None, new, "")
    }

    /// A node below `parent`, from which it inherits template, genes and expected instructions.
    pub(crate) fn new(id: NodeId, parent: Option<&Self>, new: NewNode, author: &str) -> Self {
        let mut fixed = parent.map(|parent| parent.fixed.clone()).unwrap_or_default();
        fixed.extend(new.fixed.clone());
        let inherited = |own: Vec<String>| match parent {
            Some(parent) if own.is_empty() => parent.expected_instructions.clone(),
            _ => own,
        };
        Self {
            id,
            parent: parent.map(|parent| parent.id),
            depth: parent.map_or(0, |parent| parent.depth + 1),
            kind: new.kind,
            title: new.title,
            rationale: new.rationale,
            template: new.template.or_else(|| parent.and_then(|parent| parent.template.clone())),
            own_fixed: new.fixed,
            fixed,
            axes: new.axes,
            predicted: new.predicted,
            difficulty: new.difficulty,
            expected_instructions: inherited(new.expected_instructions),
            author: author.to_owned(),
            status: Status::Open,
            closed_because: None,
            proposed: 0,
            pending: 0,
            deduplicated: 0,
            accepted: 0,
            inconclusive: 0,
            failures: BTreeMap::new(),
            best: None,
            since_best: 0,
            since_base: 0,
            last_improved: None,
            ranking: BTreeSet::new(),
            recent_failures: BTreeMap::new(),
            reference: 0.0,
            children: Vec::new(),
        }
    }

    /// Conclusive failures of all classes.
    pub fn conclusive_failures(&self) -> u32 {
        self.failures.values().sum()
    }

    /// Ratio of the best passed and timed proposal of this very node.
    pub fn best_ratio(&self) -> Option<f64> {
        self.ranking.last().map(|ranked| ranked.ratio())
    }

    /// Children in order of insertion.
    pub fn children(&self) -> &[NodeId] {
        &self.children
    }
}
