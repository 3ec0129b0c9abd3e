//! How the world model behaves; part of a run's configuration.

use serde::{Deserialize, Serialize};

use crate::policy::Policy;

/// All options of the planner.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlannerOptions {
    /// How the next node is chosen.
    pub select: SelectOptions,
    /// When a node is closed.
    pub closure: ClosureOptions,
}

/// How the next node is chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelectOptions {
    /// The rule.
    pub policy: Policy,
    /// Weight of the unknown against the known, 1 by default; `world-model` and `puct` use it.
    pub exploration: f64,
}

impl Default for SelectOptions {
    fn default() -> Self {
        Self { policy: Policy::WorldModel, exploration: 1.0 }
    }
}

/// When a node is closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClosureOptions {
    /// Conclusive failures without a single pass that make a dead end.
    pub dead_end_attempts: u32,
    /// Attempts in a decision or action without a new best in it that exhaust it.
    pub patience: u32,
    /// Attempts in a decision or action that never beat the best of its base which exhaust it.
    pub base_patience: u32,
    /// The same two limits are this many times longer for a family.
    pub family_factor: u32,
    /// Gain below which a new best does not count as an improvement, as a ratio; 1.005 is half a percent.
    pub min_gain: f64,
    /// Attempts in the whole run without a new best after which the frontier counts as stagnating.
    pub frontier_patience: u32,
    /// A waiting proposal that promised nothing is dropped when its lineage has got this much ahead of its base, as a ratio.
    pub stale_gain: f64,
    /// A look at the tree is due whenever this many attempts have been judged.
    pub refine_every: u32,
}

impl Default for ClosureOptions {
    fn default() -> Self {
        Self {
            dead_end_attempts: 3,
            patience: 24,
            base_patience: 16,
            family_factor: 3,
            min_gain: 1.005,
            frontier_patience: 40,
            stale_gain: 1.1,
            refine_every: 12,
        }
    }
}
