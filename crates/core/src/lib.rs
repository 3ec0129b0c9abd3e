//! Shared words and the three ports.
//!
//! Everything that two crates must agree on lives here as plain data with public fields: ids, targets,
//! expressions over axes, launch plans, candidates, failures, evidence, strategies, log events and briefs.
//! The three traits in [`port`] are the only seams of the search: [`Propose`], [`Evaluate`] and [`Record`].
//! Implementations never see each other; the engine is generic over the three; the binary names the concrete ones.
//!
//! **Invariant:** this crate does no I/O, reads no clock and draws no randomness.

pub mod brief;
pub mod candidate;
pub mod conformance;
pub mod digest;
pub mod event;
pub mod evidence;
pub mod expr;
pub mod failure;
pub mod id;
pub mod inspect;
pub mod launch;
pub mod model;
pub mod plan;
pub mod port;
pub mod prompt;
pub mod score;
pub mod strategy;
pub mod target;

pub use brief::Brief;
pub use candidate::{Candidate, GeneValue, Genome, Origin, Prediction, Proposal};
pub use digest::Digest;
pub use event::{Entry, Event};
pub use evidence::{Evidence, Lane, Performance, Verdict};
pub use expr::{Bindings, Expr, ExprError};
pub use failure::{Failure, FailureClass, Gate};
pub use id::{NodeId, RunId, Seq};
pub use model::{CallClass, ModelCall};
pub use plan::{Plan, PlanError};
pub use port::{Answer, Evaluate, Halt, Note, Propose, Record};
pub use strategy::{Edit, NewNode, NodeKind};
pub use target::{Language, Target};
