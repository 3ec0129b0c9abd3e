//! What does not change between evaluations.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kernsmith_core::{Plan, Target};
use kernsmith_isa_corpus::Rules;
use kernsmith_op_contract::{Contract, Role};
use kernsmith_toolchain::{Host, Toolchain};
use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;

use crate::error::HarnessError;
use crate::layout::Shape;
use crate::options::HarnessOptions;
use crate::process::Spawner;

/// What does not change between evaluations.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) contract: Arc<Contract>,
    pub(crate) toolchain: Arc<Toolchain>,
    pub(crate) options: HarnessOptions,
    pub(crate) rules: Arc<Rules>,
    pub(crate) spawner: Spawner,
    pub(crate) host: Host,
    pub(crate) target: Target,
    /// One a workload, in the contract's order.
    pub(crate) shapes: Vec<Shape>,
    pub(crate) cache_dir: PathBuf,
    pub(crate) baseline: BaselineSource,
    /// `None` draws from the system.
    pub(crate) seed: Option<u64>,
    pub(crate) drawn: AtomicU64,
}

/// The frozen baseline's text.
#[derive(Debug, Clone)]
pub(crate) struct BaselineSource {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) plan: Plan,
    pub(crate) link: Vec<String>,
}

impl Setup {
    /// A fresh stream of secrets.
    pub(crate) fn rng(&self) -> ChaCha12Rng {
        let ordinal = self.drawn.fetch_add(1, Ordering::Relaxed);
        match self.seed {
            Some(seed) => ChaCha12Rng::seed_from_u64(seed ^ ordinal.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            None => rand::make_rng(),
        }
    }

    /// Indices of the shapes of a role.
    pub(crate) fn shapes_of(&self, role: Role) -> Vec<usize> {
        let workloads = self.contract.workloads.iter().enumerate();
        workloads.filter(|(_, workload)| workload.role == role).map(|(index, _)| index).collect()
    }

    /// The bench shape with the smallest tensors: for gates that need many calls.
    pub(crate) fn smallest_bench(&self) -> Result<usize, HarnessError> {
        let size = |index: &usize| {
            let shape = &self.shapes[*index];
            shape.input_bytes() + shape.output_bytes()
        };
        let bench = self.shapes_of(Role::Bench).into_iter().min_by_key(size);
        bench.ok_or_else(|| HarnessError::NoWorkload { contract: self.contract.name.clone() })
    }

    /// How long one call may take, given what the baseline takes.
    pub(crate) fn call_timeout(&self, baseline_us: Option<f64>) -> Duration {
        let floor = Duration::from_millis(self.options.call_timeout_floor_ms);
        let slow = baseline_us.unwrap_or(0.0) * self.options.call_timeout_factor;
        floor.max(Duration::from_secs_f64(slow.min(3.6e9) * 1e-6))
    }
}
