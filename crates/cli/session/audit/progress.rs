//! How far an audit has come, out of its log: a killed one goes on where it stood.

use kernsmith_core::{Entry, Event, Evidence, Seq};

/// A fold of the log. Candidates are asked for one after the other, so that a question's place tells whose proposal comes next.
#[derive(Debug, Default)]
pub(super) struct Progress {
    tried: Vec<(u64, Tried)>,
    /// The candidate that was asked for last.
    asked: Option<u64>,
    pub(super) bill: Bill,
}

/// A proposal and its judgements so far: the usual one first, then the stricter ones.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    pub(super) seq: Seq,
    pub(super) judged: Vec<Evidence>,
}

/// What all calls of an audit took.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Bill {
    pub(crate) calls: u64,
    pub(crate) tokens: u64,
    pub(crate) cost_usd: f64,
}

/// Where one candidate stands.
pub(super) enum Standing {
    /// It is still to be asked for.
    Open,
    /// It was asked for in vain.
    Missed,
    /// It was proposed.
    Tried(Tried),
}

impl Progress {
    pub(super) fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::ModelCalled(call) => {
                self.bill.calls += 1;
                self.bill.tokens += call.usage.total();
                self.bill.cost_usd += call.cost_usd;
                self.asked = ordinal(&call.place).or(self.asked);
            }
            Event::Proposed(_) => {
                let tried = Tried { seq: entry.seq, judged: Vec::new() };
                self.tried.push((self.asked.unwrap_or_default(), tried));
            }
            Event::Judged { proposal, evidence } => {
                let mut tried = self.tried.iter_mut().rev();
                if let Some((_, tried)) = tried.find(|(_, tried)| tried.seq == *proposal) {
                    tried.judged.push((**evidence).clone());
                }
            }
            _ => {}
        }
    }

    /// Where the candidate with that number stands.
    pub(super) fn at(&self, number: u64) -> Standing {
        match self.tried.iter().find(|(ordinal, _)| *ordinal == number) {
            Some((_, tried)) => Standing::Tried(tried.clone()),
            None if self.asked.is_some_and(|asked| number < asked) => Standing::Missed,
            None => Standing::Open,
        }
    }
}

/// The candidate's number in a place such as `code/17/n3/0`.
fn ordinal(place: &str) -> Option<u64> {
    place.strip_prefix("code/")?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_its_candidate() {
        assert_eq!(ordinal("code/17/n3/0/repair+1"), Some(17));
        assert_eq!(ordinal("plan/start/0/0/0/0/0"), None);
    }
}
