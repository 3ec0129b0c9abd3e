//! The harness as others see it.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kernsmith_core::evidence::{Rival, ToolReport};
use kernsmith_core::{Candidate, Evidence, Performance, Plan, Target};
use kernsmith_isa_corpus::Rules;
use kernsmith_op_contract::Contract;
use kernsmith_toolchain::cuda::CudaToolchain;
use kernsmith_toolchain::{Host, Toolchain};

use crate::calibration::{self, Calibration};
use crate::device::Device;
use crate::error::HarnessError;
use crate::evaluate;
use crate::gpu::{self, Tool};
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
    /// A GPU instead of the processor.
    pub gpu: Option<GpuRequest>,
}

/// Which GPU, and what compiles for it.
#[derive(Debug)]
pub struct GpuRequest {
    /// The target; its architecture must be the device's.
    pub target: Target,
    /// The compiler.
    pub toolchain: Arc<CudaToolchain>,
    /// Numbers of the devices among those that the driver shows; each judges for itself.
    pub ordinals: Vec<u32>,
}

/// Judges candidates for one contract, on the processor that it runs on or on a GPU.
#[derive(Debug, Clone)]
pub struct Harness {
    pub(crate) side: Side,
}

/// What candidates run on.
#[derive(Debug, Clone)]
pub(crate) enum Side {
    /// The processor.
    Cpu(Arc<Inner>),
    /// A GPU.
    Gpu(Arc<gpu::Inner>),
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
        kernsmith_sandbox::demand(&request.self_exe, request.options.minimum_sandbox)?;
        let gpu =
            request.gpu.as_ref().map(|gpu| (gpu.target.clone(), gpu.toolchain.clone(), gpu.ordinals.clone()));
        let target = gpu.as_ref().map_or_else(Target::host, |(target, ..)| target.clone());
        let setup = setup(request, target)?;
        if let Some((_, toolchain, ordinals)) = gpu {
            let inner = gpu::open(setup, toolchain, &ordinals)?;
            return Ok(Self { side: Side::Gpu(Arc::new(inner)) });
        }
        let device = Device::open(&setup)?;
        let inner = Inner { setup, device: Mutex::new(device), calibration: std::sync::OnceLock::new() };
        Ok(Self { side: Side::Cpu(Arc::new(inner)) })
    }

    fn setup(&self) -> &Setup {
        match &self.side {
            Side::Cpu(inner) => &inner.setup,
            Side::Gpu(inner) => &inner.setup,
        }
    }

    /// The target, with the device's architecture.
    pub fn target(&self) -> &Target {
        &self.setup().target
    }

    /// Verifies the frozen baseline and times it against itself. Returns its name, source, plan and times; the
    /// times' `noise_floor` is what the machine adds. Done once; asked again, it answers from memory.
    pub fn freeze_baseline(&self) -> Result<(String, String, Plan, Performance), HarnessError> {
        let performance = match &self.side {
            Side::Cpu(inner) => evaluate::freeze(inner)?,
            Side::Gpu(inner) => gpu::freeze(inner)?,
        };
        let baseline = &self.setup().baseline;
        Ok((baseline.name.clone(), baseline.source.clone(), baseline.plan.clone(), performance))
    }

    /// Every lane in one go: verification, and confirmation with a fresh build.
    pub fn evaluate_fully(&self, candidate: Candidate) -> Result<Evidence, HarnessError> {
        match &self.side {
            Side::Cpu(inner) => evaluate::fully(inner, candidate),
            Side::Gpu(inner) => gpu::evaluate_fully(inner, candidate),
        }
    }

    /// The contract's rivals on this platform against the frozen baseline; what is missing is said by name.
    pub fn rivals(&self) -> Result<Vec<Rival>, HarnessError> {
        match &self.side {
            Side::Cpu(inner) => evaluate::rivals_of_baseline(inner),
            Side::Gpu(inner) => gpu::rivals_of_baseline(inner),
        }
    }

    /// Calls a GPU candidate under one of the vendor's tools: a memory checker, or the profiler.
    pub fn watch(&self, candidate: &Candidate, tool: Tool) -> Result<ToolReport, HarnessError> {
        match &self.side {
            Side::Cpu(_) => Err(HarnessError::ToolTarget { tool: tool.as_str() }),
            Side::Gpu(inner) => gpu::watch(inner, candidate, tool),
        }
    }

    /// What the machine can do; measured on the first call unless the cache knows, empty where it is switched off.
    pub fn calibration(&self) -> Result<Calibration, HarnessError> {
        let inner = match &self.side {
            Side::Cpu(inner) => inner,
            Side::Gpu(inner) => {
                gpu::freeze(inner)?;
                return Ok(inner.calibration());
            }
        };
        if let Some(known) = inner.calibration.get() {
            return Ok(known.clone());
        }
        let mut device = inner.device();
        calibration::ensure(&inner.setup, &mut device)?;
        Ok(inner.calibration.get_or_init(|| device.calibration.clone()).clone())
    }

    /// Runs the contract's own oracle, laws and baseline against it, and cheap cheats: is it strong enough to judge with?
    pub fn lint_contract(&self) -> Result<Vec<kernsmith_op_contract::Finding>, HarnessError> {
        match &self.side {
            Side::Cpu(inner) => lint::lint(&inner.setup, &mut inner.device()),
            Side::Gpu(_) => Err(HarnessError::CutOff("contracts are attacked on the processor".to_owned())),
        }
    }

    /// What a judgement's `environment` will say of this machine.
    pub fn environment(&self) -> kernsmith_core::evidence::Environment {
        match &self.side {
            Side::Cpu(inner) => crate::evidence::environment(&inner.setup, &[]),
            Side::Gpu(inner) => inner.environment(&[]),
        }
    }
}

fn setup(request: OpenRequest, target: Target) -> Result<Setup, HarnessError> {
    let OpenRequest { contract, toolchain, options, rules, user_baseline, self_exe, seed, cache_dir, gpu: _ } =
        request;
    let host = Host::detect();
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
    Ok(Setup {
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
    })
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
