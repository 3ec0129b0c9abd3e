//! One line of the history: how an entry is written, checked and read.
//!
//! `{"seq":…,"time":"…","prev":"…","event":{…},"sum":"…"}` and a newline. `prev` chains a line to the one before it;
//! `sum` is the start of the digest of the line's own bytes before `,"sum"`, so that the last line, which nothing is chained
//! to yet, is protected too. Both are computed over raw bytes: nothing is serialised again to check it.

use std::borrow::Cow;
use std::io::Write;

use kernsmith_core::event::Proposed;
use kernsmith_core::{Digest, Entry, Event, Evidence, Seq};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::verify::DamageKind;

const SUM_BYTES: usize = 8;
const SUM_KEY: &[u8] = b",\"sum\":\"";
const SUM_END: &[u8] = b"\"}";
const SUM_FIELD_BYTES: usize = SUM_KEY.len() + 2 * SUM_BYTES + SUM_END.len();

/// What a line says before its event is looked at.
#[derive(Debug, Deserialize)]
pub(crate) struct Line<'a> {
    /// Place in the log.
    pub(crate) seq: Seq,
    /// Wall-clock time.
    #[serde(borrow)]
    pub(crate) time: Cow<'a, str>,
    /// Digest of the line before.
    pub(crate) prev: Digest,
    /// The event, not parsed yet.
    #[serde(borrow)]
    event: &'a RawValue,
}

/// What is wrong with a line.
pub(crate) type Flaw = (DamageKind, String);

/// Appends one line to `buffer` and returns the digest that the next line chains to.
pub(crate) fn encode(
    buffer: &mut Vec<u8>,
    seq: Seq,
    time: &str,
    prev: &Digest,
    event: &Event,
) -> std::io::Result<Digest> {
    let start = buffer.len();
    write!(buffer, r#"{{"seq":{},"time":"{time}","prev":"{prev}","event":"#, seq.0)?;
    serde_json::to_writer(&mut *buffer, event)?;
    let sum = sum_text(&blake3::hash(&buffer[start..]));
    buffer.extend_from_slice(SUM_KEY);
    buffer.extend_from_slice(&sum);
    buffer.extend_from_slice(SUM_END);
    let digest = Digest::of(&buffer[start..]);
    buffer.push(b'\n');
    Ok(digest)
}

/// Checks a line's own sum and splits it; `bytes` come without the newline. The digest is that of the whole line, which the
/// next line chains to; both are taken in one pass, which is most of the cost of opening a long log.
pub(crate) fn decode(bytes: &[u8]) -> (Digest, Result<Line<'_>, Flaw>) {
    let (body, field) = bytes.split_at(bytes.len().saturating_sub(SUM_FIELD_BYTES));
    let mut hasher = blake3::Hasher::new();
    hasher.update(body);
    let sum = sum_text(&hasher.finalize());
    hasher.update(field);
    let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
    (digest, split(bytes, field, &sum))
}

fn split<'a>(bytes: &'a [u8], field: &[u8], sum: &[u8]) -> Result<Line<'a>, Flaw> {
    let stated = field
        .strip_prefix(SUM_KEY)
        .and_then(|rest| rest.strip_suffix(SUM_END))
        .ok_or_else(|| (DamageKind::BadJson, "the line does not end with its `sum`".to_owned()))?;
    if stated != sum {
        return Err((DamageKind::BadSum, "the line's bytes do not fit its own `sum`".to_owned()));
    }
    serde_json::from_slice(bytes).map_err(|error| (DamageKind::BadJson, error.to_string()))
}

fn sum_text(digest: &blake3::Hash) -> [u8; 2 * SUM_BYTES] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 2 * SUM_BYTES];
    for (pair, byte) in text.chunks_exact_mut(2).zip(digest.as_bytes()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

#[derive(Deserialize)]
struct TypeOnly<'a> {
    #[serde(borrow, rename = "type")]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct SourceOnly {
    source: Digest,
}

#[derive(Deserialize)]
struct Judged {
    proposal: Seq,
    evidence: Box<Evidence>,
}

impl Line<'_> {
    /// The event's name; our own lines start with it, others are searched for it.
    pub(crate) fn event_name(&self) -> Cow<'_, str> {
        let text = self.event.get();
        if let Some(rest) = text.strip_prefix("{\"type\":\"")
            && let Some(end) = rest.find('"')
        {
            return Cow::Borrowed(&rest[..end]);
        }
        serde_json::from_str::<TypeOnly<'_>>(text).map_or(Cow::Borrowed(""), |only| only.name)
    }

    /// The blobs that the event refers to, as [`Event::blobs`] names them; the rest of the event is skipped.
    pub(crate) fn references(&self) -> Result<Vec<Digest>, serde_json::Error> {
        let text = self.event.get();
        match &*self.event_name() {
            "proposed" | "baseline_frozen" => {
                serde_json::from_str::<SourceOnly>(text).map(|only| vec![only.source])
            }
            "opened" | "model_called" => serde_json::from_str::<Event>(text).map(|event| event.blobs()),
            _ => Ok(Vec::new()),
        }
    }

    /// Some fields of the event, the others skipped.
    pub(crate) fn part<'de, T: Deserialize<'de>>(&'de self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.event.get())
    }

    /// The whole event.
    ///
    /// The two events that fill a log are parsed straight into their types: an internally tagged enum would first copy
    /// every value into a buffer, which costs several times as much.
    pub(crate) fn event(&self) -> Result<Event, serde_json::Error> {
        let text = self.event.get();
        match &*self.event_name() {
            "proposed" => serde_json::from_str::<Box<Proposed>>(text).map(Event::Proposed),
            "judged" => serde_json::from_str::<Judged>(text)
                .map(|judged| Event::Judged { proposal: judged.proposal, evidence: judged.evidence }),
            _ => serde_json::from_str(text),
        }
    }

    /// The whole entry.
    pub(crate) fn entry(&self) -> Result<Entry, serde_json::Error> {
        let event = self.event()?;
        Ok(Entry { seq: self.seq, time: self.time.clone().into_owned(), prev: self.prev, event })
    }
}

/// Whether this version knows the event; a newer log may hold others.
pub(crate) fn is_known(name: &str) -> bool {
    const KNOWN: [&str; 11] = [
        "opened",
        "baseline_frozen",
        "tree_edited",
        "proposed",
        "deduplicated",
        "judged",
        "promoted",
        "model_called",
        "recovered",
        "resumed",
        "closed",
    ];
    KNOWN.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed() -> Event {
        Event::Closed { reason: "goal".to_owned(), wall_seconds: 1.5 }
    }

    #[test]
    fn a_line_is_read_back_as_it_was_written() {
        let mut buffer = Vec::new();
        let digest = encode(&mut buffer, Seq(3), "2026-01-02T03:04:05Z", &Digest::ZERO, &closed()).unwrap();
        let bytes = buffer.strip_suffix(b"\n").unwrap();
        assert_eq!(Digest::of(bytes), digest);
        let (read, line) = decode(bytes);
        assert_eq!(read, digest);
        let entry = line.unwrap().entry().unwrap();
        assert_eq!((entry.seq, entry.prev, entry.event), (Seq(3), Digest::ZERO, closed()));
    }

    #[test]
    fn no_single_changed_bit_goes_unseen() {
        let mut buffer = Vec::new();
        encode(&mut buffer, Seq(0), "t", &Digest::ZERO, &closed()).unwrap();
        buffer.pop();
        for index in 0..buffer.len() {
            for bit in 0..8 {
                let mut damaged = buffer.clone();
                damaged[index] ^= 1 << bit;
                assert!(decode(&damaged).1.is_err(), "byte {index}, bit {bit}");
            }
        }
    }

    #[test]
    fn every_event_of_this_version_is_known_by_name() {
        assert!(is_known(closed().name()) && !is_known("dreamt"));
    }
}
