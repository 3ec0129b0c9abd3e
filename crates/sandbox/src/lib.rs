//! Confines and runs one child process.
//!
//! Two halves meet here. The parent builds a [`Spawn`], gets a [`Child`] and learns how it [`Ended`]. The child calls
//! [`confine`] first thing in `main`, and [`restrict_syscalls`] when it has loaded what it needs. Programs that know nothing
//! of this crate are started through [`hidden::run_confine`], which confines itself and then becomes the program.
//!
//! What the machine refuses is named in [`Confinement::missing`]; it is an error only where the [`Policy`] requires the
//! layer. The layers and what each of them stops are described in `docs/sandbox.md`.

mod capture;
mod child;
mod confine;
mod error;
pub mod hidden;
mod inherit;
mod level;
mod limits;
mod namespaces;
mod paths;
mod policy;
mod probe;
mod spawn;
mod supervise;
mod syscalls;

pub use crate::capture::Captured;
pub use crate::child::{Child, Ended, Exit, Usage};
pub use crate::confine::{Confinement, Layer, confine};
pub use crate::error::SandboxError;
pub use crate::inherit::inherited_socket;
pub use crate::level::{Level, demand};
pub use crate::policy::{Identity, Limits, Policy};
pub use crate::probe::{probe, probe_with};
pub use crate::spawn::{Output, Spawn};
pub use crate::syscalls::{Profile, restrict_syscalls};
