//! What the tree remembers of every proposal of a run, in as little room as it takes.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use kernsmith_core::{Digest, Seq};

use crate::attempt::Attempted;

/// Half a digest: 128 bits tell candidates apart as well, in half the room.
type Half = [u8; 16];

/// All attempts in order of their entries. A log numbers upwards, so that a new one nearly always goes to the end.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Attempts {
    attempts: Vec<Attempted>,
    /// The entry of each, once more: a search among numbers alone stays in the processor's cache, whatever the length of the run.
    seqs: Vec<Seq>,
}

impl Attempts {
    fn place(&self, seq: Seq) -> Result<usize, usize> {
        if self.seqs.last().is_none_or(|last| *last < seq) {
            return Err(self.seqs.len());
        }
        self.seqs.binary_search(&seq)
    }

    pub(crate) fn get(&self, seq: Seq) -> Option<&Attempted> {
        self.attempts.get(self.place(seq).ok()?)
    }

    pub(crate) fn get_mut(&mut self, seq: Seq) -> Option<&mut Attempted> {
        let place = self.place(seq).ok()?;
        self.attempts.get_mut(place)
    }

    /// Takes in an attempt whose entry is not known yet.
    pub(crate) fn insert(&mut self, attempt: Attempted) {
        if let Err(place) = self.place(attempt.seq) {
            self.seqs.insert(place, attempt.seq);
            self.attempts.insert(place, attempt);
        }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Attempted> {
        self.attempts.iter()
    }
}

/// A digest is its own hash.
#[derive(Debug, Clone, Default)]
pub(crate) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(start) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*start);
        }
    }
}

/// The first proposal of each digest.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct FirstSeen(HashMap<Half, Seq, BuildHasherDefault<DigestHasher>>);

impl FirstSeen {
    fn half(digest: &Digest) -> Half {
        std::array::from_fn(|index| digest.bytes()[index])
    }

    /// Notes a proposal; an earlier one of the same digest stays.
    pub(crate) fn note(&mut self, digest: &Digest, seq: Seq) {
        self.0.entry(Self::half(digest)).or_insert(seq);
    }

    pub(crate) fn find(&self, digest: &Digest) -> Option<Seq> {
        self.0.get(&Self::half(digest)).copied()
    }

    /// Takes a digest out again, where that proposal was its first.
    pub(crate) fn forget(&mut self, digest: &Digest, seq: Seq) {
        if self.find(digest) == Some(seq) {
            self.0.remove(&Self::half(digest));
        }
    }
}
