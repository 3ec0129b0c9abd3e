//! The GPU worker: confines itself, takes one device, and does the steps that it is given.
//!
//! A candidate for a GPU is device code, so everything on this side of the driver is ours. What the device code can spoil is
//! its own context, which lives no longer than this process.

mod kit;
mod steps;

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use kernsmith_device::cuda::{Context, CudaError, Driver, Function, HostPool, Module, Range, Sensor};
use kernsmith_sandbox::{Policy, SandboxError, confine};
use kernsmith_wire::gpu::{FromGpu, GpuDevice, Kernel, LoadedKernel, Refusal, ToGpu};
use kernsmith_wire::{Channel, WireError, build_id};

use kit::Kit;

/// The driver's numbers for failures after which a context is of no more use begin here (CUDA driver API, `CUresult`).
const LOST: u32 = 700;
/// Number of the driver for memory that is not there.
const NO_MEMORY: u32 = 2;
/// How long the worker waits for its own small work.
const PATIENCE: Duration = Duration::from_secs(20);

/// The apparatus failed; the harness sees an end without an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GpuWorkerError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("an unexpected frame")]
    Unexpected,
}

/// A device with everything that was put on it.
pub(crate) struct Gpu {
    context: Context,
    kit: Option<Kit>,
    /// Clocks and temperature, where the driver's management library is there.
    sensor: Option<Sensor>,
    pools: Vec<HostPool>,
    ranges: Vec<Range>,
    module: Option<Module>,
    kernels: Vec<Function>,
    /// Sizes of the parameters of each kernel.
    parameters: Vec<Vec<u32>>,
    clocks: steps::Clocks,
}

/// Serves until the harness hangs up.
pub(crate) fn serve(mut channel: Channel) -> Result<(), GpuWorkerError> {
    let Some(mut gpu) = begin(&mut channel)? else {
        return Ok(());
    };
    loop {
        let (frame, files) = channel.receive::<ToGpu>(None)?;
        let answer = match frame {
            ToGpu::Bye => return Ok(()),
            ToGpu::Hello { .. } => return Err(GpuWorkerError::Unexpected),
            other => gpu.answer(other, files).unwrap_or_else(|error| told(&error)),
        };
        let lost = matches!(answer, FromGpu::Failed { .. });
        channel.send(&answer, &[])?;
        if lost {
            return Ok(());
        }
    }
}

/// Confines the process and takes the device. `None` where there is none, which the harness has been told.
fn begin(channel: &mut Channel) -> Result<Option<Gpu>, GpuWorkerError> {
    let (frame, _) = channel.receive::<ToGpu>(None)?;
    let ToGpu::Hello { build, policy, ordinal } = frame else {
        return Err(GpuWorkerError::Unexpected);
    };
    let hello = |confinement, device| FromGpu::Hello { build: build_id(), confinement, device };
    if build != build_id() {
        channel.send(&hello(serde_json::Value::Null, None), &[])?;
        return Ok(None);
    }
    // No policy: a tool of the vendor's runs in this process, and would not outlive confinement.
    let policy: Option<Policy> = serde_json::from_value(policy).map_err(|_| GpuWorkerError::Unexpected)?;
    let confinement = policy.map(|policy| confine(&policy)).transpose()?.unwrap_or_default();
    let confinement = serde_json::to_value(confinement).map_err(|_| GpuWorkerError::Unexpected)?;
    match Driver::open().and_then(|driver| Context::create(driver, ordinal)) {
        Ok(context) => {
            channel.send(&hello(confinement, Some(described(&context))), &[])?;
            Ok(Some(Gpu {
                context,
                kit: None,
                sensor: None,
                pools: Vec::new(),
                ranges: Vec::new(),
                module: None,
                kernels: Vec::new(),
                parameters: Vec::new(),
                clocks: steps::Clocks::default(),
            }))
        }
        Err(error) => {
            channel.send(&FromGpu::Refused { kind: Refusal::NoDevice, reason: error.to_string() }, &[])?;
            Ok(None)
        }
    }
}

fn described(context: &Context) -> GpuDevice {
    let info = context.info();
    GpuDevice {
        name: info.name.clone(),
        uuid: info.uuid.clone(),
        arch: info.arch(),
        sm_count: info.sm_count,
        memory_bytes: info.memory_bytes,
        l2_bytes: info.l2_bytes,
        shared_optin_bytes: info.shared_optin_bytes,
        clock_khz: info.clock_khz,
        memory_clock_khz: info.memory_clock_khz,
        memory_bus_bits: info.memory_bus_bits,
        driver_version: info.driver_version,
    }
}

/// What is said of an error: whether the context is lost decides whether the worker goes on.
fn told(error: &CudaError) -> FromGpu {
    let reason = error.to_string();
    match error {
        CudaError::Timeout(_) => FromGpu::Failed { code: None, reason },
        error if error.code().is_some_and(|code| code >= LOST) => {
            FromGpu::Failed { code: error.code(), reason }
        }
        error if error.code() == Some(NO_MEMORY) => FromGpu::Refused { kind: Refusal::Memory, reason },
        CudaError::NoDriver | CudaError::OldDriver(_) | CudaError::NoDevice { .. } => {
            FromGpu::Refused { kind: Refusal::NoDevice, reason }
        }
        _ => FromGpu::Refused { kind: Refusal::Other, reason },
    }
}

impl Gpu {
    fn answer(&mut self, frame: ToGpu, files: Vec<OwnedFd>) -> Result<FromGpu, CudaError> {
        match frame {
            ToGpu::Kit => {
                self.kit = Some(Kit::load(&self.context, &image(files)?)?);
                self.sensor = Sensor::open(&self.context.info().uuid);
                Ok(FromGpu::Done)
            }
            ToGpu::Pools { writable } => {
                for (file, writable) in files.into_iter().zip(writable) {
                    let pool = HostPool::map(file.as_fd(), writable);
                    self.pools.push(pool.map_err(|error| CudaError::Invalid(format!("a pool: {error}")))?);
                }
                Ok(FromGpu::Done)
            }
            ToGpu::Reserve { bytes } => self.reserve(&bytes),
            ToGpu::Release { addresses } => self.release(&addresses),
            ToGpu::Load { kernels } => self.load(&kernels, &image(files)?),
            ToGpu::Run(run) => self.run(&run),
            ToGpu::Hello { .. } | ToGpu::Bye => Err(CudaError::Invalid("out of order".to_owned())),
        }
    }

    fn reserve(&mut self, bytes: &[u64]) -> Result<FromGpu, CudaError> {
        let mut made = Vec::new();
        for &bytes in bytes {
            let range = self.context.reserve(bytes)?;
            made.push((range.address, range.bytes));
            self.ranges.push(range);
        }
        Ok(FromGpu::Reserved { ranges: made })
    }

    fn release(&mut self, addresses: &[u64]) -> Result<FromGpu, CudaError> {
        self.context.wait(PATIENCE)?;
        for address in addresses {
            if let Some(index) = self.ranges.iter().position(|range| range.address == *address) {
                self.context.release(&self.ranges.swap_remove(index))?;
            }
        }
        Ok(FromGpu::Done)
    }

    fn load(&mut self, kernels: &[Kernel], image: &[u8]) -> Result<FromGpu, CudaError> {
        self.context.wait(PATIENCE)?;
        self.kernels.clear();
        self.parameters.clear();
        if let Some(module) = self.module.take() {
            self.context.unload(&module)?;
        }
        let module = self.context.load(image)?;
        let mut loaded = Vec::new();
        for kernel in kernels {
            let refused = |kind, reason| Ok(FromGpu::Refused { kind, reason });
            let function = match self.context.function(&module, &kernel.symbol) {
                Ok(function) => function,
                Err(error) => {
                    return refused(Refusal::MissingSymbol, format!("`{}`: {error}", kernel.symbol));
                }
            };
            let info = self.context.describe(function)?;
            if info.parameters != kernel.parameter_bytes {
                return refused(Refusal::Parameters, mismatch(kernel, &info.parameters));
            }
            if let Err(error) = self.context.opt_in(function, kernel.shared_bytes, kernel.cluster) {
                return refused(Refusal::Launch, format!("`{}`: {error}", kernel.symbol));
            }
            self.kernels.push(function);
            self.parameters.push(info.parameters);
            loaded.push(LoadedKernel {
                registers: info.registers,
                local_bytes: info.local_bytes,
                static_shared_bytes: info.static_shared_bytes,
                max_threads: info.max_threads,
            });
        }
        self.module = Some(module);
        Ok(FromGpu::Loaded { kernels: loaded })
    }
}

fn mismatch(kernel: &Kernel, takes: &[u32]) -> String {
    let list = |sizes: &[u32]| sizes.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    format!(
        "`{}` takes {} parameters of {} bytes; the plan passes {} of {}",
        kernel.symbol,
        takes.len(),
        list(takes),
        kernel.parameter_bytes.len(),
        list(&kernel.parameter_bytes)
    )
}

/// The bytes of the file that came with a frame.
fn image(files: Vec<OwnedFd>) -> Result<Vec<u8>, CudaError> {
    let file = files.into_iter().next().ok_or_else(|| CudaError::Invalid("no file came".to_owned()))?;
    let pool = HostPool::map(file.as_fd(), false).map_err(|error| CudaError::Invalid(error.to_string()))?;
    let bytes = rustix::fs::fstat(&file).map(|stat| stat.st_size as u64);
    let bytes = bytes.map_err(|error| CudaError::Invalid(error.to_string()))?;
    pool.bytes(0, bytes).map(<[u8]>::to_vec)
}
