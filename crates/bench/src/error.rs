//! What can go wrong with a measurement itself.

use std::path::PathBuf;

/// What can go wrong with a measurement itself.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{} is no T4 result file: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        problem: String,
    },
    /// An option is outside its range.
    #[error("{name} is {value}: {legal}")]
    Option {
        /// The option.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is legal.
        legal: &'static str,
    },
    /// The search failed.
    #[error(transparent)]
    Engine(#[from] kernsmith_engine::EngineError),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] kernsmith_experiment_log::LogError),
    /// The contract cannot be made or read.
    #[error(transparent)]
    Contract(#[from] kernsmith_op_contract::ContractError),
    /// The proposer cannot be made.
    #[error(transparent)]
    Llm(#[from] kernsmith_llm::LlmError),
    /// The configuration cannot be made.
    #[error(transparent)]
    Config(#[from] kernsmith_search_config::ConfigError),
    /// Nothing can be said about the samples.
    #[error(transparent)]
    Stats(#[from] kernsmith_stats::StatsError),
}
