//! The fold: one durable entry at a time.

use kernsmith_core::event::Proposed;
use kernsmith_core::{Digest, Edit, Entry, Event, Evidence, NodeId, Seq};

use crate::attempt::{Attempted, Champion, Outcome};
use crate::node::{Node, Ranked, Status};
use crate::stale::STALE;
use crate::tree::Tree;

/// A damaged or foreign log may be wrong everywhere; the first warnings say enough.
const MAX_WARNINGS: usize = 100;
/// Failures of each node whose reason is kept, the latest ones.
pub(crate) const FAILURES_KEPT: usize = 16;

impl Tree {
    /// Takes one durable entry: the only mutation of the tree.
    ///
    /// Entries are applied in the order of the log. What does not fit (an unknown node, a second verdict on nothing) is
    /// skipped with a warning and never panics.
    pub fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Opened(opened) => {
                if let Some(root) = self.node_mut(NodeId::ROOT) {
                    root.title.clone_from(&opened.contract);
                }
                self.state.opened = Some((**opened).clone());
            }
            Event::BaselineFrozen(baseline) => self.state.baseline = Some((**baseline).clone()),
            Event::TreeEdited { author, edits } => self.edit(author, edits),
            Event::Proposed(proposed) => self.propose(entry.seq, proposed),
            Event::Deduplicated { proposal, of, by } => self.deduplicate(entry.seq, *proposal, *of, by),
            Event::Judged { proposal, evidence } => self.judge(entry.seq, *proposal, evidence),
            Event::Promoted { proposal, confirmation, ratio, ci_low, ci_high } => {
                let (proposal, confirmation) = (*proposal, *confirmation);
                let (ratio, ci_low, ci_high) = (*ratio, *ci_low, *ci_high);
                if !is_ratio(ratio) {
                    return self.warn(format!("{} promotes {proposal} without a ratio", entry.seq));
                }
                self.state.champion = Some(Champion { proposal, confirmation, ratio, ci_low, ci_high });
            }
            Event::ModelCalled(_) | Event::Recovered { .. } => {}
            Event::Resumed { wall_seconds_before: seconds, .. }
            | Event::Closed { wall_seconds: seconds, .. } => {
                if seconds.is_finite() {
                    self.state.wall_seconds = *seconds;
                }
            }
        }
    }

    fn warn(&mut self, text: String) {
        if self.state.warnings.len() < MAX_WARNINGS {
            self.state.warnings.push(text);
        }
    }

    fn edit(&mut self, author: &str, edits: &[Edit]) {
        for edit in edits {
            if let Some(problem) = self.problem_with(edit) {
                self.warn(format!("edit by {author} skipped: {problem}"));
                continue;
            }
            match edit {
                Edit::Insert { parent, node } => {
                    let node = Node::new(self.next_id(), self.node(*parent), node.clone(), author);
                    self.attach(node);
                }
                Edit::Update { node, predicted, rationale } => {
                    if let Some(node) = self.node_mut(*node) {
                        node.predicted = *predicted;
                        node.rationale.clone_from(rationale);
                    }
                }
                Edit::Prune { node, rationale } => self.prune(author, *node, rationale),
            }
        }
        self.state.resolved_at_edit = self.state.resolved;
        // A closure written by the engine is not an answer to a request for refinement.
        self.state.refine_due &= author == "engine";
        self.state.paradigm_due &= author == "engine";
    }

    fn propose(&mut self, seq: Seq, proposed: &Proposed) {
        if self.attempt(seq).is_some() {
            return self.warn(format!("{seq} proposed twice"));
        }
        if self.node(proposed.node).is_none() {
            return self.warn(format!("{seq} implements {}, which is not in the tree", proposed.node));
        }
        if let Some(template) = &proposed.origin.template {
            let template = self.state.common.words.place(template);
            self.state.by_template.entry(template).or_default().push(seq);
        }
        self.state.keys.note(&proposed.key, seq);
        self.state.counts.proposed += 1;
        self.state.refine_due = false;
        self.state.paradigm_due = false;
        let id = proposed.node;
        self.wait(seq, proposed);
        let attempt = Attempted::new(seq, proposed, &mut self.state.common);
        self.state.attempts.insert(attempt);
        if let Some(node) = self.node_mut(id) {
            node.proposed += 1;
            if node.status == Status::Open {
                node.status = Status::Active;
            }
        }
        self.tally(seq, true);
    }

    fn deduplicate(&mut self, entry: Seq, proposal: Seq, of: Seq, by: &str) {
        let Some(attempt) = self.attempt(proposal).filter(|attempt| attempt.is_pending()) else {
            return self.warn(format!("{entry} deduplicates {proposal}, which does not wait for a verdict"));
        };
        debug_assert_eq!(attempt.judgements, 0, "a pending attempt has no judgement");
        self.tally(proposal, false);
        if let Some(attempt) = self.state.attempts.get_mut(proposal) {
            attempt.outcome = Outcome::Duplicate { of };
        }
        self.tally(proposal, true);
        if by == STALE {
            // It was never built: the same candidate may come again, and its strategy is no worse for it.
            self.forget(proposal);
        } else {
            self.state.waiting.remove(&proposal);
            self.learn(entry, proposal, true);
        }
    }

    /// Takes a candidate out of what was tried.
    fn forget(&mut self, proposal: Seq) {
        if let Some(waiting) = self.state.waiting.remove(&proposal) {
            self.state.keys.forget(&waiting.key, proposal);
        }
        for tried in self.state.by_template.values_mut() {
            tried.retain(|seq| *seq != proposal);
        }
    }

    fn judge(&mut self, entry: Seq, proposal: Seq, evidence: &Evidence) {
        self.state.last_judged = Some(entry);
        let Some(attempt) = self.attempt(proposal) else {
            return self.warn(format!("{entry} judges {proposal}, which was never proposed"));
        };
        let first = attempt.is_pending();
        self.state.waiting.remove(&proposal);
        self.tally(proposal, false);
        if let Some(attempt) = self.state.attempts.get_mut(proposal) {
            attempt.judge(evidence, &mut self.state.common);
        }
        self.keep_reason(proposal, evidence);
        self.tally(proposal, true);
        self.state.counts.judgements += 1;
        self.state.counts.judged += u64::from(first);
        if let Some(digest) = evidence.candidate.code_object.filter(|digest| *digest != Digest::ZERO) {
            self.state.code_objects.note(&digest, proposal);
        }
        self.learn(entry, proposal, first);
    }

    /// Keeps the reason of a failure with the latest ones of its node: older ones no brief asks for, and the log has them.
    fn keep_reason(&mut self, proposal: Seq, evidence: &Evidence) {
        let rejected = self.attempt(proposal).filter(|attempt| attempt.failure().is_some());
        let Some(id) = rejected.map(|attempt| attempt.node) else { return };
        let conclusive = evidence.failure.as_ref().filter(|failure| failure.class.is_conclusive());
        if let (Some(failure), Some(node)) = (conclusive, self.node_mut(id)) {
            node.recent_failures.insert(proposal, failure.detail.clone());
            if node.recent_failures.len() > FAILURES_KEPT {
                node.recent_failures.pop_first();
            }
        }
    }

    /// Adds what an attempt contributes to the sums, or takes it away again before its outcome changes.
    fn tally(&mut self, seq: Seq, add: bool) {
        let Some(attempt) = self.state.attempts.get(seq) else { return };
        let (outcome, id) = (attempt.outcome, attempt.node);
        let ranked = attempt.ratio().map(|ratio| Ranked::new(ratio, seq));
        if let Some(ranked) = ranked {
            if add {
                self.state.ranking.insert(ranked);
            } else {
                self.state.ranking.remove(&ranked);
            }
        }
        if attempt.prediction.is_some() {
            self.state.predictions.entry(attempt.proposer).or_default().tally(attempt, add);
        }
        tally_counts(&mut self.state.counts, outcome, add);
        let Some(node) = self.node_mut(id) else { return };
        if let Some(ranked) = ranked {
            if add {
                node.ranking.insert(ranked);
            } else {
                node.ranking.remove(&ranked);
            }
        }
        node.best = node.ranking.last().map(|ranked| ranked.seq());
        match outcome {
            Outcome::Pending => step(&mut node.pending, add),
            Outcome::Duplicate { .. } => step(&mut node.deduplicated, add),
            Outcome::Accepted => step(&mut node.accepted, add),
            Outcome::Inconclusive => step(&mut node.inconclusive, add),
            Outcome::Rejected { class } => step(node.failures.entry(class).or_default(), add),
        }
        node.failures.retain(|_, count| *count > 0);
    }
}

/// A log may hold anything; only positive finite ratios enter the model.
pub(crate) fn is_ratio(ratio: f64) -> bool {
    ratio.is_finite() && ratio > 0.0
}

fn tally_counts(counts: &mut crate::counts::Counts, outcome: Outcome, add: bool) {
    let count = match outcome {
        Outcome::Pending => &mut counts.pending,
        Outcome::Duplicate { .. } => &mut counts.deduplicated,
        Outcome::Accepted => &mut counts.accepted,
        Outcome::Inconclusive => &mut counts.inconclusive,
        Outcome::Rejected { class } => counts.rejected.entry(class).or_default(),
    };
    *count = if add { *count + 1 } else { count.saturating_sub(1) };
    counts.rejected.retain(|_, count| *count > 0);
}

const fn step(count: &mut u32, up: bool) {
    *count = if up { count.saturating_add(1) } else { count.saturating_sub(1) };
}
