//! What a proposer that reads wants to know and the tree does not keep: a fold of the log beside the tree.

use std::collections::HashMap;
use std::sync::Arc;

use kernsmith_core::brief::{Attempt, AttemptDetails, Details};
use kernsmith_core::{Brief, Digest, Entry, Event, Lane, Seq, Target};
use kernsmith_op_contract::Contract;
use kernsmith_planner::{Status, Tree};

use crate::feedback::feedback;
use crate::knowledge::{Knowledge, Subject};
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
/// What whoever plans should know of a machine, as one would ask the ISA corpus.
const PLANNER_WORDS: &str =
    "vector width registers caches memory bandwidth streaming stores prefetch threads";

/// Where each attempt's last word stands in the log: a few bytes an attempt, texts are read again when they are shown.
#[derive(Debug, Clone, Default)]
pub struct Dossier {
    words: HashMap<Seq, LastWord>,
    knowledge: Arc<Knowledge>,
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
    /// Shows what skills and the ISA corpus say too.
    pub fn know(&mut self, knowledge: Arc<Knowledge>) {
        self.knowledge = knowledge;
    }

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
        let strategy = &brief.strategy;
        let mut words = strategy.path.join(" ");
        for more in [&strategy.expected_instructions.join(" "), &strategy.rationale] {
            words.push(' ');
            words.push_str(more);
        }
        self.details(named, tree, contract, &words, sources)
    }

    /// The texts of a plan request.
    pub fn for_planner(&self, tree: &Tree, contract: &Contract, sources: Sources<'_>) -> Details {
        let mut best: Vec<Attempt> = tree.node_briefs().into_iter().filter_map(|node| node.best).collect();
        let ratio = |attempt: &Attempt| attempt.ratio.unwrap_or(0.0);
        best.sort_by(|a, b| ratio(b).total_cmp(&ratio(a)).then(a.proposal.cmp(&b.proposal)));
        best.dedup_by_key(|attempt| attempt.proposal);
        let named = best.iter().take(SHOWN_BESTS).map(|attempt| attempt.proposal);
        let expected = contract.expected_instructions.values().flatten();
        let words: Vec<&str> = expected.map(String::as_str).chain([PLANNER_WORDS]).collect();
        self.details(named, tree, contract, &words.join(" "), sources)
    }

    fn details(
        &self,
        named: impl Iterator<Item = Seq>,
        tree: &Tree,
        contract: &Contract,
        words: &str,
        sources: Sources<'_>,
    ) -> Details {
        let target = tree.opened().map_or_else(Target::host, |opened| opened.target.clone());
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
            packets: self.knowledge.packets(&Subject { contract, target: &target, words }),
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
