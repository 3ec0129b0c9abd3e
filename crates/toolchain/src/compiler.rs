//! Finding a compiler and naming it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use kernsmith_core::Digest;
use kernsmith_sandbox::{Exit, Output, Spawn};

use crate::error::ToolchainError;

/// Whose compiler it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompilerKind {
    /// The GNU compiler.
    Gcc,
    /// Clang of the LLVM project.
    Clang,
}

impl CompilerKind {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gcc => "gcc",
            Self::Clang => "clang",
        }
    }
}

/// How the C++ runtime gets into an object.
///
/// An archive would become part of every object that throws, allocates or starts a thread, with all that its other parts
/// import: files, locales, raw system calls. Nobody could tell them from the candidate's own, so the shared library is
/// linked wherever the machine has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runtime {
    /// The compiler finds the shared library itself.
    Shared,
    /// The compiler would take its archive, as one does that was moved away from its libraries. This file is linked first.
    Named(PathBuf),
    /// Only the archive was found.
    Archive,
}

impl Runtime {
    /// What sets objects apart that were linked so; nothing for the usual way.
    pub(crate) fn recipe(&self) -> String {
        match self {
            Self::Shared => String::new(),
            Self::Named(path) => path.display().to_string(),
            Self::Archive => "archive".to_owned(),
        }
    }
}

/// A compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// The executable, links resolved.
    pub path: PathBuf,
    /// Whose it is.
    pub kind: CompilerKind,
    /// Its version, such as `12.2.0`.
    pub version: String,
    /// Digest of the executable.
    pub digest: Digest,
    /// How the C++ runtime is linked.
    pub runtime: Runtime,
    /// When the executable was written, to notice that it was replaced.
    modified: Option<SystemTime>,
}

impl std::fmt::Display for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.version)
    }
}

impl Compiler {
    /// The compiler that was asked for; otherwise `$KERNSMITH_CXX`, `$CXX`, `g++`, `clang++`, the first that is there.
    pub(crate) fn discover(wish: Option<&Path>) -> Result<Self, ToolchainError> {
        let mut tried = Vec::new();
        for name in wishes(wish) {
            if let Some(path) = resolve(&name) {
                return Self::examine(&path);
            }
            tried.push(name.display().to_string());
        }
        Err(ToolchainError::NoCompiler { tried: tried.join(", ") })
    }

    fn examine(path: &Path) -> Result<Self, ToolchainError> {
        let bad = |problem: String| ToolchainError::BadCompiler { path: path.to_owned(), problem };
        let banner = ask(path, &["--version"]).map_err(bad)?;
        let kind = if banner.contains("clang") {
            CompilerKind::Clang
        } else if banner.contains("Free Software Foundation") {
            CompilerKind::Gcc
        } else {
            return Err(bad(format!("`--version` says `{}`", banner.lines().next().unwrap_or_default())));
        };
        let version = match kind {
            // Without the first of the two, newer ones name only the major version.
            CompilerKind::Gcc => ask(path, &["-dumpfullversion", "-dumpversion"]),
            CompilerKind::Clang => ask(path, &["-dumpversion"]),
        };
        let version = version.map_err(bad)?.trim().to_owned();
        if !version.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(bad(format!("it says that its version is `{version}`")));
        }
        let bytes = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let modified = modified(path);
        let runtime = runtime(path);
        Ok(Self { path: path.to_owned(), kind, version, digest: Digest::of(&bytes), runtime, modified })
    }

    /// Whether the executable is still the one that was found.
    pub(crate) fn check_present(&self) -> Result<(), ToolchainError> {
        if modified(&self.path).is_some() && modified(&self.path) == self.modified {
            return Ok(());
        }
        Err(ToolchainError::CompilerVanished { path: self.path.clone() })
    }
}

/// Names under which compilers look for the shared runtime, and the name under which programs load it.
const RUNTIMES: [&str; 2] = ["libstdc++.so", "libc++.so"];
const LOADED_RUNTIME: &str = "libstdc++.so.6";
/// Where the loader looks without being told.
const LIBRARY_ROOTS: [&str; 6] =
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/lib64", "/usr/lib", "/lib"];

/// A compiler that does not find a file repeats its name; one that finds a link repeats the link, wherever that leads.
fn runtime(compiler: &Path) -> Runtime {
    let finds = |name: &str| {
        let told = ask(compiler, &[&format!("-print-file-name={name}")]).unwrap_or_default();
        let path = PathBuf::from(told.trim());
        path.is_absolute().then_some(path).filter(|path| path.is_file())
    };
    if RUNTIMES.iter().any(|name| finds(name).is_some()) {
        return Runtime::Shared;
    }
    let beside = finds(LOADED_RUNTIME);
    let roots = LIBRARY_ROOTS.iter().map(|root| Path::new(root).join(LOADED_RUNTIME));
    let found = beside.into_iter().chain(roots).find(|path| path.is_file());
    found.map_or(Runtime::Archive, Runtime::Named)
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}

/// An explicit wish is final: taking another compiler instead would measure something else.
fn wishes(wish: Option<&Path>) -> Vec<PathBuf> {
    if let Some(wish) = wish {
        return vec![wish.to_owned()];
    }
    for variable in ["KERNSMITH_CXX", "CXX"] {
        if let Some(value) = std::env::var_os(variable).filter(|value| !value.is_empty()) {
            return vec![value.into()];
        }
    }
    vec!["g++".into(), "clang++".into()]
}

/// Looks a bare name up in `$PATH`, and follows links to the real file.
fn resolve(name: &Path) -> Option<PathBuf> {
    let found = if name.components().count() > 1 {
        name.is_file().then(|| name.to_owned())
    } else {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
    };
    found.and_then(|path| path.canonicalize().ok())
}

fn ask(path: &Path, arguments: &[&str]) -> Result<String, String> {
    let spawn = Spawn::new(path)
        .args(arguments)
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .stdout(Output::Capture { cap_bytes: 16 * 1024 });
    let child = spawn.start().map_err(|error| error.to_string())?;
    let ended = child.wait(Duration::from_secs(10)).map_err(|error| error.to_string())?;
    match ended.exit {
        Exit::Code(0) => Ok(ended.stdout.text()),
        exit => Err(format!("`{}` ended with {exit:?}", arguments.join(" "))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_compiler_that_is_not_there_is_named_with_the_remedy() {
        let error = Compiler::discover(Some(Path::new("/no/such/g++"))).unwrap_err();
        assert!(
            error.to_string().contains("/no/such/g++") && error.to_string().contains("apt-get install g++")
        );
    }

    #[test]
    fn a_program_that_is_no_compiler_is_refused() {
        let error = Compiler::discover(Some(Path::new("/bin/true"))).unwrap_err();
        assert!(matches!(error, ToolchainError::BadCompiler { .. }), "{error}");
    }

    #[test]
    fn a_compiler_that_vanishes_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cxx");
        std::fs::write(&path, "#!/bin/sh\necho '1.2.3 clang'\n").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        // A process that another test is just starting may hold the file open for a moment: it is busy until then.
        let busy =
            || Command::new(&path).output().is_err_and(|error| error.kind() == ErrorKind::ExecutableFileBusy);
        while busy() {
            std::thread::yield_now();
        }
        let compiler = Compiler::discover(Some(&path)).unwrap();
        assert_eq!(compiler.kind, CompilerKind::Clang);
        assert!(compiler.check_present().is_ok());
        std::fs::remove_file(&path).unwrap();
        assert!(compiler.check_present().unwrap_err().to_string().contains("vanished"));
    }
}
