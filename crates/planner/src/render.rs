//! The whole tree as text, one line a node, under a budget.

use std::collections::BTreeSet;
use std::fmt::Write;

use kernsmith_core::{NodeId, NodeKind};

use crate::calibration::Calibration;
use crate::node::Node;
use crate::tree::Tree;

const MAX_TITLE_CHARS: usize = 48;
/// Room for the closing line that says what was left out.
const FOOTER_BYTES: usize = 64;

impl Tree {
    /// One line a node of about 120 characters, children below their parents, best first, at most `budget_bytes`.
    ///
    /// When there is no room for all, the nodes with the best outcomes stay (with the nodes above them), and a last line
    /// says how many were left out.
    pub fn render(&self, budget_bytes: usize) -> String {
        let calibration = self.calibration();
        let nodes: Vec<&Node> = self.nodes().collect();
        let best = self.best_below_all();
        let worth = |node: &Node| {
            best[node.id.0 as usize].unwrap_or_else(|| 0.5 * calibration.apply(self, node).ratio)
        };
        let lines: Vec<String> =
            nodes.iter().map(|node| self.line(node, best[node.id.0 as usize], &calibration)).collect();
        let mut ranked: Vec<&Node> = nodes.clone();
        ranked.sort_by(|a, b| worth(b).total_cmp(&worth(a)).then(a.id.cmp(&b.id)));
        let kept = self.fitting(&ranked, &lines, budget_bytes);
        let mut out = String::new();
        let mut stack = vec![NodeId::ROOT];
        while let Some(id) = stack.pop() {
            if !kept.contains(&id) {
                continue;
            }
            out.push_str(&lines[id.0 as usize]);
            // The stack turns the order round: the best child is pushed last.
            let children = self.node(id).map(Node::children).unwrap_or_default();
            stack.extend(ranked.iter().rev().map(|node| node.id).filter(|child| children.contains(child)));
        }
        if kept.len() < nodes.len() {
            let _ = writeln!(out, "… {} more nodes", nodes.len() - kept.len());
        }
        out
    }

    fn fitting(&self, ranked: &[&Node], lines: &[String], budget_bytes: usize) -> BTreeSet<NodeId> {
        let total: usize = lines.iter().map(String::len).sum();
        let budget = if total <= budget_bytes { total } else { budget_bytes.saturating_sub(FOOTER_BYTES) };
        let mut kept = BTreeSet::new();
        let mut used = 0;
        for node in ranked {
            let path = std::iter::once(*node).chain(self.ancestors(node.id));
            let missing: Vec<NodeId> = path.map(|node| node.id).filter(|id| !kept.contains(id)).collect();
            let bytes: usize = missing.iter().map(|id| lines[id.0 as usize].len()).sum();
            if used + bytes <= budget {
                used += bytes;
                kept.extend(missing);
            }
        }
        kept
    }

    fn line(&self, node: &Node, best: Option<f64>, calibration: &Calibration) -> String {
        let mut line = format!("{}{} ", "  ".repeat(node.depth as usize), node.id);
        if node.kind == NodeKind::Root {
            let _ = writeln!(line, "{} · {} proposals", node.title, self.counts().proposed);
            return line;
        }
        let kind = format!("{:?}", node.kind).to_lowercase();
        let title: String = node.title.chars().take(MAX_TITLE_CHARS).collect();
        let expected = calibration.apply(self, node).ratio;
        let _ =
            write!(line, "{kind} {title} [{}] predicted {:.2}x", node.status.as_str(), node.predicted.ratio);
        if (expected / node.predicted.ratio).ln().abs() > 0.005 {
            let _ = write!(line, " (calibrated {expected:.2}x)");
        }
        let _ = match best {
            Some(best) => write!(line, " best {best:.2}x"),
            None => write!(line, " best -"),
        };
        let _ = write!(line, " tries {} passed {}", node.proposed, node.accepted);
        if node.proposed > 0 {
            let _ = write!(line, " stall {}/{}", node.since_best, node.since_base);
        }
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{History, node};
    use kernsmith_core::{NodeId, NodeKind};

    #[test]
    fn the_best_nodes_stay_when_there_is_no_room_for_all() {
        let mut history = History::with_families(&["a", "b"]);
        for index in 0..20 {
            history.insert(NodeId(1), node(NodeKind::Decision, &format!("d{index}"), 2.0));
        }
        history.insert(NodeId(2), node(NodeKind::Decision, "winner", 2.0));
        history.pass(NodeId(23), 9.0);
        let whole = history.tree.render(usize::MAX);
        assert_eq!(whole.lines().count(), 24);
        let short = history.tree.render(500);
        assert!(short.len() <= 500, "{}", short.len());
        assert!(short.contains("winner") && short.contains("more nodes"), "{short}");
        let winner = whole.find("winner").unwrap();
        assert!(winner < whole.find("d0").unwrap(), "best first:\n{whole}");
    }

    #[test]
    fn no_budget_is_no_panic() {
        assert!(History::with_families(&["a"]).tree.render(0).len() < 64);
    }
}
