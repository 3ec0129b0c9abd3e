//! Looking at what a call wrote.

mod compare;
mod poison;
mod slices;

pub(crate) use compare::{Tally, compare, scan};
pub(crate) use poison::Poison;
pub(crate) use slices::{everything, sample};
