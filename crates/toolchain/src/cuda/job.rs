//! One build: what is asked, and what comes out.

use std::time::Duration;

use kernsmith_core::{Digest, FailureClass};

use super::facts::CudaFacts;

/// What is to be built.
#[derive(Debug, Clone, Copy)]
pub struct CudaJob<'a> {
    /// The whole source text: device code, kernels declared `extern "C"`.
    pub source: &'a str,
    /// The architecture, such as `sm_90a`.
    pub arch: &'a str,
    /// Extra flags, out of [`super::allowed_cuda_flags`].
    pub flags: &'a [String],
    /// Macros and their values.
    pub defines: &'a [(String, String)],
    /// Wall time that the compilation itself may take; absent: that of the toolchain's options. Waiting for a free helper does
    /// not count.
    pub deadline: Option<Duration>,
    /// Compiles even when the cache has it.
    pub fresh: bool,
}

impl<'a> CudaJob<'a> {
    /// A source for an architecture, with nothing special about it.
    pub const fn new(source: &'a str, arch: &'a str) -> Self {
        Self { source, arch, flags: &[], defines: &[], deadline: None, fresh: false }
    }

    /// Architecture, flags and macros; the answer names the first that is not legal.
    pub(crate) fn check(&self) -> Result<(), String> {
        super::flags::check_arch(self.arch)?;
        super::flags::check_cuda_flags(self.flags)?;
        self.defines.iter().try_for_each(|(name, value)| super::flags::check_define(name, value))
    }
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub enum CudaBuild {
    /// A cubin.
    Built(Box<CudaObject>),
    /// The source, its flags or its appetite are to blame.
    Refused {
        /// The name from the catalogue.
        class: FailureClass,
        /// The structured reason: first error with file, line and source line.
        detail: String,
        /// The compiler's log, its beginning where it is long.
        log: String,
    },
}

/// A cubin and what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct CudaObject {
    /// The object, an ELF file for exactly one architecture.
    pub cubin: Vec<u8>,
    /// Its digest.
    pub digest: Digest,
    /// Facts read from it.
    pub facts: CudaFacts,
    /// The compiler's log: warnings, and what the assembler says about each kernel.
    pub log: String,
    /// Time of compiling, without waiting for a helper; that of the original build where `cached`.
    pub build_ms: f64,
    /// All options, in order, include paths left out.
    pub options: Vec<String>,
    /// Whether it came out of the cache.
    pub cached: bool,
}
