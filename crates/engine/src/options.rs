//! From the configuration's words to the planner's.

use kernsmith_planner::{ClosureOptions, PlannerOptions, SelectOptions};
use kernsmith_search_config::SearchConfig;

/// The planner's options as a configuration gives them; a run's tree can be folded again with them.
pub fn planner_options(config: &SearchConfig) -> PlannerOptions {
    // The configuration lets only known names through.
    let policy = config.search.policy.parse().unwrap_or_default();
    PlannerOptions {
        select: SelectOptions { policy, exploration: config.search.exploration },
        closure: ClosureOptions {
            dead_end_attempts: config.closure.dead_end_failures,
            patience: config.closure.stagnation,
            base_patience: config.closure.stagnation,
            frontier_patience: config.closure.base_stagnation,
            ..ClosureOptions::default()
        },
    }
}
