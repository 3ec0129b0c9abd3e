//! What became of one proposal.

use std::collections::BTreeMap;

use kernsmith_core::brief::Attempt;
use kernsmith_core::event::Proposed;
use kernsmith_core::{Evidence, FailureClass, Lane, NodeId, Performance, Seq};

use crate::apply::is_ratio;

/// One proposal and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempted {
    /// Its `Proposed` entry.
    pub seq: Seq,
    /// What was proposed.
    pub proposed: Proposed,
    /// What became of it, as far as the log knows.
    pub outcome: Outcome,
    /// The deepest conclusive judgement with times; kept when a later judgement was inconclusive.
    pub measured: Option<Measured>,
    /// Judgements so far, inconclusive ones included.
    pub judgements: u32,
    /// Whether the confirm lane has had its conclusive say.
    pub confirmed: bool,
}

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It waits for its first judgement.
    Pending,
    /// It repeats an earlier candidate.
    Duplicate {
        /// The earlier one's `Proposed` entry.
        of: Seq,
        /// What was equal.
        by: String,
    },
    /// It passed every gate of its deepest lane so far.
    Accepted,
    /// A gate said no.
    Rejected {
        /// Why, in the catalogue's word.
        class: FailureClass,
        /// Why, in detail.
        detail: String,
    },
    /// Only the apparatus failed; the attempt says nothing about its strategy.
    Inconclusive {
        /// What happened.
        detail: String,
    },
}

/// The numbers of one judgement that the planner keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// How deep the judgement went.
    pub lane: Lane,
    /// Ratio to the frozen baseline.
    pub ratio: f64,
    /// Lower end of its interval.
    pub ci_low: f64,
    /// Upper end of it.
    pub ci_high: f64,
    /// Ratio by workload.
    pub workload_ratios: BTreeMap<String, f64>,
}

/// The candidate that leads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Champion {
    /// Its `Proposed` entry.
    pub proposal: Seq,
    /// The `Judged` entry of its confirmation.
    pub confirmation: Seq,
    /// Confirmed ratio to the frozen baseline.
    pub ratio: f64,
    /// Lower end of its interval.
    pub ci_low: f64,
    /// Upper end of it.
    pub ci_high: f64,
}

/// A candidate that looks better than the champion and has not been confirmed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contender {
    /// Its `Proposed` entry.
    pub proposal: Seq,
    /// Its ratio so far.
    pub ratio: f64,
    /// The lane that measured it.
    pub lane: Lane,
}

impl Attempted {
    pub(crate) const fn new(seq: Seq, proposed: Proposed) -> Self {
        Self { seq, proposed, outcome: Outcome::Pending, measured: None, judgements: 0, confirmed: false }
    }

    /// The node that it implements.
    pub const fn node(&self) -> NodeId {
        self.proposed.node
    }

    /// Whether it still waits for its first judgement.
    pub const fn is_pending(&self) -> bool {
        matches!(self.outcome, Outcome::Pending)
    }

    /// Whether it passed.
    pub const fn is_accepted(&self) -> bool {
        matches!(self.outcome, Outcome::Accepted)
    }

    /// Best known ratio to the frozen baseline, where it passed and was timed.
    pub fn ratio(&self) -> Option<f64> {
        if self.is_accepted() { self.measured.as_ref().map(|measured| measured.ratio) } else { None }
    }

    /// Why it failed, where it did.
    pub const fn failure(&self) -> Option<FailureClass> {
        match self.outcome {
            Outcome::Rejected { class, .. } => Some(class),
            _ => None,
        }
    }

    /// As far as a proposer may see it.
    pub fn to_brief(&self) -> Attempt {
        let passed = self.measured.as_ref().filter(|_| self.is_accepted());
        Attempt {
            proposal: self.seq,
            node: self.proposed.node,
            template: self.proposed.origin.template.clone(),
            genome: self.proposed.origin.genome.clone(),
            ratio: passed.map(|measured| measured.ratio),
            workload_ratios: passed.map(|measured| measured.workload_ratios.clone()).unwrap_or_default(),
            failure: match &self.outcome {
                Outcome::Rejected { class, detail } => Some((*class, detail.clone())),
                _ => None,
            },
        }
    }

    /// Takes a judgement: the deepest conclusive lane decides, a later one of the same lane replaces an earlier one.
    pub(crate) fn judge(&mut self, evidence: &Evidence) {
        self.judgements += 1;
        match &evidence.failure {
            _ if evidence.is_accepted() => {
                self.confirmed |= evidence.lane == Lane::Confirm;
                self.accept(evidence.lane, evidence.performance.as_ref());
            }
            Some(failure) if failure.class.is_conclusive() => {
                self.confirmed |= evidence.lane == Lane::Confirm;
                self.outcome = Outcome::Rejected { class: failure.class, detail: failure.detail.clone() };
            }
            failure if matches!(self.outcome, Outcome::Pending | Outcome::Inconclusive { .. }) => {
                let detail = failure.as_ref().map(|failure| failure.detail.clone()).unwrap_or_default();
                self.outcome = Outcome::Inconclusive { detail };
            }
            _ => {}
        }
    }

    fn accept(&mut self, lane: Lane, performance: Option<&Performance>) {
        // A kernel that was ever caught stays caught: passing a shallower lane later proves nothing.
        if !matches!(self.outcome, Outcome::Rejected { .. }) {
            self.outcome = Outcome::Accepted;
        }
        let deeper = self.measured.as_ref().is_none_or(|known| lane >= known.lane);
        if let Some(performance) = performance.filter(|performance| deeper && is_ratio(performance.ratio)) {
            self.measured = Some(Measured::new(lane, performance));
        }
    }
}

impl Measured {
    fn new(lane: Lane, performance: &Performance) -> Self {
        let workloads = performance.workloads.iter();
        Self {
            lane,
            ratio: performance.ratio,
            ci_low: performance.ci_low,
            ci_high: performance.ci_high,
            workload_ratios: workloads.map(|timing| (timing.workload.clone(), timing.ratio)).collect(),
        }
    }
}
