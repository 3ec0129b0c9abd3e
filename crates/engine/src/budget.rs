//! When a search ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kernsmith_core::{Entry, Event, Evidence, Lane, Performance};
use kernsmith_planner::Tree;
use kernsmith_search_config::BudgetConfig;

/// How often a wait looks whether the user asked to stop.
const STOP_POLL: Duration = Duration::from_millis(100);

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

    /// Waits until somebody asks.
    pub async fn wait(&self) {
        while !self.is_set() {
            tokio::time::sleep(STOP_POLL).await;
        }
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
/// Calls of the frozen baseline in a confirmation, on each workload, at least: the pairs that an interval needs, and one more.
const CONFIRM_CALLS: f64 = 8.0;
/// A first confirmation also builds, checks and runs the candidate.
const EXPECTED_ROOM: f64 = 1.25;
/// A first confirmation that takes more than this part of the wall time waits for the end.
const EARLY_SHARE: f64 = 0.1;

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
    /// What the baseline's calls alone take in one.
    expected_seconds: f64,
}

impl ConfirmCost {
    /// Takes in one durable entry.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Judged { evidence, .. } => self.note(evidence),
            Event::BaselineFrozen(frozen) => self.expect(&frozen.performance),
            _ => {}
        }
    }

    fn expect(&mut self, baseline: &Performance) {
        let call_us: f64 = baseline.workloads.iter().map(|workload| workload.baseline_us).sum();
        self.expected_seconds = CONFIRM_CALLS * call_us * 1e-6;
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

    /// Whether another confirmation keeps within its share of the time so far; the first may where it is a small part of
    /// the whole budget.
    pub(crate) fn affordable(&self, config: &BudgetConfig) -> bool {
        if self.last_ms <= 0.0 {
            return config.wall_seconds <= 0.0 || self.expected_seconds <= config.wall_seconds * EARLY_SHARE;
        }
        self.confirmed_ms + self.last_ms <= self.judged_ms * CONFIRM_SHARE
    }

    /// Wall time of the last one.
    pub(crate) const fn last_seconds(&self) -> f64 {
        self.last_wall_seconds
    }

    /// Wall time to keep back for the last confirmation.
    pub(crate) const fn reserve_seconds(&self, configured: f64) -> f64 {
        let likely = if self.last_wall_seconds > 0.0 {
            self.last_wall_seconds * CONFIRM_ROOM
        } else {
            self.expected_seconds * EXPECTED_ROOM
        };
        configured.max(likely)
    }
}

/// Wall time of this session on top of that of earlier ones.
#[derive(Debug, Clone)]
pub(crate) struct BudgetClock {
    started: Instant,
    before: Duration,
}

impl BudgetClock {
    /// A clock that began at `started`, on top of earlier sessions.
    pub(crate) fn start(started: Instant, seconds_before: f64) -> Self {
        Self { started, before: Duration::from_secs_f64(seconds_before.max(0.0)) }
    }

    /// The same clock on top of other earlier sessions.
    pub(crate) fn after(&self, seconds_before: f64) -> Self {
        Self::start(self.started, seconds_before)
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

    fn budget(wall_seconds: f64) -> BudgetConfig {
        BudgetConfig { wall_seconds, candidates: 0, evaluations: 0, goal_ratio: 0.0 }
    }

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
        let config = budget(90.0);
        let mut cost = ConfirmCost::default();
        assert!(cost.affordable(&config));
        cost.note(&judged(Lane::Confirm, 12e3));
        cost.took(12.0);
        cost.note(&judged(Lane::Screen, 48e3));
        assert!(!cost.affordable(&config));
        cost.note(&judged(Lane::Verify, 60e3));
        assert!(cost.affordable(&config));
        assert!((cost.reserve_seconds(10.0) - 18.0).abs() < 1e-9);
        assert!((cost.reserve_seconds(30.0) - 30.0).abs() < 1e-9);
    }

    #[test]
    fn behind_a_slow_baseline_even_the_first_confirmation_waits_for_the_end() {
        let mut baseline = judged(Lane::Verify, 1.0).performance.expect("it passed");
        baseline.workloads[0].baseline_us = 4e6;
        let mut cost = ConfirmCost::default();
        cost.expect(&baseline);
        assert!(!cost.affordable(&budget(90.0)));
        assert!(cost.affordable(&budget(3600.0)) && cost.affordable(&budget(0.0)));
        assert!((cost.reserve_seconds(10.0) - 40.0).abs() < 1e-9);
    }
}
