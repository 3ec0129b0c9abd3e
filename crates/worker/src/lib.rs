//! The confined child that runs candidate and oracle code.
//!
//! It is the same program as the harness, started with a hidden verb, one thread, and does what it is told: confine
//! itself, load one code object, give up what only loading needs, and then map, call and unmap until the other side
//! hangs up. The kernel and the oracle run in workers of their own; the oracle's is the only one that sees expected
//! values.
//!
//! **Invariant:** a worker knows no expected value of a kernel's output, no seed and no clock that counts, and gives no
//! verdict.

mod compile;
mod gpu;
mod serve;
mod start;

use std::process::ExitCode;

pub use compile::{COMPILE_VERB, compile_main};

/// The hidden verb of the program: `kernsmith __worker SOCKET`.
pub const VERB: &str = "__worker";
/// The hidden verb for a GPU worker: `kernsmith __gpu_worker SOCKET`.
pub const GPU_VERB: &str = "__gpu_worker";

/// Runs a worker over the inherited socket whose number is the first argument after the verb.
///
/// The exit code is 0 after an orderly end; 2 when it was not started by a harness; 3 when the apparatus failed. Standard
/// streams are not used.
pub fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let number = arguments.into_iter().next().and_then(|text| text.parse().ok());
    let Some(channel) = number.and_then(kernsmith_wire::Channel::inherited) else {
        return ExitCode::from(2);
    };
    match start::begin(channel).and_then(serve::serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(3),
    }
}

/// Runs a GPU worker over the inherited socket whose number is the first argument after the verb; exit codes as [`main`]'s.
pub fn gpu_main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let number = arguments.into_iter().next().and_then(|text| text.parse().ok());
    let Some(channel) = number.and_then(kernsmith_wire::Channel::inherited) else {
        return ExitCode::from(2);
    };
    match gpu::serve(channel) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(3),
    }
}
