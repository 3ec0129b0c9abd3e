//! What the log says: one entry a line, one event an entry.
//!
//! The written format is described in `experiment-log/README.md`. Readers take unknown fields as they come; a log whose
//! format is newer is read and never written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::candidate::{Candidate, Origin, Prediction, Proposal};
use crate::digest::Digest;
use crate::evidence::{Evidence, Performance};
use crate::failure::Gate;
use crate::id::{NodeId, RunId, Seq};
use crate::model::ModelCall;
use crate::plan::Plan;
use crate::strategy::Edit;
use crate::target::{Language, Target};

/// The version of the log's format.
pub const LOG_FORMAT: u32 = 1;

/// One durable line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Place in the log, from 0.
    pub seq: Seq,
    /// Wall-clock time, RFC 3339 in UTC; information only, nothing is computed from it.
    pub time: String,
    /// Digest of the previous line without its newline; [`Digest::ZERO`] for the first.
    pub prev: Digest,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The run began. Always entry 0.
    Opened(Box<Opened>),
    /// A baseline was measured and is frozen from here on.
    BaselineFrozen(Box<BaselineFrozen>),
    /// The tree of strategies changed.
    TreeEdited {
        /// Who asked for it: `autotune`, `planner`, `llm:<model>`, `user`.
        author: String,
        /// The changes, in order.
        edits: Vec<Edit>,
    },
    /// A proposer handed over a candidate.
    Proposed(Box<Proposed>),
    /// The candidate of `proposal` was seen before and is not judged again.
    Deduplicated {
        /// The `Proposed` entry.
        proposal: Seq,
        /// The `Proposed` entry that it repeats.
        of: Seq,
        /// What was equal: `source` or `code_object`.
        by: String,
    },
    /// The candidate of `proposal` was judged.
    Judged {
        /// The `Proposed` entry.
        proposal: Seq,
        /// Everything that the judgement left behind.
        evidence: Box<Evidence>,
    },
    /// The candidate of `proposal` passed confirmation and leads from here on.
    Promoted {
        /// The `Proposed` entry.
        proposal: Seq,
        /// The `Judged` entry of the confirmation.
        confirmation: Seq,
        /// Confirmed ratio to the frozen baseline.
        ratio: f64,
        /// Lower end of its interval.
        ci_low: f64,
        /// Upper end of it.
        ci_high: f64,
    },
    /// A model was asked. The entry is durable before the answer is used, so that no answer is paid twice.
    ModelCalled(Box<ModelCall>),
    /// A torn tail was cut off when the log was opened again.
    Recovered {
        /// Bytes that were dropped; they were never acknowledged.
        dropped_bytes: u64,
        /// What was wrong with them.
        reason: String,
    },
    /// The search went on after an interruption.
    Resumed {
        /// Version of the program.
        program: String,
        /// Budget already used before this point, in seconds of wall time.
        wall_seconds_before: f64,
    },
    /// The search ended.
    Closed {
        /// Why: `budget`, `goal`, `exhausted`, `interrupted`, `unreachable`; `audited` at the end of an audit.
        reason: String,
        /// Wall time of the search itself, all sessions together.
        wall_seconds: f64,
    },
}

/// How the run began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// [`LOG_FORMAT`].
    pub format: u32,
    /// The run's name.
    pub run_id: RunId,
    /// Program and version.
    pub program: String,
    /// Contract name.
    pub contract: String,
    /// Contract version.
    pub contract_version: u32,
    /// Digest over all files of the contract.
    pub contract_digest: Digest,
    /// Where the contract was read, so that `resume` and `replay` find it again.
    pub contract_path: String,
    /// Built for.
    pub target: Target,
    /// Seed of everything but measured time.
    pub seed: u64,
    /// The effective configuration.
    pub config: serde_json::Value,
    /// Its digest.
    pub config_digest: Digest,
    /// Device, compiler and so on; see `Environment` in the evidence schema.
    pub environment: BTreeMap<String, String>,
    /// Where the entries after this one come from, where the run is a fork of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkedFrom>,
    /// What earlier searches taught this one, where it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryUsed>,
    /// What is audited, where the run is an audit of the harness and no search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditTerms>,
}

/// How an audit of the harness was begun, so that it can go on in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditTerms {
    /// Candidates that are asked for.
    pub candidates: u64,
    /// Stricter judgements of every candidate that was accepted.
    pub rounds: u32,
    /// Gates that are left out of the judged harness.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drill: Vec<Gate>,
}

/// What a search was told of earlier ones. It is kept with the run, so that the search can go on and be repeated exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUsed {
    /// Blob with the part of the memory that held for this run.
    pub digest: Digest,
    /// Where it came from: a path, or `auto` for the runs of the same log.
    pub origin: String,
    /// The runs that it was learned from.
    pub runs: Vec<String>,
}

/// The origin of a fork: entries 1 to `seq` of the fork are those of the origin, under the same numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkedFrom {
    /// The origin.
    pub run: RunId,
    /// The last entry that was taken over as history.
    pub seq: Seq,
    /// Digest of the origin's line with that entry, so that the origin can be proven.
    pub digest: Digest,
    /// What was learned in the origin after `seq` and carried along, as runs of consecutive entries in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<Carried>,
}

/// Consecutive entries of a fork that were consecutive in its origin too, after the point of the fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// The first of them in the fork.
    pub first: Seq,
    /// The same entry in the origin.
    pub origin: Seq,
    /// How many there are.
    pub count: u64,
}

impl ForkedFrom {
    /// The origin's entry that stands in the fork as `seq`; `None` for what the fork did itself.
    pub fn origin_of(&self, seq: Seq) -> Option<Seq> {
        if seq.0 == 0 {
            return None;
        }
        if seq <= self.seq {
            return Some(seq);
        }
        let covers = |carried: &&Carried| (carried.first.0..carried.first.0 + carried.count).contains(&seq.0);
        let carried = self.carried.iter().find(covers)?;
        Some(Seq(carried.origin.0 + (seq.0 - carried.first.0)))
    }
}

/// A frozen baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineFrozen {
    /// Its name: one of the contract's, or `seed` for a user's own kernel.
    pub name: String,
    /// Blob with its source.
    pub source: Digest,
    /// How it is called.
    pub plan: Plan,
    /// Its times against itself (A/A): `ratio` is near 1 and `noise_floor` is what the machine adds.
    pub performance: Performance,
}

/// A candidate that was handed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposed {
    /// The node that it implements.
    pub node: NodeId,
    /// Blob with its source.
    pub source: Digest,
    /// Digest of normalised source and plan; equal keys are the same candidate.
    pub key: Digest,
    /// Written in.
    pub language: Language,
    /// How it is called.
    pub plan: Plan,
    /// Where it came from.
    pub origin: Origin,
    /// What the proposer expects, as a ratio to the frozen baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Prediction>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rationale: String,
}

impl Proposed {
    /// What the log says of a candidate; its source is kept as a blob.
    pub fn of(candidate: &Candidate) -> Self {
        let proposal = &candidate.proposal;
        Self {
            node: proposal.node,
            source: candidate.source_digest,
            key: candidate.key,
            language: proposal.language,
            plan: proposal.plan.clone(),
            origin: proposal.origin.clone(),
            prediction: proposal.prediction,
            rationale: proposal.rationale.clone(),
        }
    }

    /// The proposal again, with the bytes of its source blob.
    pub fn into_proposal(self, source: &[u8]) -> Proposal {
        Proposal {
            node: self.node,
            language: self.language,
            source: String::from_utf8_lossy(source).into_owned(),
            plan: self.plan,
            origin: self.origin,
            prediction: self.prediction,
            rationale: self.rationale,
        }
    }
}

impl Event {
    /// The blobs that it refers to; they are kept before it is written.
    pub fn blobs(&self) -> Vec<Digest> {
        match self {
            Self::Proposed(proposed) => vec![proposed.source],
            Self::BaselineFrozen(frozen) => vec![frozen.source],
            Self::ModelCalled(call) => {
                let shown = call.inspected.iter().map(|inspected| inspected.shown);
                std::iter::once(call.request).chain(call.reply).chain(shown).collect()
            }
            Self::Opened(opened) => opened.memory.iter().map(|memory| memory.digest).collect(),
            _ => Vec::new(),
        }
    }

    /// The event's name, as it stands in the log.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Opened(_) => "opened",
            Self::BaselineFrozen(_) => "baseline_frozen",
            Self::TreeEdited { .. } => "tree_edited",
            Self::Proposed(_) => "proposed",
            Self::Deduplicated { .. } => "deduplicated",
            Self::Judged { .. } => "judged",
            Self::Promoted { .. } => "promoted",
            Self::ModelCalled(_) => "model_called",
            Self::Recovered { .. } => "recovered",
            Self::Resumed { .. } => "resumed",
            Self::Closed { .. } => "closed",
        }
    }
}
