//! What briefs and plan requests are made of.

use kernsmith_core::brief::{Attempt, StrategyBrief, Trial};
use kernsmith_core::port::NodeBrief;
use kernsmith_core::{Genome, NodeId, NodeKind};

use crate::attempt::{Attempted, Outcome};
use crate::calibration::Calibration;
use crate::node::Node;
use crate::tree::Tree;

impl Tree {
    /// A node with everything that it inherits, its prediction calibrated; `None` for unknown nodes.
    pub fn strategy(&self, id: NodeId, calibration: &Calibration) -> Option<StrategyBrief> {
        self.node(id).map(|node| self.strategy_of(node, calibration))
    }

    /// All nodes but the root, as far as a planner may see them, in order of insertion.
    pub fn node_briefs(&self) -> Vec<NodeBrief> {
        let calibration = self.calibration();
        let nodes = self.nodes().filter(|node| node.kind != NodeKind::Root);
        nodes.map(|node| self.node_brief(node, &calibration)).collect()
    }

    /// Genomes that were proposed under a template, whatever became of them, in order.
    pub fn tried_genomes(&self, template: &str) -> Vec<Genome> {
        self.under_template(template).map(|attempt| self.genome_of(attempt)).collect()
    }

    /// Genomes of a template with what came out, in order; those without a verdict are left out.
    ///
    /// A genome whose code object repeats an earlier one's has that one's outcome.
    pub fn trials(&self, template: &str) -> Vec<Trial> {
        self.under_template(template).filter_map(|attempt| self.trial(attempt)).collect()
    }

    fn trial(&self, attempt: &Attempted) -> Option<Trial> {
        let judged = match attempt.outcome {
            Outcome::Duplicate { of } => self.attempt(of)?,
            _ => attempt,
        };
        let ratio = match judged.outcome {
            Outcome::Accepted => Some(judged.ratio()?),
            Outcome::Rejected { .. } => None,
            _ => return None,
        };
        Some(Trial {
            proposal: attempt.seq,
            operator: self.operator_of(attempt).to_owned(),
            genome: self.genome_of(attempt),
            ratio,
        })
    }

    fn under_template(&self, template: &str) -> impl Iterator<Item = &Attempted> {
        let template = self.state.common.words.find(&template.to_owned());
        let proposals =
            template.and_then(|template| self.state.by_template.get(&template)).into_iter().flatten();
        proposals.filter_map(|seq| self.attempt(*seq))
    }

    fn strategy_of(&self, node: &Node, calibration: &Calibration) -> StrategyBrief {
        let mut path: Vec<String> = self
            .ancestors(node.id)
            .filter(|above| above.depth > 0)
            .map(|above| above.title.clone())
            .collect();
        path.reverse();
        path.push(node.title.clone());
        StrategyBrief {
            node: node.id,
            path,
            template: node.template.clone(),
            fixed: node.fixed.clone(),
            predicted: calibration.apply(self, node),
            expected_instructions: node.expected_instructions.clone(),
            rationale: node.rationale.clone(),
        }
    }

    fn node_brief(&self, node: &Node, calibration: &Calibration) -> NodeBrief {
        let best = self.best_attempt_below(node.id);
        NodeBrief {
            strategy: self.strategy_of(node, calibration),
            parent: node.parent,
            attempts: self.subtree(node.id).iter().map(|below| below.proposed).sum(),
            best_ratio: best.as_ref().and_then(|attempt| attempt.ratio),
            open: node.status.is_open(),
            best,
        }
    }

    fn best_attempt_below(&self, id: NodeId) -> Option<Attempt> {
        let best = self.subtree(id).into_iter().filter_map(|node| node.ranking.last()).max()?;
        self.attempt(best.seq()).map(|attempt| self.show(attempt))
    }
}
