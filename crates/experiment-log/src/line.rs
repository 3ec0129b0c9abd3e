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
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// Place in the log.
    pub(crate) seq: Seq,
    /// Wall-clock time.
    pub(crate) time: Cow<'a, str>,
    /// Digest of the line before.
    pub(crate) prev: Digest,
    /// The event, not parsed yet. Where a newer writer put fields behind it they hang on to it.
    event: &'a str,
    bytes: &'a [u8],
}

/// A line whose fields may stand in any order, with others between them.
#[derive(Deserialize)]
struct Loose<'a> {
    seq: Seq,
    #[serde(borrow)]
    time: Cow<'a, str>,
    prev: Digest,
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
    if let Some(line) = canonical(bytes) {
        return Ok(line);
    }
    let loose: Loose<'_> =
        serde_json::from_slice(bytes).map_err(|error| (DamageKind::BadJson, error.to_string()))?;
    let Loose { seq, time, prev, event } = loose;
    Ok(Line { seq, time, prev, event: event.get(), bytes })
}

/// A line exactly as [`encode`] writes it, split without looking at the event: whoever takes something out of that parses it.
fn canonical(bytes: &[u8]) -> Option<Line<'_>> {
    let body = bytes.get(..bytes.len().checked_sub(SUM_FIELD_BYTES)?)?;
    let rest = body.strip_prefix(b"{\"seq\":")?;
    let (digits, rest) = rest.split_at(rest.iter().position(|byte| *byte == b',')?);
    let whole = digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits.first()? != &b'0');
    let seq = Seq(std::str::from_utf8(digits).ok().filter(|_| whole)?.parse().ok()?);
    let rest = rest.strip_prefix(b",\"time\":\"")?;
    let (time, rest) = rest.split_at(rest.iter().position(|byte| *byte == b'"')?);
    let plain = time.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\');
    let time = std::str::from_utf8(time).ok().filter(|_| plain)?;
    let (prev, rest) = rest.strip_prefix(b"\",\"prev\":\"")?.split_first_chunk::<64>()?;
    let prev = std::str::from_utf8(prev).ok()?.parse().ok()?;
    let event = std::str::from_utf8(rest.strip_prefix(b"\",\"event\":")?).ok()?;
    Some(Line { seq, time: Cow::Borrowed(time), prev, event, bytes })
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
struct Judged {
    proposal: Seq,
    evidence: Box<Evidence>,
}

impl<'a> Line<'a> {
    /// The event's name; our own lines start with it, others are searched for it.
    pub(crate) fn event_name(&self) -> Cow<'a, str> {
        if let Some(rest) = self.event.strip_prefix("{\"type\":\"")
            && let Some(end) = rest.find('"')
        {
            return Cow::Borrowed(&rest[..end]);
        }
        self.part::<TypeOnly<'_>>().map_or(Cow::Borrowed(""), |only| only.name)
    }

    /// Some fields of the event, the others skipped; with `serde::de::IgnoredAny` whether it is JSON at all.
    pub(crate) fn part<T: Deserialize<'a>>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.event).or_else(|_| {
            let loose: Loose<'_> = serde_json::from_slice(self.bytes)?;
            serde_json::from_str(loose.event.get())
        })
    }

    /// The whole event.
    ///
    /// The two events that fill a log are parsed straight into their types: an internally tagged enum would first copy
    /// every value into a buffer, which costs several times as much.
    pub(crate) fn event(&self) -> Result<Event, serde_json::Error> {
        match &*self.event_name() {
            "proposed" => self.part::<Box<Proposed>>().map(Event::Proposed),
            "judged" => self
                .part::<Judged>()
                .map(|judged| Event::Judged { proposal: judged.proposal, evidence: judged.evidence }),
            _ => self.part(),
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

    /// A line of these bytes with a sum that fits.
    fn summed(body: &str) -> Vec<u8> {
        let sum = sum_text(&blake3::hash(body.as_bytes()));
        [body.as_bytes(), SUM_KEY, &sum, SUM_END].concat()
    }

    #[test]
    fn fields_of_a_newer_writer_may_stand_anywhere() {
        let (zero, event) = (Digest::ZERO, r#"{"type":"closed","reason":"goal","wall_seconds":1.5}"#);
        let bodies = [
            format!(r#"{{"seq":3,"time":"t","prev":"{zero}","event":{event}"#),
            format!(r#"{{"seq":3,"time":"t","prev":"{zero}","event":{event},"mood":"good""#),
            format!(r#"{{"mood":[1],"seq":3,"time":"t","prev":"{zero}","event":{event}"#),
            format!(r#"{{ "event": {event}, "seq":3,"prev":"{zero}","time":"\u0074""#),
        ];
        for body in bodies {
            let bytes = summed(&body);
            let entry = decode(&bytes).1.unwrap().entry().expect(&body);
            assert_eq!((entry.seq, &*entry.time, entry.prev, entry.event), (Seq(3), "t", zero, closed()));
        }
    }

    #[test]
    fn a_line_that_is_no_json_is_refused_though_its_sum_fits() {
        let (zero, event) = (Digest::ZERO, r#"{"type":"closed","reason":"goal","wall_seconds":1.5}"#);
        for (seq, event) in [("03", event), ("+3", event), ("3", "{"), ("3", ""), ("3", &event[..30])] {
            let bytes = summed(&format!(r#"{{"seq":{seq},"time":"t","prev":"{zero}","event":{event}"#));
            let entry = decode(&bytes).1.map_err(|flaw| flaw.1).and_then(|line| {
                line.part::<serde::de::IgnoredAny>().and_then(|_| line.entry()).map_err(|e| e.to_string())
            });
            assert!(entry.is_err(), "seq {seq}, event {event}: {entry:?}");
        }
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
