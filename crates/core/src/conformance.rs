//! What every implementation of a port must do, whatever it is made of.
//!
//! Each suite takes an implementation, real or fake, and returns the first broken rule in words. The integration tests run
//! them on all implementations in the house.

use std::collections::BTreeMap;

use crate::brief::Brief;
use crate::candidate::Candidate;
use crate::digest::Digest;
use crate::event::{Entry, Event, LOG_FORMAT, Opened};
use crate::evidence::{Evidence, Lane};
use crate::id::{RunId, Seq};
use crate::port::{Answer, Evaluate, PlanOccasion, PlanRequest, Propose, Record};
use crate::target::Target;

/// The first broken rule, in words.
pub type Conformance = Result<(), String>;

fn rule(holds: bool, what: &str) -> Conformance {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// A legal first event for a run called `run_id`.
pub fn opened(run_id: &RunId) -> Event {
    Event::Opened(Box::new(sample_opened(run_id)))
}

/// The same to be changed where a test needs something else.
pub fn sample_opened(run_id: &RunId) -> Opened {
    Opened {
        format: LOG_FORMAT,
        run_id: run_id.clone(),
        program: "conformance".to_owned(),
        contract: "example_f32".to_owned(),
        contract_version: 1,
        contract_digest: Digest::of(b"contract"),
        contract_path: "contracts/example_f32".to_owned(),
        target: Target::host(),
        seed: 1,
        config: serde_json::Value::Null,
        config_digest: Digest::of(b"config"),
        environment: BTreeMap::new(),
        forked_from: None,
        memory: None,
        audit: None,
    }
}

/// A recorder numbers entries without gaps, chains them, and gives back what it keeps.
///
/// The recorder must be fresh and belong to the run `run_id`.
pub async fn record<R: Record>(recorder: &mut R, run_id: &RunId) -> Conformance {
    let fault = |error: R::Error| format!("the recorder failed: {error}");
    let nothing = recorder.append(Vec::new()).await.map_err(fault)?;
    rule(nothing.is_empty(), "an empty group adds no entry")?;
    let mut entries = recorder.append(vec![opened(run_id)]).await.map_err(fault)?;
    let edit = |author: &str| Event::TreeEdited { author: author.to_owned(), edits: Vec::new() };
    entries.extend(recorder.append(vec![edit("a"), edit("b")]).await.map_err(fault)?);
    let numbered = entries.iter().zip(0..).all(|(entry, number)| entry.seq == Seq(number));
    rule(entries.len() == 3 && numbered, "entries are numbered from 0 without gaps")?;
    rule(entries[0].prev == Digest::ZERO, "the first entry's `prev` is the zero digest")?;
    let chained = entries[1].prev != Digest::ZERO && entries[2].prev != entries[1].prev;
    rule(chained, "every later entry names the digest of the line before it")?;
    rule(entries[1].event == edit("a"), "an entry carries the event that was appended")?;
    let again: Result<Vec<Entry>, _> = (0..3).map(|number| recorder.entry(Seq(number))).collect();
    rule(again.map_err(fault)? == entries, "an entry can be read back as it was acknowledged")?;
    rule(recorder.entry(Seq(3)).is_err(), "an entry that is not there is an error")?;
    let digest = recorder.keep(b"source").map_err(fault)?;
    rule(digest == Digest::of(b"source"), "what is kept is addressed by its content")?;
    rule(recorder.keep(b"source").map_err(fault)? == digest, "keeping twice is keeping once")?;
    rule(recorder.kept(&digest).map_err(fault)? == b"source", "what was kept can be read back at once")?;
    rule(recorder.kept(&Digest::of(b"other")).is_err(), "what was never kept is an error")
}

/// A proposer plans a tree, answers for the node that it was asked about, and never repeats a tried genome.
///
/// `brief` makes a brief for the tree that the plan leads to.
pub async fn propose<P: Propose>(proposer: &mut P, mut brief: impl FnMut(&[Entry]) -> Brief) -> Conformance {
    let fault = |error: P::Error| format!("the proposer failed: {error}");
    rule(!proposer.name().is_empty(), "a proposer has a name")?;
    let request = PlanRequest {
        occasion: PlanOccasion::Start,
        tree: String::new(),
        nodes: Vec::new(),
        refused: Vec::new(),
        details: None,
    };
    let Answer::Ready(edits) = proposer.plan(&request).await.map_err(fault)? else {
        return Err("the first plan is not empty".to_owned());
    };
    rule(!edits.is_empty(), "the first plan is not empty")?;
    let event = Event::TreeEdited { author: proposer.name().to_owned(), edits };
    let planned = Entry { seq: Seq(0), time: String::new(), prev: Digest::ZERO, event };
    let mut brief = brief(std::slice::from_ref(&planned));
    let Answer::Ready(first) = proposer.propose(&brief).await.map_err(fault)? else {
        return Err("a fresh strategy has a candidate".to_owned());
    };
    rule(first.node == brief.strategy.node, "a proposal names the node that was asked for")?;
    rule(!first.source.trim().is_empty(), "a proposal has a source")?;
    let again = proposer.propose(&brief).await.map_err(fault)?;
    rule(again == Answer::Ready(first.clone()), "the same brief gives the same proposal")?;
    brief.tried.push(first.origin.genome.clone());
    brief.ordinal += 1;
    let next = proposer.propose(&brief).await.map_err(fault)?;
    let repeats = matches!(next, Answer::Ready(next)
        if !next.origin.genome.is_empty() && next.origin.genome == first.origin.genome);
    rule(!repeats, "a tried genome is not proposed again")
}

/// An evaluator accepts what is right, rejects what is wrong with a named reason, and never confuses the two.
pub async fn evaluate<E: Evaluate>(evaluator: &E, right: Candidate, wrong: Candidate) -> Conformance {
    let fault = |error: E::Error| format!("the evaluator failed: {error}");
    for lane in [Lane::Screen, Lane::Verify, Lane::Confirm] {
        let prepared = evaluator.prepare(right.clone()).await.map_err(fault)?;
        rule(evaluator.code_object(&prepared).is_some(), "a candidate that builds has a code object")?;
        let evidence = evaluator.judge(prepared, lane, None).await.map_err(fault)?;
        rule(evidence.is_accepted(), &format!("a right kernel is accepted, not {:?}", evidence.failure))?;
        rule(evidence.lane <= lane, "no lane deeper than asked is claimed")?;
        consistent(&evidence)?;
        rule(
            evidence.candidate.source == right.source_digest,
            "the evidence names the source that was judged",
        )?;
    }
    let prepared = evaluator.prepare(wrong).await.map_err(fault)?;
    let evidence = evaluator.judge(prepared, Lane::Verify, None).await.map_err(fault)?;
    rule(!evidence.is_accepted(), "a wrong kernel is rejected")?;
    consistent(&evidence)
}

/// Verdict, failure and performance say the same thing.
pub fn consistent(evidence: &Evidence) -> Conformance {
    let accepted = evidence.is_accepted();
    rule(
        accepted == evidence.failure.is_none(),
        "a failure is given exactly where the verdict is `rejected`",
    )?;
    rule(accepted == evidence.performance.is_some(), "performance is given exactly where it is `accepted`")?;
    let Some(performance) = &evidence.performance else { return Ok(()) };
    let ordered = performance.ci_low <= performance.ratio && performance.ratio <= performance.ci_high;
    rule(ordered && performance.ratio > 0.0, "the ratio is positive and lies within its interval")?;
    let samples = performance.workloads.iter().all(|workload| !workload.samples_us.is_empty());
    rule(samples, "raw samples are kept")
}
