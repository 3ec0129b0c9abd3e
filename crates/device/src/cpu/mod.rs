//! Shared objects on the processor.

mod fault;
mod object;
mod state;
mod window;

pub use fault::{FaultSlots, watch_faults};
pub use object::{CodeObject, LoadError, MAX_FLOATS, MAX_WORDS, Symbol};
pub use state::FloatState;
pub use window::{PAGE_BYTES, Window};
