//! The world model: a search tree folded from the log.
//!
//! A [`Tree`] holds intents (families, decisions, actions) apart from the code that tried them. [`Tree::apply`] is its
//! only mutation and takes only durable entries, so that the tree of a run is always the fold of its log: the same
//! entries and options give an equal tree. From the tree comes the next node to work on ([`Tree::select_batch`]), the
//! check of an edit script before it is logged ([`Tree::validate`]), calibrated predictions ([`Tree::calibration`]) and
//! everything that a brief, a report or a progress line needs. `docs/planner.md` explains the rules and their sources.
//!
//! **Invariant:** this crate does no I/O, reads no clock and draws no randomness but from seeds in its arguments.

mod apply;
mod attempt;
mod belief;
mod calibration;
mod closure;
mod counts;
mod ledger;
mod node;
mod options;
mod policy;
mod population;
#[cfg(test)]
mod properties;
mod query;
mod render;
mod select;
mod shared;
mod stale;
#[cfg(test)]
mod testing;
mod tree;
mod validate;
mod view;

pub use attempt::{Attempted, Champion, Contender, Measured, Outcome};
pub use calibration::{Calibration, CalibrationGroup, CalibrationScore};
pub use counts::Counts;
pub use node::{Node, Status};
pub use options::{ClosureOptions, PlannerOptions, SelectOptions};
pub use policy::{Policy, UnknownPolicy};
pub use stale::{STALE, Stale};
pub use tree::Tree;
pub use validate::{EditProblem, MAX_INSERTS};
