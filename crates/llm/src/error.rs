//! What can go wrong with the proposer itself; a bad answer is not among it.

use std::path::PathBuf;

/// Why there is no proposer, or why it cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LlmError {
    /// A setting is missing or makes no sense.
    #[error("`{key}`: {problem}")]
    Setting {
        /// `section.key`.
        key: &'static str,
        /// What is wrong with it, and the remedy.
        problem: String,
    },
    /// The file with the key cannot be used.
    #[error("key file {}: {problem}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the remedy.
        problem: String,
    },
    /// The cassette cannot be used.
    #[error("cassette {}: {problem}", path.display())]
    Cassette {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The network part could not be set up.
    #[error("the HTTP client could not be set up: {0}")]
    Setup(String),
    /// A program that proposes failed.
    #[error("`{program}`: {problem}")]
    Program {
        /// The program.
        program: String,
        /// What happened, and the remedy.
        problem: String,
    },
}

impl LlmError {
    pub(crate) fn setting(key: &'static str, problem: impl Into<String>) -> Self {
        Self::Setting { key, problem: problem.into() }
    }
}
