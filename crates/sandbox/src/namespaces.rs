//! Namespaces: a user, a process tree, a mount tree and a network of one's own.
#![expect(
    unsafe_code,
    reason = "unshare, mount and mount_setattr have no safe form in the libraries used here"
)]

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::confine::{Confinement, Layer};
use crate::limits::{check, set_dumpable};
use crate::policy::{Identity, Policy};

/// The user that the child sees itself as: the conventional `nobody`.
const NOBODY: u32 = 65534;

/// Namespaces besides the user's, with the name that they have in `sysctl user.max_*_namespaces`.
const OTHERS: [(Layer, libc::c_int, &str); 5] = [
    (Layer::MountNamespace, libc::CLONE_NEWNS, "mnt"),
    (Layer::PidNamespace, libc::CLONE_NEWPID, "pid"),
    (Layer::NetworkNamespace, libc::CLONE_NEWNET, "net"),
    (Layer::IpcNamespace, libc::CLONE_NEWIPC, "ipc"),
    (Layer::UtsNamespace, libc::CLONE_NEWUTS, "uts"),
];

/// Becomes the real user `nobody` where the policy says so and the caller is root.
pub(crate) fn assume_identity(identity: Identity) -> Result<(), String> {
    if identity == Identity::Mapped || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    // SAFETY: plain numbers; an empty list of groups needs no memory. The process has one thread.
    let changed = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0
            && libc::setresgid(NOBODY, NOBODY, NOBODY) == 0
            && libc::setresuid(NOBODY, NOBODY, NOBODY) == 0
    };
    if !changed {
        return Err(io::Error::last_os_error().to_string());
    }
    // Changing the user made the process untraceable and its /proc files root's; the user mapping must be written first.
    set_dumpable(true)
}

/// Enters fresh namespaces, as many as the machine gives.
pub(crate) fn enter(confinement: &mut Confinement) {
    confinement.record(Layer::UserNamespace, enter_user_namespace());
    let all = OTHERS.iter().fold(0, |flags, (_, flag, _)| flags | flag);
    let together = unshare(all);
    for (layer, flag, name) in OTHERS {
        // One refusal refuses the whole call, so each is tried alone to name the one.
        let outcome = if together.is_ok() { Ok(()) } else { unshare(flag) };
        let told = outcome.map_err(|reason| format!("{reason} (limit: sysctl user.max_{name}_namespaces)"));
        confinement.record(layer, told);
    }
}

fn enter_user_namespace() -> Result<(), String> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    unshare(libc::CLONE_NEWUSER).map_err(|reason| format!("{reason} ({})", why_no_user_namespace()))?;
    let write = |file: &str, text: String| {
        std::fs::write(format!("/proc/self/{file}"), text).map_err(|error| format!("{file}: {error}"))
    };
    // Without this an unprivileged caller may not map its group.
    write("setgroups", "deny".to_owned())?;
    write("gid_map", format!("{NOBODY} {group} 1"))?;
    write("uid_map", format!("{NOBODY} {user} 1"))
}

/// The switches that administrators turn, so that the message names the one to turn back.
fn why_no_user_namespace() -> String {
    let switches = [
        ("kernel.unprivileged_userns_clone", "0"),
        ("user.max_user_namespaces", "0"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1"),
    ];
    for (name, off) in switches {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        if std::fs::read_to_string(path).is_ok_and(|value| value.trim() == off) {
            return format!("sysctl {name} = {off}");
        }
    }
    "user namespaces are unavailable, as in many containers; a seccomp profile or a limit may forbid them"
        .to_owned()
}

fn unshare(flags: libc::c_int) -> Result<(), String> {
    // SAFETY: the flags are namespaces only, which share no memory or descriptors between tasks.
    check(unsafe { libc::unshare(flags) }.into())
}

/// Inside the namespaces: own host name, own /proc, and a mount tree that is read-only but for the writable paths.
pub(crate) fn furnish(policy: &Policy, confinement: &mut Confinement) {
    if confinement.has(Layer::UtsNamespace) {
        // A name that says nothing about the machine; a refusal costs nothing.
        let _ = rustix::system::sethostname(b"kernsmith");
    }
    if !confinement.has(Layer::MountNamespace) {
        return;
    }
    let outcome = mount(None, Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE);
    if confinement.has(Layer::PidNamespace) {
        fresh_proc(policy, confinement);
    }
    if !policy.filesystem {
        return;
    }
    if let Err(reason) = outcome.and_then(|()| read_only_tree(policy)) {
        confinement.reached.retain(|&layer| layer != Layer::MountNamespace);
        confinement.record(Layer::MountNamespace, Err(reason));
    }
}

fn fresh_proc(policy: &Policy, confinement: &mut Confinement) {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    match mount(Some(OsStr::new("proc")), Path::new("/proc"), Some("proc"), flags) {
        Ok(()) => {
            if let Some(processes) = policy.limits.processes {
                // Since Linux 6.14 a process tree has a ceiling of its own, which binds root too. It may be refused, and it
                // may not be below 301; the resource limit is the rule, this is the second lock.
                let _ =
                    std::fs::write("/proc/sys/kernel/pid_max", processes.clamp(301, 4_194_304).to_string());
            }
        }
        Err(reason) => confinement.notes.push(format!("/proc still shows the host's processes: {reason}")),
    }
}

fn read_only_tree(policy: &Policy) -> Result<(), String> {
    let directory = std::env::current_dir();
    let writable: Vec<&Path> =
        policy.write.iter().map(PathBuf::as_path).filter(|path| path.exists()).collect();
    for path in &writable {
        mount(Some(path.as_os_str()), path, None, libc::MS_BIND | libc::MS_REC)?;
    }
    set_read_only(Path::new("/"), true)?;
    for path in &writable {
        set_read_only(path, false)?;
    }
    // The working directory still stands in the mount below the new one.
    if let Ok(directory) = directory {
        let _ = std::env::set_current_dir(directory);
    }
    Ok(())
}

fn mount(
    source: Option<&OsStr>,
    target: &Path,
    kind: Option<&str>,
    flags: libc::c_ulong,
) -> Result<(), String> {
    let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(|error| error.to_string());
    let source = source.map(text).transpose()?;
    let kind = kind.map(|kind| text(kind.as_ref())).transpose()?;
    let path = text(target.as_os_str())?;
    let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    // SAFETY: all pointers are to strings that end in NUL and live until after the call, or null where that is allowed.
    let done =
        unsafe { libc::mount(pointer(&source), path.as_ptr(), pointer(&kind), flags, std::ptr::null()) };
    check(done.into()).map_err(|reason| format!("mount {}: {reason}", target.display()))
}

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

fn set_read_only(path: &Path, read_only: bool) -> Result<(), String> {
    const READ_ONLY: u64 = 0x1;
    const NO_SET_USER_ID: u64 = 0x2;
    let (set, clear) = if read_only { (READ_ONLY | NO_SET_USER_ID, 0) } else { (0, READ_ONLY) };
    let attributes = MountAttributes { set, clear, propagation: 0, user_namespace: 0 };
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: the path ends in NUL, the attributes have the kernel's layout and their true size is passed.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            name.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    check(done).map_err(|reason| format!("make {} read-only = {read_only}: {reason}", path.display()))
}
