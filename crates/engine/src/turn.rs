//! One turn of the loop, for a small batch of strategies at once.

use std::collections::HashMap;

use kernsmith_core::event::Proposed;
use kernsmith_core::port::{Evaluate, Propose, Record};
use kernsmith_core::{Candidate, Digest, Event, Evidence, Lane, Proposal, Seq};
use tokio::task::JoinSet;

use crate::error::EngineError;
use crate::observe::Observe;
use crate::run::Engine;

/// While the search goes on, only a clear leader is worth a confirmation; at the end any leader is.
const CLEAR_LEAD: f64 = 1.05;

impl<P: Propose, E: Evaluate + 'static, R: Record, O: Observe> Engine<P, E, R, O> {
    /// Selects, asks, judges, records and learns; `false` when no strategy is open.
    pub(crate) async fn turn(&mut self) -> Result<bool, EngineError> {
        let nodes = self.tree.select_batch(self.config.search.width as usize, self.seed);
        if nodes.is_empty() {
            return Ok(false);
        }
        let proposals = self.ask(&nodes).await?;
        let candidates = self.admit(proposals).await?;
        self.judge_all(candidates).await?;
        self.refine().await?;
        Ok(true)
    }

    /// Candidates that an interrupted session proposed and never judged.
    pub(crate) async fn judge_pending(&mut self) -> Result<(), EngineError> {
        let mut candidates = Vec::new();
        for seq in self.tree.pending() {
            candidates.extend(self.rebuild(seq)?.map(|candidate| (seq, candidate)));
        }
        self.judge_all(candidates).await
    }

    /// Records proposals in one group and drops those that repeat an earlier source.
    async fn admit(&mut self, proposals: Vec<Proposal>) -> Result<Vec<(Seq, Candidate)>, EngineError> {
        let mut candidates = Vec::new();
        let mut events = Vec::new();
        for proposal in proposals {
            let candidate = Candidate::new(&self.contract.name, &self.target, proposal);
            let source = candidate.proposal.source.as_bytes();
            self.recorder.keep(source).map_err(EngineError::record)?;
            events.push(Event::Proposed(Box::new(proposed(&candidate))));
            candidates.push(candidate);
        }
        // Known keys are looked up before the new entries teach the tree their own.
        let known: Vec<Option<Seq>> =
            candidates.iter().map(|candidate| self.tree.known_key(&candidate.key)).collect();
        let entries = self.record(events).await?;
        let mut fresh: Vec<(Seq, Candidate)> = Vec::new();
        let mut first: HashMap<Digest, Seq> = HashMap::new();
        let mut repeats = Vec::new();
        for ((entry, candidate), known) in entries.iter().zip(candidates).zip(known) {
            if let Some(of) = known.or_else(|| first.get(&candidate.key).copied()) {
                repeats.push(repeat(entry.seq, of, "source"));
            } else {
                first.insert(candidate.key, entry.seq);
                fresh.push((entry.seq, candidate));
            }
        }
        self.record_some(repeats).await?;
        Ok(fresh)
    }

    /// Builds all candidates at the same time, then judges them one after the other.
    async fn judge_all(&mut self, candidates: Vec<(Seq, Candidate)>) -> Result<(), EngineError> {
        let mut builds = JoinSet::new();
        for (seq, candidate) in candidates {
            let evaluator = self.evaluator.clone();
            builds.spawn(async move { (seq, evaluator.prepare(candidate).await) });
        }
        let mut built = Vec::new();
        while let Some(joined) = builds.join_next().await {
            let (seq, prepared) = joined.map_err(EngineError::evaluate)?;
            built.push((seq, prepared.map_err(EngineError::evaluate)?));
        }
        built.sort_by_key(|(seq, _)| *seq);
        for (seq, prepared) in built {
            let twin =
                self.evaluator.code_object(&prepared).and_then(|digest| self.tree.known_code_object(&digest));
            match twin {
                Some(of) => self.record_some(vec![repeat(seq, of, "code_object")]).await?,
                None => self.judge(seq, prepared).await?,
            }
        }
        Ok(())
    }

    /// Screens a candidate; one that may be the best so far goes through the whole battery, and a clear leader is
    /// confirmed at once.
    async fn judge(&mut self, seq: Seq, prepared: E::Prepared) -> Result<(), EngineError> {
        let bar = self.tree.best_ratio();
        let screened = self.judge_in(seq, prepared, Lane::Screen, bar).await?;
        // The screen is noisy, so a candidate may fall a little short of the best one and still be verified.
        let slack = 1.0 + self.config.search.promote_margin;
        let promising = screened.ratio().is_some_and(|ratio| ratio * slack >= bar.unwrap_or(0.0));
        if !promising || !screened.is_accepted() {
            return Ok(());
        }
        self.rejudge(seq, Lane::Verify).await?;
        let affordable = self.confirm_cost.affordable(self.clock.wall_seconds());
        if affordable && self.tree.contender(CLEAR_LEAD).is_some_and(|contender| contender.proposal == seq) {
            self.confirm(seq).await?;
        }
        Ok(())
    }

    /// Judges a candidate from its recorded source in a deeper lane.
    pub(crate) async fn rejudge(&mut self, seq: Seq, lane: Lane) -> Result<Option<Evidence>, EngineError> {
        let Some(candidate) = self.rebuild(seq)? else { return Ok(None) };
        let prepared = self.evaluator.prepare(candidate).await.map_err(EngineError::evaluate)?;
        self.judge_in(seq, prepared, lane, self.tree.best_ratio()).await.map(Some)
    }

    async fn judge_in(
        &mut self,
        seq: Seq,
        prepared: E::Prepared,
        lane: Lane,
        bar: Option<f64>,
    ) -> Result<Evidence, EngineError> {
        let evidence = self.evaluator.judge(prepared, lane, bar).await.map_err(EngineError::evaluate)?;
        self.record(vec![Event::Judged { proposal: seq, evidence: Box::new(evidence.clone()) }]).await?;
        Ok(evidence)
    }

    /// The candidate of an earlier proposal, out of the log.
    fn rebuild(&self, seq: Seq) -> Result<Option<Candidate>, EngineError> {
        let Some(proposed) = self.tree.proposed(seq) else { return Ok(None) };
        let bytes = self.recorder.kept(&proposed.source).map_err(EngineError::record)?;
        let proposal = Proposal {
            node: proposed.node,
            language: proposed.language,
            source: String::from_utf8_lossy(&bytes).into_owned(),
            plan: proposed.plan.clone(),
            origin: proposed.origin.clone(),
            prediction: proposed.prediction,
            rationale: proposed.rationale.clone(),
        };
        Ok(Some(Candidate::new(&self.contract.name, &self.target, proposal)))
    }

    /// Closes what the rules close, and asks for new strategies where the frontier stagnates.
    async fn refine(&mut self) -> Result<(), EngineError> {
        if self.tree.wants_refinement() {
            self.widen(kernsmith_core::port::PlanOccasion::Refine).await?;
        }
        Ok(())
    }

    async fn record_some(&mut self, events: Vec<Event>) -> Result<(), EngineError> {
        if events.is_empty() {
            return Ok(());
        }
        self.record(events).await.map(drop)
    }
}

fn proposed(candidate: &Candidate) -> Proposed {
    let proposal = &candidate.proposal;
    Proposed {
        node: proposal.node,
        source: candidate.source_digest,
        key: candidate.key,
        language: proposal.language,
        plan: proposal.plan.clone(),
        origin: proposal.origin.clone(),
        prediction: proposal.prediction,
        rationale: proposal.rationale.clone(),
    }
}

fn repeat(proposal: Seq, of: Seq, by: &str) -> Event {
    Event::Deduplicated { proposal, of, by: by.to_owned() }
}
