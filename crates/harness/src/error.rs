//! What can go wrong with the apparatus, and how a gate stops.

use kernsmith_core::{Failure, FailureClass, Gate};

/// The harness failed. What a candidate does is never an error of this kind.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// The toolchain failed.
    #[error("the toolchain failed")]
    Toolchain(#[from] kernsmith_toolchain::ToolchainError),
    /// The sandbox failed.
    #[error("the sandbox failed")]
    Sandbox(#[from] kernsmith_sandbox::SandboxError),
    /// A worker could not be spoken to.
    #[error("a worker does not speak as it should")]
    Wire(#[from] kernsmith_wire::WireError),
    /// An expression of contract or plan has no value for a workload.
    #[error("an expression of the contract has no value")]
    Expression(#[from] kernsmith_core::ExprError),
    /// The system refused something.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The contract's oracle does not work.
    #[error("the oracle of `{contract}` does not work: {problem}; `kernsmith contract check` says more")]
    Oracle {
        /// The contract.
        contract: String,
        /// What it did.
        problem: String,
    },
    /// A baseline does not work.
    #[error("the baseline `{name}` does not work: {problem}")]
    Baseline {
        /// Its name.
        name: String,
        /// What it did, with the failure's name.
        problem: String,
    },
    /// The contract has no frozen baseline for this platform, and none was given.
    #[error(
        "`{contract}` has no frozen baseline for `{platform}`; add one to its contract.toml or give your own with `--baseline`"
    )]
    NoBaseline {
        /// The contract.
        contract: String,
        /// The platform.
        platform: String,
    },
    /// The contract has no bench workload, so that nothing can be timed.
    #[error("`{contract}` has no bench workload")]
    NoWorkload {
        /// The contract.
        contract: String,
    },
    /// There is no GPU that can be used.
    #[error(
        "no GPU can be used here: {reason}; `kernsmith doctor` says more, `kernsmith evaluate --static-only` compiles and audits \
         without a device (`kernsmith toolchain install cuda` fetches the compiler), `kernsmith batch export` takes candidates to one"
    )]
    NoGpu {
        /// Why.
        reason: String,
    },
    /// A tool of the vendor's is not installed.
    #[error(
        "`{tool}` is neither in the toolkit's `bin`, nor in /usr/local/cuda/bin, nor on the path; it comes with a whole CUDA toolkit, \
         not with the compiler's wheels"
    )]
    ToolMissing {
        /// Its name.
        tool: &'static str,
    },
    /// A tool of the vendor's does not work here.
    #[error("`{tool}` does not work here: {reason}")]
    ToolRefused {
        /// Its name.
        tool: &'static str,
        /// What it said.
        reason: String,
    },
    /// A tool for GPU candidates was asked for on a processor.
    #[error("`{tool}` watches GPU candidates; say `--target cuda`")]
    ToolTarget {
        /// Its word.
        tool: &'static str,
    },
    /// The device is of another architecture than the target.
    #[error("this device is {device}, the target is {target}; say `--target cuda`, or choose another device")]
    OtherDevice {
        /// What was asked for.
        target: String,
        /// What is there.
        device: String,
    },
    /// A trusted worker came to its end.
    #[error("the {role} worker ended: {problem}")]
    Worker {
        /// Which one.
        role: &'static str,
        /// How.
        problem: String,
    },
    /// Samples could not be evaluated.
    #[error("the samples cannot be evaluated: {0}")]
    Statistics(String),
    /// The evaluation's own thread came to an unexpected end.
    #[error("the evaluation was cut off: {0}")]
    CutOff(String),
}

impl HarnessError {
    /// For `map_err` on system calls.
    pub(crate) fn system(action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { action, source }
    }
}

/// Why a gate does not let go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The kernel is to blame.
    Rejected(Rejection),
    /// The apparatus is.
    Apparatus(HarnessError),
}

/// A rejection whose gate is known to whoever runs the gate.
#[derive(Debug, Clone)]
pub(crate) struct Rejection {
    /// Where it is another gate than the one that is running.
    pub(crate) gate: Option<Gate>,
    pub(crate) class: FailureClass,
    pub(crate) detail: String,
}

impl Stop {
    pub(crate) fn rejected(class: FailureClass, detail: impl Into<String>) -> Self {
        Self::Rejected(Rejection { gate: None, class, detail: detail.into() })
    }

    /// The same at another gate.
    pub(crate) fn at(self, gate: Gate) -> Self {
        match self {
            Self::Rejected(rejection) => Self::Rejected(Rejection { gate: Some(gate), ..rejection }),
            other @ Self::Apparatus(_) => other,
        }
    }

    /// Says in front of the detail where it happened.
    pub(crate) fn within(self, place: &str) -> Self {
        match self {
            Self::Rejected(rejection) => {
                let detail = format!("{place}: {}", rejection.detail);
                Self::Rejected(Rejection { detail, ..rejection })
            }
            other @ Self::Apparatus(_) => other,
        }
    }

    /// For trusted code: every rejection is a failure of the apparatus.
    pub(crate) fn trusted(self, name: &str) -> HarnessError {
        match self {
            Self::Apparatus(error) => error,
            Self::Rejected(Rejection { class, detail, .. }) => {
                HarnessError::Baseline { name: name.to_owned(), problem: format!("{class}: {detail}") }
            }
        }
    }
}

impl Rejection {
    pub(crate) fn into_failure(self, running: Gate) -> Failure {
        Failure::new(self.gate.unwrap_or(running), self.class, self.detail)
    }
}

impl<E: Into<HarnessError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Apparatus(error.into())
    }
}
