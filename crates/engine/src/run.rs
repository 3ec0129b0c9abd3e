//! The search from its first plan to its last confirmation.

use std::sync::Arc;
use std::time::Instant;

use kernsmith_brief::{Dossier, Knowledge, Sources};
use kernsmith_core::port::{Answer, Evaluate, Halt, PlanOccasion, PlanRequest, Propose, Record};
use kernsmith_core::{Digest, Edit, Entry, Event, NodeId, Seq, Target};
use kernsmith_op_contract::Contract;
use kernsmith_planner::Tree;
use kernsmith_search_config::SearchConfig;

use crate::budget::{BudgetClock, ConfirmCost, Limit, StopSignal};
use crate::error::EngineError;
use crate::observe::Observe;

/// Edit scripts that a proposer may have refused in a row before it is left alone.
const MAX_REFUSALS: usize = 3;

/// What an engine is made of.
#[derive(Debug)]
pub struct Parts<P, E, R, O> {
    /// What is searched.
    pub contract: Arc<Contract>,
    /// What it is built for.
    pub target: Target,
    /// Writes edits and candidates.
    pub proposer: P,
    /// Judges candidates.
    pub evaluator: Arc<E>,
    /// Keeps what happened.
    pub recorder: R,
    /// Watches.
    pub observer: O,
    /// How to search.
    pub config: SearchConfig,
    /// Seed of everything but measured time.
    pub seed: u64,
    /// Asks the search to end.
    pub stop: StopSignal,
}

/// One search over one log.
#[derive(Debug)]
pub struct Engine<P, E, R, O> {
    pub(crate) contract: Arc<Contract>,
    pub(crate) target: Target,
    pub(crate) proposer: P,
    pub(crate) evaluator: Arc<E>,
    pub(crate) recorder: R,
    pub(crate) observer: O,
    pub(crate) config: SearchConfig,
    pub(crate) seed: u64,
    pub(crate) tree: Tree,
    /// What the tree does not keep and a proposer that reads wants to know; empty for one that does not.
    pub(crate) dossier: Dossier,
    pub(crate) clock: BudgetClock,
    pub(crate) confirm_cost: ConfirmCost,
    pub(crate) stop: StopSignal,
}

/// Whether the tree has grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Widened {
    /// It has.
    Yes,
    /// There is nothing to add.
    No,
    /// It did not work out this time.
    Later,
}

/// How a search ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Why.
    pub limit: Limit,
    /// The champion's proposal, if something better than the baseline was confirmed.
    pub champion: Option<Seq>,
    /// Wall time of all sessions together.
    pub wall_seconds: f64,
}

impl<P: Propose, E: Evaluate + 'static, R: Record, O: Observe> Engine<P, E, R, O> {
    /// An engine with an empty tree; [`Engine::begin`] or [`Engine::resume`] comes next.
    pub fn new(parts: Parts<P, E, R, O>) -> Self {
        let Parts { contract, target, proposer, evaluator, recorder, observer, config, seed, stop } = parts;
        let tree = Tree::new(crate::planner_options(&config));
        let (clock, confirm_cost) = (BudgetClock::start(Instant::now(), 0.0), ConfirmCost::default());
        Self {
            contract,
            target,
            proposer,
            evaluator,
            recorder,
            observer,
            config,
            seed,
            tree,
            dossier: Dossier::default(),
            clock,
            confirm_cost,
            stop,
        }
    }

    /// Searches until a limit is reached, confirms the best candidate and closes the run.
    pub async fn run(&mut self) -> Result<Outcome, EngineError> {
        let mut turned = false;
        let mut waiting = None;
        let limit = loop {
            // Before anything was tried there is nothing to keep time back for.
            let reserve = self.confirm_cost.reserve_seconds(self.config.search.final_seconds);
            if let Some(limit) = self.limit(if turned { reserve } else { 0.0 }) {
                break limit;
            }
            if self.tree.is_empty() {
                if self.widen(PlanOccasion::Start).await? == Widened::No {
                    return Err(EngineError::NothingToSearch { contract: self.contract.name.clone() });
                }
            } else if !self.turn(&mut waiting).await?
                && self.widen(PlanOccasion::Stagnation).await? == Widened::No
            {
                break Limit::Exhausted;
            } else {
                turned = true;
            }
        };
        // Candidates that were asked for within the budget are judged as long as there is time.
        if let Some(batch) = waiting.filter(|_| matches!(limit, Limit::Budget) && self.may_still_judge()) {
            self.judge_built(batch).await?;
        }
        self.confirm_contenders().await?;
        let wall_seconds = self.clock.wall_seconds();
        let reason = limit.as_str().to_owned();
        self.record(vec![Event::Closed { reason, wall_seconds }]).await?;
        Ok(Outcome { limit, champion: self.tree.champion().map(|champion| champion.proposal), wall_seconds })
    }

    /// The tree as the log tells it.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Hands the log back, for sealing.
    pub fn into_recorder(self) -> R {
        self.recorder
    }

    /// Whether time and evaluations are left, whatever else is used up.
    fn may_still_judge(&self) -> bool {
        let budget = &self.config.budget;
        let reserve = self.confirm_cost.reserve_seconds(self.config.search.final_seconds);
        let in_time = budget.wall_seconds <= 0.0 || self.clock.wall_seconds() + reserve < budget.wall_seconds;
        in_time && (budget.evaluations == 0 || self.tree.counts().judged < budget.evaluations)
    }

    /// Why the search should end now, if it should.
    pub(crate) fn limit(&mut self, reserve_seconds: f64) -> Option<Limit> {
        if self.stop.is_set() {
            return Some(Limit::Interrupted);
        }
        if let Some(limit) = self.clock.limit(&self.config.budget, &self.tree, reserve_seconds) {
            return Some(limit);
        }
        self.proposer
            .halted()
            .map(|halt| match halt {
                Halt::Spent(why) => (Limit::Budget, why),
                Halt::Unreachable(why) => (Limit::Unreachable, why),
            })
            .map(|(limit, why)| {
                self.observer.busy(&why);
                limit
            })
    }

    /// Puts what skills and the ISA corpus say into the briefs of a proposer that reads.
    #[must_use]
    pub fn knowing(mut self, knowledge: Arc<Knowledge>) -> Self {
        self.dossier.know(knowledge);
        self
    }

    /// Counts the wall time from `began` on: measuring the baseline is part of the search.
    #[must_use]
    pub fn since(mut self, began: Instant) -> Self {
        self.clock = BudgetClock::start(began, 0.0);
        self
    }

    pub(crate) fn restart_clock(&mut self, wall_seconds_before: f64) {
        self.clock = self.clock.after(wall_seconds_before);
    }

    /// Appends events; only when they are durable does the tree learn and the observer hear of them.
    pub(crate) async fn record(&mut self, events: Vec<Event>) -> Result<Vec<Entry>, EngineError> {
        let entries = self.recorder.append(events).await.map_err(EngineError::record)?;
        for entry in &entries {
            self.learn(entry);
            self.observer.noted(&self.tree, entry);
        }
        Ok(entries)
    }

    /// Shows a new durable entry to everybody who folds the log.
    fn learn(&mut self, entry: &Entry) {
        self.tree.apply(entry);
        self.confirm_cost.apply(entry);
        self.recall(entry);
    }

    /// Whether the proposer wants to see the log of an earlier session before it goes on: see [`Engine::recall`].
    pub fn reads(&self) -> bool {
        self.proposer.reads()
    }

    /// Shows a durable entry to the proposer, and to what is kept for one that reads.
    pub fn recall(&mut self, entry: &Entry) {
        let Self { proposer, recorder, .. } = self;
        if proposer.reads() {
            self.dossier.apply(entry);
        }
        proposer.learn(entry, &|digest| recorder.kept(digest).ok());
    }

    /// Asks the proposer for edits of the tree.
    pub(crate) async fn widen(&mut self, occasion: PlanOccasion) -> Result<Widened, EngineError> {
        let mut refused = Vec::new();
        while refused.len() < MAX_REFUSALS {
            let request = self.plan_request(occasion, refused.clone());
            let edits = match self.ask_for_plan(&request).await? {
                Answer::Ready(edits) => edits,
                Answer::Nothing => return Ok(Widened::No),
                Answer::Missed(_) | Answer::Noted(_) => return Ok(Widened::Later),
            };
            match self.tree.validate(&edits) {
                Ok(()) => {
                    let author = self.proposer.name().to_owned();
                    self.record(vec![Event::TreeEdited { author, edits }]).await?;
                    return Ok(Widened::Yes);
                }
                Err(problems) => {
                    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                    refused.push(problems.join("; "));
                }
            }
        }
        let proposer = self.proposer.name().to_owned();
        match occasion {
            PlanOccasion::Start => Err(EngineError::Plan { proposer, problems: refused.join(" | ") }),
            PlanOccasion::Refine | PlanOccasion::Stagnation => Ok(Widened::No),
        }
    }

    /// Closes a node by rule, with the reason.
    pub(crate) fn closure(node: NodeId, rationale: &str) -> Event {
        let edits = vec![Edit::Prune { node, rationale: rationale.to_owned() }];
        Event::TreeEdited { author: "engine".to_owned(), edits }
    }

    fn plan_request(&self, occasion: PlanOccasion, refused: Vec<String>) -> PlanRequest {
        let details = self.proposer.reads().then(|| {
            let (kept, entry) =
                (|blob: &Digest| self.recorder.kept(blob).ok(), |seq| self.recorder.entry(seq).ok());
            let sources = Sources { kept: &kept, entry: &entry };
            Box::new(self.dossier.for_planner(&self.tree, &self.contract, sources))
        });
        PlanRequest {
            details,
            occasion,
            tree: self.tree.render(self.config.search.tree_bytes as usize),
            nodes: self.tree.node_briefs(),
            refused,
        }
    }
}
