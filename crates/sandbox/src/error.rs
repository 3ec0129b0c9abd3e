//! What can go wrong with the sandbox itself.

use std::io;

use crate::confine::Layer;
use crate::level::Level;

/// The sandbox failed. What a confined program does is never an error of this kind.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Confinement comes before threads: most layers bind only the calling thread.
    #[error("confinement must come first: the process already has {threads} threads")]
    NotSingleThreaded {
        /// Threads found.
        threads: usize,
    },
    /// The policy requires a layer that the machine refuses.
    #[error("the policy requires `{layer}`, which this machine refuses: {reason}")]
    LayerRequired {
        /// The layer.
        layer: Layer,
        /// What the kernel said.
        reason: String,
    },
    /// The machine does not reach the level that is demanded.
    #[error(
        "this machine confines to the level `{reached}`, and `{least}` is demanded (`harness.minimum_sandbox`); missing: \
         {missing}; it takes {}, or a lower `harness.minimum_sandbox`",
        least.remedy()
    )]
    TooWeak {
        /// What is demanded.
        least: Level,
        /// What is reached.
        reached: Level,
        /// The missing layers with their reasons.
        missing: String,
    },
    /// A step that every machine allows did not work.
    #[error("cannot {action}")]
    System {
        /// The step.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The program could not be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A seccomp filter could not be built or installed.
    #[error("cannot restrict system calls: {0}")]
    Syscalls(String),
    /// The helper that answers the hidden verb did not do its part.
    #[error("`{program} __confine` did not answer as expected: {problem}")]
    Helper {
        /// The program.
        program: String,
        /// What happened instead.
        problem: String,
    },
}

impl SandboxError {
    pub(crate) fn system(action: &'static str) -> Self {
        Self::System { action, source: io::Error::last_os_error() }
    }

    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, source }
    }
}
