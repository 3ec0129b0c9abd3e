//! Scores against the speed of light (SOL).

/// The roofline bound in microseconds: the larger of compute and traffic time.
///
/// Ceilings are calibrated ones, in operations and bytes per second. Source: Williams, Waterman and Patterson,
/// "Roofline", CACM 52(4), 2009.
pub fn sol_us(flops: f64, bytes: f64, flops_per_second: f64, bytes_per_second: f64) -> f64 {
    (flops / flops_per_second).max(bytes / bytes_per_second) * 1e6
}

/// `1 / (1 + (T - T_sol) / (T_b - T_sol))`: 0.5 at the baseline, 1 at the bound.
///
/// Clamped to 0..=1: a time below the bound is a matter for the plausibility gate and earns nothing here. Where the
/// baseline already stands at the bound, the score is 1 at or below it and 0 above. Source: SOL-ExecBench
/// (arXiv 2603.19173).
pub fn sol_score(time_us: f64, baseline_us: f64, sol_us: f64) -> f64 {
    if time_us <= sol_us {
        return 1.0;
    }
    if baseline_us <= sol_us {
        return 0.0;
    }
    (1.0 / (1.0 + (time_us - sol_us) / (baseline_us - sol_us))).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_a_half_at_the_baseline_and_one_at_the_bound() {
        assert!((sol_score(10.0, 10.0, 2.0) - 0.5).abs() < 1e-12);
        assert!((sol_score(2.0, 10.0, 2.0) - 1.0).abs() < 1e-12);
        assert!((sol_score(1.0, 10.0, 2.0) - 1.0).abs() < 1e-12);
        assert!(sol_score(3.0, 2.0, 2.0) < 1e-12);
    }
}
