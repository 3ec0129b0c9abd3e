//! The machine that this program runs on.

use std::collections::BTreeSet;
use std::path::Path;

use kernsmith_core::Digest;
use serde::{Deserialize, Serialize};

/// The machine that this program runs on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Host {
    /// Processor model, as it names itself.
    pub model: String,
    /// Cores that this process may run on.
    pub cores: u32,
    /// Instruction-set features by their Linux names, such as `avx2`, `fma` and `avx512f`.
    pub features: BTreeSet<String>,
    /// First-level data cache of one core; 0 where unknown.
    pub l1d_bytes: u64,
    /// Second-level cache of one core; 0 where unknown.
    pub l2_bytes: u64,
    /// Last-level cache; 0 where unknown.
    pub l3_bytes: u64,
    /// The kernel's name and version.
    pub os: String,
}

impl Host {
    /// Asks the machine. What it does not tell stays empty or 0.
    pub fn detect() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let caches = Path::new("/sys/devices/system/cpu/cpu0/cache");
        Self {
            model: field(&cpu, "model name")
                .or_else(|| field(&cpu, "CPU part"))
                .unwrap_or_default()
                .to_owned(),
            cores: cores(),
            features: features(&cpu),
            l1d_bytes: cache_bytes(caches, 1),
            l2_bytes: cache_bytes(caches, 2),
            l3_bytes: cache_bytes(caches, 3),
            os: format!(
                "{} {}",
                read("/proc/sys/kernel/ostype").trim(),
                read("/proc/sys/kernel/osrelease").trim()
            ),
        }
    }

    /// Digest over the features: objects built for this machine do not fit another set.
    pub fn features_digest(&self) -> Digest {
        Digest::of_parts(self.features.iter().map(String::as_bytes))
    }
}

fn cores() -> u32 {
    rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count())
}

/// x86 names the line `flags`, ARM `Features`.
fn features(cpu: &str) -> BTreeSet<String> {
    let line = field(cpu, "flags").or_else(|| field(cpu, "Features")).unwrap_or_default();
    line.split_whitespace().map(str::to_owned).collect()
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

fn cache_bytes(caches: &Path, level: u32) -> u64 {
    let entries = std::fs::read_dir(caches).into_iter().flatten().flatten();
    let read = |path: &Path, name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
    entries
        .map(|entry| entry.path())
        .filter(|path| read(path, "level").trim() == level.to_string())
        .filter(|path| read(path, "type").trim() != "Instruction")
        .filter_map(|path| parse_bytes(read(&path, "size").trim()))
        .max()
        .unwrap_or(0)
}

fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_cores_and_a_system() {
        let host = Host::detect();
        assert!(host.cores >= 1 && host.os.starts_with("Linux "), "{host:?}");
        #[cfg(target_arch = "x86_64")]
        assert!(host.features.contains("sse2"));
    }

    #[test]
    fn sizes_carry_their_unit() {
        assert_eq!(parse_bytes("48K"), Some(48 << 10));
        assert_eq!(parse_bytes("32M"), Some(32 << 20));
        assert_eq!(parse_bytes("many"), None);
    }
}
