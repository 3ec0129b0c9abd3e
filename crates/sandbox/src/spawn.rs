//! Starting a child.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::io::FdFlags;

use crate::capture::Capture;
use crate::child::Child;
use crate::error::SandboxError;
use crate::hidden;
use crate::policy::Policy;

/// What becomes of an output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Thrown away by the kernel.
    Null,
    /// Read to the end; the first so many bytes are kept and the rest is dropped.
    Capture {
        /// Bytes kept.
        cap_bytes: usize,
    },
}

/// Starts a child in a process group of its own, with an empty environment and standard input closed.
///
/// The standard library takes its `posix_spawn` path for all that is set here: a plain fork costs 20 ms from a parent with
/// half a gigabyte resident. Confinement is therefore the child's own first act, never done between fork and exec.
#[derive(Debug)]
pub struct Spawn<'fd> {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    stdout: Output,
    stderr: Output,
    descriptors: Vec<BorrowedFd<'fd>>,
}

/// Descriptors are inheritable only while this is held, so that no other child gets them.
static INHERITING: Mutex<()> = Mutex::new(());

impl<'fd> Spawn<'fd> {
    /// A child that runs `program`, which should be an absolute path.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            stdout: Output::Null,
            stderr: Output::Null,
            descriptors: Vec::new(),
        }
    }

    /// A child that runs `program` confined, by way of a `helper` that answers the hidden verb (the `kernsmith` binary).
    pub fn confined(helper: impl Into<PathBuf>, policy: &Policy, program: impl AsRef<Path>) -> Self {
        Self::new(helper).arg(hidden::VERB).arg(policy.to_json()).arg("--").arg(program.as_ref())
    }

    /// Appends an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Appends arguments.
    #[must_use]
    pub fn args<T: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets one variable; nothing else is inherited.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The working directory; the parent's own where unset.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// What becomes of standard output.
    #[must_use]
    pub fn stdout(mut self, output: Output) -> Self {
        self.stdout = output;
        self
    }

    /// What becomes of standard error.
    #[must_use]
    pub fn stderr(mut self, output: Output) -> Self {
        self.stderr = output;
        self
    }

    /// Passes a descriptor; the child finds it under the same number. A policy must list it in `keep_descriptors` too.
    #[must_use]
    pub fn pass(mut self, descriptor: BorrowedFd<'fd>) -> Self {
        self.descriptors.push(descriptor);
        self
    }

    /// The numbers of the passed descriptors.
    pub fn passed(&self) -> Vec<RawFd> {
        self.descriptors.iter().map(AsRawFd::as_raw_fd).collect()
    }

    /// Starts it.
    pub fn start(self) -> Result<Child, SandboxError> {
        use std::os::unix::process::CommandExt as _;

        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.process_group(0).stdin(Stdio::null());
        command.stdout(stdio(self.stdout)).stderr(stdio(self.stderr));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let guard = INHERITING.lock().unwrap_or_else(PoisonError::into_inner);
        let inherited = Inheritable::new(&self.descriptors)?;
        let started = command.spawn();
        drop(inherited);
        drop(guard);
        let mut child = started
            .map_err(|source| SandboxError::Start { program: self.program.display().to_string(), source })?;
        let stdout = child.stdout.take().map(|stream| Capture::start(stream.into(), self.stdout));
        let stderr = child.stderr.take().map(|stream| Capture::start(stream.into(), self.stderr));
        Child::new(&child, stdout, stderr)
    }
}

fn stdio(output: Output) -> Stdio {
    match output {
        Output::Null => Stdio::null(),
        Output::Capture { .. } => Stdio::piped(),
    }
}

/// Descriptors without close-on-exec for as long as this lives.
struct Inheritable<'a, 'fd>(&'a [BorrowedFd<'fd>]);

impl<'a, 'fd> Inheritable<'a, 'fd> {
    fn new(descriptors: &'a [BorrowedFd<'fd>]) -> Result<Self, SandboxError> {
        let inheritable = Self(descriptors);
        for descriptor in descriptors {
            rustix::io::fcntl_setfd(descriptor, FdFlags::empty())
                .map_err(|error| SandboxError::io("pass a descriptor to the child")(error.into()))?;
        }
        Ok(inheritable)
    }
}

impl Drop for Inheritable<'_, '_> {
    fn drop(&mut self) {
        for descriptor in self.0 {
            // It can only fail for a descriptor that is not open, and a borrowed one is.
            let _ = rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC);
        }
    }
}
