//! The search loop: select, ask, judge, record, learn.
//!
//! The engine is generic over the three ports of `core` and knows no concrete proposer, harness or log. Everything it
//! learns it learns from durable entries: a result that is not on disk did not happen.

mod ask;
mod budget;
mod confirm;
mod error;
mod observe;
mod options;
mod run;
mod start;
mod turn;

pub use budget::{Limit, StopSignal};
pub use error::EngineError;
pub use observe::{Observe, Silent};
pub use options::planner_options;
pub use run::{Engine, Outcome, Parts};
pub use start::{FrozenBaseline, Genesis, Past};

#[cfg(test)]
mod tests;
