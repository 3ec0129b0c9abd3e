//! How much wall time a run has used, out of its log.
//!
//! A session that was killed leaves no `closed` entry, so the times of its entries have to serve: a session lasts from its
//! `opened` or `resumed` entry to the last entry before the next one.

use jiff::Timestamp;
use kernsmith_core::{Entry, Event};

/// Wall time of all sessions of a run together; entries with unreadable times add nothing.
pub(crate) fn wall_seconds_used(entries: &[Entry]) -> f64 {
    let mut total = 0.0;
    let mut started: Option<Timestamp> = None;
    let mut last: Option<Timestamp> = None;
    for entry in entries {
        let Ok(time) = entry.time.parse::<Timestamp>() else { continue };
        if matches!(entry.event, Event::Opened(_) | Event::Resumed { .. }) {
            total += session_seconds(started, last);
            started = Some(time);
        }
        // What stands between two sessions, such as `recovered`, belongs to the later one.
        if !matches!(entry.event, Event::Recovered { .. }) {
            last = Some(time);
        }
    }
    total + session_seconds(started, last)
}

fn session_seconds(started: Option<Timestamp>, last: Option<Timestamp>) -> f64 {
    let (Some(started), Some(last)) = (started, last) else { return 0.0 };
    last.duration_since(started).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernsmith_core::{Digest, RunId, Seq};

    fn entry(time: &str, event: Event) -> Entry {
        Entry { seq: Seq(0), time: time.to_owned(), prev: Digest::ZERO, event }
    }

    #[test]
    fn the_pause_between_two_sessions_does_not_count() {
        let run_id: RunId = "a".parse().unwrap();
        let edit = || Event::TreeEdited { author: String::new(), edits: Vec::new() };
        let resumed = Event::Resumed { program: String::new(), wall_seconds_before: 0.0 };
        let entries = [
            entry("2026-01-01T00:00:00Z", kernsmith_core::conformance::opened(&run_id)),
            entry("2026-01-01T00:00:10Z", edit()),
            entry("2026-01-01T05:00:00Z", resumed),
            entry("2026-01-01T05:00:03Z", edit()),
        ];
        assert!((wall_seconds_used(&entries) - 13.0).abs() < 1e-9);
        assert!(wall_seconds_used(&entries[..0]).abs() < 1e-9);
    }
}
