//! A log in memory: what is measured here is what was asked, not what the disk takes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernsmith_core::model::Usage;
use kernsmith_core::{Digest, Entry, Event, Lane, Record, Seq};

use super::model::truth;
use crate::BenchError;

/// Entries and blobs; clones are the same log.
#[derive(Debug, Clone, Default)]
pub(super) struct MemoryLog(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    entries: Vec<Entry>,
    blobs: HashMap<Digest, Vec<u8>>,
}

impl MemoryLog {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For each proposal its last measured ratio, and what it is truly worth where it passed; in the order of judgement.
    pub(super) fn judged(&self) -> Vec<(f64, Option<f64>)> {
        let kept = self.lock();
        let source = |proposal: &Seq| match &kept.entries.get(proposal.0 as usize)?.event {
            Event::Proposed(proposed) => {
                let bytes = kept.blobs.get(&proposed.source)?;
                Some(String::from_utf8_lossy(bytes).into_owned())
            }
            _ => None,
        };
        let mut judged = Vec::new();
        for entry in &kept.entries {
            match &entry.event {
                Event::Judged { proposal, evidence } if evidence.lane == Lane::Screen => {
                    let worth = source(proposal).and_then(|source| truth(&source));
                    judged.push((evidence.ratio().unwrap_or(f64::MIN), worth));
                }
                Event::Deduplicated { .. } => judged.push((f64::MIN, None)),
                _ => {}
            }
        }
        judged
    }

    /// Tokens of every call.
    pub(super) fn usages(&self) -> Vec<Usage> {
        let kept = self.lock();
        let calls = kept.entries.iter().filter_map(|entry| match &entry.event {
            Event::ModelCalled(call) => Some(call.usage),
            _ => None,
        });
        calls.collect()
    }
}

impl Record for MemoryLog {
    type Error = BenchError;

    fn keep(&mut self, bytes: &[u8]) -> Result<Digest, BenchError> {
        let digest = Digest::of(bytes);
        self.lock().blobs.insert(digest, bytes.to_owned());
        Ok(digest)
    }

    fn kept(&self, digest: &Digest) -> Result<Vec<u8>, BenchError> {
        let missing =
            || BenchError::Option { name: "blob", value: digest.to_string(), legal: "one that was kept" };
        self.lock().blobs.get(digest).cloned().ok_or_else(missing)
    }

    fn entry(&self, seq: Seq) -> Result<Entry, BenchError> {
        let missing =
            || BenchError::Option { name: "entry", value: seq.to_string(), legal: "one that was appended" };
        self.lock().entries.get(seq.0 as usize).cloned().ok_or_else(missing)
    }

    async fn append(&mut self, events: Vec<Event>) -> Result<Vec<Entry>, BenchError> {
        let mut kept = self.lock();
        let first = kept.entries.len() as u64;
        let entry = |(event, seq)| Entry { seq: Seq(seq), time: String::new(), prev: Digest::ZERO, event };
        let entries: Vec<Entry> = events.into_iter().zip(first..).map(entry).collect();
        kept.entries.extend(entries.iter().cloned());
        Ok(entries)
    }
}
