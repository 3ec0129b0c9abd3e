//! From samples to numbers.

use kernsmith_core::evidence::{Performance, WorkloadTiming};
use kernsmith_core::score::sol_score;
use kernsmith_stats::{
    RatioInterval, StatsError, Workload, bootstrap_ratio_ci, combine_workloads, few_pairs_interval,
    mad_outliers, median, noise_floor_of_interval, weighted_geometric_mean,
};

use super::pairs::Series;
use crate::calibration::Calibration;
use crate::error::HarnessError;
use crate::setup::Setup;

/// Samples of a shape.
pub(crate) type Measured = (usize, Series);

/// With fewer pairs than this a bootstrap of the median is too sure of itself.
const FEW_PAIRS: usize = 30;

/// The interval of a workload's ratio; of few pairs it is as wide as their order statistics say.
fn of_one(setup: &Setup, series: &Series, seed: u64) -> Result<RatioInterval, HarnessError> {
    let options = &setup.options;
    let (baseline, candidate) = (&series.baseline[..], &series.candidate[..]);
    let found = bootstrap_ratio_ci(
        baseline,
        candidate,
        series.paired,
        options.confidence,
        options.resamples as usize,
        seed,
    )
    .map_err(statistics)?;
    if !series.paired || candidate.len() >= FEW_PAIRS {
        return Ok(found);
    }
    let few = few_pairs_interval(&[(1.0, baseline, candidate)], options.confidence).map_err(statistics)?;
    Ok(hull(found, few))
}

/// The joint ratio of workloads with its interval, by the same rule: order statistics as soon as one has few pairs.
pub(crate) fn joint(
    setup: &Setup,
    workloads: &[Workload<'_>],
    seed: u64,
) -> Result<RatioInterval, HarnessError> {
    let options = &setup.options;
    let found = combine_workloads(workloads, options.confidence, options.resamples as usize, seed)
        .map_err(statistics)?;
    let few = workloads.iter().any(|workload| workload.candidate.len() < FEW_PAIRS);
    if !few || !workloads.iter().all(|workload| workload.paired) {
        return Ok(found);
    }
    let views: Vec<_> = workloads.iter().map(|w| (w.weight, w.baseline, w.candidate)).collect();
    Ok(hull(found, few_pairs_interval(&views, options.confidence).map_err(statistics)?))
}

fn hull(a: RatioInterval, b: RatioInterval) -> RatioInterval {
    RatioInterval { ratio: a.ratio, low: a.low.min(b.low), high: a.high.max(b.high) }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn statistics(error: StatsError) -> HarnessError {
    HarnessError::Statistics(error.to_string())
}

/// One row a workload.
fn timings(
    setup: &Setup,
    calibration: &Calibration,
    measured: &[Measured],
    seed: u64,
) -> Result<Vec<WorkloadTiming>, HarnessError> {
    let row = |(index, series): &Measured| {
        let shape = &setup.shapes[*index];
        let workload = &setup.contract.workloads[*index];
        let interval = of_one(setup, series, seed)?;
        let median_us = median(&series.candidate);
        let baseline_us = median(&series.baseline);
        let sol_us = calibration.sol_us(shape.flops, shape.bytes);
        Ok(WorkloadTiming {
            workload: workload.name.clone(),
            axes: workload.axes.clone(),
            weight: workload.weight,
            median_us,
            baseline_us,
            ratio: interval.ratio,
            ci_low: interval.low,
            ci_high: interval.high,
            sol_us,
            sol_score: sol_us.map(|sol_us| sol_score(median_us, baseline_us, sol_us)),
            copy_fraction: calibration
                .copy_bytes_per_second(shape.bytes)
                .map(|ceiling| shape.bytes / (median_us * 1e-6) / ceiling),
            calls_per_sample: series.calls,
            cold: series.cold,
            samples_us: series.candidate.clone(),
            baseline_samples_us: series.baseline.clone(),
            outliers: mad_outliers(&series.candidate).len() as u32,
        })
    };
    measured.iter().map(row).collect()
}

/// All workloads together.
pub(crate) fn summarise(
    setup: &Setup,
    calibration: &Calibration,
    measured: &[Measured],
    noise_floor: f64,
    seed: u64,
) -> Result<Performance, HarnessError> {
    let workloads = timings(setup, calibration, measured, seed)?;
    let series: Vec<Workload<'_>> = measured
        .iter()
        .zip(&workloads)
        .map(|((_, series), timing)| Workload {
            weight: timing.weight,
            baseline: &series.baseline,
            candidate: &series.candidate,
            paired: series.paired,
        })
        .collect();
    let joint = joint(setup, &series, seed)?;
    let mean = |value: fn(&WorkloadTiming) -> f64| {
        weighted_geometric_mean(workloads.iter().map(|timing| (timing.weight, value(timing))))
    };
    let scores: Option<Vec<(f64, f64)>> =
        workloads.iter().map(|timing| Some((timing.weight, timing.sol_score?.max(1e-6)))).collect();
    Ok(Performance {
        median_us: mean(|timing| timing.median_us),
        baseline_us: mean(|timing| timing.baseline_us),
        baseline: setup.baseline.name.clone(),
        ratio: joint.ratio,
        ci_low: joint.low,
        ci_high: joint.high,
        sol_score: scores.map(weighted_geometric_mean),
        noise_floor,
        interleaved: measured.iter().all(|(_, series)| series.paired),
        workloads,
        rivals: Vec::new(),
    })
}

/// The floor below which gains are not gains: the far end of the interval of the baseline against itself.
///
/// Neighbouring samples of one series are taken as pairs; both come from the same binary.
pub(crate) fn noise_of(setup: &Setup, measured: &[Measured]) -> Result<f64, HarnessError> {
    let options = &setup.options;
    let halves: Vec<(f64, Vec<f64>, Vec<f64>)> = measured
        .iter()
        .map(|(index, series)| {
            let pairs = series.baseline.chunks_exact(2);
            let (first, second) = pairs.map(|pair| (pair[0], pair[1])).unzip();
            (setup.contract.workloads[*index].weight, first, second)
        })
        .filter(|(_, first, _): &(f64, Vec<f64>, Vec<f64>)| !first.is_empty())
        .collect();
    if halves.is_empty() {
        return Ok(1.0);
    }
    let workloads: Vec<Workload<'_>> = halves
        .iter()
        .map(|(weight, first, second)| Workload {
            weight: *weight,
            baseline: first,
            candidate: second,
            paired: true,
        })
        .collect();
    let interval = combine_workloads(&workloads, options.confidence, options.resamples as usize, 1)
        .map_err(statistics)?;
    Ok(noise_floor_of_interval(&interval))
}
