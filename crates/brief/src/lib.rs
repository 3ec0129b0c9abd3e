//! Builds the context packet for one step.
//!
//! A brief holds what a proposer may know: the strategy with everything that it inherits, what passed and what failed
//! near it, the champion, and which genomes were tried. It never holds held-out shapes, seeds of inputs or oracle values:
//! of the contract only its name enters, of timings only those of bench shapes, and a failure on a held-out shape is told
//! without the shape. For proposers that read, a [`Dossier`] adds texts, [`Knowledge`]
//! what skills and the ISA corpus say, and [`prompt()`] writes the words of a question. A [`Desk`] answers requests for more
//! evidence by name.

mod desk;
mod dossier;
mod feedback;
mod knowledge;
mod known;
mod prompt;
mod task;

use kernsmith_core::brief::StrategyBrief;
use kernsmith_core::{Brief, Genome, NodeId, Prediction, Target};
use kernsmith_op_contract::Contract;
use kernsmith_planner::{Attempted, Calibration, Tree};

pub use desk::{Desk, DeskParts};
pub use dossier::{Dossier, Sources};
pub use knowledge::Knowledge;
use known::Known;
pub use prompt::prompt;

/// Attempts that passed, at most.
pub const MAX_ELITES: usize = 24;
/// Attempts that failed, at most.
pub const MAX_FAILURES: usize = 8;

/// The brief for one candidate under `node`; see [`BriefBuilder::build`].
pub fn build(tree: &Tree, contract: &Contract, node: NodeId, ordinal: u64, seed: u64) -> Brief {
    BriefBuilder::new(tree, contract).build(node, ordinal, seed)
}

/// Builds briefs from one state of the tree.
#[derive(Debug)]
pub struct BriefBuilder<'a> {
    tree: &'a Tree,
    contract: &'a Contract,
    known: Known<'a>,
    calibration: Calibration,
}

impl<'a> BriefBuilder<'a> {
    /// Works out once what the briefs of a whole batch need.
    pub fn new(tree: &'a Tree, contract: &'a Contract) -> Self {
        Self { tree, contract, known: Known::new(contract), calibration: tree.calibration() }
    }

    /// The brief for one candidate under `node`.
    ///
    /// `ordinal` is the number of attempts made before; together with the run's `seed` it fixes the proposer's random stream.
    /// An unknown node gives a brief without strategy.
    pub fn build(&self, node: NodeId, ordinal: u64, seed: u64) -> Brief {
        let tree = self.tree;
        let strategy = tree.strategy(node, &self.calibration).unwrap_or_else(|| nothing(node));
        let show = |attempt: &Attempted| self.known.show(tree, attempt);
        let template = strategy.template.as_deref();
        Brief {
            contract: self.contract.name.clone(),
            target: tree.opened().map_or_else(Target::host, |opened| opened.target.clone()),
            elites: tree.elites(node, MAX_ELITES).into_iter().map(show).collect(),
            failures: tree.failures(node, MAX_FAILURES).into_iter().map(show).collect(),
            champion: champion(tree).map(show),
            tried: template.map(|template| tree.tried_genomes(template)).unwrap_or_default(),
            trials: template.map(|template| tree.trials(template)).unwrap_or_default(),
            strategy,
            ordinal,
            seed,
            details: None,
        }
    }
}

fn champion(tree: &Tree) -> Option<&Attempted> {
    tree.attempt(tree.champion()?.proposal)
}

fn nothing(node: NodeId) -> StrategyBrief {
    StrategyBrief {
        node,
        path: Vec::new(),
        template: None,
        fixed: Genome::new(),
        predicted: Prediction { ratio: 1.0, low: 1.0, high: 1.0 },
        expected_instructions: Vec::new(),
        rationale: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kernsmith_core::event::Proposed;
    use kernsmith_core::evidence::{
        Artifacts, CandidateFacts, EVIDENCE_SCHEMA, Environment, Security, Validation,
    };
    use kernsmith_core::{
        Digest, Edit, Entry, Event, Evidence, Failure, FailureClass, Gate, GeneValue, Lane, Language,
        NewNode, NodeKind, Origin, Plan, Seq, Verdict,
    };
    use kernsmith_op_contract::Role;

    use super::*;

    fn contract() -> Contract {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../op-contracts/rmsnorm_f32");
        Contract::load(&root).unwrap()
    }

    fn apply(tree: &mut Tree, seq: u64, event: Event) {
        tree.apply(&Entry { seq: Seq(seq), time: String::new(), prev: Digest::ZERO, event });
    }

    fn family() -> Event {
        let node = NewNode {
            kind: NodeKind::Family,
            title: "family".to_owned(),
            rationale: String::new(),
            template: Some("skill/template".to_owned()),
            fixed: Genome::new(),
            axes: Vec::new(),
            predicted: Prediction { ratio: 2.0, low: 1.0, high: 3.0 },
            difficulty: 1,
            expected_instructions: Vec::new(),
        };
        Event::TreeEdited {
            author: "autotune".to_owned(),
            edits: vec![Edit::Insert { parent: NodeId::ROOT, node }],
        }
    }

    fn proposed(number: i64) -> Event {
        let genome = Genome::from([("unroll".to_owned(), GeneValue::Int(number))]);
        let origin = Origin { template: Some("skill/template".to_owned()), genome, ..Origin::default() };
        Event::Proposed(Box::new(Proposed {
            node: NodeId(1),
            source: Digest::ZERO,
            key: Digest::of(&number.to_le_bytes()),
            language: Language::Cpp,
            plan: Plan::default(),
            origin,
            prediction: None,
            rationale: String::new(),
        }))
    }

    fn failed(proposal: u64, detail: &str) -> Event {
        let failure = Failure::new(Gate::Correctness, FailureClass::WrongResult, detail);
        let evidence = Evidence {
            schema_version: EVIDENCE_SCHEMA,
            verdict: Verdict::Rejected,
            failure: Some(failure),
            lane: Lane::Verify,
            candidate: CandidateFacts {
                contract: "rmsnorm_f32@1".to_owned(),
                target: Target::Cpu("x86_64".to_owned()),
                language: Language::Cpp,
                source: Digest::ZERO,
                code_object: None,
            },
            environment: Environment::default(),
            validation: Validation::default(),
            performance: None,
            artifacts: Artifacts::default(),
            security: Security::default(),
            replay: String::new(),
        };
        Event::Judged { proposal: Seq(proposal), evidence: Box::new(evidence) }
    }

    #[test]
    fn held_out_shapes_never_reach_a_brief() {
        let contract = contract();
        let mut tree = Tree::default();
        apply(&mut tree, 0, family());
        let mut seq = 1;
        for workload in contract.workloads(Role::HeldOut) {
            let axes: Vec<String> =
                workload.axes.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
            for detail in [format!("wrong on {}", workload.name), format!("wrong at {}", axes.join(" "))] {
                apply(&mut tree, seq, proposed(seq as i64 * 100_000));
                apply(&mut tree, seq + 1, failed(seq, &detail));
                seq += 2;
            }
        }
        let text = serde_json::to_string(&build(&tree, &contract, NodeId(1), 3, 5)).unwrap();
        for workload in contract.workloads(Role::HeldOut) {
            assert!(!text.contains(&workload.name), "{text}");
            for (axis, value) in &workload.axes {
                assert!(!text.contains(&format!("{axis}={value}")), "{axis}={value} in {text}");
            }
        }
        assert!(text.contains("not shown"), "the failures themselves are told");
    }

    #[test]
    fn failures_on_known_shapes_keep_their_detail() {
        let mut tree = Tree::default();
        apply(&mut tree, 0, family());
        apply(&mut tree, 1, proposed(4));
        apply(&mut tree, 2, failed(1, "tokens_4096x1024 rows=4096: y[3] got 1 expected 2"));
        let brief = build(&tree, &contract(), NodeId(1), 1, 5);
        assert!(brief.failures[0].failure.as_ref().unwrap().1.contains("y[3] got 1"));
        assert_eq!(brief.tried.len(), 1);
        assert_eq!(brief.trials[0].ratio, None);
        assert_eq!(brief.strategy.path, ["family"]);
    }
}
