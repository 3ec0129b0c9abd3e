//! What a template needs to know about the machine that its kernels will run on.

use std::collections::BTreeSet;

use kernsmith_core::{Bindings, Target};
use serde::{Deserialize, Serialize};

/// The facts that decide which genes make sense.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// What code is built for.
    pub target: Target,
    /// Instruction-set features by the names of `/proc/cpuinfo`, such as `avx2`, `fma`, `avx512f`.
    pub features: BTreeSet<String>,
    /// Cores that may be used, at least 1.
    pub cores: u32,
    /// First-level data cache of one core.
    pub l1d_bytes: u64,
    /// Second-level cache of one core.
    pub l2_bytes: u64,
    /// Last-level cache, shared.
    pub l3_bytes: u64,
}

impl Machine {
    /// A machine that has everything: lint renders every gene value for it.
    pub fn reference() -> Self {
        let features =
            ["sse2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"];
        Self {
            target: Target::Cpu("x86_64".to_owned()),
            features: features.map(str::to_owned).into(),
            cores: 64,
            l1d_bytes: 48 * 1024,
            l2_bytes: 1024 * 1024,
            l3_bytes: 32 * 1024 * 1024,
        }
    }

    /// The numbers that constraints, `at_most` and defaults may name; a size that is not known (0) is taken to be a
    /// small one of its kind.
    pub fn facts(&self) -> Bindings {
        let known = |bytes: u64, small: i64| if bytes == 0 { small } else { bytes as i64 };
        Bindings::from([
            ("cores".to_owned(), i64::from(self.cores.max(1))),
            ("l1d_bytes".to_owned(), known(self.l1d_bytes, 32 << 10)),
            ("l2_bytes".to_owned(), known(self.l2_bytes, 256 << 10)),
            ("l3_bytes".to_owned(), known(self.l3_bytes, 4 << 20)),
        ])
    }

    /// Whether every feature of a `+`-separated list is there.
    pub fn has_all(&self, features: &str) -> bool {
        features.split('+').all(|feature| self.features.contains(feature.trim()))
    }
}
