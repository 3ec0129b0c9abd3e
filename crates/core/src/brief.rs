//! The brief: what a proposer is told before it writes one candidate.
//!
//! It never holds held-out shapes, seeds or oracle values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::candidate::{GeneValue, Genome, Prediction};
use crate::failure::FailureClass;
use crate::id::{NodeId, Seq};
use crate::plan::Plan;
use crate::target::{Language, Target};

/// What a proposer is told before it writes one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    /// Contract name.
    pub contract: String,
    /// Built for.
    pub target: Target,
    /// The strategy to implement.
    pub strategy: StrategyBrief,
    /// Attempts under this node and its ancestors that passed, best first.
    pub elites: Vec<Attempt>,
    /// Attempts under this node that failed, latest first.
    pub failures: Vec<Attempt>,
    /// The champion of the whole run so far.
    pub champion: Option<Attempt>,
    /// Keys of genomes that were tried under this template, so that none is proposed twice.
    pub tried: Vec<Genome>,
    /// Everything that is known about genomes of this template, in order; what is not judged yet is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trials: Vec<Trial>,
    /// Attempts made so far in the whole run, this one not counted: with the seed it fixes the random stream.
    pub ordinal: u64,
    /// The run's seed, for proposers of ours; it is never written, so that no program or model gets to see it.
    #[serde(skip)]
    pub seed: u64,
    /// Texts, for a proposer that reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
}

/// What a proposer that reads is told beyond numbers. Nothing here names a held-out shape, a seed or an oracle value.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Details {
    /// What the operation is, where it runs, and how it is called.
    pub task: Task,
    /// Source, plan and feedback of attempts that the brief names; the frozen baseline is not among them.
    pub attempts: BTreeMap<Seq, AttemptDetails>,
    /// Facts and advice that may matter here, most important first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packets: Vec<Packet>,
    /// Strategies that are closed, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closed: Vec<String>,
}

/// The operation in words.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Task {
    /// What it computes.
    pub summary: String,
    /// Notes of whoever wrote the contract.
    pub notes: String,
    /// The declaration of the symbol that is called, as C++.
    pub signature: String,
    /// Rules that any kernel must keep, one sentence each.
    pub rules: Vec<String>,
    /// Shapes that are timed.
    pub workloads: Vec<TimedShape>,
    /// The machine, one fact a line.
    pub machine: Vec<String>,
    /// Name of the frozen baseline.
    pub baseline: String,
    /// Its source.
    pub baseline_source: String,
    /// How it is called; for a GPU that is half of the kernel.
    #[serde(default)]
    pub baseline_plan: Plan,
    /// What candidates are written in.
    #[serde(default)]
    pub language: Language,
    /// What they are built for.
    #[serde(default)]
    pub target: String,
}

/// A shape that is timed, and how fast it is so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimedShape {
    /// Its name.
    pub name: String,
    /// Its axes.
    pub axes: BTreeMap<String, i64>,
    /// Its weight in the mean.
    pub weight: f64,
    /// Median time of one call of the frozen baseline.
    pub baseline_us: f64,
    /// The roofline bound, where the machine is calibrated.
    pub sol_us: Option<f64>,
}

/// Source, plan and feedback of one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptDetails {
    /// The source text.
    pub source: String,
    /// How it is called.
    pub plan: Plan,
    /// Why it was written, in its proposer's words.
    pub rationale: String,
    /// What was promised, as a ratio to the frozen baseline.
    pub predicted: Option<Prediction>,
    /// What came out, one fact a line.
    pub feedback: Vec<String>,
}

/// A fact or an advice, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// A few words.
    pub title: String,
    /// Where it comes from: a skill, a topic of the ISA corpus.
    pub source: String,
    /// The text.
    pub text: String,
}

/// The strategy: a node with everything that it inherits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StrategyBrief {
    /// The node.
    pub node: NodeId,
    /// Titles from the family down to the node.
    pub path: Vec<String>,
    /// Template, own or inherited.
    pub template: Option<String>,
    /// Genes fixed by the node and its ancestors.
    pub fixed: BTreeMap<String, GeneValue>,
    /// Expected ratio to the frozen baseline, after calibration.
    pub predicted: Prediction,
    /// Instruction families that the binary should contain.
    pub expected_instructions: Vec<String>,
    /// Why this strategy.
    pub rationale: String,
}

/// A genome and what came out of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Its `Proposed` entry.
    pub proposal: Seq,
    /// How it was made.
    pub operator: String,
    /// The genes.
    pub genome: Genome,
    /// Measured ratio to the frozen baseline; `None` where it failed.
    pub ratio: Option<f64>,
}

/// One earlier attempt, as far as a proposer may see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its `Proposed` entry.
    pub proposal: Seq,
    /// The node that it implemented.
    pub node: NodeId,
    /// Template, where there is one.
    pub template: Option<String>,
    /// Genes, where there are some.
    pub genome: Genome,
    /// Measured ratio to the frozen baseline, where it passed.
    pub ratio: Option<f64>,
    /// Measured ratio by workload, where it passed.
    pub workload_ratios: BTreeMap<String, f64>,
    /// Failure class and structured detail, where it failed.
    pub failure: Option<(FailureClass, String)>,
}
