//! What became of one proposal.

use std::collections::BTreeMap;

use kernsmith_core::brief::Attempt;
use kernsmith_core::event::Proposed;
use kernsmith_core::{Evidence, FailureClass, GeneValue, Genome, Lane, NodeId, Performance, Prediction, Seq};

use crate::apply::is_ratio;
use crate::shared::{Place, Shared};
use crate::tree::Tree;

/// One proposal and what became of it, as far as selection, calibration and briefs need it.
///
/// A long run has a hundred thousand of these, so that everything else (source, plan, parents, rationale) stays in the log,
/// and names that many attempts share are kept once in the tree: [`Tree::template_of`], [`Tree::genome_of`] and so on.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempted {
    /// Its `Proposed` entry.
    pub seq: Seq,
    /// The node that it implements.
    pub node: NodeId,
    /// What its proposer expected.
    pub prediction: Option<Prediction>,
    /// What became of it, as far as the log knows.
    pub outcome: Outcome,
    /// The deepest conclusive judgement with times; kept when a later judgement was inconclusive.
    pub measured: Option<Measured>,
    /// Judgements so far, inconclusive ones included.
    pub judgements: u32,
    /// Whether the confirm lane has had its conclusive say.
    pub confirmed: bool,
    pub(crate) proposer: Place,
    operator: Place,
    template: Option<Place>,
    genes: Box<[Place]>,
}

/// What many attempts have in common.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Common {
    /// Proposers, operators, templates and workloads.
    pub(crate) words: Shared<String>,
    genes: Shared<(String, GeneValue)>,
}

/// What became of a proposal; the reason of a failure is kept with the latest ones of its node, and all are in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It waits for its first judgement.
    Pending,
    /// It repeats an earlier candidate.
    Duplicate {
        /// The earlier one's `Proposed` entry.
        of: Seq,
    },
    /// It passed every gate of its deepest lane so far.
    Accepted,
    /// A gate said no.
    Rejected {
        /// Why, in the catalogue's word.
        class: FailureClass,
    },
    /// Only the apparatus failed; the attempt says nothing about its strategy.
    Inconclusive,
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
    /// Ratio by workload, in order of places.
    workload_ratios: Box<[(Place, f64)]>,
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
    pub(crate) fn new(seq: Seq, proposed: &Proposed, common: &mut Common) -> Self {
        let origin = &proposed.origin;
        let gene = |(name, value): (&String, &GeneValue)| common.genes.place(&(name.clone(), value.clone()));
        Self {
            seq,
            node: proposed.node,
            prediction: proposed.prediction.filter(|predicted| is_ratio(predicted.ratio)),
            outcome: Outcome::Pending,
            measured: None,
            judgements: 0,
            confirmed: false,
            genes: origin.genome.iter().map(gene).collect(),
            proposer: common.words.place(&origin.proposer),
            operator: common.words.place(&origin.operator),
            template: origin.template.as_ref().map(|template| common.words.place(template)),
        }
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

    /// Takes a judgement: the deepest conclusive lane decides, a later one of the same lane replaces an earlier one.
    pub(crate) fn judge(&mut self, evidence: &Evidence, common: &mut Common) {
        self.judgements += 1;
        match &evidence.failure {
            _ if evidence.is_accepted() => {
                self.confirmed |= evidence.lane == Lane::Confirm;
                self.accept(evidence.lane, evidence.performance.as_ref(), common);
            }
            Some(failure) if failure.class.is_conclusive() => {
                self.confirmed |= evidence.lane == Lane::Confirm;
                self.outcome = Outcome::Rejected { class: failure.class };
            }
            _ if matches!(self.outcome, Outcome::Pending) => self.outcome = Outcome::Inconclusive,
            _ => {}
        }
    }

    fn accept(&mut self, lane: Lane, performance: Option<&Performance>, common: &mut Common) {
        // A kernel that was ever caught stays caught: passing a shallower lane later proves nothing.
        if !matches!(self.outcome, Outcome::Rejected { .. }) {
            self.outcome = Outcome::Accepted;
        }
        let deeper = self.measured.as_ref().is_none_or(|known| lane >= known.lane);
        if let Some(performance) = performance.filter(|performance| deeper && is_ratio(performance.ratio)) {
            self.measured = Some(Measured::new(lane, performance, common));
        }
    }
}

impl Measured {
    fn new(lane: Lane, performance: &Performance, common: &mut Common) -> Self {
        let ratio = |timing: &kernsmith_core::evidence::WorkloadTiming| {
            (common.words.place(&timing.workload), timing.ratio)
        };
        let mut workload_ratios: Vec<(Place, f64)> = performance.workloads.iter().map(ratio).collect();
        workload_ratios.sort_by_key(|(workload, _)| *workload);
        Self {
            lane,
            ratio: performance.ratio,
            ci_low: performance.ci_low,
            ci_high: performance.ci_high,
            workload_ratios: workload_ratios.into(),
        }
    }

    /// Whether it matches or beats the other one on every workload of the other, and is faster over all.
    pub(crate) fn dominates(&self, other: &Self) -> bool {
        let better = other.workload_ratios.iter().all(|(workload, ratio)| {
            let mine = self.workload_ratios.binary_search_by_key(workload, |(known, _)| *known);
            mine.is_ok_and(|at| self.workload_ratios[at].1 >= *ratio)
        });
        better && self.ratio > other.ratio
    }
}

impl Tree {
    /// Who proposed an attempt, such as `autotune`.
    pub fn proposer_of(&self, attempt: &Attempted) -> &str {
        self.word(attempt.proposer)
    }

    /// How an attempt was made, such as `mutate`.
    pub fn operator_of(&self, attempt: &Attempted) -> &str {
        self.word(attempt.operator)
    }

    /// The template of an attempt, where there is one.
    pub fn template_of(&self, attempt: &Attempted) -> Option<&str> {
        attempt.template.map(|template| self.word(template))
    }

    /// The genes of an attempt; empty where there are none.
    pub fn genome_of(&self, attempt: &Attempted) -> Genome {
        attempt.genes.iter().filter_map(|gene| self.state.common.genes.get(*gene).cloned()).collect()
    }

    /// The ratio of each workload in an attempt's deciding measurement.
    pub fn workload_ratios_of(&self, attempt: &Attempted) -> BTreeMap<String, f64> {
        let ratios = attempt.measured.iter().flat_map(|measured| &measured.workload_ratios);
        ratios.map(|(workload, ratio)| (self.word(*workload).to_owned(), *ratio)).collect()
    }

    /// An attempt as far as a proposer may see it.
    pub fn show(&self, attempt: &Attempted) -> Attempt {
        let passed = attempt.is_accepted() && attempt.measured.is_some();
        Attempt {
            proposal: attempt.seq,
            node: attempt.node,
            template: self.template_of(attempt).map(str::to_owned),
            genome: self.genome_of(attempt),
            ratio: attempt.ratio(),
            workload_ratios: if passed { self.workload_ratios_of(attempt) } else { BTreeMap::new() },
            failure: attempt.failure().map(|class| (class, self.detail_of(attempt).to_owned())),
        }
    }

    fn detail_of(&self, attempt: &Attempted) -> &str {
        let node = self.node(attempt.node);
        node.and_then(|node| node.recent_failures.get(&attempt.seq)).map_or("", String::as_str)
    }

    pub(crate) fn word(&self, place: Place) -> &str {
        self.state.common.words.get(place).map_or("", String::as_str)
    }
}
