//! A running child, and how it ended.
#![expect(unsafe_code, reason = "wait4 is the only call that gives a child's resource usage")]

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::capture::{Capture, Captured};
use crate::error::SandboxError;

/// How long an output stream may stay open after its child is gone.
const STREAM_PATIENCE: Duration = Duration::from_millis(500);

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It ended itself with this code.
    Code(i32),
    /// It died of this signal.
    Signal(i32),
    /// It ran out of time and was killed.
    Timeout,
}

/// What a child used, its own children included as far as they were waited for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Largest resident set of one process.
    pub max_rss_bytes: u64,
    /// Processor time in user mode.
    pub user_seconds: f64,
    /// Processor time in the kernel.
    pub system_seconds: f64,
}

/// How a child ended, and what it left behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// How it ended.
    pub exit: Exit,
    /// What it used.
    pub usage: Usage,
    /// What it wrote to standard output, where captured.
    pub stdout: Captured,
    /// What it wrote to standard error, where captured.
    pub stderr: Captured,
}

/// A running child; dropping it kills the whole process group.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    stdout: Option<Capture>,
    stderr: Option<Capture>,
    reaped: Option<(Exit, Usage)>,
}

impl Child {
    pub(crate) fn new(
        child: &std::process::Child,
        stdout: Option<Capture>,
        stderr: Option<Capture>,
    ) -> Result<Self, SandboxError> {
        let pid = Pid::from_child(child);
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { pid, pidfd, stdout, stderr, reaped: None }),
            Err(error) => {
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
                let _ = reap(pid);
                Err(SandboxError::io("open a pidfd for the child")(error.into()))
            }
        }
    }

    /// The process id, which is also the id of its process group.
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Becomes readable when the child ends.
    pub fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Whether it is still running.
    pub fn is_running(&self) -> bool {
        self.reaped.is_none() && !self.ended_within(Duration::ZERO)
    }

    /// Stops every process of the group (SIGSTOP), until [`Child::resume`].
    pub fn suspend(&self) -> Result<(), SandboxError> {
        self.signal(Signal::STOP, "stop the child")
    }

    /// Lets a stopped group go on.
    pub fn resume(&self) -> Result<(), SandboxError> {
        self.signal(Signal::CONT, "continue the child")
    }

    /// Waits until it ends, at most `timeout`; then the whole group is killed either way.
    pub fn wait(mut self, timeout: Duration) -> Result<Ended, SandboxError> {
        let in_time = self.ended_within(timeout);
        let (exit, usage) = self.end()?;
        let exit = if in_time { exit } else { Exit::Timeout };
        let finish = |capture: &Option<Capture>| {
            capture.as_ref().map(|capture| capture.finish(STREAM_PATIENCE)).unwrap_or_default()
        };
        Ok(Ended { exit, usage, stdout: finish(&self.stdout), stderr: finish(&self.stderr) })
    }

    /// Kills the whole group now and says how the child ended.
    pub fn kill(self) -> Result<Ended, SandboxError> {
        self.wait(Duration::ZERO)
    }

    fn signal(&self, signal: Signal, action: &'static str) -> Result<(), SandboxError> {
        rustix::process::kill_process_group(self.pid, signal)
            .map_err(|error| SandboxError::io(action)(error.into()))
    }

    /// Polls the pidfd; an interrupted poll goes on with what is left of the time.
    fn ended_within(&self, timeout: Duration) -> bool {
        let start = Instant::now();
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let mut poll = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match rustix::event::poll(&mut poll, Some(&left)) {
                Ok(ready) => return ready > 0,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Kills the group, also after a normal end (for what was left behind), and only then gives up the process id.
    fn end(&mut self) -> Result<(Exit, Usage), SandboxError> {
        if let Some(reaped) = self.reaped {
            return Ok(reaped);
        }
        let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        let reaped = reap(self.pid)?;
        self.reaped = Some(reaped);
        Ok(reaped)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn reap(pid: Pid) -> Result<(Exit, Usage), SandboxError> {
    let mut status = 0;
    // SAFETY: rusage is plain numbers, for which all zero bytes are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live locals of the right type.
        let waited = unsafe { libc::wait4(pid.as_raw_nonzero().get(), &raw mut status, 0, &raw mut usage) };
        if waited >= 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(SandboxError::io("wait for the child")(error));
        }
    }
    let exit = if libc::WIFSIGNALED(status) {
        Exit::Signal(libc::WTERMSIG(status))
    } else {
        Exit::Code(libc::WEXITSTATUS(status))
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    let usage = Usage {
        max_rss_bytes: usage.ru_maxrss.unsigned_abs() * 1024,
        user_seconds: seconds(usage.ru_utime),
        system_seconds: seconds(usage.ru_stime),
    };
    Ok((exit, usage))
}
