//! Where data folders lie, and where in a file something is wrong.
//!
//! What the owners of the data directories have in common: each opens its own folder, looks for it in the same places, and says
//! in the same words what is wrong in a file of it.

mod problem;
mod roots;

pub use problem::{FileProblem, Text, line_of};
pub use roots::roots;
