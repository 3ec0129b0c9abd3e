//! What a proposer that reads wants to know and the tree does not keep: a fold of the log beside the tree.

use std::collections::HashMap;

use kernsmith_core::brief::{Attempt, AttemptDetails, Details};
use kernsmith_core::{Brief, Digest, Entry, Event, Lane, Seq};
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

/// Where each attempt's last word stands in the log: a few bytes an attempt, texts are read again when they are shown.
#[derive(Debug, Clone, Default)]
pub struct Dossier {
    words: HashMap<Seq, LastWord>,
}

#[derive(Debug, Clone, Copy)]
struct LastWord {
    entry: Seq,
    /// How deep the judgement went; `None` where the attempt was dropped before it.
    lane: Option<Lane>,
}

/// The log, as far as it is read again.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// A blob, such as a source.
    pub kept: &'a dyn Fn(&Digest) -> Option<Vec<u8>>,
    /// A durable entry.
    pub entry: &'a dyn Fn(Seq) -> Option<Entry>,
}

impl std::fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Dossier {
    /// Takes one durable entry. The deepest lane has the last word; a rejection always does.
    pub fn apply(&mut self, entry: &Entry) {
        let (proposal, lane) = match &entry.event {
            Event::Judged { proposal, evidence } => {
                let known = self.words.get(proposal).and_then(|word| word.lane);
                if evidence.is_accepted() && known.is_some_and(|known| evidence.lane < known) {
                    return;
                }
                (*proposal, Some(evidence.lane))
            }
            Event::Deduplicated { proposal, .. } => (*proposal, None),
            _ => return,
        };
        self.words.insert(proposal, LastWord { entry: entry.seq, lane });
    }

    /// The texts of a brief.
    pub fn for_brief(
        &self,
        brief: &Brief,
        tree: &Tree,
        contract: &Contract,
        sources: Sources<'_>,
    ) -> Details {
        let elites = brief.elites.iter().take(SHOWN_ELITES);
        let failures = brief.failures.iter().take(SHOWN_FAILURES);
        let named = brief.champion.iter().chain(elites).chain(failures).map(|attempt| attempt.proposal);
        self.details(named, tree, contract, sources)
    }

    /// The texts of a plan request.
    pub fn for_planner(&self, tree: &Tree, contract: &Contract, sources: Sources<'_>) -> Details {
        let mut best: Vec<Attempt> = tree.node_briefs().into_iter().filter_map(|node| node.best).collect();
        let ratio = |attempt: &Attempt| attempt.ratio.unwrap_or(0.0);
        best.sort_by(|a, b| ratio(b).total_cmp(&ratio(a)).then(a.proposal.cmp(&b.proposal)));
        best.dedup_by_key(|attempt| attempt.proposal);
        self.details(best.iter().take(SHOWN_BESTS).map(|attempt| attempt.proposal), tree, contract, sources)
    }

    fn details(
        &self,
        named: impl Iterator<Item = Seq>,
        tree: &Tree,
        contract: &Contract,
        sources: Sources<'_>,
    ) -> Details {
        let known = Known::new(contract);
        let attempts = named.filter_map(|seq| Some((seq, self.show(seq, &known, sources)?)));
        let closed = tree
            .nodes()
            .filter(|node| matches!(node.status, Status::DeadEnd | Status::Pruned | Status::Exhausted))
            .map(|node| {
                let why = node.closed_because.as_deref().unwrap_or("closed by rule");
                format!("{} {} [{}]: {}", node.id, node.title, node.status.as_str(), known.public(why))
            });
        Details {
            task: task(tree, contract, sources.kept),
            attempts: attempts.collect(),
            packets: Vec::new(),
            closed: closed.take(SHOWN_CLOSED).collect(),
        }
    }

    fn show(&self, seq: Seq, known: &Known<'_>, sources: Sources<'_>) -> Option<AttemptDetails> {
        let Event::Proposed(proposed) = (sources.entry)(seq)?.event else { return None };
        let word = self.words.get(&seq).and_then(|word| (sources.entry)(word.entry));
        let feedback = match word.map(|entry| entry.event) {
            Some(Event::Judged { evidence, .. }) => feedback(&evidence, &proposed.plan.expected_instructions),
            Some(Event::Deduplicated { of, by, .. }) => {
                vec![format!("not judged: it repeats attempt {of} (equal {by})")]
            }
            _ => Vec::new(),
        };
        Some(AttemptDetails {
            source: String::from_utf8_lossy(&(sources.kept)(&proposed.source)?).into_owned(),
            plan: proposed.plan,
            rationale: proposed.rationale,
            predicted: proposed.prediction,
            feedback: feedback.iter().map(|line| known.public(line)).collect(),
        })
    }
}
