//! Starting a worker: page, socket, process, handshake, load.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kernsmith_core::FailureClass;
use kernsmith_sandbox::{Confinement, Layer, Level, Limits, Policy, Profile, Spawn};
use kernsmith_wire::{Control, FromWorker, ToWorker, WireError, build_id, pair};
use rand_chacha::ChaCha12Rng;

use super::{Ledger, Worker};
use crate::error::{HarnessError, Stop};

/// The hidden verb that the program answers by running a worker.
const VERB: &str = "__worker";
/// Starting and loading takes milliseconds; this is for a machine that is very busy.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Whose code a worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerRole {
    /// A candidate.
    Kernel,
    /// The contract's reference and invariants.
    Oracle,
    /// A baseline, or the calibration kernels.
    Trusted,
}

impl WorkerRole {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Oracle => "oracle",
            Self::Trusted => "baseline",
        }
    }
}

type Page = (Control, Arc<OwnedFd>);

/// Starts workers.
#[derive(Debug)]
pub(crate) struct Spawner {
    self_exe: PathBuf,
    memory_bytes: u64,
    resident_bytes: u64,
    minimum_sandbox: Level,
    cores: u32,
    /// Control pages that no worker uses at the moment; they are mapped for ever, so they are used again.
    pages: Arc<Mutex<Vec<Page>>>,
}

/// A control page on loan.
pub(super) struct PageLoan {
    page: Option<Page>,
    home: Arc<Mutex<Vec<Page>>>,
}

impl Drop for PageLoan {
    fn drop(&mut self) {
        if let Some(page) = self.page.take() {
            self.home.lock().unwrap_or_else(PoisonError::into_inner).push(page);
        }
    }
}

impl Spawner {
    pub(crate) fn new(
        self_exe: PathBuf,
        memory_bytes: u64,
        resident_bytes: u64,
        minimum_sandbox: Level,
        cores: u32,
    ) -> Self {
        Self { self_exe, memory_bytes, resident_bytes, minimum_sandbox, cores, pages: Arc::default() }
    }

    /// The program that answers the hidden verbs.
    pub(crate) fn self_exe(&self) -> &Path {
        &self.self_exe
    }

    /// Starts a worker, confines it and loads a code object. A kernel that cannot be loaded is rejected.
    pub(crate) fn start(
        &self,
        role: WorkerRole,
        object: &Path,
        symbols: &[&str],
        threads: Option<u32>,
        rng: ChaCha12Rng,
    ) -> Result<Worker, Stop> {
        let loan = self.page()?;
        let Some((control, file)) = loan.page.clone() else {
            return Err(
                HarnessError::Worker { role: role.as_str(), problem: "no control page".into() }.into()
            );
        };
        let (channel, theirs) = pair()?;
        channel.ask_for_credentials()?;
        let threads = threads.unwrap_or(self.cores).min(self.cores).max(1);
        let environment = environment(threads);
        let mut spawn = Spawn::new(&self.self_exe).arg(VERB).arg(theirs.as_raw_fd().to_string());
        for (name, value) in &environment {
            spawn = spawn.env(name, value);
        }
        let child = spawn.pass(theirs.as_fd()).start()?;
        let policy = self.policy(object, theirs.as_raw_fd(), environment);
        drop(theirs);
        let mut worker = Worker {
            role,
            child: Some(child),
            channel,
            control,
            _page: loan,
            pid: 0,
            confinement: Confinement::default(),
            ledger: Ledger::new(rng),
            symbols: symbols.iter().map(|&symbol| symbol.to_owned()).collect(),
            sequence: 0,
            files: Vec::new(),
            resident_bytes_max: self.resident_bytes,
        };
        worker.greet(&policy, &file)?;
        worker.load(object)?;
        Ok(worker)
    }

    fn page(&self) -> Result<PageLoan, HarnessError> {
        let known = self.pages.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let page = if let Some(page) = known {
            page
        } else {
            let made = Control::create().map_err(HarnessError::system("make a control page"))?;
            (made.0, Arc::new(made.1))
        };
        page.0.reset();
        Ok(PageLoan { page: Some(page), home: Arc::clone(&self.pages) })
    }

    /// What a worker may do: compute, and read what loading needs.
    fn policy(&self, object: &Path, socket: i32, environment: Vec<(String, String)>) -> Policy {
        let directories = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"];
        let mut execute: Vec<PathBuf> = directories.iter().map(PathBuf::from).collect();
        execute.push(object.parent().unwrap_or(object).to_owned());
        let read = ["/etc/ld.so.cache", "/sys/devices/system/cpu", "/proc/cpuinfo"];
        Policy {
            read: read.iter().map(PathBuf::from).collect(),
            execute,
            limits: Limits {
                address_space_bytes: Some(self.memory_bytes),
                file_bytes: Some(0),
                ..Limits::default()
            },
            environment: environment.into_iter().collect(),
            keep_descriptors: vec![socket],
            // System calls are given up after loading, and a worker that cannot do that ends.
            required: self.minimum_sandbox.layers().filter(|layer| *layer != Layer::Syscalls).collect(),
            ..Policy::default()
        }
    }
}

/// Fixed, apart from the number of threads: a kernel learns nothing from it about where it runs.
fn environment(threads: u32) -> Vec<(String, String)> {
    let pairs = [
        ("OMP_NUM_THREADS", threads.to_string()),
        ("OMP_WAIT_POLICY", "passive".to_owned()),
        ("OPENBLAS_NUM_THREADS", threads.to_string()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Worker {
    fn greet(&mut self, policy: &Policy, page: &OwnedFd) -> Result<(), Stop> {
        let json = |value: serde_json::Result<serde_json::Value>| {
            value.map_err(|error| WireError::Malformed(error.to_string()))
        };
        let hello = ToWorker::Hello {
            build: build_id(),
            policy: json(serde_json::to_value(policy))?,
            profile: json(serde_json::to_value(Profile::Run))?,
        };
        // The policy speaks of a descriptor; the control page's file is closed by the worker once it is mapped.
        self.channel.send(&hello, &[page.as_fd()])?;
        let frame = self.receive(START_TIMEOUT)?;
        let FromWorker::Hello { build, confinement } = frame else {
            return Err(self.apparatus(format!("expected a greeting, got {frame:?}")).into());
        };
        if build != build_id() {
            let problem = "the worker is another build of this program; start it again".to_owned();
            return Err(self.apparatus(problem).into());
        }
        self.confinement = serde_json::from_value(confinement)
            .map_err(|error| self.apparatus(format!("its report cannot be read: {error}")))?;
        self.pid = self.channel.peer().ok_or_else(|| self.apparatus("it has no process id".to_owned()))?;
        Ok(())
    }

    fn load(&mut self, object: &Path) -> Result<(), Stop> {
        let path = object.display().to_string();
        self.channel.send(&ToWorker::Load { path, symbols: self.symbols.clone() }, &[])?;
        match self.receive(START_TIMEOUT) {
            Ok(FromWorker::Loaded) => {
                self.confinement.reach(Layer::Syscalls);
                Ok(())
            }
            Ok(FromWorker::Refused { missing_symbol, reason }) => {
                let class =
                    if missing_symbol { FailureClass::MissingSymbol } else { FailureClass::LoadFailed };
                Err(Stop::rejected(class, reason))
            }
            Ok(frame) => Err(Stop::rejected(
                FailureClass::ProtocolViolation,
                format!("unexpected frame while loading: {frame:?}"),
            )),
            Err(Stop::Rejected(mut rejection)) => {
                rejection.detail = format!("while loading: {}", rejection.detail);
                Err(Stop::Rejected(rejection))
            }
            Err(other) => Err(other),
        }
    }

    pub(super) fn apparatus(&self, problem: String) -> HarnessError {
        HarnessError::Worker { role: self.role.as_str(), problem }
    }
}
