//! When a search ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kernsmith_core::{Entry, Event, Evidence, Lane};
use kernsmith_planner::Tree;
use kernsmith_search_config::BudgetConfig;

/// A flag that asks the search to finish the current candidate and seal; clones share it.
#[derive(Debug, Clone, Default)]
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// Asks the search to stop.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The user asked.
    Interrupted,
    /// Wall time, candidates, evaluations, tokens or money are used up.
    Budget,
    /// The champion reached the goal.
    Goal,
    /// Nothing untried is left.
    Exhausted,
    /// The proposer asks somebody who does not answer any more; the run can be resumed.
    Unreachable,
}

impl Limit {
    /// The word in the log's `closed` entry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::Budget => "budget",
            Self::Goal => "goal",
            Self::Exhausted => "exhausted",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Share of all judging time that confirmations may take while the search still goes on.
const CONFIRM_SHARE: f64 = 0.2;
/// The last confirmation's time, with room for a slower one, is kept back for the final one.
const CONFIRM_ROOM: f64 = 1.5;

/// What confirmations have cost so far. A contract with a slow baseline can make one take a sixth of the budget.
///
/// Whether another one is affordable is decided by the times in the evidence, so that it can be folded from the log and the
/// same evidence always leads to the same history; only the time kept back for the end is taken from the clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ConfirmCost {
    judged_ms: f64,
    confirmed_ms: f64,
    last_ms: f64,
    last_wall_seconds: f64,
}

impl ConfirmCost {
    /// Takes in one durable entry.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        if let Event::Judged { evidence, .. } = &entry.event {
            self.note(evidence);
        }
    }

    fn note(&mut self, evidence: &Evidence) {
        let spent: f64 = evidence.validation.gates.iter().map(|gate| gate.wall_ms).sum();
        self.judged_ms += spent;
        if evidence.lane == Lane::Confirm {
            self.confirmed_ms += spent;
            self.last_ms = spent;
        }
    }

    /// Wall time of the confirmation that has just ended.
    pub(crate) const fn took(&mut self, wall_seconds: f64) {
        self.last_wall_seconds = wall_seconds;
    }

    /// Whether another confirmation keeps within its share of the time so far; the first always may.
    pub(crate) fn affordable(&self) -> bool {
        self.last_ms <= 0.0 || self.confirmed_ms + self.last_ms <= self.judged_ms * CONFIRM_SHARE
    }

    /// Wall time of the last one.
    pub(crate) const fn last_seconds(&self) -> f64 {
        self.last_wall_seconds
    }

    /// Wall time to keep back for the last confirmation.
    pub(crate) const fn reserve_seconds(&self, configured: f64) -> f64 {
        configured.max(self.last_wall_seconds * CONFIRM_ROOM)
    }
}

/// Wall time of this session on top of that of earlier ones.
#[derive(Debug, Clone)]
pub(crate) struct BudgetClock {
    started: Instant,
    before: Duration,
}

impl BudgetClock {
    pub(crate) fn start(seconds_before: f64) -> Self {
        Self { started: Instant::now(), before: Duration::from_secs_f64(seconds_before.max(0.0)) }
    }

    pub(crate) fn wall_seconds(&self) -> f64 {
        (self.before + self.started.elapsed()).as_secs_f64()
    }

    /// Wall time that is left before `reserve_seconds` begin; `None` where there is no limit.
    pub(crate) fn left(&self, config: &BudgetConfig, reserve_seconds: f64) -> Option<Duration> {
        let left = config.wall_seconds - reserve_seconds - self.wall_seconds();
        (config.wall_seconds > 0.0).then(|| Duration::from_secs_f64(left.max(0.0)))
    }

    /// Whether the wall time has room for so much more.
    pub(crate) fn lasts(&self, config: &BudgetConfig, seconds: f64) -> bool {
        config.wall_seconds <= 0.0 || self.wall_seconds() + seconds <= config.wall_seconds
    }

    /// Why the search should end now, if it should; `reserve_seconds` are kept for confirmation.
    pub(crate) fn limit(&self, config: &BudgetConfig, tree: &Tree, reserve_seconds: f64) -> Option<Limit> {
        let counts = tree.counts();
        let champion = tree.champion().map_or(0.0, |champion| champion.ci_low);
        if config.goal_ratio > 0.0 && champion >= config.goal_ratio {
            return Some(Limit::Goal);
        }
        let out_of_time =
            config.wall_seconds > 0.0 && self.wall_seconds() + reserve_seconds >= config.wall_seconds;
        let out_of_candidates = config.candidates > 0 && counts.proposed >= config.candidates;
        let out_of_evaluations = config.evaluations > 0 && counts.judged >= config.evaluations;
        (out_of_time || out_of_candidates || out_of_evaluations).then_some(Limit::Budget)
    }
}

#[cfg(test)]
mod tests {
    use kernsmith_core::evidence::GateReport;

    use super::*;

    fn judged(lane: Lane, wall_ms: f64) -> Evidence {
        let proposal = kernsmith_core::Proposal::by_user("kernel", kernsmith_core::Plan::default());
        let candidate = kernsmith_core::Candidate::new("c_f32", &kernsmith_core::Target::host(), proposal);
        let mut evidence = crate::tests::evidence(&candidate, lane, None, 2.0);
        let (gate, note) = (kernsmith_core::Gate::Timing, String::new());
        evidence.validation.gates = vec![GateReport { gate, passed: true, wall_ms, note }];
        evidence
    }

    #[test]
    fn slow_confirmations_wait_for_their_share_and_keep_their_time_back() {
        let mut cost = ConfirmCost::default();
        assert!(cost.affordable());
        cost.note(&judged(Lane::Confirm, 12e3));
        cost.took(12.0);
        cost.note(&judged(Lane::Screen, 48e3));
        assert!(!cost.affordable());
        cost.note(&judged(Lane::Verify, 60e3));
        assert!(cost.affordable());
        assert!((cost.reserve_seconds(10.0) - 18.0).abs() < 1e-9);
        assert!((cost.reserve_seconds(30.0) - 30.0).abs() < 1e-9);
    }
}
