//! What a device says of its clocks, in the words of the evidence.

use kernsmith_core::evidence::{DeviceSample, DeviceState};
use kernsmith_wire::gpu::Sensed;

/// Reasons for low clocks. Source: NVML API Reference Guide, `nvmlClocksEventReasons`. Idleness and clocks that somebody has set are
/// no reasons to doubt a measurement.
const REASONS: [(u64, &str); 6] = [
    (0x04, "power_cap"),
    (0x08, "hardware_slowdown"),
    (0x10, "sync_boost"),
    (0x20, "thermal"),
    (0x40, "hardware_thermal"),
    (0x80, "power_brake"),
];
/// Reasons that come and go, so that measuring again may find the device itself again; a kernel that runs into the power limit will
/// do so again.
const PASSING: [&str; 4] = ["hardware_slowdown", "thermal", "hardware_thermal", "power_brake"];

/// One sample.
pub(crate) fn sample(sensed: Sensed) -> DeviceSample {
    let slowed_by = REASONS.iter().filter(|(bit, _)| sensed.reasons & bit != 0);
    DeviceSample {
        sm_mhz: sensed.sm_mhz,
        memory_mhz: sensed.memory_mhz,
        power_mw: sensed.power_mw,
        temperature_c: sensed.temperature_c,
        slowed_by: slowed_by.map(|(_, name)| (*name).to_owned()).collect(),
    }
}

/// Whether the device had slowed down for a reason that may pass.
pub(crate) fn is_slowed(state: &DeviceState) -> bool {
    let samples = state.before.iter().chain(&state.after);
    samples.flat_map(|sample| &sample.slowed_by).any(|reason| PASSING.contains(&reason.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_is_a_reason_to_measure_again_and_the_power_limit_is_not() {
        let state = |reasons| {
            let after = Some(sample(Sensed { reasons, sm_mhz: 1500, ..Sensed::default() }));
            DeviceState { after, ..DeviceState::default() }
        };
        assert!(!is_slowed(&state(0x1 | 0x2)) && !is_slowed(&state(0x4)));
        assert!(is_slowed(&state(0x20)) && is_slowed(&state(0x4 | 0x80)));
        assert_eq!(sample(Sensed { reasons: 0x24, ..Sensed::default() }).slowed_by, ["power_cap", "thermal"]);
    }
}
