//! What can be set about judging.

use kernsmith_core::Gate;
use kernsmith_sandbox::Level;
use serde::{Deserialize, Serialize};

/// What can be set about judging. The defaults are the contract of `docs/verification-contract.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct HarnessOptions {
    /// Gates that are switched off; each is named in `environment.weakened` of every packet. Build and load cannot be.
    pub skip: Vec<Gate>,
    /// Largest source text in bytes.
    pub source_bytes_max: u64,
    /// Address space that a worker may take, in bytes.
    pub worker_memory_bytes: u64,
    /// Resident memory of a kernel, tensors included, beyond which its worker is ended, in bytes.
    pub worker_resident_bytes: u64,
    /// Memory that one workload's timed buffers may take, in bytes.
    pub timing_memory_bytes: u64,
    /// Shortest time after which a call counts as hanging, in milliseconds.
    pub call_timeout_floor_ms: u64,
    /// A call also may take this many times as long as the frozen baseline.
    pub call_timeout_factor: f64,
    /// Output elements of one call that are compared with the oracle; smaller outputs are compared in full.
    pub oracle_elements_max: u64,
    /// Floating-point operations that the oracle may spend on one call's sampled rows; at least two rows are computed.
    pub oracle_flops_max: f64,
    /// Whether timed calls find cold caches; otherwise the buffers are few enough to stay in the last-level cache.
    pub cold_cache: bool,
    /// The least confinement with which anything is run.
    pub minimum_sandbox: Level,
    /// Shortest timed interval in microseconds; short kernels are timed in batches over distinct buffers.
    pub interval_us: f64,
    /// Most calls in one interval.
    pub calls_per_interval_max: u32,
    /// Samples of each workload in the screen lane.
    pub screen_samples: u32,
    /// The screen stops early when the candidate is this many times slower than the bar.
    pub screen_stop_ratio: f64,
    /// Time that one workload's pairs may take in the verify lane, in milliseconds.
    pub verify_workload_ms: f64,
    /// Fewest and most pairs of one workload in the verify lane. Fewer than the interval's confidence takes are never made.
    pub verify_pairs: (u32, u32),
    /// Time that one workload's pairs may take in the confirm lane, in milliseconds.
    pub confirm_workload_ms: f64,
    /// Fewest and most pairs of one workload in the confirm lane; the same holds.
    pub confirm_pairs: (u32, u32),
    /// Half-width of the interval of the log ratio at which measuring stops in the verify lane.
    pub verify_half_width: f64,
    /// The same in the confirm lane.
    pub confirm_half_width: f64,
    /// Confidence level of intervals.
    pub confidence: f64,
    /// Bootstrap resamples.
    pub resamples: u32,
    /// Whether machine ceilings are measured; without them there is no SOL score.
    pub calibrate: bool,
    /// Measures the ceilings anew although the cache has them.
    pub recalibrate: bool,
    /// Age in hours at which cached ceilings expire.
    pub calibration_hours: u64,
    /// Whether the contract's rivals are timed in the confirm lane.
    pub rivals: bool,
    /// Whether those in Python are too; they take their time.
    pub python_rivals: bool,
}

impl Default for HarnessOptions {
    fn default() -> Self {
        Self {
            skip: Vec::new(),
            source_bytes_max: 1 << 20,
            worker_memory_bytes: 16 << 30,
            worker_resident_bytes: 2 << 30,
            timing_memory_bytes: 1 << 30,
            call_timeout_floor_ms: 2_000,
            call_timeout_factor: 20.0,
            oracle_elements_max: 16 * 1024,
            oracle_flops_max: 8e6,
            cold_cache: true,
            minimum_sandbox: Level::None,
            interval_us: 2_000.0,
            calls_per_interval_max: 256,
            screen_samples: 5,
            screen_stop_ratio: 3.0,
            verify_workload_ms: 120.0,
            verify_pairs: (6, 40),
            confirm_workload_ms: 200.0,
            confirm_pairs: (6, 100),
            verify_half_width: 0.01,
            confirm_half_width: 0.01,
            confidence: 0.95,
            resamples: 1_000,
            calibrate: true,
            recalibrate: false,
            calibration_hours: 24 * 7,
            rivals: true,
            python_rivals: false,
        }
    }
}

impl HarnessOptions {
    /// Whether a gate is on.
    pub fn runs(&self, gate: Gate) -> bool {
        matches!(gate, Gate::Build | Gate::Load) || !self.skip.contains(&gate)
    }

    /// The gates that are off, by name, and limits that are laxer than the defaults.
    pub fn weakened(&self) -> Vec<String> {
        let default = Self::default();
        let off = Gate::ALL.into_iter().filter(|gate| !self.runs(*gate)).map(|gate| format!("{gate} is off"));
        let mut weakened: Vec<String> = off.collect();
        if !self.cold_cache {
            weakened.push("cold_cache = false".to_owned());
        }
        if self.oracle_elements_max < default.oracle_elements_max {
            weakened.push(format!("oracle_elements_max = {}", self.oracle_elements_max));
        }
        if self.oracle_flops_max < default.oracle_flops_max {
            weakened.push(format!("oracle_flops_max = {:e}", self.oracle_flops_max));
        }
        weakened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_that_is_off_is_named() {
        let options = HarnessOptions { skip: vec![Gate::Phase, Gate::Build], ..HarnessOptions::default() };
        assert!(!options.runs(Gate::Phase) && options.runs(Gate::Build));
        assert_eq!(options.weakened(), ["phase is off"]);
        assert!(HarnessOptions::default().weakened().is_empty());
        let warm = HarnessOptions { cold_cache: false, ..HarnessOptions::default() };
        assert_eq!(warm.weakened(), ["cold_cache = false"]);
    }

    #[test]
    fn options_are_read_with_defaults_and_without_slips() {
        let options: HarnessOptions = serde_json::from_str(r#"{"skip":["phase"]}"#).unwrap();
        assert_eq!(options.screen_samples, HarnessOptions::default().screen_samples);
        assert!(serde_json::from_str::<HarnessOptions>(r#"{"skipp":[]}"#).is_err());
    }
}
