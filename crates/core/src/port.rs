//! The three ports of the search: ask, judge, record.
//!
//! `Err` always means that the apparatus failed. A bad kernel is [`Evidence`], a proposer that has nothing left to say
//! returns `None`.

use std::error::Error;
use std::future::Future;

use serde::{Deserialize, Serialize};

use crate::brief::{Brief, Details};
use crate::candidate::{Candidate, Proposal};
use crate::digest::Digest;
use crate::event::{Entry, Event};
use crate::evidence::{Evidence, Lane};
use crate::id::Seq;
use crate::strategy::Edit;

/// Writes edits and candidates.
///
/// A proposer that pays for answers keeps them in the log before it uses them: it hands them over as [`Answer::Noted`], the
/// engine makes them durable, shows them with [`Propose::learn`], and asks the same question again. After a crash the same
/// entries come through `learn`, so that the proposer finds its answers again.
pub trait Propose: Send {
    /// What can go wrong with the proposer itself.
    type Error: Error + Send + Sync + 'static;

    /// The name that stands in the log as author.
    fn name(&self) -> &str;

    /// Edits of the tree: the first ones on an empty tree, later ones when the frontier stagnates.
    ///
    /// [`Answer::Nothing`] means that there is nothing to add.
    fn plan(
        &mut self,
        request: &PlanRequest,
    ) -> impl Future<Output = Result<Answer<Vec<Edit>>, Self::Error>> + Send;

    /// One candidate for the brief's strategy; [`Answer::Nothing`] when the strategy has nothing untried left.
    fn propose(
        &mut self,
        brief: &Brief,
    ) -> impl Future<Output = Result<Answer<Proposal>, Self::Error>> + Send;

    /// One answer for each of several briefs, in their order; a proposer that waits for others may work on all at once.
    ///
    /// What is proposed for one brief counts as tried for those after it.
    fn propose_all(
        &mut self,
        briefs: &mut [Brief],
    ) -> impl Future<Output = Result<Vec<Answer<Proposal>>, Self::Error>> + Send {
        async move {
            let mut answers = Vec::with_capacity(briefs.len());
            for index in 0..briefs.len() {
                let answer = self.propose(&briefs[index]).await?;
                if let Answer::Ready(proposal) = &answer {
                    for later in &mut briefs[index + 1..] {
                        later.tried.push(proposal.origin.genome.clone());
                    }
                }
                answers.push(answer);
            }
            Ok(answers)
        }
    }

    /// Takes a durable entry, of this session or an earlier one; `kept` reads blobs.
    fn learn(&mut self, _entry: &Entry, _kept: &dyn Fn(&Digest) -> Option<Vec<u8>>) {}

    /// Whether briefs and plan requests should carry texts: the task in words, sources, feedback.
    fn reads(&self) -> bool {
        false
    }

    /// Gives up whatever is still under way, because the search ends; what it has cost is to be noted.
    fn abandon(&mut self) -> Vec<Note> {
        Vec::new()
    }

    /// Why no further question can be answered, where none can.
    fn halted(&self) -> Option<Halt> {
        None
    }
}

/// What a proposer says to a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer<T> {
    /// Here it is.
    Ready(T),
    /// There is nothing more to say to this question.
    Nothing,
    /// First keep these; then ask again. An empty list is a pause: others' answers came first.
    Noted(Vec<Note>),
    /// It did not work out this time, in words; asked again, it may.
    Missed(String),
}

impl<T> From<Option<T>> for Answer<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Self::Ready)
    }
}

/// An event that a proposer wants in the log, with the blobs that it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// The event.
    pub event: Event,
    /// The blobs.
    pub blobs: Vec<Vec<u8>>,
}

/// Why a proposer takes no further question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// Its own budget is spent.
    Spent(String),
    /// Whoever it asks does not answer any more.
    Unreachable(String),
}

/// What a proposer is told when the tree is to be changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanRequest {
    /// Why it is asked.
    pub occasion: PlanOccasion,
    /// The whole tree, one line a node, best first.
    pub tree: String,
    /// The open and closed nodes with their template, fixed genes and best ratio.
    pub nodes: Vec<NodeBrief>,
    /// Keys of failed edit scripts and why they were refused, latest last.
    pub refused: Vec<String>,
    /// Texts, for a proposer that reads.
    pub details: Option<Box<Details>>,
}

/// Why a proposer is asked for edits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanOccasion {
    /// The tree is empty.
    Start,
    /// A node was closed by rule, or has just proven itself.
    Refine,
    /// The whole frontier stagnates.
    Stagnation,
}

/// A node as far as a planner may see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

    /// How many candidates can be prepared while another one is judged; 0 where preparing would disturb judging, because both take
    /// the same processors.
    fn prepares_aside(&self) -> usize {
        0
    }

    /// Digest of the code object, for dedupe before device time; `None` where the build failed.
    fn code_object(&self, prepared: &Self::Prepared) -> Option<Digest>;

    /// How many candidates can be judged at the same time: devices that do not disturb each other.
    fn devices(&self) -> usize {
        1
    }

    /// All further gates of a lane. Never called more often at the same time than there are devices.
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

    /// Reads back one durable entry, of this session or an earlier one; an entry that is not there is an error.
    fn entry(&self, seq: Seq) -> Result<Entry, Self::Error>;

    /// Appends events as one group; when it returns, all of them are durable and numbered.
    fn append(&mut self, events: Vec<Event>) -> impl Future<Output = Result<Vec<Entry>, Self::Error>> + Send;
}
