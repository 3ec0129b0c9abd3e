//! The page that harness and worker share: the word `go`, and the note of a fault.
//!
//! Nothing that a kernel could write here counts: it may forge a fault, which rejects it.
#![expect(unsafe_code, reason = "a shared page is mapped and seen as atomics")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::thread::futex::{Flags, wait, wake};

const BYTES: usize = 4096;

/// The words.
#[repr(C)]
struct Page {
    go: AtomicU32,
    _line: [u32; 31],
    fault_address: AtomicU64,
    fault_signal: AtomicU32,
    fault_access: AtomicU32,
}

/// The shared page. It is never unmapped: a worker's fault handler may write to it until the very end.
#[derive(Clone, Copy)]
pub struct Control {
    page: &'static Page,
}

/// Where and how a kernel touched memory that it may not touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The signal's number.
    pub signal: u32,
    /// The address.
    pub address: u64,
    /// Whether it was a write; `None` where the processor does not say.
    pub write: Option<bool>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Control {{ go: {} }}", self.page.go.load(Ordering::Relaxed))
    }
}

impl Control {
    /// A new page, and the file through which the worker maps it.
    ///
    /// Pages are handed out again by [`Control::reset`]; a harness needs one a worker slot.
    pub fn create() -> io::Result<(Self, OwnedFd)> {
        let file = memfd_create("kernsmith-control", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, BYTES as u64)?;
        fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok((Self::attach(file.as_fd())?, file))
    }

    /// Maps the page of a file that came with the first frame.
    pub fn attach(file: BorrowedFd<'_>) -> io::Result<Self> {
        if rustix::fs::fstat(file)?.st_size < BYTES as i64 {
            return Err(io::Error::other("the control page is too small"));
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let address = unsafe { mmap(std::ptr::null_mut(), BYTES, protection, flags, file, 0)? };
        // SAFETY: the mapping is as large as the page, zero is legal for every word, and it is never unmapped. The other
        // process writes to it only through atomics of the same size, or is hostile and spoils nothing but its own run.
        Ok(Self { page: unsafe { &*address.cast::<Page>() } })
    }

    /// Makes the page ready for a new worker.
    pub fn reset(&self) {
        for word in [&self.page.go, &self.page.fault_signal, &self.page.fault_access] {
            word.store(0, Ordering::SeqCst);
        }
        self.page.fault_address.store(0, Ordering::SeqCst);
    }

    /// Lets the worker begin the run of this number.
    pub fn release(&self, sequence: u32) {
        self.page.go.store(sequence, Ordering::Release);
        let _ = wake(&self.page.go, Flags::empty(), 1);
    }

    /// In the worker: waits until the run of this number may begin; spins a little first.
    pub fn wait_released(&self, sequence: u32, spin: Duration) {
        let begin = Instant::now();
        loop {
            let seen = self.page.go.load(Ordering::Acquire);
            if seen == sequence {
                return;
            }
            if begin.elapsed() > spin {
                let _ = wait(&self.page.go, Flags::empty(), seen, None);
            } else {
                std::hint::spin_loop();
            }
        }
    }

    /// In the harness: the fault that the worker's handler noted, if any.
    pub fn fault(&self) -> Option<Fault> {
        let signal = self.page.fault_signal.load(Ordering::Acquire);
        let access = self.page.fault_access.load(Ordering::Relaxed);
        let write = match access {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        };
        (signal != 0).then(|| Fault {
            signal,
            address: self.page.fault_address.load(Ordering::Relaxed),
            write,
        })
    }

    /// In the worker: the words that a fault handler writes: signal, access, address.
    pub fn fault_words(&self) -> (&'static AtomicU32, &'static AtomicU32, &'static AtomicU64) {
        (&self.page.fault_signal, &self.page.fault_access, &self.page.fault_address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_see_the_same_word() {
        let (ours, file) = Control::create().unwrap();
        let theirs = Control::attach(file.as_fd()).unwrap();
        let worker = std::thread::spawn(move || theirs.wait_released(7, Duration::ZERO));
        ours.release(7);
        worker.join().unwrap();
    }

    #[test]
    fn a_noted_fault_is_seen_until_the_page_is_reset() {
        let (ours, file) = Control::create().unwrap();
        let (signal, access, address) = Control::attach(file.as_fd()).unwrap().fault_words();
        assert_eq!(ours.fault(), None);
        address.store(0x1000, Ordering::SeqCst);
        access.store(1, Ordering::SeqCst);
        signal.store(11, Ordering::SeqCst);
        assert_eq!(ours.fault(), Some(Fault { signal: 11, address: 0x1000, write: Some(true) }));
        ours.reset();
        assert_eq!(ours.fault(), None);
    }
}
