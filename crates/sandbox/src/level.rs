//! How much confinement there is, in one word.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::confine::{Confinement, Layer};
use crate::error::SandboxError;
use crate::probe::probe_with;

/// A level of confinement; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing is demanded.
    #[default]
    None,
    /// Resource limits.
    Rlimits,
    /// System calls by allow-list.
    Seccomp,
    /// Paths by allow-list.
    Landlock,
    /// All six namespaces.
    Namespaces,
}

impl Level {
    /// All levels, weakest first.
    pub const ALL: [Self; 5] = [Self::None, Self::Rlimits, Self::Seccomp, Self::Landlock, Self::Namespaces];

    /// The word for it in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Rlimits => "rlimits",
            Self::Seccomp => "seccomp",
            Self::Landlock => "landlock",
            Self::Namespaces => "namespaces",
        }
    }

    /// What it adds to the level before it.
    const fn own_layers(self) -> &'static [Layer] {
        match self {
            Self::None => &[],
            Self::Rlimits => &[Layer::Limits],
            Self::Seccomp => &[Layer::Syscalls],
            Self::Landlock => &[Layer::Landlock],
            Self::Namespaces => &Layer::NAMESPACES,
        }
    }

    /// Every layer that it takes.
    pub fn layers(self) -> impl Iterator<Item = Layer> {
        Self::ALL
            .into_iter()
            .filter(move |level| *level <= self)
            .flat_map(|level| level.own_layers().iter().copied())
    }

    /// What helps a machine that does not reach it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::None | Self::Rlimits | Self::Seccomp => "Linux 5.13 or newer, with seccomp built in",
            Self::Landlock => {
                "Linux 5.13 or newer with landlock among the modules of /sys/kernel/security/lsm"
            }
            Self::Namespaces => {
                "user namespaces: `sysctl user.max_user_namespaces` above 0, `kernel.unprivileged_userns_clone=1` or \
                 `kernel.apparmor_restrict_unprivileged_userns=0` where they exist; a container needs leave to make them"
            }
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|level| level.as_str() == text);
        known.ok_or_else(|| {
            let words = Self::ALL.map(Self::as_str).join(", ");
            format!("`{text}` is no level of confinement; the levels are {words}")
        })
    }
}

impl Confinement {
    /// The highest level of which no layer is missing.
    pub fn level(&self) -> Level {
        let reached = |level: &Level| level.layers().all(|layer| self.has(layer));
        Level::ALL.into_iter().rev().find(reached).unwrap_or_default()
    }

    /// An error that names what is missing, where a level is not reached.
    pub fn demand(&self, least: Level) -> Result<(), SandboxError> {
        let reached = self.level();
        if reached >= least {
            return Ok(());
        }
        let missing = least.layers().filter(|layer| !self.has(*layer));
        let reason = |layer: Layer| {
            let told = self.missing.iter().find(|(missing, _)| *missing == layer);
            told.map_or_else(|| layer.to_string(), |(_, reason)| format!("{layer} ({reason})"))
        };
        let missing = missing.map(reason).collect::<Vec<_>>().join("; ");
        Err(SandboxError::TooWeak { least, reached, missing })
    }
}

/// Confines a throw-away child of a program that answers the hidden verb, and fails where it does not reach a level.
pub fn demand(helper: &Path, least: Level) -> Result<(), SandboxError> {
    if least == Level::None { Ok(()) } else { probe_with(helper)?.demand(least) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confinement(reached: &[Layer]) -> Confinement {
        Confinement { reached: reached.to_vec(), ..Confinement::default() }
    }

    #[test]
    fn a_level_is_reached_when_no_layer_of_it_is_missing() {
        let mut reached = vec![Layer::NotDumpable];
        assert_eq!(confinement(&reached).level(), Level::None);
        reached.push(Layer::Limits);
        assert_eq!(confinement(&reached).level(), Level::Rlimits);
        reached.push(Layer::Landlock);
        assert_eq!(confinement(&reached).level(), Level::Rlimits, "without seccomp, Landlock is no level");
        reached.push(Layer::Syscalls);
        assert_eq!(confinement(&reached).level(), Level::Landlock);
        reached.extend(&Layer::NAMESPACES[..5]);
        assert_eq!(confinement(&reached).level(), Level::Landlock);
        reached.push(Layer::NAMESPACES[5]);
        assert_eq!(confinement(&reached).level(), Level::Namespaces);
    }

    #[test]
    fn what_is_missing_is_named_with_its_reason_and_a_remedy() {
        let mut weak = confinement(&[Layer::Limits, Layer::Syscalls]);
        weak.missing.push((Layer::Landlock, "the kernel is 5.10".to_owned()));
        assert!(weak.demand(Level::Seccomp).is_ok());
        let error = weak.demand(Level::Landlock).unwrap_err().to_string();
        for word in ["landlock", "seccomp", "the kernel is 5.10", "5.13", "harness.minimum_sandbox"] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn words_are_read_back() {
        for level in Level::ALL {
            assert_eq!(level.as_str().parse(), Ok(level));
        }
        assert!("some".parse::<Level>().unwrap_err().contains("namespaces"));
    }
}
