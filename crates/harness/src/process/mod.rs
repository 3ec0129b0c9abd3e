//! One worker process, seen from the parent.

mod death;
mod ledger;
mod run;
mod spawn;

pub(crate) use ledger::Ledger;
pub(crate) use run::{Prelude, Ran, Task};
pub(crate) use spawn::{Spawner, WorkerRole};

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use kernsmith_sandbox::{Child, Confinement};
use kernsmith_wire::{Channel, Control, Pool};

use crate::error::HarnessError;

/// How often a trusted worker's threads are looked at, what they may run in between and still be asleep, and for how long.
const REST_LOOK: Duration = Duration::from_millis(1);
const REST_NS: u64 = 100_000;
const REST_MAX: Duration = Duration::from_millis(100);

/// A worker that has loaded one code object and waits for work. Dropping it kills it with everything that it started.
pub(crate) struct Worker {
    role: WorkerRole,
    child: Option<Child>,
    channel: Channel,
    control: Control,
    /// Gives the control page back when the worker is gone.
    _page: spawn::PageLoan,
    /// The confined process itself, as this process numbers it.
    pub(crate) pid: i32,
    pub(crate) confinement: Confinement,
    pub(crate) ledger: Ledger,
    symbols: Vec<String>,
    sequence: u32,
    files: Vec<OwnedFd>,
    /// Resident memory beyond which it is ended.
    resident_bytes_max: u64,
}

impl Worker {
    /// Makes memory files known, for reading only or for writing too; returns the index of the first. The worker gets
    /// a descriptor with each run that needs it, and closes it before anything is called.
    pub(crate) fn share(&mut self, pools: &[(&Pool, bool)]) -> Result<u16, HarnessError> {
        let first = self.files.len() as u16;
        for (pool, writable) in pools {
            let file = if *writable { pool.writer() } else { pool.reader() };
            self.files.push(file.map_err(HarnessError::system("open a memory file for a worker"))?);
        }
        Ok(first)
    }

    /// Index of a symbol that was loaded.
    pub(crate) fn symbol(&self, name: &str) -> u16 {
        self.symbols.iter().position(|known| known == name).unwrap_or(0) as u16
    }

    /// Whose code it runs.
    pub(crate) const fn role(&self) -> WorkerRole {
        self.role
    }

    /// The process in which threads are counted.
    pub(crate) fn census(&self) -> crate::threads::Census {
        crate::threads::Census::take(self.pid)
    }

    /// Waits until its threads sleep, or for a tenth of a second: for trusted code, which may be a library whose
    /// threads spin for a while after a call.
    pub(crate) fn rest(&self) {
        let begin = Instant::now();
        let mut before = self.census();
        while before.others() > 0 && begin.elapsed() < REST_MAX {
            std::thread::sleep(REST_LOOK);
            let after = self.census();
            if after.restless_since(&before) < REST_NS {
                return;
            }
            before = after;
        }
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Worker {{ role: {}, pid: {} }}", self.role.as_str(), self.pid)
    }
}
