//! A descriptor that came with the process.
#![expect(unsafe_code, reason = "an inherited descriptor is only known by its number")]

use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Takes over the one socket that the parent passed with [`crate::Spawn::pass`]. Works once in a process, and only for a
/// stream socket beyond the standard descriptors; otherwise `None`.
pub fn inherited_socket(number: RawFd) -> Option<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if number <= 2 || TAKEN.swap(true, Ordering::SeqCst) {
        return None;
    }
    // SAFETY: the process does this once, first thing; nothing else in it knows the descriptor.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    if rustix::net::sockopt::socket_type(&socket) == Ok(rustix::net::SocketType::STREAM) {
        return Some(socket);
    }
    // Not ours to close.
    std::mem::forget(socket);
    None
}
