//! The three ports of the search: ask, judge, record.
//!
//! `Err` always means that the apparatus failed. A bad kernel is [`Evidence`], a proposer that has nothing left to say
//! returns `None`.

use std::error::Error;
use std::future::Future;

use crate::brief::Brief;
use crate::candidate::{Candidate, Proposal};
use crate::digest::Digest;
use crate::event::{Entry, Event};
use crate::evidence::{Evidence, Lane};
use crate::strategy::Edit;

/// Writes edits and candidates.
pub trait Propose: Send {
    /// What can go wrong with the proposer itself.
    type Error: Error + Send + Sync + 'static;

    /// The name that stands in the log as author.
    fn name(&self) -> &str;

    /// Edits of the tree: the first ones on an empty tree, later ones when the frontier stagnates.
    ///
    /// `tree` is the whole tree, one line a node. An empty answer means that there is nothing to add.
    fn plan(&mut self, request: &PlanRequest) -> impl Future<Output = Result<Vec<Edit>, Self::Error>> + Send;

    /// One candidate for the brief's strategy; `None` when the strategy has nothing untried left.
    fn propose(
        &mut self,
        brief: &Brief,
    ) -> impl Future<Output = Result<Option<Proposal>, Self::Error>> + Send;
}

/// What a proposer is told when the tree is to be changed.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanRequest {
    /// Why it is asked.
    pub occasion: PlanOccasion,
    /// The whole tree, one line a node, best first.
    pub tree: String,
    /// The open and closed nodes with their template, fixed genes and best ratio.
    pub nodes: Vec<NodeBrief>,
    /// Keys of failed edit scripts and why they were refused, latest last.
    pub refused: Vec<String>,
}

/// Why a proposer is asked for edits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanOccasion {
    /// The tree is empty.
    Start,
    /// A node was closed by rule, or has just proven itself.
    Refine,
    /// The whole frontier stagnates.
    Stagnation,
}

/// A node as far as a planner may see it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeBrief {
    /// The node with what it inherits.
    pub strategy: crate::brief::StrategyBrief,
    /// Its parent.
    pub parent: Option<crate::id::NodeId>,
    /// Attempts so far, below it included.
    pub attempts: u32,
    /// Best measured ratio below it.
    pub best_ratio: Option<f64>,
    /// Whether it may still be selected.
    pub open: bool,
    /// The best attempt below it.
    pub best: Option<crate::brief::Attempt>,
}

/// Judges candidates.
pub trait Evaluate: Send + Sync {
    /// What can go wrong with the apparatus.
    type Error: Error + Send + Sync + 'static;
    /// A candidate that has been built and audited, or has already failed at that.
    type Prepared: Send;

    /// Gates that need no device: admission, build, audit. Several may run at the same time.
    fn prepare(
        &self,
        candidate: Candidate,
    ) -> impl Future<Output = Result<Self::Prepared, Self::Error>> + Send;

    /// Digest of the code object, for dedupe before device time; `None` where the build failed.
    fn code_object(&self, prepared: &Self::Prepared) -> Option<Digest>;

    /// All further gates of a lane. Never called twice at the same time on one device.
    ///
    /// `bar` is the ratio of the best candidate so far: the screen may stop early when it is out of reach.
    fn judge(
        &self,
        prepared: Self::Prepared,
        lane: Lane,
        bar: Option<f64>,
    ) -> impl Future<Output = Result<Evidence, Self::Error>> + Send;
}

/// Keeps what happened.
pub trait Record: Send {
    /// What can go wrong with the log; it always ends the search.
    type Error: Error + Send + Sync + 'static;

    /// Keeps bytes under their digest. Durable with the next [`Record::append`].
    fn keep(&mut self, bytes: &[u8]) -> Result<Digest, Self::Error>;

    /// Reads back what was kept, in this session or an earlier one.
    fn kept(&self, digest: &Digest) -> Result<Vec<u8>, Self::Error>;

    /// Appends events as one group; when it returns, all of them are durable and numbered.
    fn append(&mut self, events: Vec<Event>) -> impl Future<Output = Result<Vec<Entry>, Self::Error>> + Send;
}
