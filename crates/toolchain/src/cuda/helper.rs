//! One compile helper: a confined process that keeps the compiler loaded.

use std::io::{self, Read};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kernsmith_sandbox::{Child, Confinement, Exit, Limits, Output, Policy, Spawn};

use super::protocol::{
    CUBIN_LIMIT_BYTES, CompileJob, FromHelper, Hello, ToHelper, VERB, build_id, read_frame, write_frame,
};
use super::toolkit::CudaToolkit;
use crate::error::ToolchainError;

/// Starting takes a tenth of a second; this is for a machine that is very busy, or a disk that is cold.
const START_TIMEOUT: Duration = Duration::from_mins(1);
const STDERR_CAP_BYTES: usize = 16 * 1024;

/// How helpers are started.
#[derive(Debug, Clone)]
pub(super) struct HelperSetup {
    pub(super) self_exe: PathBuf,
    pub(super) memory_bytes: u64,
    pub(super) nvrtc: PathBuf,
    pub(super) builtins: PathBuf,
    pub(super) includes: Vec<PathBuf>,
}

impl HelperSetup {
    pub(super) fn new(self_exe: PathBuf, memory_bytes: u64, toolkit: &CudaToolkit) -> Self {
        Self {
            self_exe,
            memory_bytes,
            nvrtc: toolkit.nvrtc.path.clone(),
            builtins: toolkit.builtins.path.clone(),
            includes: toolkit.includes.clone(),
        }
    }

    /// The compiler is loaded before the helper confines itself, so that headers are all that it still has to see.
    fn policy(&self, socket: i32) -> Policy {
        Policy {
            read: self.includes.clone(),
            limits: Limits {
                address_space_bytes: Some(self.memory_bytes),
                file_bytes: Some(0),
                ..Limits::default()
            },
            keep_descriptors: vec![socket],
            ..Policy::default()
        }
    }
}

/// A running helper.
#[derive(Debug)]
pub(super) struct Helper {
    child: Child,
    stream: UnixStream,
    pub(super) version: (i32, i32),
    pub(super) confinement: Confinement,
    pub(super) jobs: u32,
}

/// What a compilation gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compiled {
    pub(super) code: i32,
    pub(super) message: String,
    pub(super) log: String,
    pub(super) cubin: Vec<u8>,
}

/// How a helper was lost over a job.
#[derive(Debug)]
pub(super) enum Lost {
    /// No answer in time.
    Timeout,
    /// It died; what it last said on standard error.
    Died { exit: Exit, said: String },
    /// It answered with something that it cannot have meant.
    Nonsense(String),
}

impl Helper {
    pub(super) fn start(setup: &HelperSetup) -> Result<Self, ToolchainError> {
        let broke = |problem: String| ToolchainError::CompilerBroke { problem };
        let (ours, theirs) = UnixStream::pair().map_err(|error| broke(format!("no socket: {error}")))?;
        let theirs = OwnedFd::from(theirs);
        let number = theirs.as_raw_fd();
        let child = Spawn::new(&setup.self_exe)
            .arg(VERB)
            .arg(number.to_string())
            .env("LC_ALL", "C")
            .stderr(Output::Capture { cap_bytes: STDERR_CAP_BYTES })
            .pass(theirs.as_fd())
            .start()?;
        drop(theirs);
        let mut helper =
            Self { child, stream: ours, version: (0, 0), confinement: Confinement::default(), jobs: 0 };
        let hello = ToHelper::Hello(Box::new(Hello {
            build: build_id(),
            policy: setup.policy(number),
            nvrtc: setup.nvrtc.clone(),
            builtins: Some(setup.builtins.clone()),
        }));
        let answer = helper.ask(&hello, Instant::now() + START_TIMEOUT);
        match answer {
            Ok(FromHelper::Ready { build, version, confinement }) if build == build_id() => {
                (helper.version, helper.confinement) = (version, confinement);
                Ok(helper)
            }
            Ok(FromHelper::Ready { .. }) => {
                Err(broke("the compile helper is another build of this program; start it again".to_owned()))
            }
            Ok(FromHelper::Failed { reason }) => Err(broke(reason)),
            Ok(FromHelper::Compiled { .. }) => Err(broke("it spoke out of turn".to_owned())),
            Err(error) => Err(broke(format!("its helper did not start: {}", helper.loss(&error)))),
        }
    }

    /// Compiles one text. After a loss the helper is gone.
    pub(super) fn compile(mut self, job: &CompileJob, time: Duration) -> Result<(Self, Compiled), Lost> {
        let deadline = Instant::now() + time;
        self.jobs += 1;
        let answer = self.ask(&ToHelper::Compile(job.clone()), deadline);
        match answer.and_then(|answer| self.take(answer, deadline)) {
            Ok(compiled) => Ok((self, compiled)),
            Err(error) => Err(self.loss(&error)),
        }
    }

    fn ask(&mut self, frame: &ToHelper, deadline: Instant) -> io::Result<FromHelper> {
        self.stream.set_write_timeout(Some(START_TIMEOUT))?;
        write_frame(&mut self.stream, frame)?;
        read_frame(&mut Timed { stream: &mut self.stream, deadline })
    }

    fn take(&mut self, answer: FromHelper, deadline: Instant) -> io::Result<Compiled> {
        let FromHelper::Compiled { code, message, log, cubin_bytes } = answer else {
            return Err(io::Error::other("it answered something else"));
        };
        if cubin_bytes > CUBIN_LIMIT_BYTES {
            return Err(io::Error::other(format!("a cubin of {cubin_bytes} bytes")));
        }
        let mut cubin = vec![0; cubin_bytes as usize];
        Timed { stream: &mut self.stream, deadline }.read_exact(&mut cubin)?;
        Ok(Compiled { code, message, log, cubin })
    }

    /// What became of a helper with which one cannot speak any more.
    fn loss(self, error: &io::Error) -> Lost {
        if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) {
            return Lost::Timeout;
        }
        let closed =
            [io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        if !closed.contains(&error.kind()) {
            return Lost::Nonsense(error.to_string());
        }
        // It has hung up, so it is ending; a core's worth of memory takes a moment to give back.
        match self.child.wait(Duration::from_secs(10)) {
            Ok(ended) => Lost::Died { exit: ended.exit, said: ended.stderr.text() },
            Err(error) => Lost::Nonsense(error.to_string()),
        }
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout => f.write_str("it did not answer in time"),
            Self::Died { exit, said } => write!(f, "it ended with {exit:?}: {}", said.trim()),
            Self::Nonsense(what) => f.write_str(what),
        }
    }
}

/// Reads until a moment in time.
struct Timed<'a> {
    stream: &'a mut UnixStream,
    deadline: Instant,
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}
