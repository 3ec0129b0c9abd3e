//! Against work before the clock: traps between samples, at secret times.
//!
//! An interval begins when the harness says `go`, and by then the inputs are mapped. A candidate that has taken its worker over
//! could begin before. So in a trap the inputs change between the two, and what the worker has spent until then is compared with
//! what a trusted worker spends on mapping the same.

use std::time::Duration;

use kernsmith_stats::median;

use super::interval::{Meter, mapping, measure_exchanged};
use super::pairs::{Series, Watch};
use super::set::TimedSet;
use crate::error::Stop;
use crate::process::Prelude;
use crate::runner::Runner;

/// Traps among the first samples of a workload, beside a baseline and without one, and one in so many samples later.
pub(super) const TRAPS: usize = 3;
pub(super) const TRAPS_ALONE: usize = 1;
const LATER_TRAPS: u32 = 16;
/// Work before the clock is noise below this, below this part of the interval, and below what mapping itself takes: on a machine
/// full of other work the same mapping takes half as much again at times.
const NOISE_US: f64 = 200.0;
const NOISE_SHARE: f64 = 0.1;

/// Guards one workload's intervals.
pub(super) struct Guard {
    /// The samples after which a trap is set.
    traps: Vec<u32>,
    first: u32,
    /// What the candidate spent before the clock beyond what mapping takes, in microseconds, and what mapping takes.
    early_us: Vec<f64>,
    mapping_us: Vec<f64>,
}

impl Guard {
    /// Traps after secret ones of the first samples.
    pub(super) fn new(set: &mut TimedSet, traps: usize, first: u32) -> Self {
        let traps = (0..traps).map(|_| set.secret_below(first)).collect();
        Self { traps, first, early_us: Vec::new(), mapping_us: Vec::new() }
    }

    fn due(&self, sample: u32, set: &mut TimedSet) -> usize {
        let early = self.traps.iter().filter(|trap| **trap == sample).count();
        early + usize::from(sample >= self.first && set.secret_below(LATER_TRAPS) == 0)
    }

    /// After a sample: perhaps a trap, or several. `trusted` maps the same and calls nothing.
    pub(super) fn trap(
        &mut self,
        sample: u32,
        (runner, calls, timeout): (&mut Runner, u32, Duration),
        mut trusted: Option<&mut Runner>,
        meter: &Meter<'_>,
        set: &mut TimedSet,
        watch: &mut dyn Watch,
    ) -> Result<(), Stop> {
        if !watch.is_wary() {
            return Ok(());
        }
        for _ in 0..self.due(sample, set) {
            watch.settle(set)?;
            let range = set.take(calls);
            let trapped = measure_exchanged(runner, meter, set, range, timeout)?;
            if let Some(trusted) = trusted.as_deref_mut() {
                let other = mapping(trusted, meter, set, range, timeout)?;
                let mapping_us = mapping_us(other, trapped.prelude.mapped_bytes);
                self.early_us.push(trapped.prelude.spent.as_secs_f64() * 1e6 - mapping_us);
                self.mapping_us.push(mapping_us);
            }
            watch.exchanged(set, range, trapped.call)?;
        }
        Ok(())
    }

    /// What is spent before the clock counts: it is added to every sample.
    pub(super) fn charge(&self, series: &mut Series) {
        if self.early_us.is_empty() {
            return;
        }
        let interval_us = median(&series.candidate) * f64::from(series.calls);
        let noise_us = NOISE_US.max(NOISE_SHARE * interval_us).max(median(&self.mapping_us));
        if let Some(early_us) = early_us(&self.early_us).filter(|early_us| *early_us > noise_us) {
            let per_call_us = early_us / f64::from(series.calls.max(1));
            series.candidate.iter_mut().for_each(|time| *time += per_call_us);
            series.charged_us = Some(early_us);
        }
    }
}

/// What mapping so many bytes takes, by a trusted worker's word. A plan's workspaces are mapped by the candidate alone.
fn mapping_us(trusted: Prelude, bytes: u64) -> f64 {
    let more = bytes as f64 / trusted.mapped_bytes.max(1) as f64;
    trusted.spent.as_secs_f64() * more.max(1.0) * 1e6
}

/// What was spent early in most traps; of an even number of traps the lower middle counts.
fn early_us(traps_us: &[f64]) -> Option<f64> {
    let mut sorted = traps_us.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(early_us: &[f64]) -> Guard {
        let mapping_us = vec![300.0; early_us.len()];
        Guard { traps: Vec::new(), first: 0, early_us: early_us.to_vec(), mapping_us }
    }

    fn charged(early_us: &[f64], interval_us: f64) -> Option<f64> {
        let mut series = Series { candidate: vec![interval_us / 4.0; 6], calls: 4, ..Series::default() };
        guard(early_us).charge(&mut series);
        let added = (series.candidate[0] - interval_us / 4.0) * 4.0;
        assert!((added - series.charged_us.unwrap_or(0.0)).abs() < 1e-9);
        series.charged_us
    }

    #[test]
    fn work_before_the_clock_counts_when_it_is_the_rule_and_not_when_it_is_the_exception() {
        assert_eq!(charged(&[900.0, 950.0, 1000.0], 2000.0), Some(950.0));
        assert_eq!(charged(&[900.0, 20.0, -30.0], 2000.0), None, "a busy machine");
        assert_eq!(charged(&[900.0, 20.0], 2000.0), None, "one of two");
        assert_eq!(charged(&[290.0; 3], 2000.0), None, "as much as mapping takes");
        assert_eq!(charged(&[900.0; 3], 10_000.0), None, "less than a tenth");
        assert_eq!(charged(&[], 1000.0), None);
    }

    #[test]
    fn a_candidate_with_a_workspace_maps_more() {
        let spent = Duration::from_micros(100);
        let trusted = Prelude { spent, mapped_bytes: 1000 };
        assert!((mapping_us(trusted, 3000) - 300.0).abs() < 1e-6);
        assert!((mapping_us(trusted, 500) - 100.0).abs() < 1e-6);
    }

    #[test]
    fn traps_are_set_among_the_first_samples() {
        let mut set = super::super::set::tests::small();
        for _ in 0..20 {
            let guard = Guard::new(&mut set, TRAPS, 6);
            assert_eq!((0..6).map(|sample| guard.due(sample, &mut set)).sum::<usize>(), TRAPS);
        }
    }
}
