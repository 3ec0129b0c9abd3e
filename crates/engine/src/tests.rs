//! The loop with fakes: a scripted proposer, an evaluator that looks a ratio up, and a recorder in memory.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use kernsmith_core::event::{Opened, Proposed};
use kernsmith_core::evidence::{
    Artifacts, CandidateFacts, EVIDENCE_SCHEMA, Environment, Security, Validation, WorkloadTiming,
};
use kernsmith_core::port::{Answer, Evaluate, PlanRequest, Propose, Record};
use kernsmith_core::{
    Brief, Candidate, Digest, Edit, Entry, Event, Evidence, Failure, FailureClass, Gate, GeneValue, Lane,
    Language, NewNode, NodeId, NodeKind, Origin, Performance, Plan, Prediction, Proposal, RunId, Seq,
    Verdict, conformance,
};
use kernsmith_op_contract::Contract;
use kernsmith_planner::STALE;
use kernsmith_search_config::SearchConfig;

use crate::{Engine, FrozenBaseline, Genesis, Limit, Parts, Past, Silent, StopSignal};

/// Two families; genes 0 to 9 each; the second family's gene 7 is the best kernel there is.
#[derive(Debug, Default)]
struct Scripted;

impl Propose for Scripted {
    type Error = Infallible;

    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn plan(&mut self, request: &PlanRequest) -> Result<Answer<Vec<Edit>>, Infallible> {
        if !request.nodes.iter().all(|node| node.parent.is_none()) {
            return Ok(Answer::Nothing);
        }
        Ok(Answer::Ready(["plain", "clever"].map(family).into()))
    }

    async fn propose(&mut self, brief: &Brief) -> Result<Answer<Proposal>, Infallible> {
        let template = brief.strategy.template.clone().unwrap_or_default();
        let gene = |value: i64| BTreeMap::from([("gene".to_owned(), GeneValue::Int(value))]);
        let Some(value) = (0..10).find(|value| !brief.tried.contains(&gene(*value))) else {
            return Ok(Answer::Nothing);
        };
        let origin = Origin {
            proposer: "scripted".to_owned(),
            operator: "enumerate".to_owned(),
            template: Some(template.clone()),
            genome: gene(value),
            ..Origin::default()
        };
        let source = format!("{template} {value}");
        let (node, language, plan) = (brief.strategy.node, Language::Cpp, Plan::default());
        Ok(Answer::Ready(Proposal {
            node,
            language,
            source,
            plan,
            origin,
            prediction: None,
            rationale: String::new(),
        }))
    }
}

fn family(title: &str) -> Edit {
    let node = NewNode {
        kind: NodeKind::Family,
        title: title.to_owned(),
        rationale: "a family".to_owned(),
        template: Some(format!("skill/{title}")),
        fixed: BTreeMap::new(),
        axes: vec![format!("family={title}")],
        predicted: Prediction { ratio: 2.0, low: 1.0, high: 4.0 },
        difficulty: 1,
        expected_instructions: Vec::new(),
    };
    Edit::Insert { parent: NodeId::ROOT, node }
}

/// Reads the ratio off the source text; `plain 3` does not build, `clever 5` looks best in a disturbed confirmation.
#[derive(Debug, Default)]
struct Oracle {
    aside: usize,
}

impl Evaluate for Oracle {
    type Error = Infallible;
    type Prepared = Candidate;

    async fn prepare(&self, candidate: Candidate) -> Result<Candidate, Infallible> {
        Ok(candidate)
    }

    fn prepares_aside(&self) -> usize {
        self.aside
    }

    fn code_object(&self, prepared: &Candidate) -> Option<Digest> {
        (prepared.proposal.source != "skill/plain 3").then_some(prepared.source_digest)
    }

    async fn judge(&self, candidate: Candidate, lane: Lane, _: Option<f64>) -> Result<Evidence, Infallible> {
        let source = candidate.proposal.source.as_str();
        let value: f64 = source.rsplit(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
        let ratio = if source.contains("clever") { 4.0 - (value - 7.0).abs() / 4.0 } else { 1.5 };
        let failure = (self.code_object(&candidate).is_none())
            .then(|| Failure::new(Gate::Build, FailureClass::CompileError, "it is the third"));
        let mut evidence = evidence(&candidate, lane, failure, ratio);
        // A disturbed confirmation: a high ratio with an interval that says nothing.
        if let Some(performance) = evidence.performance.as_mut()
            && lane == Lane::Confirm
            && source == "skill/clever 5"
        {
            (performance.ratio, performance.ci_low, performance.ci_high) = (6.0, 1.1, 11.0);
        }
        Ok(evidence)
    }
}

pub(crate) fn evidence(candidate: &Candidate, lane: Lane, failure: Option<Failure>, ratio: f64) -> Evidence {
    Evidence {
        schema_version: EVIDENCE_SCHEMA,
        verdict: if failure.is_some() { Verdict::Rejected } else { Verdict::Accepted },
        performance: failure.is_none().then(|| performance(ratio)),
        failure,
        lane,
        candidate: CandidateFacts {
            contract: candidate.contract.clone(),
            target: candidate.target.clone(),
            language: candidate.proposal.language,
            source: candidate.source_digest,
            code_object: None,
        },
        environment: Environment::default(),
        validation: Validation::default(),
        artifacts: Artifacts::default(),
        security: Security::default(),
        replay: String::new(),
    }
}

fn performance(ratio: f64) -> Performance {
    let workload = WorkloadTiming {
        workload: "only".to_owned(),
        axes: BTreeMap::new(),
        weight: 1.0,
        median_us: 100.0 / ratio,
        baseline_us: 100.0,
        ratio,
        ci_low: ratio * 0.99,
        ci_high: ratio * 1.01,
        sol_us: None,
        sol_score: None,
        copy_fraction: None,
        calls_per_sample: 1,
        cold: true,
        samples_us: vec![100.0 / ratio],
        baseline_samples_us: vec![100.0],
        outliers: 0,
    };
    Performance {
        median_us: 100.0 / ratio,
        baseline_us: 100.0,
        baseline: "scalar".to_owned(),
        ratio,
        ci_low: ratio * 0.99,
        ci_high: ratio * 1.01,
        sol_score: None,
        noise_floor: 1.0,
        interleaved: true,
        workloads: vec![workload],
        rivals: Vec::new(),
    }
}

/// Keeps everything in memory; refuses to write when it is told to.
#[derive(Debug, Default)]
struct Memory {
    entries: Vec<Entry>,
    blobs: HashMap<Digest, Vec<u8>>,
    full_at: Option<usize>,
}

#[derive(Debug, thiserror::Error)]
#[error("no such blob, or no space left")]
struct MemoryError;

impl Record for Memory {
    type Error = MemoryError;

    fn keep(&mut self, bytes: &[u8]) -> Result<Digest, MemoryError> {
        let digest = Digest::of(bytes);
        self.blobs.insert(digest, bytes.to_owned());
        Ok(digest)
    }

    fn kept(&self, digest: &Digest) -> Result<Vec<u8>, MemoryError> {
        self.blobs.get(digest).cloned().ok_or(MemoryError)
    }

    fn entry(&self, seq: Seq) -> Result<Entry, MemoryError> {
        self.entries.get(seq.0 as usize).cloned().ok_or(MemoryError)
    }

    async fn append(&mut self, events: Vec<Event>) -> Result<Vec<Entry>, MemoryError> {
        if self.full_at.is_some_and(|limit| self.entries.len() >= limit) {
            return Err(MemoryError);
        }
        let before = self.entries.len();
        for event in events {
            let prev = self.entries.last().map_or(Digest::ZERO, |last| {
                Digest::of(serde_json::to_string(last).unwrap_or_default().as_bytes())
            });
            let seq = Seq(self.entries.len() as u64);
            self.entries.push(Entry { seq, time: String::new(), prev, event });
        }
        Ok(self.entries[before..].to_vec())
    }
}

type TestEngine = Engine<Scripted, Oracle, Memory, Silent>;

fn engine(recorder: Memory, candidates: u64, stop: &StopSignal) -> TestEngine {
    engine_with(Oracle::default(), recorder, candidates, stop)
}

fn engine_with(oracle: Oracle, recorder: Memory, candidates: u64, stop: &StopSignal) -> TestEngine {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../op-contracts/rmsnorm_f32");
    let mut config = SearchConfig::defaults().unwrap();
    config.budget.wall_seconds = 0.0;
    config.budget.candidates = candidates;
    Engine::new(Parts {
        contract: Arc::new(Contract::load(&folder).unwrap()),
        target: "cpu-x86_64".parse().unwrap(),
        proposer: Scripted,
        evaluator: Arc::new(oracle),
        recorder,
        observer: Silent,
        config,
        seed: 5,
        stop: stop.clone(),
    })
}

fn genesis() -> Genesis {
    let run_id: RunId = "test".parse().unwrap();
    let Event::Opened(opened) = conformance::opened(&run_id) else { unreachable!("the first event opens") };
    let baseline = FrozenBaseline {
        name: "scalar".to_owned(),
        source: "baseline".to_owned(),
        plan: Plan::default(),
        performance: performance(1.0),
    };
    Genesis { opened: Opened { target: "cpu-x86_64".parse().unwrap(), ..*opened }, baseline }
}

fn fold(mut tree: kernsmith_planner::Tree, log: &[Entry]) -> kernsmith_planner::Tree {
    for entry in log {
        tree.apply(entry);
    }
    tree
}

#[tokio::test]
async fn the_fakes_conform_to_their_ports() {
    conformance::record(&mut Memory::default(), &"test".parse().unwrap()).await.unwrap();
    let brief_of = |planned: &[Entry]| {
        let tree = fold(kernsmith_planner::Tree::default(), planned);
        let engine = engine(Memory::default(), 1, &StopSignal::default());
        let node = tree.select(0, 1).unwrap();
        kernsmith_brief::build(&tree, &engine.contract, node, 0, 1)
    };
    conformance::propose(&mut Scripted, brief_of).await.unwrap();
    let candidate = |source: &str| {
        let proposal = Proposal::by_user(source, Plan::default());
        Candidate::new("rmsnorm_f32", &"cpu-x86_64".parse().unwrap(), proposal)
    };
    conformance::evaluate(&Oracle::default(), candidate("skill/clever 7"), candidate("skill/plain 3"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_search_finds_the_kernel_with_the_best_lower_bound_and_the_tree_is_the_fold_of_its_log() {
    let mut engine = engine(Memory::default(), 20, &StopSignal::default());
    engine.begin(genesis()).await.unwrap();
    let outcome = engine.run().await.unwrap();
    let tree = engine.tree().clone();
    let champion = tree.champion().unwrap();
    assert_eq!(outcome.champion, Some(champion.proposal));
    assert!((champion.ratio - 4.0).abs() < 1e-9, "{champion:?}");
    let log = engine.into_recorder().entries;
    assert!(fold(kernsmith_planner::Tree::new(tree.options().clone()), &log) == tree);
    assert!(matches!(log.last().map(|entry| &entry.event), Some(Event::Closed { .. })));
}

#[tokio::test]
async fn a_search_ends_when_nothing_untried_is_left() {
    let mut engine = engine(Memory::default(), 0, &StopSignal::default());
    engine.begin(genesis()).await.unwrap();
    assert_eq!(engine.run().await.unwrap().limit, Limit::Exhausted);
    assert!(engine.tree().counts().proposed <= 20);
}

#[tokio::test]
async fn a_stop_ends_after_the_current_turn_and_still_confirms() {
    let stop = StopSignal::default();
    stop.stop();
    let mut engine = engine(Memory::default(), 0, &stop);
    engine.begin(genesis()).await.unwrap();
    assert_eq!(engine.run().await.unwrap().limit, Limit::Interrupted);
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_the_search_and_teaches_the_tree_nothing() {
    let recorder = Memory { full_at: Some(6), ..Memory::default() };
    let mut engine = engine(recorder, 0, &StopSignal::default());
    engine.begin(genesis()).await.unwrap();
    assert!(matches!(engine.run().await, Err(crate::EngineError::Record(_))));
    let tree = engine.tree().clone();
    let log = engine.into_recorder().entries;
    assert!(fold(kernsmith_planner::Tree::new(tree.options().clone()), &log) == tree);
}

#[tokio::test]
async fn a_resumed_search_judges_what_was_left_pending_first() {
    let mut first = engine(Memory::default(), 4, &StopSignal::default());
    first.begin(genesis()).await.unwrap();
    first.run().await.unwrap();
    let mut memory = first.into_recorder();
    // The log as a kill would leave it: right after the first proposals.
    let cut = memory.entries.iter().position(|entry| matches!(entry.event, Event::Judged { .. })).unwrap();
    memory.entries.truncate(cut);
    let mut past = Past::new(&SearchConfig::defaults().unwrap());
    memory.entries.iter().for_each(|entry| past.apply(entry));
    let mut second = engine(memory, 8, &StopSignal::default());
    second.resume(past, 3.0, "test".to_owned()).await.unwrap();
    assert!(second.tree().pending().is_empty());
    assert_eq!(second.run().await.unwrap().limit, Limit::Budget);
    assert!(second.tree().counts().proposed >= 8);
}

#[tokio::test]
async fn a_proposal_that_was_overtaken_a_moment_ago_costs_no_device_time() {
    let mut memory = Memory::default();
    let target = "cpu-x86_64".parse().unwrap();
    let propose = |memory: &mut Memory, value: i64, parents: Vec<Seq>| {
        let origin = Origin { parents, proposer: "scripted".to_owned(), ..Origin::default() };
        let proposal = Proposal::by_user(format!("skill/clever {value}"), Plan::default());
        let candidate =
            Candidate::new("rmsnorm_f32", &target, Proposal { node: NodeId(1), origin, ..proposal });
        memory.keep(candidate.proposal.source.as_bytes()).unwrap();
        (Event::Proposed(Box::new(Proposed::of(&candidate))), candidate)
    };
    let (first, candidate) = propose(&mut memory, 0, Vec::new());
    let base = evidence(&candidate, Lane::Screen, None, 2.25);
    let edit = Event::TreeEdited { author: "scripted".to_owned(), edits: vec![family("clever")] };
    let opened = Event::Opened(Box::new(genesis().opened));
    memory.append(vec![opened, edit, first]).await.unwrap();
    let (better, _) = propose(&mut memory, 6, vec![Seq(2)]);
    let (overtaken, _) = propose(&mut memory, 3, vec![Seq(2)]);
    let judged = Event::Judged { proposal: Seq(2), evidence: Box::new(base) };
    memory.append(vec![judged, better, overtaken]).await.unwrap();
    let mut past = Past::new(&SearchConfig::defaults().unwrap());
    memory.entries.iter().for_each(|entry| past.apply(entry));
    assert_eq!(past.tree().pending(), [Seq(4), Seq(5)], "neither is stale before the other was screened");
    let mut engine = engine(memory, 8, &StopSignal::default());
    engine.resume(past, 0.0, "test".to_owned()).await.unwrap();
    let judged =
        |seq| move |entry: &Entry| matches!(entry.event, Event::Judged { proposal, .. } if proposal == seq);
    let log = engine.into_recorder().entries;
    assert!(log.iter().any(judged(Seq(4))) && !log.iter().any(judged(Seq(5))));
    let dropped = Event::Deduplicated { proposal: Seq(5), of: Seq(4), by: STALE.to_owned() };
    assert!(log.iter().any(|entry| entry.event == dropped));
}

#[tokio::test]
async fn where_building_disturbs_nobody_the_next_batch_is_asked_for_before_the_last_one_is_judged() {
    let mut engine = engine_with(Oracle { aside: 3 }, Memory::default(), 9, &StopSignal::default());
    engine.begin(genesis()).await.unwrap();
    engine.run().await.unwrap();
    let log = &engine.recorder.entries;
    let places = |is: fn(&Event) -> bool| -> Vec<u64> {
        log.iter().filter(|entry| is(&entry.event)).map(|entry| entry.seq.0).collect()
    };
    let proposed = places(|event| matches!(event, Event::Proposed(_)));
    let done = places(|event| {
        matches!(event, Event::Judged { evidence, .. } if evidence.lane == Lane::Screen)
            || matches!(event, Event::Deduplicated { .. })
    });
    assert!(proposed.len() == 9 && done.len() == 9, "all within the budget: {proposed:?} {done:?}");
    let before_first = proposed.iter().filter(|seq| **seq < done[0]).count();
    assert!(before_first > 1, "a second batch is under way: {proposed:?} {done:?}");
    let depth = (1..9).filter(|index| proposed[*index] < done[index - 1]).count();
    assert!(depth > 0, "{proposed:?} {done:?}");
}
