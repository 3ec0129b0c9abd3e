//! Turns source into code objects, with facts read from the binary.
//!
//! [`Toolchain::discover`] finds a compiler once; [`Toolchain::build`] turns one source text into a shared object that
//! exports exactly the symbols asked for, in a sandbox with limits, through a content-addressed cache. What the compiler has to
//! say against the source is [`BuildOutcome::Refused`]; `Err` means that the apparatus failed. The flags, the cache and the
//! instruction families are described in `docs/toolchain.md`.

mod build;
mod cache;
mod compiler;
pub mod cuda;
mod diagnose;
mod error;
mod facts;
mod flags;
mod host;
mod precompiled;
mod run;
mod toolchain;

pub use crate::build::{BuildOutcome, BuildRequest, BuildRole, CodeObject};
pub use crate::compiler::{Compiler, CompilerKind, Runtime};
pub use crate::error::ToolchainError;
pub use crate::facts::instruction_families;
pub use crate::flags::{AllowedFlag, allowed_flags};
pub use crate::host::Host;
pub use crate::toolchain::{Toolchain, ToolchainOptions};
