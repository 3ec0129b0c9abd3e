//! How a run begins, and how it begins again.

use kernsmith_core::event::{BaselineFrozen, Opened};
use kernsmith_core::port::{Evaluate, Propose, Record};
use kernsmith_core::{Entry, Event, Performance, Plan};

use kernsmith_planner::Tree;
use kernsmith_search_config::SearchConfig;

use crate::budget::ConfirmCost;
use crate::error::EngineError;
use crate::observe::Observe;
use crate::run::Engine;

/// The first entries of a run.
#[derive(Debug, Clone)]
pub struct Genesis {
    /// Entry 0.
    pub opened: Opened,
    /// Measured before the search and frozen.
    pub baseline: FrozenBaseline,
}

/// A baseline that was measured against itself.
#[derive(Debug, Clone)]
pub struct FrozenBaseline {
    /// Its name in the contract, or `seed` for a user's own kernel.
    pub name: String,
    /// Its source text.
    pub source: String,
    /// How it is called.
    pub plan: Plan,
    /// Its times.
    pub performance: Performance,
}

impl<P: Propose, E: Evaluate + 'static, R: Record, O: Observe> Engine<P, E, R, O> {
    /// Writes the first entries of a new run whose baseline has been measured already.
    pub async fn begin(&mut self, genesis: Genesis) -> Result<(), EngineError> {
        self.open(genesis.opened).await?;
        self.freeze(genesis.baseline).await
    }

    /// Opens the log of a new run, before its baseline is measured: a run that is interrupted knows how long that took.
    pub async fn open(&mut self, opened: Opened) -> Result<(), EngineError> {
        self.record(vec![Event::Opened(Box::new(opened))]).await.map(drop)
    }

    /// Freezes the baseline of a new run.
    pub async fn freeze(&mut self, baseline: FrozenBaseline) -> Result<(), EngineError> {
        let FrozenBaseline { name, source, plan, performance } = baseline;
        let source = self.recorder.keep(source.as_bytes()).map_err(EngineError::record)?;
        let baseline = BaselineFrozen { name, source, plan, performance };
        self.record(vec![Event::BaselineFrozen(Box::new(baseline))]).await.map(drop)
    }

    /// Goes on from an earlier run's log; candidates that were proposed and never judged are judged first.
    ///
    /// The time of this session so far is noted with that of earlier ones: no later entry tells of it.
    pub async fn resume(
        &mut self,
        past: Past,
        wall_seconds_before: f64,
        program: String,
    ) -> Result<(), EngineError> {
        self.tree = past.tree;
        self.confirm_cost = past.confirm_cost;
        self.restart_clock(wall_seconds_before);
        let wall_seconds_before = self.clock.wall_seconds();
        self.record(vec![Event::Resumed { program, wall_seconds_before }]).await?;
        self.judge_pending().await
    }
}

/// What an engine knows of an earlier run: a fold of its durable entries, one at a time, so that no log is too long.
#[derive(Debug)]
pub struct Past {
    tree: Tree,
    confirm_cost: ConfirmCost,
}

impl Past {
    /// Nothing yet.
    pub fn new(config: &SearchConfig) -> Self {
        Self { tree: Tree::new(crate::planner_options(config)), confirm_cost: ConfirmCost::default() }
    }

    /// Takes the next durable entry.
    pub fn apply(&mut self, entry: &Entry) {
        self.tree.apply(entry);
        self.confirm_cost.apply(entry);
    }

    /// The tree so far.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }
}
