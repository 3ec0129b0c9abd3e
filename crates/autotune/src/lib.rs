//! Proposes kernels from templates and genes, without a model.
//!
//! [`Autotune`] implements [`kernsmith_core::Propose`]: it plans one family a template with decisions below it, and fills
//! every strategy with genomes. Which genome comes next is the business of the [`Optimizer`], which knows nothing of
//! kernels and can be driven over any finite [`Space`]. `docs/planner.md` describes both.
//!
//! **Invariant:** a proposal depends on the brief and the [`Experience`] alone; there is no state between two calls that could
//! change it.

mod autotune;
mod context;
mod error;
mod experience;
mod forest;
mod marked;
mod model;
mod optimizer;
mod plan;
mod space;
mod species;
#[cfg(test)]
mod tests;

pub use autotune::{Autotune, AutotuneOptions};
pub use context::render_context;
pub use error::AutotuneError;
pub use experience::{Experience, Inexperienced};
pub use optimizer::{Observation, Operator, Optimizer, OptimizerOptions, Request, Suggestion};
pub use space::{Dimension, Point, Space, Values, fits};
