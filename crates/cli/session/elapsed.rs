//! How much wall time a run has used, out of its log.
//!
//! A session that was killed leaves no `closed` entry, so the times of its entries have to serve: a session lasts from its
//! `opened` or `resumed` entry to the last entry before the next one. `opened` comes before anything is measured; `resumed` comes
//! after the baseline was measured again and says itself how much time was used until then.

use jiff::Timestamp;
use kernsmith_core::{Entry, Event};

/// Wall time of all sessions of a run together, one entry at a time; entries with unreadable times add nothing.
#[derive(Debug, Default)]
pub(crate) struct Elapsed {
    total: f64,
    started: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl Elapsed {
    /// Takes the next entry.
    pub(crate) fn note(&mut self, entry: &Entry) {
        let Ok(time) = entry.time.parse::<Timestamp>() else { return };
        if matches!(entry.event, Event::Opened(_) | Event::Resumed { .. }) {
            self.total += session_seconds(self.started, self.last);
            if let Event::Resumed { wall_seconds_before, .. } = entry.event
                && wall_seconds_before.is_finite()
            {
                self.total = self.total.max(wall_seconds_before);
            }
            self.started = Some(time);
        }
        // What stands between two sessions, such as `recovered`, belongs to the later one.
        if !matches!(entry.event, Event::Recovered { .. }) {
            self.last = Some(time);
        }
    }

    /// Seconds so far.
    pub(crate) fn seconds(&self) -> f64 {
        self.total + session_seconds(self.started, self.last)
    }
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
        let resumed = |wall_seconds_before| Event::Resumed { program: String::new(), wall_seconds_before };
        let entries = [
            entry("2026-01-01T00:00:00Z", kernsmith_core::conformance::opened(&run_id)),
            entry("2026-01-01T00:00:10Z", edit()),
            entry("2026-01-01T05:00:00Z", resumed(0.0)),
            entry("2026-01-01T05:00:03Z", edit()),
            entry("2026-01-01T06:00:20Z", resumed(33.0)),
            entry("2026-01-01T06:00:21Z", edit()),
        ];
        let mut elapsed = Elapsed::default();
        assert!(elapsed.seconds().abs() < 1e-9);
        for entry in &entries {
            elapsed.note(entry);
        }
        assert!((elapsed.seconds() - 34.0).abs() < 1e-9, "20 s before the second `resumed` were measuring");
    }
}
