//! The harness as others see it.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernsmith_core::{Candidate, Evidence, Performance, Plan, Target};
use kernsmith_isa_corpus::Rules;
use kernsmith_op_contract::Contract;
use kernsmith_toolchain::{Host, Toolchain};

use crate::calibration::{self, Calibration};
use crate::device::Device;
use crate::error::HarnessError;
use crate::evaluate;
use crate::layout::Shape;
use crate::lint;
use crate::options::HarnessOptions;
use crate::process::Spawner;
use crate::setup::{BaselineSource, Setup};

/// What a harness is opened with.
#[derive(Debug)]
pub struct OpenRequest {
    /// What the operation is.
    pub contract: Arc<Contract>,
    /// The compiler.
    pub toolchain: Arc<Toolchain>,
    /// What can be set.
    pub options: HarnessOptions,
    /// Hard rules of the target; [`Rules::none`] refuses nothing.
    pub rules: Arc<Rules>,
    /// The user's own kernel as frozen baseline, instead of the contract's: source and plan.
    pub user_baseline: Option<(String, Plan)>,
    /// The program that answers the hidden verb `__worker`.
    pub self_exe: PathBuf,
    /// Seed of all inputs and choices; `None` draws them from the system, which is what keeps them secret.
    pub seed: Option<u64>,
    /// Where measured ceilings are kept.
    pub cache_dir: PathBuf,
}

/// Judges candidates for one contract on the processor that it runs on.
#[derive(Debug, Clone)]
pub struct Harness {
    pub(crate) inner: Arc<Inner>,
}

/// The one device, and what belongs to it.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) setup: Setup,
    device: Mutex<Device>,
    /// A copy for those who only ask.
    calibration: std::sync::OnceLock<Calibration>,
}

impl Inner {
    /// Only one evaluation uses the device at a time.
    pub(crate) fn device(&self) -> MutexGuard<'_, Device> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Harness {
    /// Builds oracle and baseline and starts the oracle. Blocks for a compilation or two. Nothing is run on a machine that
    /// does not reach the demanded confinement.
    pub fn open(request: OpenRequest) -> Result<Self, HarnessError> {
        let OpenRequest { contract, toolchain, options, rules, user_baseline, self_exe, seed, cache_dir } =
            request;
        kernsmith_sandbox::demand(&self_exe, options.minimum_sandbox)?;
        let host = Host::detect();
        let target = Target::host();
        let baseline = baseline(&contract, &target, user_baseline)?;
        let contract = contract.for_platform(target.platform());
        let shapes: Result<Vec<Shape>, HarnessError> =
            contract.workloads.iter().map(|workload| Shape::of(&contract, workload)).collect();
        let spawner = Spawner::new(
            self_exe,
            options.worker_memory_bytes,
            options.worker_resident_bytes,
            options.minimum_sandbox,
            host.cores.max(1),
        );
        let setup = Setup {
            contract,
            toolchain,
            options,
            rules,
            spawner,
            host,
            target,
            shapes: shapes?,
            cache_dir,
            baseline,
            seed,
            drawn: AtomicU64::new(0),
        };
        let device = Device::open(&setup)?;
        let inner = Inner { setup, device: Mutex::new(device), calibration: std::sync::OnceLock::new() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Verifies the frozen baseline and times it against itself. Returns its name, source, plan and times; the
    /// times' `noise_floor` is what the machine adds. Done once; asked again, it answers from memory.
    pub fn freeze_baseline(&self) -> Result<(String, String, Plan, Performance), HarnessError> {
        let setup = &self.inner.setup;
        let mut device = self.inner.device();
        if device.frozen.is_none() {
            evaluate::verify_baseline(setup, &mut device)?;
            device.freeze(setup)?;
        }
        let baseline = &setup.baseline;
        let performance = device.frozen.as_ref().map(|frozen| frozen.performance.clone());
        let performance =
            performance.ok_or_else(|| HarnessError::NoWorkload { contract: setup.contract.name.clone() })?;
        Ok((baseline.name.clone(), baseline.source.clone(), baseline.plan.clone(), performance))
    }

    /// Every lane in one go: verification, and confirmation with the fresh build made while correctness is checked.
    pub fn evaluate_fully(&self, candidate: Candidate) -> Result<Evidence, HarnessError> {
        evaluate::fully(&self.inner, candidate)
    }

    /// What the machine can do; measured on the first call unless the cache knows, empty where it is switched off.
    pub fn calibration(&self) -> Result<&Calibration, HarnessError> {
        if let Some(known) = self.inner.calibration.get() {
            return Ok(known);
        }
        let mut device = self.inner.device();
        calibration::ensure(&self.inner.setup, &mut device)?;
        Ok(self.inner.calibration.get_or_init(|| device.calibration.clone()))
    }

    /// Runs the contract's own oracle, laws and baseline against it, and cheap cheats: is it strong enough to judge with?
    pub fn lint_contract(&self) -> Result<Vec<kernsmith_op_contract::Finding>, HarnessError> {
        lint::lint(&self.inner.setup, &mut self.inner.device())
    }

    /// What a judgement's `environment` will say of this machine.
    pub fn environment(&self) -> kernsmith_core::evidence::Environment {
        crate::evidence::environment(&self.inner.setup, &[])
    }
}

fn baseline(
    contract: &Contract,
    target: &Target,
    user: Option<(String, Plan)>,
) -> Result<BaselineSource, HarnessError> {
    if let Some((source, plan)) = user {
        return Ok(BaselineSource { name: "seed".to_owned(), source, plan, link: Vec::new() });
    }
    let platform = target.platform();
    let frozen = contract.frozen_baseline(platform).ok_or_else(|| HarnessError::NoBaseline {
        contract: contract.name.clone(),
        platform: platform.to_owned(),
    })?;
    Ok(BaselineSource {
        name: frozen.name.clone(),
        source: frozen.source.clone(),
        plan: frozen.plan.clone(),
        link: frozen.link.clone(),
    })
}
