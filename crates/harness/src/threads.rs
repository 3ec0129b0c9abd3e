//! What the parent can see of a worker from outside: threads, their processor time, and where it may run.

use std::fs;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// One look at a process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Census {
    main: Spent,
    others: Vec<(i32, Spent)>,
}

/// What a thread has spent so far, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Spent {
    running: u64,
    waiting: u64,
}

impl Census {
    /// Looks at the process; empty when it is gone.
    pub(crate) fn take(pid: i32) -> Self {
        let mut census = Self::default();
        for tid in tasks(pid) {
            let spent = spent(pid, tid);
            if tid == pid {
                census.main = spent;
            } else {
                census.others.push((tid, spent));
            }
        }
        census
    }

    /// Threads besides the first one.
    pub(crate) fn others(&self) -> usize {
        self.others.len()
    }

    /// Nanoseconds that any thread has run since an earlier look; new threads count in full.
    pub(crate) fn ran_since(&self, earlier: &Self) -> u64 {
        let others = self.others_since(earlier).map(|(running, _)| running);
        self.main.running.saturating_sub(earlier.main.running) + others.sum::<u64>()
    }

    /// The same, and the time that other threads than the first wanted to run and could not. The first thread is
    /// ours: on a busy machine it waits for its turn to go to sleep.
    pub(crate) fn restless_since(&self, earlier: &Self) -> u64 {
        self.ran_since(earlier) + self.others_since(earlier).map(|(_, waiting)| waiting).sum::<u64>()
    }

    fn others_since<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = (u64, u64)> + 'a {
        self.others.iter().map(|(tid, now)| {
            let before = earlier.others.iter().find(|(known, _)| known == tid).map(|(_, spent)| *spent);
            let before = before.unwrap_or_default();
            (now.running.saturating_sub(before.running), now.waiting.saturating_sub(before.waiting))
        })
    }
}

/// First two fields of `schedstat`: nanoseconds on a processor, and nanoseconds of waiting for one. A parked thread does
/// neither, and on a busy machine a spinning one may only wait.
/// Source: Linux, Documentation/scheduler/sched-stats.rst.
fn spent(pid: i32, tid: i32) -> Spent {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).unwrap_or_default();
    let mut fields = text.split_ascii_whitespace().map(|field| field.parse::<u64>().unwrap_or(0));
    Spent { running: fields.next().unwrap_or(0), waiting: fields.next().unwrap_or(0) }
}

/// Whether no thread of a process runs or wants to.
pub(crate) fn all_sleep(pid: i32) -> bool {
    tasks(pid).all(|tid| {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).unwrap_or_default();
        // The name in brackets may hold anything; the state follows the last bracket.
        !text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('R'))
    })
}

/// Gives each thread that a process keeps a processor of its own, where there are enough of them.
///
/// Linux may wake a second thread on the first one's processor although another is idle, and leave it there for many calls
/// when somebody else has just computed: seen as calls of exactly twice the time, whatever the kernel. A process that keeps
/// no second thread stays free, because threads that it makes in a call would inherit the bond.
pub(crate) fn spread(pid: i32) {
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let processors: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    let mut threads: Vec<i32> = tasks(pid).collect();
    threads.sort_unstable_by_key(|thread| (*thread != pid, *thread));
    if threads.len() < 2 || threads.len() > processors.len() {
        return;
    }
    for (thread, processor) in threads.into_iter().zip(processors) {
        let mut own = CpuSet::new();
        own.set(processor);
        // A thread that has just ended needs none.
        let _ = Pid::from_raw(thread).map(|thread| sched_setaffinity(Some(thread), &own));
    }
}

/// The threads of a process.
fn tasks(pid: i32) -> impl Iterator<Item = i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| task.file_name().to_str()?.parse().ok())
}

/// Resident memory of a process; 0 when it is gone.
pub(crate) fn resident_bytes(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = text.split_ascii_whitespace().nth(1).and_then(|field| field.parse::<u64>().ok());
    pages.unwrap_or(0) * kernsmith_wire::PAGE_BYTES
}

/// The processors on which a thread may run, as the kernel lists them; empty when it is gone.
pub(crate) fn affinity(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_threads_are_seen_and_counted() {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let (send, receive) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let _ = receive.recv();
        });
        let during = Census::take(pid);
        assert!(during.others() > 0 && during.ran_since(&Census::default()) > 0);
        assert!(during.restless_since(&Census::default()) >= during.ran_since(&Census::default()));
        drop(send);
        thread.join().unwrap();
        assert!(!affinity(pid).is_empty());
    }
}
