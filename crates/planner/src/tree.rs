//! The tree itself: its parts, and the plain look-ups.

use std::collections::BTreeMap;

use kernsmith_core::event::{BaselineFrozen, Opened};
use kernsmith_core::{Digest, NodeId, Seq};
use petgraph::stable_graph::{NodeIndex, StableDiGraph};

use crate::attempt::{Attempted, Champion, Common, Contender};
use crate::counts::Counts;
use crate::ledger::{Attempts, FirstSeen};
use crate::node::{Node, Ranked};
use crate::options::PlannerOptions;
use crate::shared::Place;
use crate::stale::Waiting;

/// The search tree of one run, folded from its log.
#[derive(Debug, Clone)]
pub struct Tree {
    pub(crate) options: PlannerOptions,
    /// Edges run from parent to child. The graph is never written down: node ids are the stable names.
    graph: StableDiGraph<Node, ()>,
    indices: Vec<NodeIndex>,
    pub(crate) state: State,
}

/// Everything but the nodes.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct State {
    pub(crate) opened: Option<Opened>,
    pub(crate) baseline: Option<BaselineFrozen>,
    pub(crate) attempts: Attempts,
    pub(crate) common: Common,
    pub(crate) keys: FirstSeen,
    /// Proposals without a judgement.
    pub(crate) waiting: BTreeMap<Seq, Waiting>,
    pub(crate) code_objects: FirstSeen,
    /// Proposals by template, in order.
    pub(crate) by_template: BTreeMap<Place, Vec<Seq>>,
    /// All passed and timed proposals by ratio.
    pub(crate) ranking: std::collections::BTreeSet<Ranked>,
    pub(crate) counts: Counts,
    pub(crate) champion: Option<Champion>,
    pub(crate) last_judged: Option<Seq>,
    /// Predictions of proposals against outcomes, by proposer.
    pub(crate) predictions: BTreeMap<Place, crate::calibration::Sums>,
    pub(crate) wall_seconds: f64,
    /// Attempts with a verdict, and how many of them there were at the last new best and at the last edit.
    pub(crate) resolved: u64,
    pub(crate) resolved_at_best: u64,
    pub(crate) resolved_at_edit: u64,
    pub(crate) reference: f64,
    pub(crate) refine_due: bool,
    pub(crate) paradigm_due: bool,
    pub(crate) warnings: Vec<String>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new(PlannerOptions::default())
    }
}

impl PartialEq for Tree {
    /// Two trees are equal when every node and every attempt is.
    fn eq(&self, other: &Self) -> bool {
        self.options == other.options && self.state == other.state && self.nodes().eq(other.nodes())
    }
}

impl Tree {
    /// A tree that has only its root.
    pub fn new(options: PlannerOptions) -> Self {
        let mut graph = StableDiGraph::new();
        let indices = vec![graph.add_node(Node::root())];
        Self { options, graph, indices, state: State::default() }
    }

    /// Whether no strategy has been inserted yet.
    pub const fn is_empty(&self) -> bool {
        self.indices.len() == 1
    }

    /// The options that the tree was made with.
    pub const fn options(&self) -> &PlannerOptions {
        &self.options
    }

    /// The node of that name.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.graph.node_weight(*self.indices.get(id.0 as usize)?)
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.graph.node_weight_mut(*self.indices.get(id.0 as usize)?)
    }

    /// All nodes in order of insertion, the root first.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.indices.iter().filter_map(|index| self.graph.node_weight(*index))
    }

    /// The id that the next insert gets.
    pub(crate) const fn next_id(&self) -> NodeId {
        NodeId(self.indices.len() as u32)
    }

    /// Hangs a node below its parent, which must be there.
    pub(crate) fn attach(&mut self, node: Node) {
        let parent = node.parent.and_then(|parent| self.indices.get(parent.0 as usize).copied());
        let id = node.id;
        let index = self.graph.add_node(node);
        self.indices.push(index);
        if let Some(parent) = parent {
            self.graph.add_edge(parent, index, ());
            if let Some(parent) = self.graph.node_weight_mut(parent) {
                parent.children.push(id);
            }
        }
    }

    /// The node and everything below it, parents before children.
    pub fn subtree(&self, id: NodeId) -> Vec<&Node> {
        let mut found: Vec<&Node> = self.node(id).into_iter().collect();
        let mut next = 0;
        while let Some(node) = found.get(next) {
            let children: Vec<&Node> = node.children.iter().filter_map(|&child| self.node(child)).collect();
            found.extend(children);
            next += 1;
        }
        found
    }

    /// The node's ancestors from its parent up to the root.
    pub fn ancestors(&self, id: NodeId) -> impl Iterator<Item = &Node> {
        let parent = |node: &&Node| node.parent.and_then(|parent| self.node(parent));
        std::iter::successors(self.node(id).as_ref().and_then(parent), move |node| parent(node))
    }

    /// The family that the node belongs to, itself included.
    pub fn family(&self, id: NodeId) -> Option<&Node> {
        self.node(id).into_iter().chain(self.ancestors(id)).find(|node| node.depth == 1)
    }

    /// The best ratio of the node and everything below it.
    pub fn best_below(&self, id: NodeId) -> Option<f64> {
        self.subtree(id).into_iter().filter_map(Node::best_ratio).reduce(f64::max)
    }

    /// One attempt.
    pub fn attempt(&self, seq: Seq) -> Option<&Attempted> {
        self.state.attempts.get(seq)
    }

    /// All attempts in order.
    pub fn attempts(&self) -> impl DoubleEndedIterator<Item = &Attempted> {
        self.state.attempts.iter()
    }

    /// Proposals that wait for their first judgement, in order.
    pub fn pending(&self) -> Vec<Seq> {
        let waiting = self.attempts().filter(|attempt| attempt.is_pending());
        waiting.map(|attempt| attempt.seq).collect()
    }

    /// How the run began.
    pub const fn opened(&self) -> Option<&Opened> {
        self.state.opened.as_ref()
    }

    /// The frozen baseline.
    pub const fn baseline(&self) -> Option<&BaselineFrozen> {
        self.state.baseline.as_ref()
    }

    /// The confirmed leader.
    pub const fn champion(&self) -> Option<Champion> {
        self.state.champion
    }

    /// The best candidate without a confirmation whose ratio is above the champion's (or the baseline's 1) times `margin`.
    pub fn contender(&self, margin: f64) -> Option<Contender> {
        let bar = self.state.champion.map_or(1.0, |champion| champion.ratio) * margin;
        let above = self.state.ranking.iter().rev().take_while(|ranked| ranked.ratio() > bar);
        let attempt =
            above.filter_map(|ranked| self.attempt(ranked.seq())).find(|attempt| !attempt.confirmed)?;
        let measured = attempt.measured.as_ref()?;
        Some(Contender { proposal: attempt.seq, ratio: measured.ratio, lane: measured.lane })
    }

    /// The best known ratio of any candidate that passed, by its deepest judgement so far.
    pub fn best_ratio(&self) -> Option<f64> {
        self.state.ranking.last().map(|ranked| ranked.ratio())
    }

    /// The proposal with that key, if there was one.
    pub fn known_key(&self, key: &Digest) -> Option<Seq> {
        self.state.keys.find(key)
    }

    /// The first judged proposal whose code object has that digest.
    pub fn known_code_object(&self, digest: &Digest) -> Option<Seq> {
        self.state.code_objects.find(digest)
    }

    /// How many of what.
    pub const fn counts(&self) -> &Counts {
        &self.state.counts
    }

    /// The latest `Judged` entry.
    pub const fn last_judged(&self) -> Option<Seq> {
        self.state.last_judged
    }

    /// Wall time that the log knows of: what the latest `Resumed` or `Closed` entry says.
    pub const fn wall_seconds(&self) -> f64 {
        self.state.wall_seconds
    }

    /// What in the log could not be applied, the first hundred.
    pub fn warnings(&self) -> &[String] {
        &self.state.warnings
    }
}
