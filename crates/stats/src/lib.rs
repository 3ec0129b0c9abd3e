//! Confidence intervals, rank tests and outliers for timing samples.
//!
//! A *ratio* is always baseline time over candidate time: above 1 means that the candidate is faster. Everything random
//! is seeded by an argument, so the same samples always give the same interval.
//!
//! **Invariant:** this crate does no I/O, reads no clock and draws no randomness that was not seeded by an argument.

mod bootstrap;
mod combine;
mod describe;
mod noise;
mod normal;
mod order;
mod paired;
mod rank;
mod stop;

pub use bootstrap::{Method, RatioInterval, bootstrap_ratio_ci, bootstrap_ratio_ci_with};
pub use combine::{Workload, combine_workloads, weighted_geometric_mean};
pub use describe::{mad_outliers, median, median_absolute_deviation, quantile};
pub use noise::{noise_floor, noise_floor_of_interval};
pub use order::{few_pairs_interval, pairs_needed};
pub use paired::{PairedDifference, paired_difference};
pub use rank::{RankTest, mann_whitney};
pub use stop::{SequentialStop, Step, median_half_width};

/// Samples that no statistic can be made of.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StatsError {
    /// A list is empty.
    #[error("there are no samples: at least one is needed")]
    Empty,
    /// Paired lists differ in length.
    #[error("{baseline} baseline samples cannot be paired with {candidate} candidate samples")]
    Unpaired {
        /// Baseline samples.
        baseline: usize,
        /// Candidate samples.
        candidate: usize,
    },
    /// A time is not a positive number.
    #[error("sample {index} is {value}: times are finite and above 0")]
    NotPositive {
        /// Its place.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A level, a weight or a count is outside its range.
    #[error("{name} is {value}: {legal}")]
    Argument {
        /// The argument.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What is legal.
        legal: &'static str,
    },
}
