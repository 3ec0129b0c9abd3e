//! Runs: what is mapped and called, and the clock around it.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use kernsmith_core::FailureClass;
use kernsmith_wire::{Batch, FromWorker, Run, ToWorker, Window, WireError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Worker, WorkerRole};
use crate::error::Stop;

/// How often a worker that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A worker that waits for `go` looks for it 200 µs and then sleeps; this is how long it gets, and at most.
const FALLS_ASLEEP: Duration = Duration::from_millis(1);
const FALLS_ASLEEP_MAX: Duration = Duration::from_millis(20);

/// A run under construction: windows get their addresses when they are added.
#[derive(Debug, Default)]
pub(crate) struct Task {
    pub(crate) windows: Vec<Window>,
    pub(crate) names: Vec<String>,
    pub(crate) batches: Vec<Batch>,
    pub(crate) measure: bool,
}

/// What a run left behind.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    /// From `go` until the calls had returned, by the parent's clock; only for gated runs.
    pub(crate) interval: Duration,
    /// Doubles that measuring symbols returned.
    pub(crate) values: Vec<f64>,
    /// Places that changed between the end of the interval and the worker's answer; only for gated runs.
    pub(crate) changed: usize,
}

/// What came before `go`: a worker that only maps spends as much as any other for so many bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Prelude {
    /// Processor time of all threads from the order until they slept.
    pub(crate) spent: Duration,
    pub(crate) mapped_bytes: u64,
}

impl Task {
    /// Adds a window at a fresh address, or at a given one, and returns the address.
    pub(crate) fn window(
        &mut self,
        worker: &mut Worker,
        name: &str,
        place: (u16, u64, u64),
        writable: bool,
        address: Option<u64>,
    ) -> u64 {
        let (pool, offset, bytes) = place;
        if address.is_none() && !writable {
            // The same read-only window twice in one run is one mapping: a repeated call sees the same address.
            let same = |window: &&Window| {
                (window.pool, window.offset, window.bytes, window.writable) == (pool, offset, bytes, false)
            };
            if let Some(window) = self.windows.iter().find(same) {
                return window.address;
            }
        }
        let address = address.unwrap_or_else(|| worker.ledger.fresh(bytes));
        self.windows.push(Window { pool, offset, bytes, address, writable });
        self.names.push(name.to_owned());
        address
    }
}

impl Worker {
    /// Sends a run and does not wait for it.
    pub(crate) fn begin(&mut self, task: Task, gated: bool) -> Result<(), Stop> {
        self.sequence = self.sequence.wrapping_add(1) & 0x7fff_ffff;
        for (window, name) in task.windows.iter().zip(&task.names) {
            self.ledger.map(window.address, window.bytes, name, window.writable);
        }
        let (windows, used) = only_used(task.windows);
        let run =
            Run { sequence: self.sequence, windows, batches: task.batches, gated, measure: task.measure };
        let files: Vec<_> = used.iter().map(|index| self.files[*index as usize].as_fd()).collect();
        self.channel.send(&ToWorker::Run(run), &files).map_err(|error| self.buried(&error))
    }

    /// Waits for the end of a run.
    pub(crate) fn finish(&mut self, timeout: Duration) -> Result<Ran, Stop> {
        match self.receive(timeout)? {
            FromWorker::Ran { sequence, state, values } if sequence == self.sequence => {
                self.ledger.unmap_all();
                if let Some((vector, x87)) = state {
                    let detail = format!(
                        "the floating-point environment was left changed (vector {vector:#x}, x87 {x87:#x})"
                    );
                    return Err(Stop::rejected(FailureClass::StateTampering, detail));
                }
                let values = values.into_iter().map(f64::from_bits).collect();
                Ok(Ran { values, ..Ran::default() })
            }
            frame => Err(self.unexpected(&frame)),
        }
    }

    /// A frame that nobody asked for: of trusted workers it is the apparatus' failure.
    fn unexpected(&self, frame: &FromWorker) -> Stop {
        match (self.role, frame) {
            (WorkerRole::Kernel, frame) => {
                Stop::rejected(FailureClass::ProtocolViolation, format!("unexpected frame {frame:?}"))
            }
            (_, FromWorker::Refused { reason, .. }) => self.apparatus(reason.clone()).into(),
            (_, frame) => self.apparatus(format!("unexpected frame {frame:?}")).into(),
        }
    }

    /// One run from beginning to end.
    pub(crate) fn run(&mut self, task: Task, timeout: Duration) -> Result<Ran, Stop> {
        self.begin(task, false)?;
        self.finish(timeout)
    }

    /// Sends a run that waits for `go`, and waits until it says that it is mapped.
    pub(crate) fn hold(&mut self, task: Task, timeout: Duration) -> Result<(), Stop> {
        self.begin(task, true)?;
        match self.receive(timeout)? {
            FromWorker::Ready { sequence } if sequence == self.sequence => Ok(()),
            frame => Err(self.unexpected(&frame)),
        }
    }

    /// The same, and then waits until the worker sleeps, so that what it has spent is known to the nanosecond.
    ///
    /// Processor time and not time: on a busy machine the two are far apart. Who never sleeps is charged for that, too.
    pub(crate) fn hold_asleep(&mut self, task: Task, timeout: Duration) -> Result<Prelude, Stop> {
        let before = self.census();
        self.hold(task, timeout)?;
        let begin = Instant::now();
        std::thread::sleep(FALLS_ASLEEP);
        while !crate::threads::all_sleep(self.pid) && begin.elapsed() < FALLS_ASLEEP_MAX {
            std::thread::sleep(FALLS_ASLEEP / 10);
        }
        let spent = Duration::from_nanos(self.census().ran_since(&before));
        Ok(Prelude { spent, mapped_bytes: self.ledger.live_bytes() })
    }

    /// Lets a run go that was held: the interval between two looks at the parent's clock.
    ///
    /// The parent notes the time, lets it go, and sleeps until it says that the calls have returned. It does not spin:
    /// kernels may use every core.
    ///
    /// `look` reads some places of the outputs, once when the clock has stopped and once when the worker has answered:
    /// whoever stops the clock before the work is done is seen at work.
    pub(crate) fn release(&mut self, timeout: Duration, look: &dyn Fn() -> Vec<u64>) -> Result<Ran, Stop> {
        let begin = Instant::now();
        self.control.release(self.sequence);
        let returned = self.receive(timeout)?;
        let interval = begin.elapsed();
        let at_return = look();
        match returned {
            FromWorker::Returned { sequence } if sequence == self.sequence => {}
            frame => return Err(self.unexpected(&frame)),
        }
        let ran = self.finish(timeout)?;
        let changed = at_return.iter().zip(look()).filter(|(before, after)| **before != *after).count();
        Ok(Ran { interval, changed, ..ran })
    }

    /// Makes sure that the worker has said nothing that it was not asked: an empty run must be answered by the next frame.
    pub(crate) fn settle(&mut self, timeout: Duration) -> Result<(), Stop> {
        self.run(Task::default(), timeout).map(|_| ())
    }

    /// Waits for a frame or for the worker's end, whichever comes first.
    pub(super) fn receive(&mut self, timeout: Duration) -> Result<FromWorker, Stop> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.wait_for_frame(left.min(LOOK)) {
                Ok(()) => break,
                Err(WireError::Timeout(_)) if left > LOOK => self.watch_memory()?,
                Err(WireError::Timeout(_)) => return Err(self.buried(&WireError::Timeout(timeout))),
                Err(error) => return Err(self.buried(&error)),
            }
        }
        match self.channel.receive::<FromWorker>(Some(Duration::from_secs(1))) {
            Ok((frame, _)) => Ok(frame),
            Err(error) => Err(self.buried(&error)),
        }
    }

    fn wait_for_frame(&self, timeout: Duration) -> Result<(), WireError> {
        let Some(child) = &self.child else {
            return Err(WireError::Closed);
        };
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let socket = self.channel.socket();
            let mut watched =
                [PollFd::new(&socket, PollFlags::IN), PollFd::new(child.pidfd(), PollFlags::IN)];
            match poll(&mut watched, Some(&left)) {
                Ok(0) => return Err(WireError::Timeout(timeout)),
                Ok(_) if watched[0].revents().contains(PollFlags::IN) => return Ok(()),
                Ok(_) => return Err(WireError::Closed),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Ends a worker that has taken more memory than it may have.
    fn watch_memory(&mut self) -> Result<(), Stop> {
        let resident = crate::threads::resident_bytes(self.pid);
        if resident <= self.resident_bytes_max || self.role != WorkerRole::Kernel {
            return Ok(());
        }
        drop(self.child.take());
        let limit = self.resident_bytes_max >> 20;
        let detail = format!("{} MiB resident; {limit} MiB are allowed", resident >> 20);
        Err(Stop::rejected(FailureClass::OutOfMemory, detail))
    }
}

/// Numbers the memory files by their place among those that a run needs.
fn only_used(mut windows: Vec<Window>) -> (Vec<Window>, Vec<u16>) {
    let mut used: Vec<u16> = Vec::new();
    for window in &mut windows {
        let place = used.iter().position(|index| *index == window.pool).unwrap_or_else(|| {
            used.push(window.pool);
            used.len() - 1
        });
        window.pool = place as u16;
    }
    (windows, used)
}
