//! One turn of the loop, for a small batch of strategies at once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use kernsmith_core::event::Proposed;
use kernsmith_core::port::{Evaluate, PlanOccasion, Propose, Record};
use kernsmith_core::{Candidate, Digest, Entry, Event, Evidence, Lane, Proposal, Seq};
use kernsmith_planner::STALE;
use tokio::task::JoinSet;

use crate::error::EngineError;
use crate::observe::Observe;
use crate::run::Engine;

/// Candidates at once where the configuration does not say and judging takes the processors for itself.
const DEFAULT_WIDTH: u64 = 2;
/// While the search goes on, only a clear leader is worth a confirmation; at the end any leader is.
const CLEAR_LEAD: f64 = 1.05;
/// A result waits so long for others to share a sync with. A judgement on a real device takes longer than that.
const GROUP_WAIT: Duration = Duration::from_millis(20);

impl<P: Propose, E: Evaluate + 'static, R: Record, O: Observe> Engine<P, E, R, O> {
    /// Selects, asks, tasks, records and learns; `false` when no strategy is open and nothing waits.
    ///
    /// Where building does not disturb judging, a turn tasks what the turn before has asked for: its own candidates are built
    /// meanwhile, in `waiting`.
    pub(crate) async fn turn(
        &mut self,
        waiting: &mut Option<Batch<E::Prepared>>,
    ) -> Result<bool, EngineError> {
        let nodes = self.tree.select_batch(self.width(), self.seed);
        let mut batch = None;
        if !nodes.is_empty() {
            let proposals = self.ask(&nodes).await?;
            let candidates = self.admit(proposals).await?;
            batch = Some(self.build(candidates).await?);
        }
        if self.evaluator.prepares_aside() > 0 {
            let first = waiting.is_none() && batch.is_some();
            std::mem::swap(waiting, &mut batch);
            if first {
                return Ok(true);
            }
        }
        let Some(batch) = batch else { return Ok(false) };
        self.judge_built(batch).await?;
        self.refine().await?;
        Ok(true)
    }

    /// Strategies that are worked on at once: as many as configured, or as fit, but no more than candidates are left.
    fn width(&self) -> usize {
        let width = match self.config.search.width {
            0 => (self.evaluator.prepares_aside() as u64).max(DEFAULT_WIDTH),
            width => u64::from(width),
        };
        let most = self.config.budget.candidates;
        let left = if most > 0 { most.saturating_sub(self.tree.counts().proposed) } else { width };
        width.min(left).max(1) as usize
    }

    /// Candidates that an interrupted session proposed and never judged.
    pub(crate) async fn judge_pending(&mut self) -> Result<(), EngineError> {
        let mut candidates = Vec::new();
        for seq in self.tree.pending() {
            candidates.extend(self.rebuild(seq)?.map(|candidate| (seq, candidate)));
        }
        let batch = self.build(candidates).await?;
        self.judge_built(batch).await
    }

    /// Records proposals in one group and drops those that repeat an earlier source.
    async fn admit(&mut self, proposals: Vec<Proposal>) -> Result<Vec<(Seq, Candidate)>, EngineError> {
        let mut candidates = Vec::new();
        let mut events = Vec::new();
        for proposal in proposals {
            let candidate = Candidate::new(&self.contract.name, &self.target, proposal);
            let source = candidate.proposal.source.as_bytes();
            self.recorder.keep(source).map_err(EngineError::record)?;
            events.push(Event::Proposed(Box::new(Proposed::of(&candidate))));
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

    /// Begins to build all candidates at the same time.
    async fn build(&mut self, candidates: Vec<(Seq, Candidate)>) -> Result<Batch<E::Prepared>, EngineError> {
        let mut batch = Batch { order: VecDeque::new(), builds: JoinSet::new(), built: BTreeMap::new() };
        for (seq, candidate) in candidates {
            // Overtaken while it waited: its strategy is asked again, from the better base.
            if let Some(stale) = self.tree.stale(seq, &[]) {
                self.record_some(vec![repeat(seq, stale.beaten_by, STALE)]).await?;
                continue;
            }
            let evaluator = self.evaluator.clone();
            batch.order.push_back(seq);
            batch.builds.spawn(async move {
                (seq, evaluator.prepare(candidate).await.map_err(EngineError::evaluate))
            });
        }
        batch.order.make_contiguous().sort_unstable();
        Ok(batch)
    }

    /// Screens a batch, then looks deeper at what is promising.
    pub(crate) async fn judge_built(&mut self, mut batch: Batch<E::Prepared>) -> Result<(), EngineError> {
        if self.evaluator.prepares_aside() == 0 {
            batch.finish().await?;
        }
        let mut promising = self.screen_all(batch).await?;
        // The most promising one first: where it holds what it promised, the others may not be worth the time.
        promising.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for wave in promising.chunks(self.evaluator.devices().max(1)) {
            self.deepen(wave).await?;
        }
        Ok(())
    }

    /// Screens candidates one after the other, or as many at a time as there are devices; those that passed are handed back with
    /// their ratios.
    ///
    /// Results that come faster than a disk can make them durable are recorded together. What is decided in between (twins,
    /// the bar) depends on what was screened, never on what is on disk already, so that the same seed gives the same history.
    async fn screen_all(&mut self, mut batch: Batch<E::Prepared>) -> Result<Vec<(Seq, f64)>, EngineError> {
        let mut bar = self.tree.best_ratio();
        let mut twins: HashMap<Digest, Seq> = HashMap::new();
        let mut passed = Vec::new();
        let mut group = Group::default();
        let devices = self.evaluator.devices().max(1);
        let mut wave = Vec::new();
        loop {
            let next = batch.next().await?;
            let ended = next.is_none();
            if let Some((seq, prepared)) = next {
                let object = self.evaluator.code_object(&prepared);
                let known =
                    |digest| self.tree.known_code_object(&digest).or_else(|| twins.get(&digest).copied());
                if let Some(of) = object.and_then(known) {
                    group.events.push(repeat(seq, of, "code_object"));
                    continue;
                }
                // Right before it costs device time: one that was screened a moment ago may have overtaken it.
                if let Some(stale) = self.tree.stale(seq, &passed) {
                    group.events.push(repeat(seq, stale.beaten_by, STALE));
                    continue;
                }
                twins.extend(object.map(|digest| (digest, seq)));
                wave.push((seq, prepared));
            }
            if ended || wave.len() == devices {
                for (seq, evidence) in self.judge_wave(std::mem::take(&mut wave), Lane::Screen, bar).await? {
                    if let Some(ratio) = evidence.ratio().filter(|_| evidence.is_accepted()) {
                        bar = Some(bar.map_or(ratio, |bar| bar.max(ratio)));
                        passed.push((seq, ratio));
                    }
                    group.events.push(Event::Judged { proposal: seq, evidence: Box::new(evidence) });
                }
                if group.is_due() {
                    self.record_some(group.take()).await?;
                }
            }
            if ended {
                break;
            }
        }
        self.record_some(group.take()).await?;
        Ok(passed)
    }

    /// Judges candidates side by side, a device each; the answers come in the order in which they were proposed.
    async fn judge_wave(
        &self,
        wave: Vec<(Seq, E::Prepared)>,
        lane: Lane,
        bar: Option<f64>,
    ) -> Result<Vec<(Seq, Evidence)>, EngineError> {
        let mut tasks = JoinSet::new();
        for (seq, prepared) in wave {
            let evaluator = self.evaluator.clone();
            tasks.spawn(async move { (seq, evaluator.judge(prepared, lane, bar).await) });
        }
        let mut judged = Vec::new();
        while let Some(joined) = tasks.join_next().await {
            let (seq, evidence) = joined.map_err(EngineError::evaluate)?;
            judged.push((seq, evidence.map_err(EngineError::evaluate)?));
        }
        judged.sort_by_key(|(seq, _)| *seq);
        Ok(judged)
    }

    /// Verifies screened candidates that may be the best so far, and confirms a clear leader at once.
    async fn deepen(&mut self, wave: &[(Seq, f64)]) -> Result<(), EngineError> {
        // The screen is noisy, so a candidate may fall a little short of the best one and still be verified.
        let slack = 1.0 + self.config.search.promote_margin;
        let best = self.tree.best_ratio();
        let mut ready = Vec::new();
        let promising = wave.iter().filter(|(_, screened)| screened * slack >= best.unwrap_or(0.0));
        for &(seq, _) in promising {
            if let Some(candidate) = self.rebuild(seq)? {
                let prepared = self.evaluator.prepare(candidate).await.map_err(EngineError::evaluate)?;
                ready.push((seq, prepared));
            }
        }
        let leaders: Vec<Seq> = ready.iter().map(|(seq, _)| *seq).collect();
        let judged = self.judge_wave(ready, Lane::Verify, best).await?;
        let event = |(proposal, evidence)| Event::Judged { proposal, evidence: Box::new(evidence) };
        self.record_some(judged.into_iter().map(event).collect()).await?;
        for seq in leaders {
            let affordable = self.confirm_cost.affordable(&self.config.budget);
            let leads = self.tree.contender(CLEAR_LEAD).is_some_and(|contender| contender.proposal == seq);
            if affordable && leads {
                self.confirm(seq).await?;
            }
        }
        Ok(())
    }

    /// Judges a candidate from its recorded source in a deeper lane.
    pub(crate) async fn rejudge(&mut self, seq: Seq, lane: Lane) -> Result<Option<Evidence>, EngineError> {
        let Some(candidate) = self.rebuild(seq)? else { return Ok(None) };
        let bar = self.tree.best_ratio();
        let prepared = self.evaluator.prepare(candidate).await.map_err(EngineError::evaluate)?;
        let evidence = self.evaluator.judge(prepared, lane, bar).await.map_err(EngineError::evaluate)?;
        let entries =
            self.record(vec![Event::Judged { proposal: seq, evidence: Box::new(evidence) }]).await?;
        Ok(entries.into_iter().next().and_then(judgement))
    }

    /// The candidate of an earlier proposal, out of the log.
    fn rebuild(&self, seq: Seq) -> Result<Option<Candidate>, EngineError> {
        let Event::Proposed(proposed) = self.recorder.entry(seq).map_err(EngineError::record)?.event else {
            return Ok(None);
        };
        let source = self.recorder.kept(&proposed.source).map_err(EngineError::record)?;
        Ok(Some(Candidate::new(&self.contract.name, &self.target, proposed.into_proposal(&source))))
    }

    /// Closes what the rules close, and asks for new strategies where the frontier stagnates.
    async fn refine(&mut self) -> Result<(), EngineError> {
        if self.tree.wants_paradigm() {
            self.widen(PlanOccasion::Stagnation).await?;
        } else if self.tree.wants_refinement() {
            self.widen(PlanOccasion::Refine).await?;
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

/// Candidates that are being built, handed out in the order in which they were proposed. Dropping it ends the builds.
pub(crate) struct Batch<T> {
    order: VecDeque<Seq>,
    builds: JoinSet<(Seq, Result<T, EngineError>)>,
    built: BTreeMap<Seq, T>,
}

impl<T: 'static> Batch<T> {
    /// Waits until everything is built.
    async fn finish(&mut self) -> Result<(), EngineError> {
        while let Some(joined) = self.builds.join_next().await {
            let (seq, prepared) = joined.map_err(EngineError::evaluate)?;
            self.built.insert(seq, prepared?);
        }
        Ok(())
    }

    /// The next one, when it is built.
    async fn next(&mut self) -> Result<Option<(Seq, T)>, EngineError> {
        let Some(seq) = self.order.pop_front() else { return Ok(None) };
        loop {
            if let Some(prepared) = self.built.remove(&seq) {
                return Ok(Some((seq, prepared)));
            }
            let Some(joined) = self.builds.join_next().await else { return Ok(None) };
            let (other, prepared) = joined.map_err(EngineError::evaluate)?;
            self.built.insert(other, prepared?);
        }
    }
}

/// Results on their way to the disk.
#[derive(Default)]
struct Group {
    events: Vec<Event>,
    since: Option<Instant>,
}

impl Group {
    /// Whether the results have waited long enough. The first one starts the wait.
    fn is_due(&mut self) -> bool {
        self.since.get_or_insert_with(Instant::now).elapsed() >= GROUP_WAIT
    }

    fn take(&mut self) -> Vec<Event> {
        self.since = None;
        std::mem::take(&mut self.events)
    }
}

fn judgement(entry: Entry) -> Option<Evidence> {
    match entry.event {
        Event::Judged { evidence, .. } => Some(*evidence),
        _ => None,
    }
}

fn repeat(proposal: Seq, of: Seq, by: &str) -> Event {
    Event::Deduplicated { proposal, of, by: by.to_owned() }
}
