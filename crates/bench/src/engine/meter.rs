//! How fast the parts of a run are, and what they spend their time on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kernsmith_core::{Digest, Entry, Event, Record, Seq};
use kernsmith_engine::Observe;
use kernsmith_experiment_log::{LogError, RunWriter};
use kernsmith_planner::Tree;

use super::usage;

/// Parts of the run whose speeds are compared.
pub(super) const PARTS: u64 = 10;

/// Nanoseconds that the loop waited for the log; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct LogTime(Arc<AtomicU64>);

/// The log, with a clock beside it.
#[derive(Debug)]
pub(super) struct Timed {
    pub(super) inner: RunWriter,
    pub(super) spent: LogTime,
}

impl Record for Timed {
    type Error = LogError;

    fn keep(&mut self, bytes: &[u8]) -> Result<Digest, LogError> {
        self.inner.keep(bytes)
    }

    fn kept(&self, digest: &Digest) -> Result<Vec<u8>, LogError> {
        self.inner.kept(digest)
    }

    fn entry(&self, seq: Seq) -> Result<Entry, LogError> {
        self.inner.entry(seq)
    }

    async fn append(&mut self, events: Vec<Event>) -> Result<Vec<Entry>, LogError> {
        let begun = Instant::now();
        let entries = self.inner.append(events).await;
        self.spent.0.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        entries
    }
}

/// Where the clocks stood.
#[expect(clippy::struct_field_names, reason = "units stand in names")]
#[derive(Debug, Clone, Copy)]
struct Mark {
    wall_seconds: f64,
    cpu_seconds: f64,
    log_seconds: f64,
}

/// What one candidate of a part took, on average.
#[expect(clippy::struct_field_names, reason = "units stand in names")]
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Wall time.
    pub(super) wall_ms: f64,
    /// Processor time of all threads.
    pub(super) cpu_ms: f64,
    /// Wall time spent waiting for the log.
    pub(super) log_ms: f64,
}

/// When each part of the run was reached, and what was written.
#[derive(Debug)]
pub(super) struct Meter {
    candidates: u64,
    begun: Instant,
    logging: LogTime,
    /// The clocks when the search began, and when each tenth of the candidates had its first verdicts.
    marks: Vec<Mark>,
    pub(super) entries: u64,
    pub(super) promotions: u64,
    pub(super) events: blake3::Hasher,
}

impl Meter {
    pub(super) fn new(candidates: u64, logging: LogTime) -> Self {
        let (begun, events) = (Instant::now(), blake3::Hasher::new());
        Self { candidates, begun, logging, marks: Vec::new(), entries: 0, promotions: 0, events }
    }

    /// The search begins now.
    pub(super) fn begin(&mut self) {
        self.begun = Instant::now();
        self.marks = vec![self.now()];
    }

    /// Wall time since it began.
    pub(super) fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// What the candidates of a part took.
    pub(super) fn part(&self, number: usize) -> Part {
        let (from, to) = (self.marks[number], self.marks[number + 1]);
        let each = |seconds: f64| seconds.max(1e-9) * 1e3 * PARTS as f64 / self.candidates as f64;
        Part {
            wall_ms: each(to.wall_seconds - from.wall_seconds),
            cpu_ms: each(to.cpu_seconds - from.cpu_seconds),
            log_ms: each(to.log_seconds - from.log_seconds),
        }
    }

    fn now(&self) -> Mark {
        Mark {
            wall_seconds: self.seconds(),
            cpu_seconds: usage::cpu_seconds(),
            log_seconds: self.logging.0.load(Ordering::Relaxed) as f64 * 1e-9,
        }
    }

    fn note(&mut self, tree: &Tree, entry: &Entry) {
        self.entries += 1;
        self.promotions += u64::from(matches!(entry.event, Event::Promoted { .. }));
        let times = matches!(entry.event, Event::Closed { .. } | Event::Opened(_));
        if !times && let Ok(text) = serde_json::to_vec(&entry.event) {
            self.events.update(&text);
        }
        let judged = tree.counts().judged;
        let reached = |marks: usize| judged * PARTS >= self.candidates * marks as u64;
        while !self.marks.is_empty() && self.marks.len() as u64 <= PARTS && reached(self.marks.len()) {
            self.marks.push(self.now());
        }
    }
}

/// Tells the meter and whoever waits what has been written.
pub(super) struct Watch<'a> {
    pub(super) meter: Arc<Mutex<Meter>>,
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
}

impl Observe for Watch<'_> {
    fn noted(&mut self, tree: &Tree, entry: &Entry) {
        locked(&self.meter).note(tree, entry);
        if matches!(entry.event, Event::Proposed(_)) {
            (self.progress)(tree.counts().proposed);
        }
    }

    fn busy(&mut self, _: &str) {}
}

pub(super) fn locked(meter: &Mutex<Meter>) -> MutexGuard<'_, Meter> {
    meter.lock().unwrap_or_else(PoisonError::into_inner)
}
