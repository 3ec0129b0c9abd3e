//! One search of a landscape: the real tree and policy, driven through real entries by a simulated proposer.

use std::collections::BTreeMap;

use kernsmith_core::event::Proposed;
use kernsmith_core::evidence::{
    Artifacts, CandidateFacts, EVIDENCE_SCHEMA, Environment, Security, Validation,
};
use kernsmith_core::{
    Digest, Edit, Entry, Event, Evidence, Failure, FailureClass, Gate, Lane, Language, NewNode, NodeId,
    Origin, Performance, Plan, Prediction, Seq, Target, Verdict,
};
use kernsmith_planner::{PlannerOptions, Policy, SelectOptions, Tree};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::landscape::{Landscape, normal};

/// A score's interval spans this factor on both sides.
const INTERVAL: f64 = 1.6;
/// Verification measures this much more precisely than the screen.
const VERIFY_PRECISION: f64 = 4.0;
/// A screened candidate within this factor of the best is verified.
const PROMISING: f64 = 1.1;
/// New nodes in one script, as the tree's rules have it.
const MAX_INSERTS: usize = 3;

/// How good a proposer has become at each site.
#[derive(Debug)]
pub(crate) struct Craft {
    /// The best true value that was reached at each site.
    levels: Vec<Option<f64>>,
}

impl Craft {
    pub(crate) fn new(landscape: &Landscape) -> Self {
        Self { levels: vec![None; landscape.sites.len()] }
    }

    /// What a candidate is truly worth; `None` where it fails. Work on a site starts from what was reached above it, and then
    /// goes on from its own best; half of what passes is a step back.
    pub(crate) fn draw(&mut self, landscape: &Landscape, at: usize, random: &mut ChaCha12Rng) -> Option<f64> {
        let site = &landscape.sites[at];
        // The first pass is the hard one: what compiles once is easier to change.
        let failure = if self.levels[at].is_some() { 0.6 * site.failure } else { site.failure };
        if random.random_bool(failure) {
            return None;
        }
        let step = random.random_range(0.0..2.0 * site.learning);
        let value = match self.levels[at] {
            Some(level) if random.random_bool(0.5) => level + (site.ceiling - level) * step,
            Some(level) => level - 0.3 * random.random::<f64>(),
            None => {
                let first = site.ceiling - site.gap;
                let above = site.parent.and_then(|parent| {
                    Some(self.levels[parent]? + site.ceiling - landscape.sites[parent].ceiling)
                });
                above.map_or(first, |above| above.max(first)) - site.setback
            }
        };
        let value = value.min(site.ceiling);
        self.levels[at] = Some(self.levels[at].map_or(value, |level| level.max(value)));
        Some(value)
    }
}

/// A search under way.
#[derive(Debug)]
pub(crate) struct Simulation<'a> {
    landscape: &'a Landscape,
    tree: Tree,
    entries: Vec<Entry>,
    /// Site of each node; the root has none.
    sites: Vec<usize>,
    /// Node of each site that the tree knows of.
    nodes: Vec<Option<NodeId>>,
    craft: Craft,
    /// True values of proposals, by entry.
    truth: BTreeMap<Seq, f64>,
    seed: u64,
}

impl<'a> Simulation<'a> {
    /// A search with an empty tree.
    pub(crate) fn new(landscape: &'a Landscape, policy: Policy, seed: u64) -> Self {
        let select = SelectOptions { policy, ..SelectOptions::default() };
        Self {
            landscape,
            tree: Tree::new(PlannerOptions { select, ..PlannerOptions::default() }),
            entries: Vec::new(),
            sites: vec![usize::MAX],
            nodes: vec![None; landscape.sites.len()],
            craft: Craft::new(landscape),
            truth: BTreeMap::new(),
            seed,
        }
    }

    /// Searches until so many candidates have been judged; the regret after each.
    ///
    /// Regret is `ln(optimum / true value of what the tree holds for the best)`; before the first pass the baseline is the best.
    pub(crate) fn run(&mut self, evaluations: u64) -> Vec<f64> {
        let start: Vec<usize> = self.hidden(None).filter(|&at| !self.landscape.sites[at].late).collect();
        self.insert(&start);
        let mut regrets = Vec::new();
        while (regrets.len() as u64) < evaluations {
            let ordinal = self.tree.counts().proposed;
            match self.tree.select(ordinal, self.seed) {
                Some(node) => {
                    self.attempt(node, ordinal);
                    regrets.push(self.regret());
                }
                // Everything is closed: without anything new to open, the search is over and its regret stays.
                None if !self.widen(true) => {
                    let last = self.regret();
                    regrets.resize(evaluations as usize, last);
                }
                None => {}
            }
            if self.tree.wants_paradigm() {
                self.widen(true);
            } else if self.tree.wants_refinement() {
                self.widen(false);
            }
        }
        regrets
    }

    fn push(&mut self, event: Event) -> Seq {
        let seq = Seq(self.entries.len() as u64);
        let entry = Entry { seq, time: String::new(), prev: Digest::ZERO, event };
        self.tree.apply(&entry);
        self.entries.push(entry);
        seq
    }

    /// Children of a site that the tree does not know yet.
    fn hidden(&self, parent: Option<usize>) -> impl Iterator<Item = usize> {
        self.landscape.children(parent).filter(|&at| self.nodes[at].is_none())
    }

    /// The proposer's answer to a request for edits: the best nodes are refined, best first; a stagnating search gets a new
    /// family first, where there is one.
    fn widen(&mut self, stagnating: bool) -> bool {
        let mut fresh: Vec<usize> = if stagnating { self.hidden(None).collect() } else { Vec::new() };
        let mut known: Vec<(f64, usize)> = (0..self.nodes.len())
            .filter_map(|at| {
                let node = self.tree.node(self.nodes[at]?)?;
                let may_grow = node.status.is_open() || node.status == kernsmith_planner::Status::Exhausted;
                may_grow.then(|| (self.tree.best_below(node.id).unwrap_or(0.0), at))
            })
            .filter(|(ratio, _)| stagnating || *ratio > 0.0)
            .collect();
        known.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        fresh.extend(known.into_iter().flat_map(|(_, at)| self.hidden(Some(at)).collect::<Vec<_>>()));
        fresh.truncate(MAX_INSERTS);
        self.insert(&fresh);
        !fresh.is_empty()
    }

    fn insert(&mut self, sites: &[usize]) {
        let mut edits = Vec::new();
        for &at in sites {
            let parent = self.landscape.sites[at].parent.and_then(|parent| self.nodes[parent]);
            edits.push(Edit::Insert { parent: parent.unwrap_or(NodeId::ROOT), node: self.new_node(at) });
            self.nodes[at] = Some(NodeId(self.sites.len() as u32));
            self.sites.push(at);
        }
        if !edits.is_empty() {
            debug_assert_eq!(self.tree.validate(&edits), Ok(()));
            self.push(Event::TreeEdited { author: "simulated".to_owned(), edits });
        }
    }

    fn new_node(&self, at: usize) -> NewNode {
        let site = &self.landscape.sites[at];
        let ratio = site.score.exp();
        NewNode {
            kind: site.kind,
            title: site.title.clone(),
            rationale: String::new(),
            template: None,
            fixed: BTreeMap::new(),
            axes: Vec::new(),
            predicted: Prediction { ratio, low: ratio / INTERVAL, high: ratio * INTERVAL },
            difficulty: site.difficulty,
            expected_instructions: Vec::new(),
        }
    }

    /// One candidate of a node, judged as the engine would: the screen first, and verification for what may be the best.
    fn attempt(&mut self, node: NodeId, ordinal: u64) {
        let mut random = ChaCha12Rng::seed_from_u64(self.seed);
        random.set_stream(ordinal | 1 << 40);
        let at = self.sites[node.0 as usize];
        let value = self.craft.draw(self.landscape, at, &mut random);
        let seq = self.push(Event::Proposed(Box::new(proposed(node, ordinal))));
        let Some(value) = value else {
            self.judge(seq, Lane::Screen, Err(FailureClass::CompileError));
            return;
        };
        self.truth.insert(seq, value);
        let bar = self.tree.best_ratio();
        let noise = self.landscape.noise;
        let screened = (value + noise * normal(&mut random)).exp();
        self.judge(seq, Lane::Screen, Ok(screened));
        if screened * PROMISING >= bar.unwrap_or(0.0) {
            let verified = (value + noise / VERIFY_PRECISION * normal(&mut random)).exp();
            self.judge(seq, Lane::Verify, Ok(verified));
        }
    }

    fn judge(&mut self, proposal: Seq, lane: Lane, result: Result<f64, FailureClass>) {
        self.push(Event::Judged { proposal, evidence: Box::new(evidence(lane, result)) });
    }

    fn regret(&self) -> f64 {
        let best = self.tree.attempts().filter(|attempt| attempt.ratio().is_some());
        let best = best.max_by(|a, b| a.ratio().partial_cmp(&b.ratio()).unwrap_or(std::cmp::Ordering::Equal));
        let value = best.and_then(|best| self.truth.get(&best.seq)).copied().unwrap_or(0.0);
        self.landscape.optimum.max(0.0) - value.max(0.0)
    }
}

fn proposed(node: NodeId, ordinal: u64) -> Proposed {
    let digest = Digest::of(&ordinal.to_le_bytes());
    Proposed {
        node,
        source: digest,
        key: digest,
        language: Language::Cpp,
        plan: Plan::default(),
        origin: Origin { proposer: "simulated".to_owned(), operator: "draw".to_owned(), ..Origin::default() },
        prediction: None,
        rationale: String::new(),
    }
}

pub(crate) fn evidence(lane: Lane, result: Result<f64, FailureClass>) -> Evidence {
    let failure = result.err().map(|class| Failure::new(Gate::Build, class, "simulated"));
    Evidence {
        schema_version: EVIDENCE_SCHEMA,
        verdict: if failure.is_some() { Verdict::Rejected } else { Verdict::Accepted },
        performance: result.ok().map(performance),
        failure,
        lane,
        candidate: CandidateFacts {
            contract: "landscape@1".to_owned(),
            target: Target::Cpu("x86_64".to_owned()),
            language: Language::Cpp,
            source: Digest::ZERO,
            code_object: None,
        },
        environment: Environment::default(),
        validation: Validation::default(),
        artifacts: Artifacts::default(),
        security: Security::default(),
        replay: String::new(),
    }
}

pub(crate) fn performance(ratio: f64) -> Performance {
    Performance {
        median_us: 100.0 / ratio,
        baseline_us: 100.0,
        baseline: "simulated".to_owned(),
        ratio,
        ci_low: ratio * 0.99,
        ci_high: ratio * 1.01,
        sol_score: None,
        noise_floor: 1.01,
        interleaved: true,
        workloads: Vec::new(),
        rivals: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::landscape::{ScoreQuality, Terrain};

    /// The entries of a search as lines of a log.
    fn lines(policy: Policy, terrain: Terrain, seed: u64) -> Vec<String> {
        let landscape = Landscape::new(terrain, ScoreQuality::Useless, seed);
        let mut simulation = Simulation::new(&landscape, policy, seed);
        simulation.run(60);
        let line = |entry: &Entry| serde_json::to_string(entry).unwrap();
        simulation.entries.iter().map(line).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_history_byte_for_byte() {
        for policy in Policy::ALL {
            for terrain in Terrain::ALL {
                assert_eq!(lines(policy, terrain, 4), lines(policy, terrain, 4), "{policy:?} {terrain:?}");
            }
            assert_ne!(lines(policy, Terrain::Plain, 4), lines(policy, Terrain::Plain, 5));
        }
    }

    #[test]
    fn the_tree_of_every_policy_is_the_fold_of_its_log() {
        for policy in Policy::ALL {
            let landscape = Landscape::new(Terrain::Failing, ScoreQuality::Good, 9);
            let mut simulation = Simulation::new(&landscape, policy, 9);
            simulation.run(80);
            let mut fold = Tree::new(simulation.tree.options().clone());
            for entry in &simulation.entries {
                let line = serde_json::to_string(entry).unwrap();
                fold.apply(&serde_json::from_str(&line).unwrap());
            }
            assert!(fold == simulation.tree, "{policy:?}");
            assert_eq!(fold.warnings(), &[] as &[String]);
            assert!(simulation.tree.counts().judged >= 80, "{policy:?}");
        }
    }

    #[test]
    fn regret_only_ever_falls_where_timing_is_exact() {
        let mut landscape = Landscape::new(Terrain::Plain, ScoreQuality::Good, 2);
        landscape.noise = 0.0;
        let regrets = Simulation::new(&landscape, Policy::WorldModel, 2).run(120);
        assert_eq!(regrets.len(), 120);
        assert!(regrets.windows(2).all(|pair| pair[1] <= pair[0] + 1e-9));
        assert!(regrets[119] < regrets[0] && regrets[119] >= 0.0);
    }
}
