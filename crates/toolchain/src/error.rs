//! What can go wrong with the toolchain itself.

use std::io;
use std::path::PathBuf;

/// The toolchain failed. Source that does not compile is never an error of this kind.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// No compiler was found.
    #[error(
        "no C++ compiler found (tried {tried}); install one with `apt-get install g++` or name one with `--compiler PATH`"
    )]
    NoCompiler {
        /// What was looked for, in order.
        tried: String,
    },
    /// The compiler does not do what compilers do.
    #[error("`{path}` is not usable as a C++ compiler: {problem}; name another one with `--compiler PATH`")]
    BadCompiler {
        /// The executable.
        path: PathBuf,
        /// What it did.
        problem: String,
    },
    /// The compiler was there and is gone, or has changed.
    #[error(
        "the compiler `{path}` has vanished since it was found; install it again or name another one with `--compiler PATH`"
    )]
    CompilerVanished {
        /// The executable.
        path: PathBuf,
    },
    /// No CUDA toolkit was found.
    #[error(
        "no CUDA toolkit found; get one with `kernsmith toolchain install cuda`, or name one with KERNSMITH_CUDA_HOME (tried \
         {tried})"
    )]
    NoCudaToolkit {
        /// Where was looked, and why it is none.
        tried: String,
    },
    /// The CUDA toolkit that was named is none, or lacks something.
    #[error(
        "`{path}` is not usable as a CUDA toolkit: {problem}; name another one with KERNSMITH_CUDA_HOME, or get one with \
         `kernsmith toolchain install cuda`"
    )]
    BadCudaToolkit {
        /// The folder.
        path: PathBuf,
        /// What it lacks.
        problem: String,
    },
    /// A toolkit could not be installed.
    #[error("the CUDA toolkit could not be installed: {problem}")]
    Install {
        /// What went wrong, with the remedy where one is known.
        problem: String,
    },
    /// The cache directory cannot be used.
    #[error(
        "cannot write to the cache directory `{path}`; make it writable or name another one with `--cache-dir`"
    )]
    CacheNotWritable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The disk that holds the cache is full.
    #[error(
        "no space left for the build below `{path}`; free some or name another cache directory with `--cache-dir`"
    )]
    DiskFull {
        /// The directory.
        path: PathBuf,
    },
    /// A library that trusted code is linked with is not installed.
    #[error("lib{library} not found")]
    LibraryNotFound {
        /// Its name without `lib` and ending, such as `openblas`.
        library: String,
    },
    /// The compiler broke down in a way that says nothing about the source.
    #[error("the compiler broke down: {problem}")]
    CompilerBroke {
        /// What it did.
        problem: String,
    },
    /// A file of the toolchain's own could not be read or written.
    #[error("cannot {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The object that the linker wrote cannot be read.
    #[error("the linker wrote an object that cannot be read: {0}")]
    BadObject(String),
    /// The sandbox failed.
    #[error("the build sandbox failed")]
    Sandbox(#[from] kernsmith_sandbox::SandboxError),
}
