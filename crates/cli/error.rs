//! Errors on their way to the user: what happened, why, what to do, and the exit code.

use std::error::Error;

use kernsmith_engine::EngineError;
use miette::{Diagnostic, IntoDiagnostic, Report};

use crate::exit::Exit;

/// An error with the exit code that goes with it.
#[derive(Debug)]
pub(crate) struct CliError {
    /// What the process tells its caller.
    pub(crate) exit: Exit,
    /// What it tells the user.
    pub(crate) report: Report,
}

/// What a subcommand returns.
pub(crate) type Answer = Result<Exit, CliError>;

impl CliError {
    /// The command line makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, report: Report::msg(message.into()) }
    }

    /// A configuration, contract, skill or plan is wrong; the diagnostic shows the place.
    pub(crate) fn bad_input(diagnostic: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self { exit: Exit::BadInput, report: Report::new(diagnostic) }
    }

    /// The same, where there is no place to show.
    pub(crate) fn bad_input_message(message: impl Into<String>) -> Self {
        Self { exit: Exit::BadInput, report: Report::msg(message.into()) }
    }

    /// The toolchain, the device or the sandbox failed.
    pub(crate) fn apparatus(error: impl Error + Send + Sync + 'static) -> Self {
        Self::of(Exit::Apparatus, error)
    }

    /// The log is damaged or cannot be written.
    pub(crate) fn log(error: impl Error + Send + Sync + 'static) -> Self {
        Self::of(Exit::Log, error)
    }

    /// A defect of this program.
    pub(crate) fn internal(error: impl Error + Send + Sync + 'static) -> Self {
        Self::of(Exit::Internal, error)
    }

    fn of(exit: Exit, error: impl Error + Send + Sync + 'static) -> Self {
        let result: Result<(), _> = Err(error);
        let report = result.into_diagnostic().err().unwrap_or_else(|| Report::msg("unknown"));
        Self { exit, report }
    }
}

impl From<EngineError> for CliError {
    fn from(error: EngineError) -> Self {
        match &error {
            EngineError::Record(_) => Self::log(error),
            EngineError::Evaluate(_) => Self::apparatus(error),
            EngineError::NothingToSearch { .. } => Self::of(Exit::BadInput, error),
            EngineError::Propose { .. } | EngineError::Plan { .. } => Self::internal(error),
        }
    }
}
