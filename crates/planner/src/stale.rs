//! Proposals that were overtaken while they waited.

use kernsmith_core::event::Proposed;
use kernsmith_core::{Digest, NodeId, Seq};

use crate::node::Ranked;
use crate::tree::Tree;

/// The word with which a log drops a stale proposal, where a repeated one has `source` or `code_object`.
pub const STALE: &str = "stale";

/// Why a waiting proposal is not worth device time any more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stale {
    /// The attempt that it was made from.
    pub base: Seq,
    /// The attempt that overtook it, and its ratio.
    pub beaten_by: Seq,
    /// That one's ratio to the frozen baseline.
    pub ratio: f64,
}

/// What is kept of a proposal until its first judgement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) key: Digest,
    /// The best attempt that it was made from.
    base: Option<Ranked>,
    /// The best of its lineage when it was made.
    known: Option<Ranked>,
}

impl Tree {
    /// Notes a proposal that waits from here on.
    pub(crate) fn wait(&mut self, seq: Seq, proposed: &Proposed) {
        let parents = proposed.origin.parents.iter().filter_map(|parent| self.attempt(*parent));
        let base = parents.filter_map(|parent| Some(Ranked::new(parent.ratio()?, parent.seq))).max();
        let known = base.and_then(|_| self.best_of_lineage(proposed.node));
        self.state.waiting.insert(seq, Waiting { key: proposed.key, base, known });
    }

    /// Whether a proposal that waits for its first judgement was overtaken; the engine asks before it costs device time.
    /// `screened` are outcomes, as ratios, that the log may not hold yet: results are recorded in groups, and the answer must
    /// not depend on when.
    ///
    /// It was, when an attempt of the same lineage that came out after the proposal was made beats the proposal's base, and
    /// reaches more than the proposal promised at best (where it promised nothing: `stale_gain` times its base).
    /// A proposal without a base cannot be overtaken. A strategy whose proposal was dropped stays as urgent as it was, so that
    /// its next proposal is made from the new base.
    pub fn stale(&self, seq: Seq, screened: &[(Seq, f64)]) -> Option<Stale> {
        let waiting = self.state.waiting.get(&seq)?;
        let (attempt, base) = (self.attempt(seq)?, waiting.base?);
        let promised = match attempt.prediction {
            Some(predicted) if predicted.high.is_finite() => predicted.high,
            _ => base.ratio() * self.options().closure.stale_gain,
        };
        let fresh = screened.iter().filter(|(other, _)| self.are_of_one_lineage(attempt.node, *other));
        let fresh = fresh.map(|(other, ratio)| Ranked::new(*ratio, *other));
        let rival = self.best_of_lineage(attempt.node).into_iter().chain(fresh).max();
        let rival = rival.filter(|rival| Some(*rival) > waiting.known)?;
        let stale = Stale { base: base.seq(), beaten_by: rival.seq(), ratio: rival.ratio() };
        (stale.ratio > promised.max(base.ratio())).then_some(stale)
    }

    /// Whether an attempt implements the node, one above it or one below it.
    fn are_of_one_lineage(&self, id: NodeId, attempt: Seq) -> bool {
        let Some(other) = self.attempt(attempt).map(|attempt| attempt.node) else { return false };
        let above = |low: NodeId, high: NodeId| self.ancestors(low).any(|node| node.id == high);
        id == other || above(id, other) || above(other, id)
    }

    /// The best attempt of a node, what is below it and what is above it.
    fn best_of_lineage(&self, id: NodeId) -> Option<Ranked> {
        let lineage = self.subtree(id).into_iter().chain(self.ancestors(id));
        lineage.filter_map(|node| node.ranking.last().copied()).max()
    }
}

#[cfg(test)]
mod tests {
    use kernsmith_core::{Event, NodeId, Prediction, Seq};

    use super::STALE;
    use crate::Outcome;
    use crate::testing::{History, proposed};

    /// A proposal made from `base` that promises at most `high`.
    fn waiting(history: &mut History, base: Seq, high: Option<f64>) -> Seq {
        let mut proposal = proposed(NodeId(1), 77, Some("skill/a".to_owned()));
        proposal.origin.parents = vec![base];
        proposal.prediction = high.map(|high| Prediction { ratio: high * 0.9, low: high * 0.8, high });
        history.push(Event::Proposed(Box::new(proposal)))
    }

    #[test]
    fn a_proposal_whose_base_was_beaten_by_more_than_it_promised_is_stale() {
        let mut history = History::with_families(&["a", "b"]);
        let base = history.pass(NodeId(1), 2.0);
        let proposal = waiting(&mut history, base, Some(2.5));
        assert_eq!(history.tree.stale(proposal, &[]), None, "nothing has happened since");
        history.pass(NodeId(2), 9.0);
        assert_eq!(history.tree.stale(proposal, &[]), None, "another family is another matter");
        history.pass(NodeId(1), 2.4);
        assert_eq!(history.tree.stale(proposal, &[]), None, "it may still come out better");
        let elsewhere = history.propose(NodeId(2));
        let rival = history.propose(NodeId(1));
        assert_eq!(history.tree.stale(proposal, &[(elsewhere, 9.0), (rival, 2.4)]), None);
        let screened = history.tree.stale(proposal, &[(elsewhere, 9.0), (rival, 2.6)]).unwrap();
        let passed = history.pass(NodeId(1), 2.6);
        let stale = history.tree.stale(proposal, &[]).unwrap();
        assert_eq!((stale.base, stale.beaten_by), (base, passed));
        assert_eq!((screened.base, screened.beaten_by), (base, rival));
    }

    #[test]
    fn what_was_known_before_a_proposal_does_not_overtake_it() {
        let mut history = History::with_families(&["a"]);
        let base = history.pass(NodeId(1), 2.0);
        history.pass(NodeId(1), 9.0);
        let proposal = waiting(&mut history, base, Some(2.5));
        assert_eq!(history.tree.stale(proposal, &[]), None);
    }

    #[test]
    fn a_dropped_proposal_leaves_no_trace_in_what_was_tried() {
        let mut history = History::with_families(&["a"]);
        let base = history.pass(NodeId(1), 2.0);
        let proposal = waiting(&mut history, base, None);
        let rival = history.pass(NodeId(1), 4.0);
        let before = history.tree.node(NodeId(1)).unwrap().since_best;
        assert!(history.tree.stale(proposal, &[]).is_some());
        let key = proposed(NodeId(1), 77, None).key;
        history.push(Event::Deduplicated { proposal, of: rival, by: STALE.to_owned() });
        assert!(matches!(history.tree.attempt(proposal).unwrap().outcome, Outcome::Duplicate { .. }));
        assert_eq!(history.tree.stale(proposal, &[]), None);
        assert_eq!(history.tree.known_key(&key), None, "the same candidate may come again");
        assert_eq!(history.tree.trials("skill/a").len(), 2);
        assert_eq!(history.tree.tried_genomes("skill/a").len(), 2);
        assert_eq!(
            history.tree.node(NodeId(1)).unwrap().since_best,
            before,
            "it says nothing of the strategy"
        );
    }
}
