//! One GPU worker process, seen from the parent.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kernsmith_core::FailureClass;
use kernsmith_sandbox::{Child, Confinement, Level, Limits, Policy, Spawn};
use kernsmith_wire::gpu::{
    FromGpu, GpuCall, GpuDevice, GpuRun, Kernel, LoadedKernel, Refusal, Sensed, Step, ToGpu,
};
use kernsmith_wire::{Channel, MAX_FILES, Pool, WireError, build_id, pair};

use super::lanes::Room;
use crate::error::{HarnessError, Stop};

/// The hidden verb that the program answers by running a GPU worker.
const VERB: &str = "__gpu_worker";
/// A context takes a third of a second; this is for a machine that is very busy.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How much longer than the steps themselves an answer may take: the driver, the frame, the processor.
const GRACE: Duration = Duration::from_secs(5);
/// The driver's number for an address that is not mapped (CUDA driver API, `CUDA_ERROR_ILLEGAL_ADDRESS`).
const ILLEGAL_ADDRESS: u32 = 700;
/// Work that goes on so long after the stream has ended was not waited for by it.
const DRAIN_MAX: Duration = Duration::from_millis(20);

/// What it takes to start a worker.
#[derive(Debug, Clone)]
pub(crate) struct Workshop {
    pub(crate) self_exe: PathBuf,
    /// Number of the device.
    pub(crate) ordinal: u32,
    /// The least confinement with which anything is run.
    pub(crate) least: Level,
    /// The trusted kernels, built for the device.
    pub(crate) kit: Vec<u8>,
    /// What ranges the tensors of the contract need.
    pub(crate) room: Room,
    /// Whoever times holds it, and whoever copies much; the rest goes on side by side.
    pub(crate) lease: Arc<Mutex<()>>,
    /// A tool around the worker.
    pub(crate) wrapper: Option<Wrapper>,
}

/// A tool that starts a worker and stands between it and the driver.
#[derive(Debug, Clone)]
pub(crate) struct Wrapper {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Where it may write.
    pub(crate) folder: PathBuf,
}

/// A worker with a context of its own. Dropping it kills it.
pub(crate) struct GpuWorker {
    child: Option<Child>,
    channel: Channel,
    pub(crate) confinement: Confinement,
    pub(crate) device: GpuDevice,
    pools: u16,
    sequence: u32,
}

/// What a run found.
#[derive(Debug, Default)]
pub(crate) struct GpuRan {
    pub(crate) values: Vec<u64>,
    pub(crate) times_us: Vec<f64>,
    /// What the device was like meanwhile.
    pub(crate) sensed: Option<Sensed>,
    /// Whether calls were started as graphs.
    pub(crate) graphs: bool,
}

/// How steps are done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mode {
    /// Calls as graphs.
    pub(crate) graphs: bool,
    /// Asks for clocks, power and temperature meanwhile.
    pub(crate) sense: bool,
}

impl std::fmt::Debug for GpuWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GpuWorker on {}", self.device.name)
    }
}

impl GpuWorker {
    /// Starts a process, confines it, makes a context and loads the trusted kernels.
    pub(crate) fn start(workshop: &Workshop) -> Result<Self, HarnessError> {
        let mut worker = match &workshop.wrapper {
            Some(wrapper) => {
                let refused = |error| match error {
                    HarnessError::NoGpu { reason } => problem(format!("under a tool: {reason}")),
                    other => other,
                };
                Self::greet_under(&workshop.self_exe, workshop.ordinal, Shell::Tool(wrapper))
                    .map_err(refused)?
            }
            None => Self::greet(&workshop.self_exe, workshop.ordinal, workshop.least)?,
        };
        if !workshop.kit.is_empty() {
            let file = file_of("kernsmith-kit", &workshop.kit)?;
            worker.ask(&ToGpu::Kit, &[&file])?;
        }
        Ok(worker)
    }

    /// A worker without trusted kernels: to learn what the device is.
    ///
    /// Some drivers do not find their device behind namespaces or path rules. Then the next weaker confinement is tried, and the
    /// evidence says what is missing; a demanded level is held all the same.
    pub(crate) fn greet(self_exe: &Path, ordinal: u32, least: Level) -> Result<Self, HarnessError> {
        let mut refused = None;
        for (namespaces, filesystem) in [(true, true), (false, true), (false, false)] {
            match Self::greet_under(self_exe, ordinal, Shell::Layers(namespaces, filesystem)) {
                Ok(mut worker) => {
                    worker.confinement.demand(least.min(Level::Rlimits))?;
                    if let Some(HarnessError::NoGpu { reason }) = refused {
                        worker
                            .confinement
                            .notes
                            .push(format!("the driver refused stronger confinement: {reason}"));
                    }
                    return Ok(worker);
                }
                Err(error @ HarnessError::NoGpu { .. }) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| problem("no confinement was tried".to_owned())))
    }

    fn greet_under(self_exe: &Path, ordinal: u32, shell: Shell<'_>) -> Result<Self, HarnessError> {
        let (mut channel, theirs) = pair()?;
        let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
        let (visible, ordinal) = leased(visible.as_deref(), ordinal);
        let mut environment = environment(visible);
        let mut spawn = match shell {
            Shell::Tool(wrapper) => {
                environment.extend(wrapper.environment());
                Spawn::new(&wrapper.program).args(&wrapper.arguments).arg(self_exe).directory(&wrapper.folder)
            }
            Shell::Layers(..) => Spawn::new(self_exe),
        };
        spawn = spawn.arg(VERB).arg(theirs.as_raw_fd().to_string());
        for (name, value) in &environment {
            spawn = spawn.env(name, value);
        }
        let child = spawn.pass(theirs.as_fd()).start()?;
        let policy = match shell {
            Shell::Layers(namespaces, filesystem) => {
                let policy = policy(theirs.as_raw_fd(), environment, (namespaces, filesystem));
                serde_json::to_value(policy).map_err(|error| WireError::Malformed(error.to_string()))?
            }
            // A tool needs what it has put into the process.
            Shell::Tool(_) => serde_json::Value::Null,
        };
        drop(theirs);
        channel.send(&ToGpu::Hello { build: build_id(), policy, ordinal }, &[])?;
        let (frame, _) =
            channel.receive::<FromGpu>(Some(START_TIMEOUT)).map_err(|error| apparatus(&error))?;
        match frame {
            FromGpu::Hello { build, confinement, device: Some(device) } if build == build_id() => {
                let confinement = serde_json::from_value(confinement)
                    .map_err(|error| problem(format!("its report cannot be read: {error}")))?;
                Ok(Self { child: Some(child), channel, confinement, device, pools: 0, sequence: 0 })
            }
            FromGpu::Hello { .. } => {
                Err(problem("the worker is another build of this program; start it again".to_owned()))
            }
            FromGpu::Refused { kind: Refusal::NoDevice, reason } => Err(HarnessError::NoGpu { reason }),
            FromGpu::Refused { reason, .. } | FromGpu::Failed { reason, .. } => {
                Err(HarnessError::NoGpu { reason })
            }
            frame => Err(problem(format!("unexpected frame {frame:?}"))),
        }
    }

    /// Makes memory files known; returns the number of the first.
    pub(crate) fn share(&mut self, pools: &[(&Pool, bool)]) -> Result<u16, HarnessError> {
        let first = self.pools;
        for part in pools.chunks(MAX_FILES) {
            let mut files = Vec::new();
            for (pool, writable) in part {
                let file = if *writable { pool.writer() } else { pool.reader() };
                files.push(file.map_err(HarnessError::system("open a memory file for a worker"))?);
            }
            let writable = part.iter().map(|(_, writable)| *writable).collect();
            self.ask(&ToGpu::Pools { writable }, &files.iter().collect::<Vec<_>>())?;
        }
        self.pools += pools.len() as u16;
        Ok(first)
    }

    /// Device memory between ranges that fault: first address and length of each.
    pub(crate) fn reserve(&mut self, bytes: &[u64]) -> Result<Vec<(u64, u64)>, Stop> {
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        match self.exchange(&ToGpu::Reserve { bytes: bytes.to_vec() }, &[], START_TIMEOUT)? {
            FromGpu::Reserved { ranges } => Ok(ranges),
            frame => Err(refused(&frame)),
        }
    }

    /// Unmaps ranges.
    pub(crate) fn release(&mut self, ranges: &[(u64, u64)]) -> Result<(), Stop> {
        if ranges.is_empty() {
            return Ok(());
        }
        let addresses = ranges.iter().map(|(address, _)| *address).collect();
        match self.exchange(&ToGpu::Release { addresses }, &[], START_TIMEOUT)? {
            FromGpu::Done => Ok(()),
            frame => Err(refused(&frame)),
        }
    }

    /// Loads a code object in place of the one before.
    pub(crate) fn load(&mut self, cubin: &[u8], kernels: Vec<Kernel>) -> Result<Vec<LoadedKernel>, Stop> {
        let file = file_of("kernsmith-cubin", cubin)?;
        match self.exchange(&ToGpu::Load { kernels }, &[&file], START_TIMEOUT)? {
            FromGpu::Loaded { kernels } => Ok(kernels),
            frame => Err(refused(&frame)),
        }
    }

    /// Does some steps. The device's times are held against this process's clock.
    pub(crate) fn run(
        &mut self,
        calls: Vec<GpuCall>,
        steps: Vec<Step>,
        timeout: Duration,
        mode: Mode,
    ) -> Result<GpuRan, Stop> {
        self.sequence = self.sequence.wrapping_add(1);
        let timeout_ms = timeout.as_millis() as u64;
        let begin = Instant::now();
        let Mode { graphs, sense } = mode;
        let run = GpuRun { sequence: self.sequence, timeout_ms, calls, steps, graphs, sense };
        let frame = self.exchange(&ToGpu::Run(run), &[], timeout + GRACE)?;
        let wall_us = begin.elapsed().as_secs_f64() * 1e6;
        match frame {
            FromGpu::Ran { sequence, values, times_ns, drain_ns, sensed, graphs }
                if sequence == self.sequence =>
            {
                let times_us: Vec<f64> = times_ns.iter().map(|ns| *ns as f64 * 1e-3).collect();
                let sum_us: f64 = times_us.iter().sum();
                if sum_us > wall_us {
                    let text = format!("the device's clock says {sum_us:.0} µs, ours {wall_us:.0} µs");
                    return Err(problem(text).into());
                }
                if drain_ns > DRAIN_MAX.as_nanos() as u64 {
                    let detail =
                        format!("the device was busy for {} µs after its stream had ended", drain_ns / 1000);
                    return Err(Stop::rejected(FailureClass::BackgroundWork, detail));
                }
                Ok(GpuRan { values, times_us, sensed, graphs })
            }
            frame => Err(refused(&frame)),
        }
    }

    fn ask(&mut self, frame: &ToGpu, files: &[&OwnedFd]) -> Result<(), HarnessError> {
        match self.exchange(frame, files, START_TIMEOUT) {
            Ok(FromGpu::Done) => Ok(()),
            Ok(other) => Err(problem(format!("unexpected frame {other:?}"))),
            Err(Stop::Apparatus(error)) => Err(error),
            Err(Stop::Rejected(rejection)) => Err(problem(rejection.detail)),
        }
    }

    fn exchange(&mut self, frame: &ToGpu, files: &[&OwnedFd], timeout: Duration) -> Result<FromGpu, Stop> {
        let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        self.channel.send(frame, &files).map_err(|error| apparatus(&error))?;
        match self.channel.receive::<FromGpu>(Some(timeout)) {
            Ok((frame, _)) => Ok(frame),
            Err(WireError::Timeout(_)) => {
                drop(self.child.take());
                let detail = format!("no answer in {} ms", timeout.as_millis());
                Err(Stop::rejected(FailureClass::Timeout, detail))
            }
            Err(WireError::Closed) => {
                drop(self.child.take());
                Err(Stop::rejected(FailureClass::Crash, "the worker ended while the kernel was running"))
            }
            Err(error) => Err(apparatus(&error).into()),
        }
    }
}

impl GpuWorker {
    /// Says goodbye and waits for an orderly end.
    pub(crate) fn end(mut self, patience: Duration) {
        if self.channel.send(&ToGpu::Bye, &[]).is_ok()
            && let Some(child) = self.child.take()
        {
            let _ = child.wait(patience);
        }
    }
}

/// What is around a worker.
#[derive(Clone, Copy)]
enum Shell<'a> {
    /// Namespaces and path rules, each or neither.
    Layers(bool, bool),
    /// A tool, and no confinement.
    Tool(&'a Wrapper),
}

impl Wrapper {
    /// What a tool needs besides what a worker needs.
    fn environment(&self) -> Vec<(String, String)> {
        let folder = self.folder.display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        [("HOME", folder.clone()), ("TMPDIR", folder), ("PATH", path)]
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec()
    }
}

/// What the worker would not or could not do, as a failure of the candidate.
fn refused(frame: &FromGpu) -> Stop {
    match frame {
        FromGpu::Failed { code: Some(ILLEGAL_ADDRESS), reason } => {
            Stop::rejected(FailureClass::OutOfBounds, reason.clone())
        }
        FromGpu::Failed { code: Some(_), reason } => Stop::rejected(FailureClass::Crash, reason.clone()),
        FromGpu::Failed { code: None, reason } => Stop::rejected(FailureClass::Timeout, reason.clone()),
        FromGpu::Refused { kind, reason } => {
            let class = match kind {
                Refusal::MissingSymbol => FailureClass::MissingSymbol,
                Refusal::Parameters => FailureClass::PlanInvalid,
                Refusal::Memory => FailureClass::OutOfMemory,
                Refusal::NoDevice => return HarnessError::NoGpu { reason: reason.clone() }.into(),
                Refusal::Launch | Refusal::Other => FailureClass::LoadFailed,
            };
            Stop::rejected(class, reason.clone())
        }
        frame => problem(format!("unexpected frame {frame:?}")).into(),
    }
}

fn apparatus(error: &WireError) -> HarnessError {
    problem(error.to_string())
}

const fn problem(problem: String) -> HarnessError {
    HarnessError::Worker { role: "GPU", problem }
}

/// A sealed copy of some bytes in a memory file.
fn file_of(name: &str, bytes: &[u8]) -> Result<OwnedFd, HarnessError> {
    let mut pool =
        Pool::create(name, bytes.len() as u64).map_err(HarnessError::system("make a memory file"))?;
    pool.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
    pool.reader().map_err(HarnessError::system("open a memory file for a worker"))
}

/// Folders that hold the driver's libraries on this machine, besides the system's own.
fn driver_folders() -> Vec<PathBuf> {
    let listed = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let known =
        ["/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/wsl/lib", "/run/opengl-driver/lib"];
    let known = known.into_iter().map(PathBuf::from);
    std::env::split_paths(&listed)
        .chain(known)
        .filter(|folder| folder.join("libcuda.so.1").exists())
        .collect()
}

/// Where the driver is, and what keeps a driver from writing caches; nothing of the caller's own environment.
fn environment(visible: Option<String>) -> Vec<(String, String)> {
    let mut pairs = vec![("CUDA_CACHE_DISABLE".to_owned(), "1".to_owned())];
    let folders = driver_folders();
    if let Ok(joined) = std::env::join_paths(&folders)
        && !folders.is_empty()
    {
        pairs.push(("LD_LIBRARY_PATH".to_owned(), joined.to_string_lossy().into_owned()));
    }
    pairs.extend(visible.map(|visible| ("CUDA_VISIBLE_DEVICES".to_owned(), visible)));
    pairs
}

/// What a worker sees of the devices that this process sees, and the number that its own one then has: a worker of one of several
/// devices sees no other.
fn leased(visible: Option<&str>, ordinal: u32) -> (Option<String>, u32) {
    let entries: Vec<&str> = visible.map(|list| list.split(',').map(str::trim).collect()).unwrap_or_default();
    match (visible, entries.get(ordinal as usize)) {
        (Some(_), Some(entry)) => (Some((*entry).to_owned()), 0),
        // Asked for one that is not there: the driver says how many there are.
        (Some(list), None) => (Some(list.to_owned()), ordinal),
        (None, _) => (None, ordinal),
    }
}

/// What a GPU worker may do: read libraries and what the driver looks at, and speak to the device files.
fn policy(socket: i32, environment: Vec<(String, String)>, (namespaces, filesystem): (bool, bool)) -> Policy {
    let directories = [
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/local/nvidia",
        "/usr/local/cuda",
    ];
    let mut execute: Vec<PathBuf> = directories.iter().map(PathBuf::from).collect();
    execute.extend(driver_folders());
    // The driver gives its threads names, and takes a refusal for a broken system.
    let mut write: Vec<PathBuf> =
        ["/dev/null", "/dev/zero", "/proc/self/task"].iter().map(PathBuf::from).collect();
    let devices = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    write.extend(
        devices
            .map(|entry| entry.path())
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nvidia"))),
    );
    Policy {
        namespaces,
        filesystem,
        read: ["/etc/ld.so.cache", "/proc", "/sys", "/dev/shm"].iter().map(PathBuf::from).collect(),
        execute,
        write,
        // The driver reserves far more addresses than there is memory: no limit on those.
        limits: Limits::default(),
        environment: environment.into_iter().collect(),
        keep_descriptors: vec![socket],
        ..Policy::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_of_one_of_several_devices_sees_no_other() {
        assert_eq!(leased(Some("3,GPU-b1a9, 5"), 1), (Some("GPU-b1a9".to_owned()), 0));
        assert_eq!(leased(Some("3"), 0), (Some("3".to_owned()), 0));
        assert_eq!(leased(Some("3"), 1), (Some("3".to_owned()), 1));
        assert_eq!(leased(None, 1), (None, 1));
    }
}
