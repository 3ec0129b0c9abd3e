//! A proposer that hands out what a bundle holds, each candidate under a strategy of its own.

use std::collections::BTreeSet;
use std::convert::Infallible;

use kernsmith_core::port::{Answer, PlanOccasion, PlanRequest};
use kernsmith_core::{
    Brief, Digest, Edit, Entry, Event, NewNode, NodeId, NodeKind, Prediction, Proposal, Propose,
};

use crate::bundle::Bundle;
use crate::error::BatchError;
use crate::manifest::{Item, Job};

/// Of a candidate that nobody has measured.
const UNKNOWN: Prediction = Prediction { ratio: 1.0, low: 0.5, high: 2.0 };
/// What measurements on another machine are worth on this one.
const ELSEWHERE: f64 = 1.25;
const TITLE_BYTES_MAX: usize = 100;

/// Hands out the candidates of one job.
#[derive(Debug)]
pub struct Handout {
    items: Vec<(Item, String)>,
    /// Strategies whose candidate is in the log.
    handed: BTreeSet<NodeId>,
}

impl Handout {
    /// All candidates of a job.
    pub fn of(bundle: &Bundle, job: &Job) -> Result<Self, BatchError> {
        let items = job.candidates.iter().map(|item| Ok((item.clone(), bundle.source(&item.source)?)));
        Ok(Self { items: items.collect::<Result<_, BatchError>>()?, handed: BTreeSet::new() })
    }

    /// Candidates that nobody has asked for yet.
    pub fn left(&self) -> usize {
        self.items.len() - self.handed.len()
    }

    /// The candidate of a strategy: ids are handed out in order of insertion, after the root.
    fn item(&self, node: NodeId) -> Option<&(Item, String)> {
        self.items.get((node.0 as usize).checked_sub(1)?)
    }
}

fn strategy(place: usize, item: &Item) -> Edit {
    let predicted = item.expected.map_or(UNKNOWN, |expected| Prediction {
        ratio: expected.ratio,
        low: expected.low / ELSEWHERE,
        high: expected.high * ELSEWHERE,
    });
    let rationale = match &item.expected {
        Some(expected) => format!("judged before, elsewhere: {:.3}x its baseline there", expected.ratio),
        None => "handed over in a bundle".to_owned(),
    };
    let node = NewNode {
        kind: NodeKind::Family,
        title: title(place, &item.from),
        rationale,
        template: None,
        fixed: std::collections::BTreeMap::new(),
        axes: Vec::new(),
        predicted,
        difficulty: 1,
        expected_instructions: Vec::new(),
    };
    Edit::Insert { parent: NodeId::ROOT, node }
}

/// Titles are short and differ.
fn title(place: usize, from: &str) -> String {
    if from.len() <= TITLE_BYTES_MAX {
        return from.to_owned();
    }
    let tail: String = from.chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect();
    format!("{place}: …{tail}")
}

impl Propose for Handout {
    type Error = Infallible;

    fn name(&self) -> &'static str {
        "batch"
    }

    async fn plan(&mut self, request: &PlanRequest) -> Result<Answer<Vec<Edit>>, Infallible> {
        if request.occasion != PlanOccasion::Start {
            return Ok(Answer::Nothing);
        }
        let edits = self.items.iter().enumerate().map(|(place, (item, _))| strategy(place, item));
        Ok(Answer::Ready(edits.collect()))
    }

    async fn propose(&mut self, brief: &Brief) -> Result<Answer<Proposal>, Infallible> {
        let node = brief.strategy.node;
        let open = !self.handed.contains(&node);
        Ok(self.item(node).filter(|_| open).map(|(item, source)| item.proposal(source, node)).into())
    }

    fn learn(&mut self, entry: &Entry, _: &dyn Fn(&Digest) -> Option<Vec<u8>>) {
        if let Event::Proposed(proposed) = &entry.event {
            self.handed.insert(proposed.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        assert_eq!(title(3, "20261121-run#42"), "20261121-run#42");
        let long = "x".repeat(300);
        assert!(title(1, &long).len() <= 120 && title(1, &long) != title(2, &long));
    }
}
