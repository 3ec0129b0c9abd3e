//! System calls by allow-list (seccomp).
//!
//! Three profiles, each of which can only take away from the one before. What is refused fails with `EPERM`, and nothing is
//! killed: honest libraries look at `/sys` and take a refusal well. `clone3` answers `ENOSYS`, because its flags lie in memory
//! that a filter cannot see; C libraries then take `clone`, whose flags a filter can see.
#![expect(unsafe_code, reason = "signal has no safe form")]

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};
use serde::{Deserialize, Serialize};

use crate::error::SandboxError;
use crate::limits::no_new_privileges;

/// Which system calls stay allowed. A later profile can only take away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// A program such as a compiler: files and children as the paths allow, but no sockets and no way to look into or change
    /// other processes or the kernel.
    Tool,
    /// While code is loaded: what [`Profile::Run`] allows, and opening files for reading, and executable mappings.
    Load,
    /// While foreign code runs: memory, threads, clocks, and the descriptors that are already open.
    Run,
}

/// Restricts the calling process, all of its threads, for good. What is not allowed fails with an error; nothing is killed.
///
/// Under [`Profile::Load`] and [`Profile::Run`] no handler for faults can be set or removed any more. Those that are there
/// stay, so they must end the process without changing handlers: `SA_RESETHAND` does. [`crate::confine`] has removed those of
/// the language's runtime.
pub fn restrict_syscalls(profile: Profile) -> Result<(), SandboxError> {
    no_new_privileges().map_err(SandboxError::Syscalls)?;
    for program in programs(profile)? {
        apply_filter_all_threads(&program).map_err(|error| SandboxError::Syscalls(error.to_string()))?;
    }
    Ok(())
}

/// Puts the default action back for faults: they must end the process. The handlers of a language's runtime do that themselves
/// when they run, which the profiles refuse, and the fault would repeat for ever.
pub(crate) fn reset_fault_handlers() {
    for signal in FAULTS {
        // SAFETY: sets the default action, which needs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Rules by system call; no rule at all means any arguments.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn programs(profile: Profile) -> Result<Vec<BpfProgram>, SandboxError> {
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let absent = SeccompAction::Errno(libc::ENOSYS as u32);
    let clone3 = Rules::from([(libc::SYS_clone3, Vec::new())]);
    let list = match profile {
        Profile::Tool => compile(tool_denials()?, SeccompAction::Allow, refused)?,
        Profile::Load => {
            let mut rules = run_rules()?;
            rules.extend(load_rules()?);
            compile(rules, refused, SeccompAction::Allow)?
        }
        Profile::Run => compile(run_rules()?, refused, SeccompAction::Allow)?,
    };
    // Of two filters the stricter answer holds, so the lists let `clone3` through to the other one.
    Ok(vec![compile(clone3, SeccompAction::Allow, absent)?, list])
}

fn compile(
    rules: Rules,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, SandboxError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(failed)?;
    let filter = SeccompFilter::new(rules, otherwise, listed, architecture).map_err(failed)?;
    BpfProgram::try_from(filter).map_err(failed)
}

#[expect(clippy::needless_pass_by_value, reason = "handed to map_err by name")]
fn failed(error: seccompiler::BackendError) -> SandboxError {
    SandboxError::Syscalls(error.to_string())
}

/// One rule: all conditions must hold. A condition is (argument index, comparison, value), over 64 bits.
fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, SandboxError> {
    let conditions: Result<Vec<_>, _> = conditions
        .iter()
        .map(|(index, comparison, value)| {
            SeccompCondition::new(*index, SeccompCmpArgLen::Qword, comparison.clone(), *value)
        })
        .collect();
    SeccompRule::new(conditions.map_err(failed)?).map_err(failed)
}

/// One rule over the low 32 bits, for arguments that the kernel reads as `int`.
fn int_rule(conditions: &[(u8, SeccompCmpOp, i32)]) -> Result<SeccompRule, SandboxError> {
    let conditions: Result<Vec<_>, _> = conditions
        .iter()
        .map(|(index, comparison, value)| {
            let value = u64::from(*value as u32);
            SeccompCondition::new(*index, SeccompCmpArgLen::Dword, comparison.clone(), value)
        })
        .collect();
    SeccompRule::new(conditions.map_err(failed)?).map_err(failed)
}

/// System calls that a running kernel, its threads and the worker around it need with any arguments.
const RUN: &[i64] = &[
    // Descriptors that are open.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    // Memory. Not mremap: it would carry a tensor away from where the worker takes it back.
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Threads. Not sched_set*, not setpriority.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_membarrier,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_getcpu,
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    // Clocks. No timers: they would run code outside the call.
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    // Signals, see `run_rules` for the handlers that may be set.
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Plain facts.
    libc::SYS_getrandom,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    libc::SYS_times,
];

/// Older system calls that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
const RUN_LEGACY: &[i64] = &[libc::SYS_poll, libc::SYS_select, libc::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const RUN_LEGACY: &[i64] = &[];

/// Signals that mean a fault of the kernel: a handler would hide it.
const FAULTS: [i32; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGSYS, libc::SIGTRAP];

fn run_rules() -> Result<Rules, SandboxError> {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};

    let mut rules: Rules = RUN.iter().chain(RUN_LEGACY).map(|&number| (number, Vec::new())).collect();
    let not_executable = |argument| rule(&[(argument, MaskedEq(libc::PROT_EXEC as u64), 0)]);
    rules.insert(libc::SYS_mmap, vec![not_executable(2)?]);
    rules.insert(libc::SYS_mprotect, vec![not_executable(2)?]);
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![rule(&[(0, MaskedEq(thread), thread)])?]);
    let itself = rustix::process::getpid().as_raw_nonzero().get();
    // Aborting is all that a thread may do to its own process; SIGKILL would look like somebody else.
    rules.insert(libc::SYS_tgkill, vec![int_rule(&[(0, Eq, itself), (2, Eq, libc::SIGABRT)])?]);
    let no_fault = FAULTS.map(|signal| (0, Ne, signal));
    let only_asking = rule(&[(1, Eq, 0)])?;
    rules.insert(libc::SYS_rt_sigaction, vec![int_rule(&no_fault)?, only_asking]);
    rules.insert(libc::SYS_prctl, vec![int_rule(&[(0, Eq, libc::PR_SET_NAME)])?]);
    rules.insert(libc::SYS_prlimit64, vec![rule(&[(2, Eq, 0)])?]);
    let file_flags = [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL, libc::F_GET_SEALS];
    let file_flags: Result<Vec<_>, _> = file_flags.iter().map(|&flag| int_rule(&[(1, Eq, flag)])).collect();
    rules.insert(libc::SYS_fcntl, file_flags?);
    #[cfg(target_arch = "x86_64")]
    {
        // ARCH_GET_XCOMP_SUPP, ARCH_GET_XCOMP_PERM and ARCH_REQ_XCOMP_PERM: how a kernel asks for the tile registers of AMX.
        let tiles = [0x1021, 0x1022, 0x1023];
        let tiles: Result<Vec<_>, _> = tiles.iter().map(|&code| int_rule(&[(0, Eq, code)])).collect();
        rules.insert(libc::SYS_arch_prctl, tiles?);
    }
    Ok(rules)
}

/// What the dynamic loader needs beyond that.
fn load_rules() -> Result<Rules, SandboxError> {
    use SeccompCmpOp::{Eq, MaskedEq};

    // The step to the run profile: one more filter for all threads, and nothing that listens to one.
    let all_threads = libc::SECCOMP_FILTER_FLAG_TSYNC;
    let tighten = rule(&[(0, Eq, libc::SECCOMP_SET_MODE_FILTER.into()), (1, Eq, all_threads)])?;
    let names = [libc::PR_SET_NAME, libc::PR_SET_NO_NEW_PRIVS];
    let names: Result<Vec<_>, _> = names.iter().map(|&option| int_rule(&[(0, Eq, option)])).collect();
    let changing = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64;
    let mut rules: Rules = [
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_newfstatat,
        libc::SYS_faccessat,
        libc::SYS_readlinkat,
        libc::SYS_getcwd,
        libc::SYS_getdents64,
        libc::SYS_statx,
        libc::SYS_fstatfs,
    ]
    .into_iter()
    .map(|number| (number, Vec::new()))
    .collect();
    rules.insert(libc::SYS_seccomp, vec![tighten]);
    rules.insert(libc::SYS_prctl, names?);
    rules.insert(libc::SYS_openat, vec![rule(&[(2, MaskedEq(changing), 0)])?]);
    #[cfg(target_arch = "x86_64")]
    {
        rules.insert(libc::SYS_open, vec![rule(&[(1, MaskedEq(changing), 0)])?]);
        for number in [libc::SYS_access, libc::SYS_readlink, libc::SYS_stat, libc::SYS_lstat] {
            rules.insert(number, Vec::new());
        }
    }
    Ok(rules)
}

/// What no tool needs: looking into other processes, sockets, and most of what the kernel has for administrators.
fn tool_denials() -> Result<Rules, SandboxError> {
    const DENIED: &[i64] = &[
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_process_madvise,
        libc::SYS_pidfd_getfd,
        libc::SYS_kcmp,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_fsmount,
        libc::SYS_mount_setattr,
        libc::SYS_chroot,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_settimeofday,
        libc::SYS_clock_settime,
        libc::SYS_adjtimex,
        libc::SYS_clock_adjtime,
        libc::SYS_open_by_handle_at,
        libc::SYS_name_to_handle_at,
        libc::SYS_quotactl,
        libc::SYS_acct,
        libc::SYS_syslog,
        libc::SYS_fanotify_init,
        libc::SYS_mknodat,
        libc::SYS_socket,
    ];
    let mut rules: Rules = DENIED.iter().map(|&number| (number, Vec::new())).collect();
    // A child in a new user namespace would have capabilities again. `clone3` is absent anyway.
    let user = libc::CLONE_NEWUSER as u64;
    rules.insert(libc::SYS_clone, vec![rule(&[(0, SeccompCmpOp::MaskedEq(user), user)])?]);
    Ok(rules)
}
