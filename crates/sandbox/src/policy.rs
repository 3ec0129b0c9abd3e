//! What a child may do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::confine::Layer;
use crate::syscalls::Profile;

/// What a child may do. Plain data: it travels to the child as JSON.
///
/// The default allows nothing but computing: no paths, no descriptors beyond the standard three, an empty environment, no
/// network, no new programs. Network is never allowed, so there is no field for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Fresh user, mount, pid, network, ipc and uts namespaces.
    pub namespaces: bool,
    /// Whether the lists of paths below are enforced (Landlock, and a read-only mount tree where namespaces are on).
    pub filesystem: bool,
    /// Files and directories that may be read, with everything below them. Paths that do not exist allow nothing.
    pub read: Vec<PathBuf>,
    /// Files and directories that may be read and executed.
    pub execute: Vec<PathBuf>,
    /// Files and directories that may be read and changed; entries may be created in and removed from directories.
    pub write: Vec<PathBuf>,
    /// Resource limits.
    pub limits: Limits,
    /// The whole environment of the child.
    pub environment: BTreeMap<String, String>,
    /// Descriptors to keep besides 0, 1 and 2.
    pub keep_descriptors: Vec<i32>,
    /// Which user the child is.
    pub identity: Identity,
    /// System calls to allow from the start; `None` leaves it to a later [`crate::restrict_syscalls`].
    pub syscalls: Option<Profile>,
    /// Layers without which the child must not run.
    pub required: Vec<Layer>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            namespaces: true,
            filesystem: true,
            read: Vec::new(),
            execute: Vec::new(),
            write: Vec::new(),
            limits: Limits::default(),
            environment: BTreeMap::new(),
            keep_descriptors: Vec::new(),
            identity: Identity::Mapped,
            syscalls: None,
            required: Vec::new(),
        }
    }
}

impl Policy {
    /// The policy as one JSON argument.
    ///
    /// A path that is not UTF-8 has no JSON form. The child then refuses the argument, with the reason in its message.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("<{error}>"))
    }

    /// Reads a policy from one JSON argument.
    pub fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("`{text}` is not a policy: {error}"))
    }
}

/// Resource limits; `None` leaves what the parent has. Core files are never written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Address space of one process.
    pub address_space_bytes: Option<u64>,
    /// Processor time of one process; ends with SIGXCPU, one second later with SIGKILL.
    pub cpu_seconds: Option<u64>,
    /// Largest file that may be written.
    pub file_bytes: Option<u64>,
    /// Processes and threads of the child's user, all together. The kernel does not enforce it for real root: see
    /// [`Identity::Nobody`].
    pub processes: Option<u64>,
    /// Open descriptors of one process.
    pub open_files: Option<u64>,
}

/// Which user the child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// The caller's own user, seen as an unprivileged one inside the user namespace: files that the caller owns stay reachable.
    #[default]
    Mapped,
    /// A caller that is root becomes the real user 65534 first, so that file modes and the process limit bind it. Everything
    /// that the child opens must be reachable for that user.
    Nobody,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_survives_its_json_form() {
        let policy = Policy {
            write: vec!["/tmp/x".into()],
            limits: Limits { cpu_seconds: Some(3), ..Limits::default() },
            required: vec![Layer::Landlock],
            ..Policy::default()
        };
        assert_eq!(Policy::from_json(&policy.to_json()).unwrap(), policy);
        assert!(Policy::from_json(r#"{"network": true}"#).is_err());
    }
}
