//! The scripted model, and the judge that reads off its sources what they are worth.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use kernsmith_core::port::{Evaluate, PlanOccasion};
use kernsmith_core::prompt::{Prompt, Question, Section};
use kernsmith_core::{Candidate, Digest, Evidence, FailureClass, Lane};
use kernsmith_llm::{Ask, Script, Turn};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::BenchError;
use crate::landscape::{Landscape, normal};
use crate::simulate::{Craft, evidence};

/// A score's interval spans this factor on both sides.
const INTERVAL: f64 = 1.6;
/// New nodes in one script, as the tree's rules have it.
const MAX_INSERTS: usize = 3;
/// Without a plan: the chance to go on from the base, and to refine what it does where that can be refined.
const GO_ON: f64 = 0.7;
const REFINE: f64 = 0.3;
/// Verification measures this much more precisely than the screen.
const VERIFY_PRECISION: f64 = 4.0;

/// What a scripted model is told; a real one is told in words.
#[derive(Debug, Serialize, Deserialize)]
enum Told {
    /// Plan: the occasion, and every node with its title and best ratio.
    Plan { occasion: PlanOccasion, nodes: Vec<(u32, String, f64, bool)> },
    /// Write a candidate of that strategy, from that base.
    Code { title: String, base: Option<String> },
}

/// The words of a question: JSON.
pub(super) fn render(question: &Question<'_>, _: u64) -> Prompt {
    let told = match question {
        Question::Plan(request) => {
            let node = |node: &kernsmith_core::port::NodeBrief| {
                let title = node.strategy.path.last().cloned().unwrap_or_default();
                (node.strategy.node.0, title, node.best_ratio.unwrap_or(0.0), node.open)
            };
            Told::Plan { occasion: request.occasion, nodes: request.nodes.iter().map(node).collect() }
        }
        Question::Code { brief, base, .. } => {
            let attempts = brief.details.as_ref().map(|details| &details.attempts);
            let base = base.and_then(|seq| Some(attempts?.get(&seq)?.source.clone()));
            Told::Code { title: brief.strategy.path.last().cloned().unwrap_or_default(), base }
        }
        Question::Review { .. } | Question::Evidence { .. } | Question::Attack { .. } => {
            Told::Code { title: String::new(), base: None }
        }
    };
    let text = serde_json::to_string(&told).unwrap_or_default();
    Prompt { role: "scripted".to_owned(), sections: vec![Section { name: "Told".to_owned(), text, cut: 0 }] }
}

/// Knows a landscape as well as its scores are good, and gets better at what it works on.
pub(super) struct Model {
    landscape: Arc<Landscape>,
    craft: Craft,
    random: ChaCha12Rng,
    seed: u64,
    /// Candidates written so far for each site.
    visits: Vec<u64>,
}

impl Model {
    pub(super) fn new(landscape: Arc<Landscape>, seed: u64) -> Self {
        let craft = Craft::new(&landscape);
        let visits = vec![0; landscape.sites.len()];
        Self { landscape, craft, random: ChaCha12Rng::seed_from_u64(seed ^ 0x5eed), seed, visits }
    }

    pub(super) fn script(self) -> Script {
        let model = Mutex::new(self);
        Arc::new(move |ask: &Ask| model.lock().unwrap_or_else(PoisonError::into_inner).answer(ask))
    }

    fn answer(&mut self, ask: &Ask) -> String {
        let Some(Turn::User(text)) = ask.turns.first() else { return String::new() };
        let told = text.lines().find_map(|line| serde_json::from_str(line).ok());
        match told {
            Some(Told::Plan { occasion, nodes }) => self.plan(occasion, &nodes),
            Some(Told::Code { title, base }) => self.code(&title, base.as_deref()),
            None => String::new(),
        }
    }

    /// The start: all families that are thought of at once. Later: what lies below the best, a new family where all stagnates.
    fn plan(&self, occasion: PlanOccasion, nodes: &[(u32, String, f64, bool)]) -> String {
        let known: BTreeSet<usize> = nodes.iter().filter_map(|(_, title, ..)| site(title)).collect();
        let hidden = |parent: Option<usize>| -> Vec<usize> {
            self.landscape.children(parent).filter(|at| !known.contains(at)).collect()
        };
        let mut fresh = Vec::new();
        if occasion == PlanOccasion::Start {
            fresh.extend(hidden(None).into_iter().filter(|&at| !self.landscape.sites[at].late));
        } else {
            let stagnating = occasion == PlanOccasion::Stagnation;
            if stagnating {
                fresh.extend(hidden(None));
            }
            let mut best: Vec<(f64, usize)> = nodes
                .iter()
                .filter(|(_, _, ratio, _)| stagnating || *ratio > 0.0)
                .filter_map(|(_, title, ratio, _)| Some((*ratio, site(title)?)))
                .collect();
            best.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            fresh.extend(best.into_iter().flat_map(|(_, at)| hidden(Some(at))));
            fresh.truncate(MAX_INSERTS);
        }
        let edit = |&at: &usize| {
            let site_of = &self.landscape.sites[at];
            let parent = site_of.parent.and_then(|parent| {
                nodes.iter().find(|(_, title, ..)| site(title) == Some(parent)).map(|(id, ..)| *id)
            });
            let ratio = site_of.score.exp();
            json!({
                "op": "insert", "parent": format!("n{}", parent.unwrap_or(0)), "kind": site_of.kind,
                "title": title(at), "rationale": "", "axes": [], "difficulty": site_of.difficulty,
                "predicted": {"ratio": ratio, "low": ratio / INTERVAL, "high": ratio * INTERVAL},
            })
        };
        json!({"edits": fresh.iter().map(edit).collect::<Vec<_>>()}).to_string()
    }

    /// A source that says which site it works on and what it is truly worth. The n-th candidate for a site meets the same luck
    /// in every arm, so that arms differ by what they choose and by nothing else.
    fn code(&mut self, strategy: &str, base: Option<&str>) -> String {
        let at = site(strategy).unwrap_or_else(|| self.choose(base.and_then(worked_on)));
        self.visits[at] += 1;
        let visit = self.visits[at];
        let mut luck = ChaCha12Rng::seed_from_u64(self.seed ^ 0x1c4);
        luck.set_stream((at as u64) << 32 | visit);
        let value = self.craft.draw(&self.landscape, at, &mut luck);
        let worth = value.map_or_else(|| "fails".to_owned(), |value| format!("{value:.6}"));
        let source = format!("// {} worth {worth} visit {visit}\nint candidate_{at}_{visit};\n", title(at));
        json!({"rationale": "scripted", "source": source, "patch": null, "plan": null}).to_string()
    }

    /// Without a plan: on from the base most of the time, anything by its score otherwise.
    fn choose(&mut self, base: Option<usize>) -> usize {
        if let Some(at) = base
            && self.random.random_bool(GO_ON)
        {
            let below: Vec<usize> = self.landscape.children(Some(at)).collect();
            if !below.is_empty() && self.random.random_bool(REFINE) {
                return self.by_score(&below);
            }
            return at;
        }
        let families: Vec<usize> = self.landscape.children(None).collect();
        self.by_score(&families)
    }

    /// A higher score is likelier, in proportion to the ratio that it promises.
    fn by_score(&mut self, sites: &[usize]) -> usize {
        let weights: Vec<f64> = sites.iter().map(|&at| self.landscape.sites[at].score.exp()).collect();
        let mut dice = self.random.random_range(0.0..weights.iter().sum::<f64>());
        for (at, weight) in sites.iter().zip(&weights) {
            dice -= weight;
            if dice <= 0.0 {
                return *at;
            }
        }
        sites[sites.len() - 1]
    }
}

fn title(at: usize) -> String {
    format!("site-{at}")
}

fn site(title: &str) -> Option<usize> {
    title.strip_prefix("site-")?.parse().ok()
}

fn worked_on(source: &str) -> Option<usize> {
    site(source.split_whitespace().nth(1)?)
}

/// What a source is truly worth, as a natural logarithm; `None` where it fails.
pub(super) fn truth(source: &str) -> Option<f64> {
    source.split_whitespace().nth(3)?.parse().ok()
}

/// Measures what a source is worth, with the landscape's noise.
pub(super) struct Judge {
    noise: f64,
    seed: u64,
}

impl Judge {
    pub(super) const fn new(noise: f64, seed: u64) -> Self {
        Self { noise, seed }
    }
}

impl Evaluate for Judge {
    type Error = BenchError;
    type Prepared = (Digest, Option<f64>);

    async fn prepare(&self, candidate: Candidate) -> Result<Self::Prepared, BenchError> {
        Ok((candidate.source_digest, truth(&candidate.proposal.source)))
    }

    fn code_object(&self, prepared: &Self::Prepared) -> Option<Digest> {
        Some(prepared.0)
    }

    async fn judge(
        &self,
        prepared: Self::Prepared,
        lane: Lane,
        _: Option<f64>,
    ) -> Result<Evidence, BenchError> {
        let (source, worth) = prepared;
        let Some(worth) = worth else { return Ok(evidence(lane, Err(FailureClass::CompileError))) };
        // The same source in the same lane is always measured alike, so that a replay is the same run.
        let mut key = [0; 32];
        key.copy_from_slice(
            Digest::of_parts([source.bytes().as_slice(), self.seed.to_le_bytes().as_slice()]).bytes(),
        );
        let mut random = ChaCha12Rng::from_seed(key);
        random.set_stream(lane as u64);
        let noise = if lane == Lane::Screen { self.noise } else { self.noise / VERIFY_PRECISION };
        let mut evidence = evidence(lane, Ok((worth + noise * normal(&mut random)).exp()));
        evidence.candidate.code_object = Some(source);
        Ok(evidence)
    }
}
