//! How many of what.

use std::collections::BTreeMap;

use kernsmith_core::FailureClass;

/// How many candidates met which fate; every proposal is in exactly one of the last five.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Candidates that were handed over.
    pub proposed: u64,
    /// Candidates that were judged at least once: the evaluations of a budget.
    pub judged: u64,
    /// Judgements, all lanes together.
    pub judgements: u64,
    /// Waiting for their first judgement.
    pub pending: u64,
    /// Repetitions of earlier candidates.
    pub deduplicated: u64,
    /// Passed, by their deepest judgement so far.
    pub accepted: u64,
    /// Only the apparatus failed.
    pub inconclusive: u64,
    /// Rejected, by class.
    pub rejected: BTreeMap<FailureClass, u64>,
}

impl Counts {
    /// Rejected candidates of all classes together.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Share of conclusively judged candidates that passed; `None` before the first.
    pub fn accept_rate(&self) -> Option<f64> {
        let judged = self.accepted + self.rejected_total();
        (judged > 0).then(|| self.accepted as f64 / judged as f64)
    }
}
