//! How long intervals take: `cargo run --release -p kernsmith-stats --example speed`.
#![expect(clippy::print_stdout, reason = "the numbers are its output")]

use std::hint::black_box;
use std::time::Instant;

use kernsmith_stats::{Workload, bootstrap_ratio_ci, combine_workloads, mann_whitney, median_half_width};

fn report(name: &str, mut work: impl FnMut()) {
    let best = (0..20)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    println!("{name:52} {:9.3} ms", best * 1e3);
}

fn main() {
    let baseline: Vec<f64> = (0..200).map(|i| 30.0 + f64::from(i * 37 % 101) / 100.0).collect();
    let candidate: Vec<f64> = (0..200).map(|i| 10.0 + f64::from(i * 53 % 97) / 100.0).collect();
    for paired in [true, false] {
        report(&format!("bootstrap, 200 samples, 2000 resamples, paired {paired}"), || {
            black_box(bootstrap_ratio_ci(black_box(&baseline), &candidate, paired, 0.95, 2000, 1).ok());
        });
    }
    let workload = Workload { weight: 1.0, baseline: &baseline, candidate: &candidate, paired: true };
    report("three workloads jointly, 200 samples, 2000 resamples", || {
        black_box(combine_workloads(black_box(&[workload; 3]), 0.95, 2000, 1).ok());
    });
    report("Mann-Whitney, 200 and 200", || {
        black_box(mann_whitney(black_box(&baseline), &candidate).ok());
    });
    report("Mann-Whitney exact, 20 and 20", || {
        black_box(mann_whitney(black_box(&baseline[..20]), &candidate[100..120]).ok());
    });
    report("half-width of the median, 200", || {
        black_box(median_half_width(black_box(&baseline), 0.95));
    });
}
