//! Which addresses were handed out, so that a fault can be read.

use std::collections::VecDeque;

use kernsmith_core::FailureClass;
use kernsmith_wire::{Fault, PAGE_BYTES};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

/// Windows that were unmapped are remembered this long, counted in windows.
const PAST_MAX: usize = 8192;
/// Addresses are taken from a part of the address space in which neither the linker nor the allocator puts anything.
const LOWEST: u64 = 0x1000_0000_0000;
const HIGHEST: u64 = 0x4f00_0000_0000;

/// One window that was handed out.
#[derive(Debug, Clone)]
struct Entry {
    address: u64,
    bytes: u64,
    name: String,
    writable: bool,
}

/// Hands out addresses that were never used before in this worker, and reads faults.
#[derive(Debug)]
pub(crate) struct Ledger {
    rng: ChaCha12Rng,
    next: u64,
    live: Vec<Entry>,
    past: VecDeque<Entry>,
}

impl Ledger {
    pub(crate) fn new(mut rng: ChaCha12Rng) -> Self {
        let next = rng.random_range(LOWEST..HIGHEST / 2) / PAGE_BYTES * PAGE_BYTES;
        Self { rng, next, live: Vec::new(), past: VecDeque::new() }
    }

    /// A fresh address with room for a window and its guards, at a random distance from the last one.
    pub(crate) fn fresh(&mut self, bytes: u64) -> u64 {
        let gap = self.rng.random_range(2..512_u64) * PAGE_BYTES;
        if self.next + gap + bytes + 2 * PAGE_BYTES > HIGHEST {
            self.next = LOWEST;
        }
        let address = self.next + gap;
        self.next = address + bytes + PAGE_BYTES;
        address
    }

    /// Notes what is about to be mapped.
    pub(crate) fn map(&mut self, address: u64, bytes: u64, name: &str, writable: bool) {
        self.live.push(Entry { address, bytes, name: name.to_owned(), writable });
    }

    /// Bytes that are mapped now.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live.iter().map(|entry| entry.bytes).sum()
    }

    /// Notes that everything was unmapped.
    pub(crate) fn unmap_all(&mut self) {
        self.past.extend(self.live.drain(..));
        while self.past.len() > PAST_MAX {
            self.past.pop_front();
        }
    }

    /// What a fault means, as far as the addresses tell.
    pub(crate) fn read(&self, fault: Fault) -> Option<(FailureClass, String)> {
        let Fault { address, write, .. } = fault;
        let near = |entry: &&Entry| {
            address >= entry.address - PAGE_BYTES && address < entry.address + entry.bytes + PAGE_BYTES
        };
        if let Some(entry) = self.live.iter().find(near) {
            return Some(live(entry, address, write));
        }
        let entry = self.past.iter().rev().find(near)?;
        Some(late(&entry.name, write))
    }
}

/// A fault near a window that the harness still counts as mapped: it may be unmapped already, and the answer on its way.
fn live(entry: &Entry, address: u64, write: Option<bool>) -> (FailureClass, String) {
    let name = &entry.name;
    let verb = verb(write);
    if address < entry.address {
        let distance = entry.address - address;
        return (FailureClass::OutOfBounds, format!("{verb} {distance} bytes before the window of `{name}`"));
    }
    if address >= entry.address + entry.bytes {
        let distance = address - entry.address - entry.bytes;
        return (FailureClass::OutOfBounds, format!("{verb} {distance} bytes behind the window of `{name}`"));
    }
    match (entry.writable, write) {
        (false, Some(true) | None) => (
            FailureClass::InputModified,
            format!("write to input `{name}` at byte {}", address - entry.address),
        ),
        // A mapped window allows the rest, so it was not mapped any more.
        _ => late(name, write),
    }
}

fn late(name: &str, write: Option<bool>) -> (FailureClass, String) {
    let class = if write == Some(false) { FailureClass::BackgroundWork } else { FailureClass::LateWrite };
    (class, format!("{} of `{name}` after the call that it belonged to had returned", verb(write)))
}

const fn verb(write: Option<bool>) -> &'static str {
    match write {
        Some(true) => "write",
        Some(false) => "read",
        None => "access",
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(ChaCha12Rng::seed_from_u64(1))
    }

    #[test]
    fn addresses_never_repeat_and_never_touch() {
        let mut ledger = ledger();
        let mut last_end = 0;
        for bytes in [4096, 8192, 1 << 20, 4096] {
            let address = ledger.fresh(bytes);
            assert!(address > last_end + PAGE_BYTES && address.is_multiple_of(PAGE_BYTES));
            last_end = address + bytes;
        }
    }

    #[test]
    fn faults_are_read_by_their_place() {
        let mut ledger = ledger();
        let class = |ledger: &Ledger, address, write| {
            ledger.read(Fault { signal: 11, address, write: Some(write) }).map(|(class, _)| class)
        };
        ledger.map(0x10_0000, 4096, "x", false);
        ledger.map(0x20_0000, 4096, "y", true);
        assert_eq!(class(&ledger, 0x10_0008, true), Some(FailureClass::InputModified));
        assert_eq!(class(&ledger, 0x10_0008, false), Some(FailureClass::BackgroundWork));
        assert_eq!(class(&ledger, 0x20_0008, true), Some(FailureClass::LateWrite));
        assert_eq!(class(&ledger, 0x20_1000, true), Some(FailureClass::OutOfBounds));
        assert_eq!(class(&ledger, 0x1f_fffc, false), Some(FailureClass::OutOfBounds));
        assert_eq!(class(&ledger, 0x30_0000, true), None);
        ledger.unmap_all();
        assert_eq!(class(&ledger, 0x20_0008, true), Some(FailureClass::LateWrite));
        assert_eq!(class(&ledger, 0x10_0008, false), Some(FailureClass::BackgroundWork));
    }
}
