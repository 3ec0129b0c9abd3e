//! The clock: buffers that never repeat, intervals, pairs, and what comes out of them.

mod content;
mod guard;
mod interval;
mod pairs;
mod set;
mod shift;
mod summary;

pub(crate) use interval::{Meter, measure, measure_exchanged};
pub(crate) use pairs::{PairRules, SLOW_CALL_US, Series, Watch, alone, pairs, quiet};
pub(crate) use set::{Range, TimedSet};
pub(crate) use summary::{joint, noise_of, summarise};
