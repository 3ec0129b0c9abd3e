//! One pass over the log: what the pages tell, before it is made into text.

use std::path::Path;

use kernsmith_core::event::{BaselineFrozen, Opened, Proposed};
use kernsmith_core::{Entry, Event, Evidence, Lane, Seq};
use kernsmith_experiment_log::{LogError, RunReader};
use kernsmith_planner::{PlannerOptions, Tree};

use crate::spend::ModelSpend;

/// A judged candidate on the way of the search.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    /// Candidates proposed up to here.
    pub(crate) ordinal: u64,
    /// Wall time of the search up to here, pauses between sessions left out.
    pub(crate) seconds: f64,
    /// Its ratio to the frozen baseline.
    pub(crate) ratio: f64,
}

/// A promotion on the way of the search.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promotion {
    /// Where on the way, with the confirmed ratio.
    pub(crate) at: Point,
    /// The `Proposed` entry.
    pub(crate) proposal: Seq,
    /// The interval.
    pub(crate) ci: (f64, f64),
}

/// The candidate that the report shows.
#[derive(Debug)]
pub(crate) struct Leader {
    /// Its `Proposed` entry.
    pub(crate) seq: Seq,
    /// What was proposed.
    pub(crate) proposed: Proposed,
    /// The source text.
    pub(crate) source: String,
    /// The evidence of its confirmation; of its best judgement where it was not confirmed.
    pub(crate) evidence: Box<Evidence>,
    /// Whether it was promoted.
    pub(crate) confirmed: bool,
}

/// What the log says, in order of time.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) opened: Opened,
    pub(crate) started: String,
    pub(crate) entries: u64,
    pub(crate) sealed: bool,
    pub(crate) baseline: Option<BaselineFrozen>,
    pub(crate) points: Vec<Point>,
    pub(crate) promotions: Vec<Promotion>,
    pub(crate) leader: Option<Leader>,
    /// The lane and ratio of the best candidate that passed, confirmed or not.
    pub(crate) best_seen: Option<(Seq, Lane, f64)>,
    /// Gates that the configuration weakened in any judgement.
    pub(crate) weakened: Vec<String>,
    pub(crate) closed: Option<String>,
    pub(crate) wall_seconds: f64,
    pub(crate) resumed: u64,
    pub(crate) recovered: u64,
    pub(crate) end_seconds: f64,
    /// Calls of models; `None` where none was made.
    pub(crate) models: Option<ModelSpend>,
    pub(crate) tree: Tree,
}

/// Reads a run from its first entry to its last, and once more for the evidence of the one candidate that is shown.
pub(crate) fn read(directory: &Path, planner: &PlannerOptions) -> Result<Story, LogError> {
    let reader = RunReader::open(directory)?;
    let mut fold = Fold::new(reader.opened().clone(), reader.sealed()?.is_some(), planner);
    for entry in reader.entries()? {
        fold.apply(&entry?);
    }
    let mut story = fold.finish();
    story.leader = find_leader(&reader, &story)?;
    Ok(story)
}

/// The champion, or the best candidate that passed where none was confirmed.
fn find_leader(reader: &RunReader, story: &Story) -> Result<Option<Leader>, LogError> {
    let champion = story.tree.champion();
    let shown = champion.map(|champion| champion.proposal).or(story.best_seen.map(|(seq, ..)| seq));
    let Some(seq) = shown else { return Ok(None) };
    let (mut handed_over, mut found) = (None, None);
    for entry in reader.entries()? {
        let entry = entry?;
        match entry.event {
            Event::Proposed(proposed) if entry.seq == seq => handed_over = Some(*proposed),
            Event::Judged { proposal, evidence }
                if proposal == seq && evidence.is_accepted() && evidence.performance.is_some() =>
            {
                found = Some(evidence);
            }
            _ => {}
        }
        if champion.is_some_and(|champion| champion.confirmation == entry.seq) {
            break;
        }
    }
    let (Some(proposed), Some(evidence)) = (handed_over, found) else { return Ok(None) };
    let source = String::from_utf8_lossy(&reader.blob(&proposed.source)?).into_owned();
    Ok(Some(Leader { seq, proposed, source, evidence, confirmed: champion.is_some() }))
}

struct Fold {
    story: Story,
    ordinals: u64,
    /// Seconds since the epoch of the first entry, of the last one, and of all pauses together.
    begin: Option<f64>,
    now: f64,
    paused_seconds: f64,
}

impl Fold {
    fn new(opened: Opened, sealed: bool, planner: &PlannerOptions) -> Self {
        let story = Story {
            opened,
            started: String::new(),
            entries: 0,
            sealed,
            baseline: None,
            points: Vec::new(),
            promotions: Vec::new(),
            leader: None,
            best_seen: None,
            weakened: Vec::new(),
            closed: None,
            wall_seconds: 0.0,
            resumed: 0,
            recovered: 0,
            end_seconds: 0.0,
            models: None,
            tree: Tree::new(planner.clone()),
        };
        Self { story, ordinals: 0, begin: None, now: 0.0, paused_seconds: 0.0 }
    }

    fn point(&self, ratio: f64) -> Point {
        Point { ordinal: self.ordinals, seconds: self.elapsed_seconds(), ratio }
    }

    fn elapsed_seconds(&self) -> f64 {
        (self.now - self.begin.unwrap_or(self.now) - self.paused_seconds).max(0.0)
    }

    fn apply(&mut self, entry: &Entry) {
        let before = self.now;
        // A time that does not parse is no reason to have no report: the plot over time loses one step.
        self.now =
            entry.time.parse().map_or(before, |time: jiff::Timestamp| time.as_millisecond() as f64 / 1e3);
        self.story.entries += 1;
        self.story.closed = None;
        self.story.tree.apply(entry);
        match &entry.event {
            Event::Opened(_) => {
                self.begin = Some(self.now);
                self.story.started.clone_from(&entry.time);
            }
            Event::BaselineFrozen(baseline) => self.story.baseline = Some((**baseline).clone()),
            Event::Proposed(_) => self.ordinals += 1,
            Event::Judged { evidence, .. } => self.judged(evidence),
            Event::Promoted { proposal, ratio, ci_low, ci_high, .. } => {
                let at = self.point(*ratio);
                self.story.promotions.push(Promotion { at, proposal: *proposal, ci: (*ci_low, *ci_high) });
            }
            Event::Recovered { .. } => self.story.recovered += 1,
            Event::Resumed { .. } => {
                self.story.resumed += 1;
                self.paused_seconds += (self.now - before).max(0.0);
            }
            Event::Closed { reason, wall_seconds } => {
                self.story.closed = Some(reason.clone());
                self.story.wall_seconds = *wall_seconds;
            }
            Event::ModelCalled(call) => self.story.models.get_or_insert_default().add(call),
            Event::TreeEdited { .. } | Event::Deduplicated { .. } => {}
        }
    }

    fn judged(&mut self, evidence: &Evidence) {
        for gate in &evidence.environment.weakened {
            if !self.story.weakened.contains(gate) {
                self.story.weakened.push(gate.clone());
            }
        }
        if let Some(ratio) = evidence.ratio().filter(|ratio| evidence.is_accepted() && *ratio > 0.0) {
            self.story.points.push(self.point(ratio));
        }
    }

    fn finish(mut self) -> Story {
        self.story.end_seconds = self.elapsed_seconds();
        if self.story.closed.is_none() {
            self.story.wall_seconds = self.story.end_seconds;
        }
        // A candidate that was caught later does not count as seen: the tree knows.
        let timed = self.story.tree.attempts().filter_map(|attempt| {
            let ratio = attempt.ratio()?;
            Some((attempt.seq, attempt.measured.as_ref()?.lane, ratio))
        });
        let gains = self.story.promotions.len() as u64;
        self.story.models = self.story.models.take().map(|models| models.with_gains(gains));
        self.story.best_seen = timed.max_by(|a, b| a.2.total_cmp(&b.2));
        self.story
    }
}
