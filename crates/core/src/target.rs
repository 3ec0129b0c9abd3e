//! What a kernel runs on, and what it is written in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A family of devices that one code object fits, such as `cpu-x86_64` or `cuda-sm_90a`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// A processor of the given instruction-set architecture, such as `x86_64`.
    Cpu(String),
    /// An NVIDIA architecture, such as `sm_90a`.
    Cuda(String),
    /// An AMD architecture, such as `gfx950`.
    Hip(String),
}

/// A string that names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a target: expected `cpu-<isa>`, `cuda-sm_<n>` or `hip-gfx<n>`, for example `cpu-x86_64`"
)]
pub struct TargetError(String);

impl Target {
    /// The processor that this program was built for.
    pub fn host() -> Self {
        Self::Cpu(std::env::consts::ARCH.to_owned())
    }

    /// The part before the dash: `cpu`, `cuda` or `hip`.
    pub const fn platform(&self) -> &'static str {
        match self {
            Self::Cpu(_) => "cpu",
            Self::Cuda(_) => "cuda",
            Self::Hip(_) => "hip",
        }
    }

    /// The language that candidates for it are written in, where nothing else is asked for.
    pub const fn language(&self) -> Language {
        match self {
            Self::Cpu(_) => Language::Cpp,
            Self::Cuda(_) => Language::Cuda,
            Self::Hip(_) => Language::Hip,
        }
    }

    /// The part after the dash.
    pub fn arch(&self) -> &str {
        match self {
            Self::Cpu(arch) | Self::Cuda(arch) | Self::Hip(arch) => arch,
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || TargetError(text.to_owned());
        if text == "cpu" {
            return Ok(Self::host());
        }
        let (platform, arch) = text.split_once('-').ok_or_else(error)?;
        let legal = !arch.is_empty() && arch.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        match platform {
            "cpu" if legal => Ok(Self::Cpu(arch.to_owned())),
            "cuda" if legal && arch.starts_with("sm_") => Ok(Self::Cuda(arch.to_owned())),
            "hip" if legal && arch.starts_with("gfx") => Ok(Self::Hip(arch.to_owned())),
            _ => Err(error()),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.platform(), self.arch())
    }
}

/// The language of a candidate's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Language {
    /// C++ for the CPU, compiled to a shared object.
    #[default]
    Cpp,
    /// CUDA C++ device code, compiled to a cubin.
    Cuda,
    /// HIP device code, compiled to a code object.
    Hip,
    /// Triton, lowered ahead of time.
    Triton,
    /// `TileLang`, lowered ahead of time.
    Tilelang,
}

impl Language {
    /// The word used in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpp => "cpp",
            Self::Cuda => "cuda",
            Self::Hip => "hip",
            Self::Triton => "triton",
            Self::Tilelang => "tilelang",
        }
    }

    /// The ending of a source file, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Cpp => "cpp",
            Self::Cuda => "cu",
            Self::Hip => "hip",
            Self::Triton | Self::Tilelang => "py",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_round_trip() {
        for text in ["cpu-x86_64", "cuda-sm_90a", "hip-gfx950"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for bad in ["", "cuda", "cuda-90", "tpu-v5", "cpu-"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
