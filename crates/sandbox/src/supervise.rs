//! The processes around the confined one: who waits, who reaps, who mirrors.
//!
//! ```text
//! parent ── outer (the process that the parent knows: waits, mirrors, watches the parent)
//!              └── init (process 1 of the new tree: reaps orphans)
//!                     └── confined (returns from `confine`)
//! ```
//! A program that were process 1 itself could not die of its own signals: the kernel shields process 1, and an `abort()` would
//! look like something else. Without a process tree of its own there is no `init`.
#![expect(unsafe_code, reason = "fork, waitpid and raising a signal have no safe form")]

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::error::SandboxError;
use crate::limits::{close_descriptors, die_with_parent, set_dumpable};

/// Splits off the confined process and returns in it alone.
pub(crate) fn split(own_process_tree: bool) -> Result<(), SandboxError> {
    let parent = rustix::process::getppid()
        .map(|parent| rustix::process::pidfd_open(parent, PidfdFlags::empty()))
        .transpose()
        .map_err(|error| SandboxError::io("watch the parent")(error.into()))?;
    let (reader, writer) = io::pipe().map_err(SandboxError::io("make a pipe"))?;
    let outer = rustix::process::getpid();
    if let Some(child) = fork()? {
        drop(writer);
        outer_half(child, parent.as_ref(), reader, own_process_tree);
    }
    drop(parent);
    drop(reader);
    bind_to_parent(|| {
        if own_process_tree {
            !reader_is_gone(writer.as_fd())
        } else {
            rustix::process::getppid() == Some(outer)
        }
    })?;
    if own_process_tree {
        if let Some(confined) = fork()? {
            init_half(confined, writer);
        }
        bind_to_parent(|| true)?;
    }
    Ok(())
}

fn fork() -> Result<Option<Pid>, SandboxError> {
    // SAFETY: the process has one thread (checked by `confine`), so the child's memory is consistent.
    match unsafe { libc::fork() } {
        -1 => Err(SandboxError::system("fork")),
        child => Ok(Pid::from_raw(child)),
    }
}

/// Dies with the process above, also when that was gone before it could be asked for.
fn bind_to_parent(parent_lives: impl FnOnce() -> bool) -> Result<(), SandboxError> {
    die_with_parent().map_err(|reason| SandboxError::io("bind to the parent")(io::Error::other(reason)))?;
    if parent_lives() { Ok(()) } else { leave(1) }
}

/// Nobody holds the other end of the pipe any more.
fn reader_is_gone(writer: BorrowedFd<'_>) -> bool {
    let mut poll = [PollFd::from_borrowed_fd(writer, PollFlags::empty())];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut poll, Some(&now)).is_ok() && poll[0].revents().contains(PollFlags::ERR)
}

/// Waits for the confined process or the parent's end, whichever is first, and never returns.
///
/// The parent is watched by its descriptor and not by `PR_SET_PDEATHSIG`, which fires when the *thread* that started the
/// child ends, and threads of a pool come and go.
fn outer_half(child: Pid, parent: Option<&OwnedFd>, mut reader: io::PipeReader, own_process_tree: bool) -> ! {
    let Ok(watched) = rustix::process::pidfd_open(child, PidfdFlags::empty()) else { give_up(child) };
    let mut keep = vec![reader.as_raw_fd(), watched.as_raw_fd()];
    keep.extend(parent.map(AsRawFd::as_raw_fd));
    let _ = close_descriptors(&keep);
    close_standard_streams();
    loop {
        let mut poll = vec![PollFd::new(&watched, PollFlags::IN)];
        poll.extend(parent.map(|parent| PollFd::new(parent, PollFlags::IN)));
        match rustix::event::poll(&mut poll, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => give_up(child),
            Ok(_) => {}
        }
        if poll[0].revents().is_empty() {
            give_up(child);
        }
        let mut status = wait_for(child);
        if own_process_tree {
            let mut told = [0; 4];
            if reader.read_exact(&mut told).is_ok() {
                status = i32::from_ne_bytes(told);
            }
        }
        mirror(status);
    }
}

/// Ends everything: with a process tree of its own, killing `init` is enough; otherwise the group is all there is.
///
/// Only a group that is ours: a caller who did not make one would be killed with us.
fn give_up(child: Pid) -> ! {
    let _ = rustix::process::kill_process(child, Signal::KILL);
    let group = rustix::process::getpgrp();
    if group == rustix::process::getpid() {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    leave(1)
}

/// Process 1: reaps until the confined process ends, passes its status on and ends, which kills all that is left.
fn init_half(confined: Pid, mut writer: io::PipeWriter) -> ! {
    let _ = close_descriptors(&[writer.as_raw_fd()]);
    close_standard_streams();
    let status = wait_for(confined);
    let _ = writer.write_all(&status.to_ne_bytes());
    leave(0)
}

/// The readers of the confined process's output must see its end, not ours.
fn close_standard_streams() {
    for fd in 0..3 {
        // SAFETY: this half never reads or writes them again, and never returns to code that does.
        unsafe { libc::close(fd) };
    }
}

/// Reaps every child until `child` is among them.
fn wait_for(child: Pid) -> libc::c_int {
    loop {
        let mut status = 0;
        // SAFETY: the pointer is to a live local.
        let waited = unsafe { libc::waitpid(-1, &raw mut status, 0) };
        if waited == child.as_raw_nonzero().get() {
            return status;
        }
        if waited < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return 1 << 8;
        }
    }
}

/// Ends the way `status` says.
fn mirror(status: libc::c_int) -> ! {
    if libc::WIFEXITED(status) {
        leave(libc::WEXITSTATUS(status));
    }
    let signal = libc::WTERMSIG(status);
    let _ = set_dumpable(false);
    // SAFETY: plain numbers; the default action of the signal is what is wanted.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
    leave(128 + signal)
}

/// Ends at once, without running anything that the parent registered.
fn leave(code: libc::c_int) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}
