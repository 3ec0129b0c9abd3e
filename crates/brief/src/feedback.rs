//! What a judgement says to whoever wrote the candidate: structured facts, the most telling first.

use std::fmt::Write;

use kernsmith_core::evidence::{ObjectFacts, WorkloadTiming};
use kernsmith_core::{Evidence, FailureClass, Lane, Performance};

/// Lines of a compiler's log that are worth reading.
const BUILD_LOG_LINES: usize = 24;

/// One fact a line.
pub(crate) fn feedback(evidence: &Evidence, promised: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(failure) = &evidence.failure {
        lines.push(format!(
            "rejected: {} at gate {} ({} lane)",
            failure.class,
            failure.gate,
            lane(evidence.lane)
        ));
        lines.extend(failure.detail.lines().map(str::to_owned));
        if failure.class == FailureClass::CompileError {
            let log = evidence.artifacts.build_log.lines();
            let known = failure.detail.clone();
            lines.extend(log.filter(|line| !known.contains(line)).take(BUILD_LOG_LINES).map(str::to_owned));
        }
    }
    if let Some(performance) = &evidence.performance {
        lines.push(overall(performance, evidence.lane));
        lines.extend(performance.workloads.iter().map(workload));
    }
    if let Some(object) = &evidence.artifacts.object {
        lines.extend(binary(object, promised));
    }
    lines
}

fn overall(performance: &Performance, at: Lane) -> String {
    let gain = if performance.ci_low > performance.noise_floor.max(1.0) {
        "faster than the baseline"
    } else if performance.ci_high < 1.0 {
        "slower than the baseline"
    } else {
        "not distinguishable from the baseline"
    };
    format!(
        "passed in the {} lane: {:.3}x the baseline's speed, 95 % interval [{:.3}, {:.3}]: {gain} (noise floor {:.3}x)",
        lane(at),
        performance.ratio,
        performance.ci_low,
        performance.ci_high,
        performance.noise_floor
    )
}

fn workload(timing: &WorkloadTiming) -> String {
    let mut line = format!(
        "{}: {:.2} us against {:.2} us, {:.3}x [{:.3}, {:.3}]",
        timing.workload, timing.median_us, timing.baseline_us, timing.ratio, timing.ci_low, timing.ci_high
    );
    if let Some(share) = timing.copy_fraction {
        let _ = write!(line, ", {:.0} % of this machine's copy bandwidth", share * 100.0);
    }
    if let Some(sol_us) = timing.sol_us {
        let _ = write!(line, ", roofline bound {sol_us:.2} us");
    }
    line
}

fn binary(object: &ObjectFacts, promised: &[String]) -> Vec<String> {
    let families: Vec<String> =
        object.families.iter().map(|(family, count)| format!("{family} {count}")).collect();
    let mut lines = vec![format!(
        "binary: {} bytes of code, {} vector spills; instructions by family: {}",
        object.text_bytes,
        object.vector_spills,
        if families.is_empty() { "none of note".to_owned() } else { families.join(", ") }
    )];
    let missing: Vec<&str> = promised
        .iter()
        .filter(|family| object.families.get(*family).is_none_or(|count| *count == 0))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        lines.push(format!("promised but not in the binary: {}", missing.join(", ")));
    }
    lines
}

const fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Screen => "screen",
        Lane::Verify => "verify",
        Lane::Confirm => "confirm",
    }
}
