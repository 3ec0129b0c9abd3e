//! The small population inside a node: elites by ratio, by workload and by axis.

use std::collections::BTreeSet;

use kernsmith_core::{FailureClass, NodeId, Seq};
use std::collections::BTreeMap;

use crate::attempt::Attempted;
use crate::node::{Node, Ranked};
use crate::tree::Tree;

/// Attempts of each node that compete for a place among the elites.
const COMPETITORS: usize = 64;

impl Tree {
    /// Passed and timed attempts of the node, what is below it and its ancestors, best first, at most `limit`.
    ///
    /// The best come first by their overall ratio. Within the limit, places are kept for those that no other one
    /// dominates on all workloads (Pareto front) and for the best of each axis tag (MAP-Elites; Mouret and Clune,
    /// arXiv 1504.04909).
    pub fn elites(&self, id: NodeId, limit: usize) -> Vec<&Attempted> {
        let pool = self.pool(id);
        if pool.len() <= limit {
            return pool;
        }
        let mut kept: BTreeSet<Seq> =
            pool.iter().take(limit.div_ceil(2)).map(|attempt| attempt.seq).collect();
        let special = front(&pool)
            .into_iter()
            .chain(self.best_by_axis(&pool))
            .chain(pool.iter().map(|attempt| attempt.seq));
        for seq in special {
            if kept.len() >= limit {
                break;
            }
            kept.insert(seq);
        }
        pool.into_iter().filter(|attempt| kept.contains(&attempt.seq)).collect()
    }

    /// The best attempt of each workload at or below a node: workload, attempt, ratio.
    pub fn workload_elites(&self, id: NodeId) -> BTreeMap<String, (Seq, f64)> {
        let mut best: BTreeMap<String, (Seq, f64)> = BTreeMap::new();
        for attempt in self.pool(id) {
            for (workload, ratio) in self.workload_ratios_of(attempt) {
                let leads = best.get(&workload).is_none_or(|(_, lead)| ratio > *lead);
                if leads {
                    best.insert(workload, (attempt.seq, ratio));
                }
            }
        }
        best
    }

    /// Failed attempts at or below a node, latest first, at most `limit`, and of each node only the latest few.
    pub fn failures(&self, id: NodeId, limit: usize) -> Vec<&Attempted> {
        let nodes = self.subtree(id).into_iter();
        let mut latest: Vec<Seq> = nodes.flat_map(|node| node.recent_failures.keys().copied()).collect();
        latest.sort_unstable_by(|a, b| b.cmp(a));
        latest.into_iter().take(limit).filter_map(|seq| self.attempt(seq)).collect()
    }

    /// Conclusive failures at or below a node, by class.
    pub fn failure_histogram(&self, id: NodeId) -> BTreeMap<FailureClass, u32> {
        let mut histogram = BTreeMap::new();
        for (class, count) in self.subtree(id).into_iter().flat_map(|node| &node.failures) {
            *histogram.entry(*class).or_default() += count;
        }
        histogram
    }

    fn pool(&self, id: NodeId) -> Vec<&Attempted> {
        let nodes: Vec<&Node> = self.subtree(id).into_iter().chain(self.ancestors(id)).collect();
        let ranked = nodes.iter().flat_map(|node| node.ranking.iter().rev().take(COMPETITORS).copied());
        let sorted: BTreeSet<Ranked> = ranked.collect();
        sorted.iter().rev().filter_map(|ranked| self.attempt(ranked.seq())).collect()
    }

    fn best_by_axis(&self, pool: &[&Attempted]) -> Vec<Seq> {
        let mut best: BTreeMap<&str, Seq> = BTreeMap::new();
        for attempt in pool {
            for axis in self.node(attempt.node).into_iter().flat_map(|node| &node.axes) {
                best.entry(axis).or_insert(attempt.seq);
            }
        }
        best.into_values().collect()
    }
}

/// Those that no other attempt matches or beats on every workload.
fn front(pool: &[&Attempted]) -> Vec<Seq> {
    let beats = |other: &Attempted, one: &Attempted| match (&other.measured, &one.measured) {
        (Some(other), Some(one)) => other.dominates(one),
        _ => false,
    };
    let undominated = |one: &&&Attempted| !pool.iter().any(|other| beats(other, one));
    pool.iter().filter(undominated).map(|attempt| attempt.seq).collect()
}

#[cfg(test)]
mod tests {
    use crate::testing::{History, evidence, performance};
    use kernsmith_core::{FailureClass, Lane, NodeId};

    #[test]
    fn the_specialist_of_a_workload_is_kept_although_it_is_slow_overall() {
        let mut history = History::with_families(&["a"]);
        for index in 0..20 {
            let seq = history.propose(NodeId(1));
            let ratio = 5.0 + f64::from(index) * 0.1;
            history.judge(
                seq,
                evidence(Lane::Verify, None, Ok(performance(ratio, &[("s", ratio), ("l", ratio)]))),
            );
        }
        let specialist = history.propose(NodeId(1));
        let slow = performance(2.0, &[("s", 9.0), ("l", 0.5)]);
        history.judge(specialist, evidence(Lane::Verify, None, Ok(slow)));
        let elites = history.tree.elites(NodeId(1), 4);
        assert_eq!(elites.len(), 4);
        assert!(elites.iter().any(|attempt| attempt.seq == specialist));
        assert!(elites.windows(2).all(|pair| pair[0].ratio() >= pair[1].ratio()));
        assert_eq!(history.tree.workload_elites(NodeId(1))["s"].0, specialist);
    }

    #[test]
    fn failures_come_latest_first() {
        let mut history = History::with_families(&["a", "b"]);
        history.fail(NodeId(1), FailureClass::CompileError);
        let last = history.fail(NodeId(1), FailureClass::Crash);
        history.fail(NodeId(2), FailureClass::Crash);
        let failures = history.tree.failures(NodeId(1), 5);
        assert_eq!(failures.len(), 2);
        assert_eq!(failures[0].seq, last);
        assert_eq!(history.tree.failure_histogram(NodeId(1))[&FailureClass::Crash], 1);
    }
}
