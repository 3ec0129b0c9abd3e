//! What can go wrong on the way.

use std::io;
use std::path::{Path, PathBuf};

use kernsmith_experiment_log::LogError;
use kernsmith_op_contract::ContractError;

/// What can go wrong with a bundle or with evidence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The container is cut, changed, or something else; or a run in it is damaged.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What it holds does not fit together.
    #[error("{} is refused: {problem}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What differs.
        problem: String,
    },
    /// A contract cannot be read.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
}

impl BatchError {
    pub(crate) fn refused(path: &Path, problem: impl Into<String>) -> Self {
        Self::Refused { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
