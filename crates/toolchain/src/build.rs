//! One build: what is asked, and what comes out.

use std::path::PathBuf;

use kernsmith_core::evidence::ObjectFacts;
use kernsmith_core::{Digest, FailureClass};

use crate::error::ToolchainError;
use crate::flags;

/// Whose source it is; decides flags and privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuildRole {
    /// A candidate: `-O3` and the plan's flags, no libraries.
    Kernel,
    /// A contract's reference: `-O2 -ffp-contract=off`, never any fast-math.
    Oracle,
    /// A contract's baseline: `-O3`, and it may link installed libraries.
    Trusted,
}

impl BuildRole {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Oracle => "oracle",
            Self::Trusted => "trusted",
        }
    }

    /// The name that messages and `__FILE__` carry.
    pub(crate) const fn file_name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel.cpp",
            Self::Oracle => "reference.cpp",
            Self::Trusted => "baseline.cpp",
        }
    }
}

/// What is to be built.
#[derive(Debug, Clone, Copy)]
pub struct BuildRequest<'a> {
    /// The whole source text.
    pub source: &'a str,
    /// Whose it is.
    pub role: BuildRole,
    /// Extra flags, out of [`crate::allowed_flags`].
    pub flags: &'a [String],
    /// The symbols to export; everything else stays local.
    pub symbols: &'a [&'a str],
    /// Libraries to link, without `lib` and ending; trusted code only.
    pub link: &'a [String],
    /// Compiles even when the cache has it.
    pub fresh: bool,
}

impl BuildRequest<'_> {
    /// Flags, symbols and libraries; the answer names the first that is not legal.
    pub(crate) fn check(&self) -> Result<(), String> {
        flags::check(self.role, self.flags)?;
        let word = |text: &str, more: &str| {
            !text.is_empty()
                && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || more.contains(c))
        };
        if let Some(symbol) = self.symbols.iter().find(|symbol| !word(symbol, "")) {
            return Err(format!("`{symbol}` is not a symbol name"));
        }
        if let Some(library) = self.link.iter().find(|library| !word(library, "+-.")) {
            return Err(format!("`{library}` is not a library name"));
        }
        match self.link.first() {
            Some(library) if self.role != BuildRole::Trusted => Err(format!(
                "only a contract's own baselines may link libraries, but `{library}` was asked for"
            )),
            _ => Ok(()),
        }
    }
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub enum BuildOutcome {
    /// A shared object.
    Built(Box<CodeObject>),
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

impl CodeObject {
    /// Its machine code as text, one instruction a line with its address: one exported symbol, or everything.
    pub fn disassembly(&self, symbol: Option<&str>) -> Result<Vec<String>, ToolchainError> {
        let bytes = std::fs::read(&self.path).map_err(|source| ToolchainError::File {
            action: "read",
            path: self.path.clone(),
            source,
        })?;
        crate::facts::disassemble(&bytes, symbol).map_err(ToolchainError::BadObject)
    }
}

/// A shared object and what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct CodeObject {
    /// The file; it is never changed after it got this name.
    pub path: PathBuf,
    /// Digest of the file.
    pub digest: Digest,
    /// Facts read from it.
    pub facts: ObjectFacts,
    /// Wall time of compiling and linking; that of the original build where `cached`.
    pub build_ms: f64,
    /// The compiler's log: warnings.
    pub log: String,
    /// All flags, in order.
    pub flags: Vec<String>,
    /// Whether it came out of the cache.
    pub cached: bool,
}
