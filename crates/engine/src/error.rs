//! What can end a search early: always the apparatus, never a kernel.

use std::error::Error;

type Cause = Box<dyn Error + Send + Sync + 'static>;

/// Why a search cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The proposer itself failed.
    #[error("the proposer `{proposer}` failed")]
    Propose {
        /// Its name.
        proposer: String,
        /// What happened.
        #[source]
        source: Cause,
    },
    /// The proposer's first edits of the tree are not legal, so that there is nothing to search.
    #[error("the proposer `{proposer}` planned an illegal tree: {problems}")]
    Plan {
        /// Its name.
        proposer: String,
        /// What the tree refused.
        problems: String,
    },
    /// Nothing applies to the contract on this machine.
    #[error(
        "no skill has a template for contract `{contract}` on this machine; \
         add one under skills/ (`contracts = [\"{contract}\"]`) or give the contract a family that a skill covers"
    )]
    NothingToSearch {
        /// The contract.
        contract: String,
    },
    /// The harness failed.
    #[error("the harness failed")]
    Evaluate(#[source] Cause),
    /// The log failed; nothing that it did not acknowledge is claimed.
    #[error("the experiment log failed")]
    Record(#[source] Cause),
}

impl EngineError {
    pub(crate) fn evaluate(source: impl Error + Send + Sync + 'static) -> Self {
        Self::Evaluate(Box::new(source))
    }

    pub(crate) fn record(source: impl Error + Send + Sync + 'static) -> Self {
        Self::Record(Box::new(source))
    }
}
