//! From the configuration's words to the planner's.

use kernsmith_planner::{ClosureOptions, PlannerOptions, SelectOptions};
use kernsmith_search_config::SearchConfig;

/// The planner's options as a configuration gives them; a run's tree can be folded again with them.
pub fn planner_options(config: &SearchConfig) -> PlannerOptions {
    // The configuration lets only known names through.
    let policy = config.search.policy.parse().unwrap_or_default();
    // Where nobody plans there is one strategy for everything: closing it would end the search, not move it elsewhere.
    let one_strategy = config.proposer.kind.starts_with("llm") && !config.llm.plan;
    let patience = |attempts: u32| if one_strategy { u32::MAX } else { attempts };
    PlannerOptions {
        select: SelectOptions { policy, exploration: config.search.exploration },
        closure: ClosureOptions {
            dead_end_attempts: patience(config.closure.dead_end_failures),
            patience: patience(config.closure.stagnation),
            base_patience: patience(config.closure.stagnation),
            frontier_patience: config.closure.base_stagnation,
            ..ClosureOptions::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_without_a_planner_does_not_close_its_only_strategy() {
        let mut config = SearchConfig::defaults().unwrap();
        "llm".clone_into(&mut config.proposer.kind);
        assert_eq!(planner_options(&config).closure.dead_end_attempts, config.closure.dead_end_failures);
        config.llm.plan = false;
        let closure = planner_options(&config).closure;
        assert_eq!(
            (closure.dead_end_attempts, closure.patience, closure.base_patience),
            (u32::MAX, u32::MAX, u32::MAX)
        );
    }
}
