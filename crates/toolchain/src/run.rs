//! Running the compiler: inside the sandbox, with limits.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kernsmith_sandbox::{
    Confinement, Exit, Layer, Limits, Output, Policy, Profile, SandboxError, Spawn, hidden, probe_with,
};

use crate::compiler::Compiler;
use crate::error::ToolchainError;

/// Where headers, libraries and the compiler's parts live.
pub(crate) const SYSTEM_ROOTS: [&str; 6] = ["/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin"];
/// What the loader and the alternatives system read. Nothing else of `/etc` is visible.
pub(crate) const SYSTEM_FILES: [&str; 3] = ["/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf"];
/// No object is this large; a source that makes one is stopped before it fills the disk.
const LARGEST_FILE_BYTES: u64 = 512 << 20;
const OUTPUT_CAP_BYTES: usize = 256 * 1024;

/// Starts the compiler.
#[derive(Debug)]
pub(crate) struct Runner {
    compiler: Compiler,
    self_exe: Option<PathBuf>,
    timeout: Duration,
    memory_bytes: u64,
    confinement: Confinement,
}

/// How the compiler ended.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) exit: Exit,
    pub(crate) log: String,
    pub(crate) wall_ms: f64,
}

impl Runner {
    pub(crate) fn new(
        compiler: Compiler,
        self_exe: Option<PathBuf>,
        timeout: Duration,
        memory_bytes: u64,
    ) -> Result<Self, ToolchainError> {
        let confinement = match &self_exe {
            Some(helper) => probe_with(helper)?,
            None => Confinement {
                missing: vec![(Layer::Landlock, "builds are not sandboxed by request".to_owned())],
                ..Confinement::default()
            },
        };
        Ok(Self { compiler, self_exe, timeout, memory_bytes, confinement })
    }

    pub(crate) const fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    pub(crate) const fn confinement(&self) -> &Confinement {
        &self.confinement
    }

    /// Whether the sandbox itself keeps the compiler from reading other files.
    pub(crate) fn hides_files(&self) -> bool {
        self.confinement.has(Layer::Landlock)
    }

    /// Directories whose files a source may include.
    pub(crate) fn readable_roots(&self) -> Vec<PathBuf> {
        let mut roots: Vec<PathBuf> = SYSTEM_ROOTS.iter().map(PathBuf::from).collect();
        roots.extend(self.prefix());
        roots
    }

    /// A compiler outside the system roots brings its own: `/opt/gcc/bin/g++` reads `/opt/gcc`.
    fn prefix(&self) -> Option<PathBuf> {
        let prefix = self.compiler.path.parent()?.parent()?;
        (prefix.parent().is_some() && !prefix.starts_with("/usr")).then(|| prefix.to_owned())
    }

    /// Runs the compiler in `directory`, the only place that it may write to; `extra` may be read.
    pub(crate) fn run(
        &self,
        directory: &Path,
        extra: &[&Path],
        arguments: &[OsString],
    ) -> Result<Compiled, ToolchainError> {
        self.compiler.check_present()?;
        let spawn = match &self.self_exe {
            Some(helper) => Spawn::confined(helper, &self.policy(directory, extra), &self.compiler.path),
            None => self
                .environment(directory)
                .into_iter()
                .fold(Spawn::new(&self.compiler.path), |spawn, (name, value)| spawn.env(name, value)),
        };
        let output = Output::Capture { cap_bytes: OUTPUT_CAP_BYTES };
        let start = Instant::now();
        let child = spawn.args(arguments).directory(directory).stdout(output).stderr(output).start();
        let ended = match child {
            Ok(child) => child.wait(self.timeout)?,
            Err(error) => return Err(self.start_error(error)),
        };
        let wall_ms = start.elapsed().as_secs_f64() * 1e3;
        let log = format!("{}{}", ended.stdout.text(), ended.stderr.text());
        if self.self_exe.is_some() {
            self.check_confined(ended.exit, &ended.stderr.text())?;
        }
        // The build's own directory has a random name, which would make equal logs differ.
        let place = format!("{}/", directory.display());
        Ok(Compiled { exit: ended.exit, log: log.replace(&place, ""), wall_ms })
    }

    fn environment(&self, directory: &Path) -> Vec<(String, String)> {
        let mut path = "/usr/bin:/bin".to_owned();
        if let Some(own) = self.compiler.path.parent() {
            path = format!("{}:{path}", own.display());
        }
        let temporary = directory.display().to_string();
        [("PATH", path), ("LC_ALL", "C".to_owned()), ("TMPDIR", temporary)]
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec()
    }

    fn policy(&self, directory: &Path, extra: &[&Path]) -> Policy {
        let mut read: Vec<PathBuf> = SYSTEM_FILES.iter().map(PathBuf::from).collect();
        read.extend(extra.iter().map(|path| path.to_path_buf()));
        Policy {
            read,
            execute: self.readable_roots(),
            write: vec![directory.to_owned(), "/dev/null".into()],
            environment: self.environment(directory).into_iter().collect(),
            limits: Limits {
                address_space_bytes: Some(self.memory_bytes),
                cpu_seconds: Some(self.timeout.as_secs().saturating_add(1)),
                file_bytes: Some(LARGEST_FILE_BYTES),
                processes: Some(64),
                open_files: None,
            },
            syscalls: Some(Profile::Tool),
            ..Policy::default()
        }
    }

    fn start_error(&self, error: SandboxError) -> ToolchainError {
        if self.compiler.check_present().is_err() {
            return ToolchainError::CompilerVanished { path: self.compiler.path.clone() };
        }
        error.into()
    }

    fn check_confined(&self, exit: Exit, log: &str) -> Result<(), ToolchainError> {
        // Source can make a compiler write anything, but not end with one of these codes.
        let gone = [hidden::EXIT_NOT_FOUND, hidden::EXIT_NOT_EXECUTABLE].map(|code| Exit::Code(code.into()));
        if exit != Exit::Code(hidden::EXIT_CONFINEMENT.into()) && !gone.contains(&exit) {
            return Ok(());
        }
        let Some(problem) = log.strip_prefix(hidden::ERROR_PREFIX) else { return Ok(()) };
        if gone.contains(&exit) {
            return Err(ToolchainError::CompilerVanished { path: self.compiler.path.clone() });
        }
        Err(ToolchainError::CompilerBroke { problem: problem.trim().to_owned() })
    }
}
