//! How a worker ended, in the words of the catalogue.

use std::time::Duration;

use kernsmith_core::FailureClass;
use kernsmith_sandbox::{Ended, Exit};
use kernsmith_wire::WireError;

use super::{Worker, WorkerRole};
use crate::error::Stop;

/// How long a worker that hung up may take to end.
const GRACE: Duration = Duration::from_millis(500);
const SIGNALS: &[(i32, &str)] = &[
    (4, "SIGILL"),
    (5, "SIGTRAP"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (11, "SIGSEGV"),
    (13, "SIGPIPE"),
    (15, "SIGTERM"),
    (24, "SIGXCPU"),
    (25, "SIGXFSZ"),
    (31, "SIGSYS"),
];

impl Worker {
    /// Ends the worker after the connection failed, and says why. Trusted workers are the apparatus.
    pub(super) fn buried(&mut self, error: &WireError) -> Stop {
        let Some(child) = self.child.take() else {
            return self.apparatus("it has ended before".to_owned()).into();
        };
        let timed_out = matches!(error, WireError::Timeout(_));
        let resident = if timed_out { crate::threads::resident_bytes(self.pid) } else { 0 };
        let own = resident.saturating_sub(self.ledger.live_bytes());
        // Let a dying worker die by itself, so that its own signal is seen.
        let ended = if timed_out { child.kill() } else { child.wait(GRACE) };
        let (class, detail) = match (error, ended) {
            // Touching memory for the first time is slow: it ran out of time on the way to running out of memory.
            (WireError::Timeout(_), _) if own > self.resident_bytes_max / 4 => {
                (FailureClass::OutOfMemory, format!("no return, and {} MiB resident", resident >> 20))
            }
            (WireError::Timeout(limit), _) => {
                (FailureClass::Timeout, format!("no return within {} ms", limit.as_millis()))
            }
            (WireError::Malformed(_) | WireError::TooLong(_), _) => {
                (FailureClass::ProtocolViolation, error.to_string())
            }
            (_, Ok(ended)) => self.cause(&ended),
            (_, Err(error)) => return error.into(),
        };
        match self.role {
            WorkerRole::Kernel => Stop::rejected(class, detail),
            WorkerRole::Oracle | WorkerRole::Trusted => self.apparatus(format!("{class}: {detail}")).into(),
        }
    }

    fn cause(&self, ended: &Ended) -> (FailureClass, String) {
        if let Some(fault) = self.control.fault() {
            let signal = name(fault.signal as i32);
            return match self.ledger.read(fault) {
                Some((class, detail)) => (class, format!("{detail} ({signal})")),
                None => (FailureClass::Crash, format!("{signal} at address {:#x}", fault.address)),
            };
        }
        match ended.exit {
            Exit::Code(code) => (FailureClass::EarlyExit, format!("the worker ended with code {code}")),
            Exit::Timeout => (FailureClass::ProtocolViolation, "it hung up and did not end".to_owned()),
            Exit::Signal(9) => self.killed(ended),
            Exit::Signal(24) => (FailureClass::Timeout, "processor time is used up (SIGXCPU)".to_owned()),
            Exit::Signal(25) => (FailureClass::SandboxViolation, "it wrote to a file (SIGXFSZ)".to_owned()),
            Exit::Signal(31) => {
                (FailureClass::SandboxViolation, "a forbidden system call (SIGSYS)".to_owned())
            }
            Exit::Signal(signal) => (FailureClass::Crash, name(signal)),
        }
    }

    /// SIGKILL comes from outside: the system when memory runs out, or somebody.
    fn killed(&self, ended: &Ended) -> (FailureClass, String) {
        let resident = ended.usage.max_rss_bytes;
        if resident > total_memory_bytes() / 2 {
            let detail = format!("killed with {} MiB resident", resident >> 20);
            return (FailureClass::OutOfMemory, detail);
        }
        (FailureClass::Infrastructure, format!("the {} worker was killed from outside", self.role.as_str()))
    }
}

fn name(signal: i32) -> String {
    let known = SIGNALS.iter().find(|(number, _)| *number == signal);
    known.map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).to_owned())
}

fn total_memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    let (total, unit): (u64, u32) = (info.totalram, info.mem_unit);
    total.saturating_mul(u64::from(unit.max(1)))
}
