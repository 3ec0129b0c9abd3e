//! Loads code objects and launches them.
//!
//! One folder a platform, file by file alike: `object` loads and calls, `window` places tensors, `state` watches what a
//! kernel may not change, `fault` says where it died. [`nvrtc`] is CUDA's run-time compiler, for the confined compile helper.
//! Only confined workers use this crate: the code that it calls is hostile, and the only thing that keeps it in place is that
//! its process owns nothing.
//!
//! **Invariant:** every tensor lies between two pages that fault, and is gone when the call has returned.

pub mod cpu;
pub mod cuda;
pub mod nvrtc;
