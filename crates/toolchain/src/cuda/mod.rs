//! CUDA: source text to cubins, with facts read from them.
//!
//! [`CudaToolchain::open`] finds a toolkit; [`CudaToolchain::build`] compiles one text in a warm, confined helper process,
//! through a content-addressed cache, and reads registers, memory, parameters, globals and instruction families from the object.
//! What the compiler has to say against the source is [`CudaBuild::Refused`]; `Err` means that the apparatus failed. Everything
//! is described in `docs/cuda.md`.

mod facts;
mod flags;
mod helper;
mod image;
mod install;
mod job;
mod log;
mod nvcc;
mod pool;
pub mod protocol;
mod sass;
mod shims;
mod store;
mod toolchain;
mod toolkit;

pub use facts::{CudaFacts, CudaGlobal, CudaKernelFacts, CudaParameter};
pub use flags::{allowed_cuda_flags, check_cuda_flags};
pub use install::{Wheel, install, wheels};
pub use job::{CudaBuild, CudaJob, CudaObject};
pub use sass::cuda_instruction_families;
pub use shims::offered_headers;
pub use toolchain::{CudaOptions, CudaToolchain, read_facts};
pub use toolkit::{CudaToolkit, Origin, Part};
