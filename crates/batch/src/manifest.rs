//! What a bundle says of itself.

use kernsmith_core::event::Proposed;
use kernsmith_core::{Digest, Language, NodeId, Origin, Plan, Prediction, Proposal, Target};
use serde::{Deserialize, Serialize};

/// The newest format of bundles and evidence.
pub const BATCH_FORMAT: u32 = 1;

/// Everything in a bundle but the bytes of its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`BATCH_FORMAT`].
    pub format: u32,
    /// Program and version that exported it.
    pub program: String,
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// One contract for one target each.
    pub jobs: Vec<Job>,
}

/// Candidates of one contract for one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Contract name.
    pub contract: String,
    /// Contract version.
    pub version: u32,
    /// Digest over all files of the contract.
    pub contract_digest: Digest,
    /// Where the exporting machine found it.
    pub contract_path: String,
    /// Built for.
    pub target: Target,
    /// How it is judged: an effective configuration.
    pub config: serde_json::Value,
    /// The user's own kernel as frozen baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Kernel>,
    /// What is judged, in order.
    pub candidates: Vec<Item>,
}

/// A source and how it is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    /// Digest of the source, which is also its name in the bundle.
    pub source: Digest,
    /// How it is called.
    pub plan: Plan,
}

/// A candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Where it came from: `<run>#<seq>` or the name of a file.
    pub from: String,
    /// Digest of the source, which is also its name in the bundle.
    pub source: Digest,
    /// Language of the source.
    pub language: Language,
    /// How it is called.
    pub plan: Plan,
    /// Who wrote it; its parents stay at home.
    pub origin: Origin,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rationale: String,
    /// What was measured of it before, as a ratio to the baseline there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Prediction>,
}

impl Item {
    /// The proposal for a node of the new tree.
    pub fn proposal(&self, source: &str, node: NodeId) -> Proposal {
        Proposal {
            node,
            language: self.language,
            source: source.to_owned(),
            plan: self.plan.clone(),
            origin: self.origin.clone(),
            prediction: self.expected,
            rationale: self.rationale.clone(),
        }
    }

    /// Whether an entry of a log is about this candidate.
    pub fn is(&self, proposed: &Proposed) -> bool {
        (self.source, self.language, &self.plan) == (proposed.source, proposed.language, &proposed.plan)
    }
}

impl Manifest {
    /// All sources that the bundle holds.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Digest> {
        self.jobs.iter().flat_map(|job| {
            let baseline = job.baseline.iter().map(|baseline| baseline.source);
            job.candidates.iter().map(|item| item.source).chain(baseline)
        })
    }
}

/// The folder of a contract in a bundle.
pub(crate) fn contract_folder(digest: &Digest, name: &str) -> String {
    format!("contracts/{digest}/{name}")
}

/// The file of a source in a bundle.
pub(crate) fn source_file(digest: &Digest) -> String {
    format!("sources/{digest}")
}
