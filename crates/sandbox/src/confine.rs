//! The child's own first act.
#![expect(unsafe_code, reason = "changing the environment is unsafe, because other threads might read it")]

use std::{fmt, io};

use serde::{Deserialize, Serialize};

use crate::error::SandboxError;
use crate::policy::Policy;
use crate::syscalls::{reset_fault_handlers, restrict_syscalls};
use crate::{limits, namespaces, paths, supervise};

/// One layer of confinement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// A user namespace: no capability of the child counts outside.
    UserNamespace,
    /// A private, read-only mount tree.
    MountNamespace,
    /// A process tree of its own, which dies as a whole.
    PidNamespace,
    /// No network interface but a loopback that is down.
    NetworkNamespace,
    /// No System V or POSIX message queues of others.
    IpcNamespace,
    /// A host name of its own.
    UtsNamespace,
    /// Paths by allow-list, no TCP, no signals to the outside (Landlock).
    Landlock,
    /// No privileges through set-user-id programs.
    NoNewPrivileges,
    /// No capabilities.
    NoCapabilities,
    /// Not traceable, no core file.
    NotDumpable,
    /// Resource limits.
    Limits,
    /// Only the descriptors of the policy.
    Descriptors,
    /// Only the environment of the policy.
    Environment,
    /// It dies with its parent.
    ParentDeath,
    /// System calls by allow-list (seccomp).
    Syscalls,
}

impl Layer {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserNamespace => "user-namespace",
            Self::MountNamespace => "mount-namespace",
            Self::PidNamespace => "pid-namespace",
            Self::NetworkNamespace => "network-namespace",
            Self::IpcNamespace => "ipc-namespace",
            Self::UtsNamespace => "uts-namespace",
            Self::Landlock => "landlock",
            Self::NoNewPrivileges => "no-new-privileges",
            Self::NoCapabilities => "no-capabilities",
            Self::NotDumpable => "not-dumpable",
            Self::Limits => "limits",
            Self::Descriptors => "descriptors",
            Self::Environment => "environment",
            Self::ParentDeath => "parent-death",
            Self::Syscalls => "seccomp",
        }
    }

    /// The six namespaces.
    pub const NAMESPACES: [Self; 6] = [
        Self::UserNamespace,
        Self::MountNamespace,
        Self::PidNamespace,
        Self::NetworkNamespace,
        Self::IpcNamespace,
        Self::UtsNamespace,
    ];
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What confinement reached.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Confinement {
    /// Layers in force, in the order in which they were reached.
    pub reached: Vec<Layer>,
    /// Layers that the policy asked for and the machine refused, with the reason.
    pub missing: Vec<(Layer, String)>,
    /// What a reached layer does not cover on this machine, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Confinement {
    /// Whether a layer is in force.
    pub fn has(&self, layer: Layer) -> bool {
        self.reached.contains(&layer)
    }

    /// The level in short, such as `namespaces+landlock+seccomp+limits`, for evidence packets.
    pub fn summary(&self) -> String {
        let mut words = Vec::new();
        let namespaces: Vec<_> = Layer::NAMESPACES.into_iter().filter(|&layer| self.has(layer)).collect();
        if namespaces.len() == Layer::NAMESPACES.len() {
            words.push("namespaces");
        } else {
            words.extend(namespaces.into_iter().map(Layer::as_str));
        }
        for layer in [Layer::Landlock, Layer::Syscalls, Layer::Limits] {
            if self.has(layer) {
                words.push(layer.as_str());
            }
        }
        if words.is_empty() { "none".to_owned() } else { words.join("+") }
    }

    /// The missing layers as sentences, such as `user-namespace: …`.
    pub fn missing_lines(&self) -> Vec<String> {
        self.missing.iter().map(|(layer, reason)| format!("{layer}: {reason}")).collect()
    }

    /// Adds a layer that was reached later, such as system calls after loading.
    pub fn reach(&mut self, layer: Layer) {
        if !self.has(layer) {
            self.reached.push(layer);
        }
    }

    pub(crate) fn record(&mut self, layer: Layer, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.reach(layer),
            Err(reason) => self.missing.push((layer, reason)),
        }
    }
}

/// Confines the calling process for good.
///
/// Must be called first thing in `main`, while the process has one thread. It forks: the process that the parent knows stays
/// outside, waits, and ends the way the confined one ends (same code or same signal); this function returns only in the
/// confined process. When the parent dies, everything dies.
///
/// A layer that the machine refuses is named in [`Confinement::missing`], and is an error only where the policy requires it.
/// Afterwards `/proc/self` files belong to root (`NotDumpable`), so the confined process cannot open its own descriptors anew.
pub fn confine(policy: &Policy) -> Result<Confinement, SandboxError> {
    check_single_threaded()?;
    reset_fault_handlers();
    let mut confinement = Confinement::default();
    confinement.record(Layer::Descriptors, limits::close_descriptors(&policy.keep_descriptors));
    namespaces::assume_identity(policy.identity)
        .map_err(|reason| SandboxError::io("become the user nobody")(io::Error::other(reason)))?;
    if policy.namespaces {
        namespaces::enter(&mut confinement);
    }
    supervise::split(confinement.has(Layer::PidNamespace))?;
    confinement.reach(Layer::ParentDeath);
    namespaces::furnish(policy, &mut confinement);
    confinement.record(Layer::Limits, limits::apply(&policy.limits));
    confinement.record(Layer::NoNewPrivileges, limits::no_new_privileges());
    confinement.record(Layer::NoCapabilities, limits::drop_capabilities());
    if policy.filesystem {
        restrict_paths(policy, &mut confinement);
    }
    confinement.record(Layer::NotDumpable, limits::set_dumpable(false));
    replace_environment(policy);
    confinement.reach(Layer::Environment);
    if let Some(profile) = policy.syscalls {
        let outcome = restrict_syscalls(profile).map_err(|error| error.to_string());
        confinement.record(Layer::Syscalls, outcome);
    }
    check_required(policy, &confinement)?;
    Ok(confinement)
}

fn check_single_threaded() -> Result<(), SandboxError> {
    // Without /proc there is nothing to count; the caller's word has to do.
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 { Err(SandboxError::NotSingleThreaded { threads }) } else { Ok(()) }
}

fn restrict_paths(policy: &Policy, confinement: &mut Confinement) {
    match paths::restrict(policy) {
        Ok(note) => {
            confinement.reach(Layer::Landlock);
            confinement.notes.extend(note);
        }
        Err(reason) => confinement.record(Layer::Landlock, Err(reason)),
    }
}

fn replace_environment(policy: &Policy) {
    let names: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    for name in names {
        // SAFETY: the process has one thread, so nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    for (name, value) in &policy.environment {
        // SAFETY: as above.
        unsafe { std::env::set_var(name, value) };
    }
}

fn check_required(policy: &Policy, confinement: &Confinement) -> Result<(), SandboxError> {
    let Some(&layer) = policy.required.iter().find(|&&layer| !confinement.has(layer)) else {
        return Ok(());
    };
    let told = confinement.missing.iter().find(|(missing, _)| *missing == layer);
    let reason = told.map_or("the policy itself switches it off", |(_, reason)| reason);
    Err(SandboxError::LayerRequired { layer, reason: reason.to_owned() })
}
