//! What a proposer that reads wants to know and the tree does not keep: a fold of the log beside the tree.

use std::collections::BTreeMap;

use kernsmith_core::brief::{Attempt, AttemptDetails, Details};
use kernsmith_core::event::Proposed;
use kernsmith_core::{Brief, Digest, Entry, Event, Evidence, Lane, Plan, Prediction, Seq};
use kernsmith_op_contract::Contract;
use kernsmith_planner::{Status, Tree};

use crate::feedback::feedback;
use crate::known::Known;
use crate::task::task;

/// Elites whose source is shown, the champion not counted.
const SHOWN_ELITES: usize = 4;
/// Failures whose source is shown.
const SHOWN_FAILURES: usize = 3;
/// Attempts whose source a planner is shown.
const SHOWN_BESTS: usize = 3;
/// Closed strategies that are named.
const SHOWN_CLOSED: usize = 40;

/// Sources, plans and feedback of every attempt of a run.
#[derive(Debug, Clone, Default)]
pub struct Dossier {
    records: BTreeMap<Seq, Record>,
}

#[derive(Debug, Clone)]
struct Record {
    source: Digest,
    plan: Plan,
    rationale: String,
    predicted: Option<Prediction>,
    judged: Option<Lane>,
    feedback: Vec<String>,
}

type Kept<'a> = &'a dyn Fn(&Digest) -> Option<Vec<u8>>;

impl Dossier {
    /// Takes one durable entry.
    pub fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Proposed(proposed) => drop(self.records.insert(entry.seq, Record::new(proposed))),
            Event::Judged { proposal, evidence } => {
                if let Some(record) = self.records.get_mut(proposal) {
                    record.judge(evidence);
                }
            }
            Event::Deduplicated { proposal, of, by } => {
                if let Some(record) = self.records.get_mut(proposal) {
                    record.feedback = vec![format!("not judged: it repeats attempt {of} (equal {by})")];
                }
            }
            _ => {}
        }
    }

    /// The texts of a brief.
    pub fn for_brief(&self, brief: &Brief, tree: &Tree, contract: &Contract, kept: Kept<'_>) -> Details {
        let elites = brief.elites.iter().take(SHOWN_ELITES);
        let failures = brief.failures.iter().take(SHOWN_FAILURES);
        let named = brief.champion.iter().chain(elites).chain(failures).map(|attempt| attempt.proposal);
        self.details(named, tree, contract, kept)
    }

    /// The texts of a plan request.
    pub fn for_planner(&self, tree: &Tree, contract: &Contract, kept: Kept<'_>) -> Details {
        let mut best: Vec<Attempt> = tree.node_briefs().into_iter().filter_map(|node| node.best).collect();
        let ratio = |attempt: &Attempt| attempt.ratio.unwrap_or(0.0);
        best.sort_by(|a, b| ratio(b).total_cmp(&ratio(a)).then(a.proposal.cmp(&b.proposal)));
        best.dedup_by_key(|attempt| attempt.proposal);
        self.details(best.iter().take(SHOWN_BESTS).map(|attempt| attempt.proposal), tree, contract, kept)
    }

    fn details(
        &self,
        named: impl Iterator<Item = Seq>,
        tree: &Tree,
        contract: &Contract,
        kept: Kept<'_>,
    ) -> Details {
        let known = Known::new(contract);
        let attempts = named.filter_map(|seq| Some((seq, self.records.get(&seq)?.show(&known, kept)?)));
        let closed = tree
            .nodes()
            .filter(|node| matches!(node.status, Status::DeadEnd | Status::Pruned | Status::Exhausted))
            .map(|node| {
                let why = node.closed_because.as_deref().unwrap_or("closed by rule");
                format!("{} {} [{}]: {}", node.id, node.title, node.status.as_str(), known.public(why))
            });
        Details {
            task: task(tree, contract, kept),
            attempts: attempts.collect(),
            packets: Vec::new(),
            closed: closed.take(SHOWN_CLOSED).collect(),
        }
    }
}

impl Record {
    fn new(proposed: &Proposed) -> Self {
        Self {
            source: proposed.source,
            plan: proposed.plan.clone(),
            rationale: proposed.rationale.clone(),
            predicted: proposed.prediction,
            judged: None,
            feedback: Vec::new(),
        }
    }

    /// The deepest lane has the last word; a rejection always does.
    fn judge(&mut self, evidence: &Evidence) {
        if !evidence.is_accepted() || self.judged.is_none_or(|lane| evidence.lane >= lane) {
            self.judged = Some(evidence.lane);
            self.feedback = feedback(evidence, &self.plan.expected_instructions);
        }
    }

    fn show(&self, known: &Known<'_>, kept: Kept<'_>) -> Option<AttemptDetails> {
        Some(AttemptDetails {
            source: String::from_utf8_lossy(&kept(&self.source)?).into_owned(),
            plan: self.plan.clone(),
            rationale: self.rationale.clone(),
            predicted: self.predicted,
            feedback: self.feedback.iter().map(|line| known.public(line)).collect(),
        })
    }
}
