//! Frames between harness and worker.
//!
//! A connection is a `SOCK_SEQPACKET` socket pair: one JSON frame a packet, at most [`FRAME_LIMIT`] bytes, file
//! descriptors beside it. Two things do not go through it: tensors, which live in memory files that the parent owns
//! ([`Pool`]), and the word that starts a timed interval, which lies in a shared page together with the note of a fault
//! ([`Control`]).
//!
//! **Invariant:** nothing that the worker sends is believed further than [`FromWorker`] allows: no verdict, no time. A GPU
//! worker runs no foreign host code, so the device's own times are taken from it ([`gpu`]), and held against the parent's clock.

mod channel;
mod control;
mod frame;
pub mod gpu;
mod pool;

pub use channel::{Channel, FRAME_LIMIT, MAX_FILES, WireError, decode, encode, pair};
pub use control::{Control, Fault};
pub use frame::{Batch, FromWorker, Run, ToWorker, Window, Word, build_id};
pub use pool::{PAGE_BYTES, Pool};
