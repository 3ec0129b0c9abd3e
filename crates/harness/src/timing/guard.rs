//! Against work before the clock: traps in secret intervals, and the time that a candidate takes to say that it is ready.

use std::time::Duration;

use kernsmith_stats::median;

use super::interval::{Meter, mapping_time, measure_exchanged};
use super::pairs::{Series, Watch};
use super::set::{Range, TimedSet};
use crate::error::Stop;
use crate::process::Prelude;
use crate::runner::Runner;

/// Traps among the first samples of a workload, and one in so many samples later.
const TRAPS: usize = 2;
const LATER_TRAPS: u32 = 16;
/// Looks at the prelude of a workload.
const LOOKS: usize = 9;
/// A longer prelude than a trusted worker's is noise below this, and below this part of the interval.
const NOISE_US: f64 = 100.0;
const NOISE_SHARE: f64 = 0.1;

/// Guards one workload's intervals.
pub(super) struct Guard {
    /// The samples after which a trap is set.
    traps: Vec<u32>,
    first: u32,
    /// By how much the candidate's prelude was longer than the trusted worker's, in microseconds.
    late_us: Vec<f64>,
}

impl Guard {
    /// Traps after two secret ones of the first samples.
    pub(super) fn new(set: &mut TimedSet, first: u32) -> Self {
        let traps = (0..TRAPS).map(|_| set.secret_below(first)).collect();
        Self { traps, first, late_us: Vec::new() }
    }

    fn is_due(&self, sample: u32, set: &mut TimedSet) -> bool {
        self.traps.contains(&sample) || (sample >= self.first && set.secret_below(LATER_TRAPS) == 0)
    }

    /// After a sample: perhaps an interval that is no sample, whose inputs are exchanged before the calls may begin.
    pub(super) fn trap(
        &self,
        sample: u32,
        (runner, calls): (&mut Runner, u32),
        meter: &Meter<'_>,
        set: &mut TimedSet,
        timeout: Duration,
        watch: &mut dyn Watch,
    ) -> Result<(), Stop> {
        if !watch.is_wary() || !self.is_due(sample, set) {
            return Ok(());
        }
        watch.settle(set)?;
        let range = set.take(calls);
        let (_, call) = measure_exchanged(runner, meter, set, range, timeout)?;
        watch.exchanged(set, range, call)
    }

    /// Compares the prelude of a sample with that of a trusted worker that maps the same and calls nothing.
    pub(super) fn look(
        &mut self,
        prelude: Prelude,
        range: Range,
        trusted: &mut Runner,
        meter: &Meter<'_>,
        set: &mut TimedSet,
        timeout: Duration,
    ) -> Result<(), Stop> {
        if self.late_us.len() >= LOOKS {
            return Ok(());
        }
        let other = mapping_time(trusted, meter, set, range, timeout)?;
        // A plan's workspaces are mapped by the candidate alone.
        let more = prelude.mapped_bytes as f64 / other.mapped_bytes.max(1) as f64;
        let expected = other.time.as_secs_f64() * more.max(1.0);
        self.late_us.push((prelude.time.as_secs_f64() - expected) * 1e6);
        Ok(())
    }

    /// Whoever needs longer to be ready than mapping takes may have begun to work: that time is added to its samples.
    pub(super) fn charge(&self, series: &mut Series) {
        let interval_us = median(&series.candidate) * f64::from(series.calls);
        if let Some(late_us) = head_start_us(&self.late_us, interval_us) {
            let per_call_us = late_us / f64::from(series.calls.max(1));
            series.candidate.iter_mut().for_each(|time| *time += per_call_us);
            series.charged_us = Some(late_us);
        }
    }
}

/// The head start that shows in most intervals, where it is more than noise.
fn head_start_us(late_us: &[f64], interval_us: f64) -> Option<f64> {
    if late_us.is_empty() {
        return None;
    }
    let late = median(late_us);
    (late > NOISE_US.max(NOISE_SHARE * interval_us)).then_some(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_start_counts_when_it_is_the_rule_and_not_when_it_is_the_exception() {
        assert_eq!(head_start_us(&[900.0, 20.0, 950.0, 1000.0, 930.0], 2000.0), Some(930.0));
        assert_eq!(head_start_us(&[900.0, 20.0, -30.0, 10.0, 930.0], 2000.0), None, "a busy machine");
        assert_eq!(head_start_us(&[150.0; 5], 2000.0), None, "noise");
        assert_eq!(head_start_us(&[150.0; 5], 1000.0), Some(150.0));
        assert_eq!(head_start_us(&[], 1000.0), None);
    }

    #[test]
    fn traps_are_set_among_the_first_samples() {
        let mut set = super::super::set::tests::small();
        for _ in 0..20 {
            let guard = Guard::new(&mut set, 6);
            assert!((0..6).any(|sample| guard.is_due(sample, &mut set)));
        }
    }
}
