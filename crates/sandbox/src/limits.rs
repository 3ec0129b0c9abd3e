//! Limits and attributes of the process itself.
#![expect(
    unsafe_code,
    reason = "prctl, capset, close_range and setrlimit have no safe form for all that is needed here"
)]

use std::io;
use std::os::fd::RawFd;

use rustix::process::{Resource, Rlimit};

use crate::policy::Limits;

/// Sets the resource limits, never above what the parent has.
pub(crate) fn apply(limits: &Limits) -> Result<(), String> {
    let cpu = limits.cpu_seconds;
    let wanted = [
        (Resource::Core, Some((0, 0)), "core"),
        (Resource::As, limits.address_space_bytes.map(|bytes| (bytes, bytes)), "address space"),
        // The soft limit sends SIGXCPU, which names the reason; the hard one a second later cannot be ignored.
        (Resource::Cpu, cpu.map(|seconds| (seconds, seconds.saturating_add(1))), "processor time"),
        (Resource::Fsize, limits.file_bytes.map(|bytes| (bytes, bytes)), "file size"),
        (Resource::Nproc, limits.processes.map(|count| (count, count)), "processes"),
        (Resource::Nofile, limits.open_files.map(|count| (count, count)), "open files"),
    ];
    for (resource, wanted, name) in wanted {
        let Some((soft, hard)) = wanted else { continue };
        let ceiling = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let new = Rlimit { current: Some(soft.min(ceiling)), maximum: Some(hard.min(ceiling)) };
        rustix::process::setrlimit(resource, new).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// Closes every descriptor from 3 on that is not in `keep`.
pub(crate) fn close_descriptors(keep: &[RawFd]) -> Result<(), String> {
    let mut keep: Vec<u32> =
        keep.iter().filter_map(|&fd| u32::try_from(fd).ok()).filter(|&fd| fd > 2).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = first.max(fd + 1);
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<(), String> {
    // SAFETY: the callers close descriptors that no live value owns: they run before anything is opened, or in a process
    // that never returns to code that owns some.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}

/// No privileges through set-user-id programs, for good.
pub(crate) fn no_new_privileges() -> Result<(), String> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Whether others of the same user may trace the process and read its memory.
pub(crate) fn set_dumpable(dumpable: bool) -> Result<(), String> {
    prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable))
}

/// Asks for SIGKILL when the thread that started this process ends.
pub(crate) fn die_with_parent() -> Result<(), String> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)
}

/// The version of `capset(2)` with two times three words.
const VERSION_3: u32 = 0x2008_0522;

/// Gives up every capability, those of later programs included.
pub(crate) fn drop_capabilities() -> Result<(), String> {
    for capability in 0..64 {
        // It fails beyond the last capability, and for callers without any; both are as good.
        let _ = prctl(libc::PR_CAPBSET_DROP, capability);
    }
    // SAFETY: PR_CAP_AMBIENT takes plain numbers.
    let _ = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    let header = [VERSION_3, 0];
    let none = [0_u32; 6];
    // SAFETY: header and data have the layout of version 3: two words, and two times three words.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) })
}

fn prctl(option: libc::c_int, argument: libc::c_ulong) -> Result<(), String> {
    const ZERO: libc::c_ulong = 0;
    // SAFETY: the options used here take one plain number.
    check(unsafe { libc::prctl(option, argument, ZERO, ZERO, ZERO) }.into())
}

pub(crate) fn check(returned: libc::c_long) -> Result<(), String> {
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error().to_string()) }
}
