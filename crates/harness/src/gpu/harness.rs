//! The lanes: which gates a GPU candidate meets, in order.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use kernsmith_core::evidence::{Environment, GateReport, Rival};
use kernsmith_core::{Candidate, Digest, Evidence, Gate, Lane, Performance, Target};
use kernsmith_sandbox::Level;
use kernsmith_toolchain::cuda::{CudaBuild, CudaJob, CudaObject, CudaToolchain};
use kernsmith_wire::gpu::GpuDevice;

use super::ahead::Sheets;
use super::gates::{correctness, dense, phase, plausibility, quiescence, smoke, timing};
use super::lanes::Room;
use super::rivals::{self, Rivals};
use super::trial::{GpuTrial, State};
use super::worker::{GpuWorker, Workshop};
use super::{ceilings, fixed, sheet};
use crate::arena::Arena;
use crate::baseline::Frozen;
use crate::calibration::Calibration;
use crate::device::{BURST_BYTES, build_oracle, start_oracle};
use crate::error::{HarnessError, Stop};
use crate::evaluate::{Built, Prepared};
use crate::evidence::{self, Findings};
use crate::gates::build::BuildLog;
use crate::gates::confirmation;
use crate::setup::Setup;
use crate::trial::Log;

const KIT: &str = include_str!("kit.cu");

/// Devices of one kind, and what belongs to them.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) setup: Arc<Setup>,
    cuda: Arc<CudaToolchain>,
    /// The first of them.
    device: GpuDevice,
    /// One a device: who holds it has the device.
    states: Vec<Mutex<State>>,
    /// Whose turn it is where all are busy.
    turn: AtomicUsize,
    rivals: Rivals,
}

impl Inner {
    /// A device that is free, or the next in turn when it is.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        for state in &self.states {
            match state.try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.states.len().max(1);
        self.states[turn].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many devices there are.
    pub(crate) const fn devices(&self) -> usize {
        self.states.len()
    }

    /// A candidate's code object.
    pub(crate) fn built(&self, candidate: &Candidate, log: &mut BuildLog) -> Result<CudaObject, Stop> {
        build(self, candidate, false, log).map(|(object, _)| object)
    }

    /// The toolkit's folder.
    pub(crate) fn toolkit_root(&self) -> &Path {
        &self.cuda.toolkit().root
    }

    /// Compilations that can go on at the same time.
    pub(crate) fn compilers(&self) -> usize {
        self.cuda.helpers()
    }

    /// What the device can do, as far as it is known.
    pub(crate) fn calibration(&self) -> Calibration {
        self.state().calibration.clone()
    }

    /// What a judgement's `environment` will say of this machine.
    pub(crate) fn environment(&self, flags: &[String]) -> Environment {
        let device = &self.device;
        let driver = (device.driver_version / 1000, device.driver_version % 1000 / 10);
        let compiler = format!("NVRTC {}", self.cuda.version());
        let parts =
            [device.name.as_str(), &self.setup.host.os, &self.cuda.fingerprint(), &format!("{driver:?}")];
        Environment {
            device: format!(
                "{} ({} multiprocessors, driver for CUDA {}.{})",
                device.name, device.sm_count, driver.0, driver.1
            ),
            fingerprint: Digest::of_parts(parts.iter().map(|part| part.as_bytes())).short(),
            compiler,
            compiler_digest: self.cuda.fingerprint(),
            flags: flags.to_vec(),
            os: self.setup.host.os.clone(),
            weakened: self.setup.options.weakened(),
            odd: sheet::differences(device),
        }
    }
}

/// Finds the devices, builds the trusted kernels, the oracles and the baseline.
pub(crate) fn open(
    mut setup: Setup,
    cuda: Arc<CudaToolchain>,
    ordinals: &[u32],
) -> Result<Inner, HarnessError> {
    let mut devices = Vec::new();
    for &ordinal in ordinals {
        let scout = GpuWorker::greet(setup.spawner.self_exe(), ordinal, setup.options.minimum_sandbox)?;
        if setup.target.arch() != scout.device.arch {
            return Err(HarnessError::OtherDevice {
                target: setup.target.to_string(),
                device: scout.device.arch.clone(),
            });
        }
        devices.push(scout.device.clone());
    }
    let Some(device) = devices.into_iter().next() else {
        return Err(HarnessError::NoGpu { reason: "no device was named".to_owned() });
    };
    setup.target = Target::Cuda(device.arch.clone());
    let kit = trusted(&cuda, KIT, &[], &device.arch, "the trusted kernels")?;
    let baseline = &setup.baseline;
    let baseline_cubin =
        trusted(&cuda, &baseline.source, &baseline.plan.flags, &device.arch, &baseline.name)?;
    let workshop = Workshop {
        self_exe: setup.spawner.self_exe().to_owned(),
        ordinal: 0,
        least: setup.options.minimum_sandbox,
        kit: kit.cubin,
        room: Room::of(&setup.shapes),
        lease: Arc::default(),
        wrapper: None,
    };
    let setup = Arc::new(setup);
    let state = |ordinal: &u32| -> Result<Mutex<State>, HarnessError> {
        let workshop = Workshop { ordinal: *ordinal, lease: Arc::default(), ..workshop.clone() };
        state_of(&setup, workshop, baseline_cubin.cubin.clone()).map(Mutex::new)
    };
    let states = ordinals.iter().map(state).collect::<Result<_, HarnessError>>()?;
    Ok(Inner { setup, cuda, device, states, turn: AtomicUsize::new(0), rivals: Rivals::default() })
}

/// One device's memory, oracles and workers.
fn state_of(setup: &Arc<Setup>, workshop: Workshop, baseline_cubin: Vec<u8>) -> Result<State, HarnessError> {
    let arena = Arena::new(&setup.shapes, BURST_BYTES)?;
    let oracle = start_oracle(setup, &arena, build_oracle(setup)?)?;
    Ok(State {
        arena,
        oracle,
        workshop,
        spare: None,
        screen: None,
        baseline: None,
        baseline_cubin,
        timed: BTreeMap::new(),
        sheets: Sheets::begin(setup.clone()),
        frozen: None,
        calibration: Calibration::default(),
    })
}

/// What a device is.
#[derive(Debug, Clone)]
pub struct GpuFacts {
    /// In one line.
    pub description: String,
    /// Where it differs from what is known of its name.
    pub differences: Vec<String>,
    /// The confinement that its worker reached.
    pub sandbox: String,
}

/// Asks a worker what a device is.
pub fn gpu_facts(self_exe: &Path, ordinal: u32) -> Result<GpuFacts, HarnessError> {
    let scout = GpuWorker::greet(self_exe, ordinal, Level::None)?;
    Ok(GpuFacts {
        description: sheet::describe(&scout.device),
        differences: sheet::differences(&scout.device),
        sandbox: scout.confinement.summary(),
    })
}

/// The target that a device is.
pub fn gpu_target(self_exe: &Path, ordinal: u32) -> Result<Target, HarnessError> {
    GpuWorker::greet(self_exe, ordinal, Level::None).map(|scout| Target::Cuda(scout.device.arch.clone()))
}

/// Builds trusted code.
fn trusted(
    cuda: &CudaToolchain,
    source: &str,
    flags: &[String],
    arch: &str,
    name: &str,
) -> Result<CudaObject, HarnessError> {
    let job = CudaJob { flags, ..CudaJob::new(source, arch) };
    match cuda.build(&job)? {
        CudaBuild::Built(object) => Ok(*object),
        CudaBuild::Refused { class, detail, .. } => {
            Err(HarnessError::Baseline { name: name.to_owned(), problem: format!("{class}: {detail}") })
        }
    }
}

/// Verifies the frozen baseline and times it against itself, once, on every device; says what came out on the first.
pub(crate) fn freeze(inner: &Inner) -> Result<Performance, HarnessError> {
    std::thread::scope(|scope| {
        let frozen = |state: &Mutex<State>| {
            freeze_on(&inner.setup, &mut state.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let others: Vec<_> =
            inner.states.iter().skip(1).map(|state| scope.spawn(move || frozen(state))).collect();
        let first = inner.states.first().map(frozen);
        for other in others {
            let broke_off = |_| Err(HarnessError::CutOff("freezing the baseline panicked".to_owned()));
            other.join().unwrap_or_else(broke_off)?;
        }
        first.unwrap_or_else(|| Err(HarnessError::NoGpu { reason: "no device was named".to_owned() }))
    })
}

fn freeze_on(setup: &Setup, state: &mut State) -> Result<Performance, HarnessError> {
    if let Some(frozen) = &state.frozen {
        return Ok(frozen.performance.clone());
    }
    let name = &setup.baseline.name;
    let runner = state.take_baseline(setup)?;
    let mut trial = GpuTrial::around(setup, state, runner, Lane::Verify, None);
    trial.patient = true;
    correctness::check_trusted(&mut trial).map_err(|stop| stop.trusted(name))?;
    let mut first = trial.runner;
    let mut second = state.start_baseline(setup)?;
    let kit = state.workshop.kit.clone();
    ceilings::ensure(setup, &mut state.calibration, &mut first, &kit)?;
    let mut measured = Vec::new();
    for index in state.open_all_timed(setup)? {
        let series = timing::against_itself(setup, &state.timed, index, &mut first, &mut second)
            .map_err(|stop| stop.trusted(name))?;
        measured.push((index, series));
    }
    state.baseline = Some(first);
    let frozen = Frozen::new(setup, &state.calibration, measured)?;
    let performance = frozen.performance.clone();
    state.frozen = Some(frozen);
    Ok(performance)
}

/// Gates that need no device.
pub(crate) fn prepare(inner: &Inner, candidate: Candidate) -> Result<Prepared, HarnessError> {
    let setup = &inner.setup;
    let mut log = Log::default();
    let mut build_log = BuildLog::default();
    log.gate(setup, Gate::Admit, || fixed::admit(setup, &candidate, &inner.device).map(|note| ((), note)))?;
    let object = log.gate(setup, Gate::Build, || build(inner, &candidate, false, &mut build_log))?;
    if let Some(object) = &object {
        log.gate(setup, Gate::Audit, || {
            fixed::audit(setup, &candidate, &object.facts).map(|note| ((), note))
        })?;
    }
    Ok(Prepared {
        candidate,
        object: object.map(|object| Built::Cuda(Box::new(object))),
        log,
        build: build_log,
    })
}

fn build(
    inner: &Inner,
    candidate: &Candidate,
    fresh: bool,
    log: &mut BuildLog,
) -> Result<(CudaObject, String), Stop> {
    let proposal = &candidate.proposal;
    let job =
        CudaJob { flags: &proposal.plan.flags, fresh, ..CudaJob::new(&proposal.source, &inner.device.arch) };
    match inner.cuda.build(&job).map_err(HarnessError::from)? {
        CudaBuild::Built(object) => {
            log.text.clone_from(&object.log);
            let note = format!("{:.0} ms{}", object.build_ms, if object.cached { ", cached" } else { "" });
            Ok((*object, note))
        }
        CudaBuild::Refused { class, detail, log: text } => {
            log.text = text;
            Err(Stop::rejected(class, detail))
        }
    }
}

/// One lane.
pub(crate) fn judge(
    inner: &Inner,
    prepared: Prepared,
    lane: Lane,
    bar: Option<f64>,
) -> Result<Evidence, HarnessError> {
    let setup = &inner.setup;
    let Prepared { candidate, object, mut log, mut build } = prepared;
    let mut object = object.and_then(Built::cuda);
    if lane == Lane::Confirm && log.passes() {
        let before = object.as_ref().map(|object| object.facts.clone());
        let rebuilt = log.gate(setup, Gate::Confirmation, || {
            let (again, note) = self::build(inner, &candidate, true, &mut build)?;
            fixed::audit(setup, &candidate, &again.facts)?;
            let same = before.is_some_and(|facts| facts == again.facts);
            Ok((again, format!("fresh build, {note}, {}", if same { "same facts" } else { "other facts" })))
        })?;
        object = rebuilt.or(object);
    }
    let mut found = Findings::default();
    if let Some(object) = object.as_ref().filter(|_| log.passes()) {
        found = run(inner, &candidate, object, (lane, bar), &mut log)?;
    }
    if lane == Lane::Confirm {
        log.failure = log.failure.take().map(confirmation::not_confirmed);
    }
    Ok(packet(inner, &candidate, lane, object.as_ref(), &build, log, found))
}

/// Verification and confirmation, one after the other.
pub(crate) fn evaluate_fully(inner: &Inner, candidate: Candidate) -> Result<Evidence, HarnessError> {
    freeze(inner)?;
    let first = judge(inner, prepare(inner, candidate.clone())?, Lane::Verify, None)?;
    if !first.is_accepted() {
        return Ok(first);
    }
    judge(inner, prepare(inner, candidate)?, Lane::Confirm, None)
}

/// The gates that need the device.
fn run(
    inner: &Inner,
    candidate: &Candidate,
    object: &CudaObject,
    (lane, bar): (Lane, Option<f64>),
    log: &mut Log,
) -> Result<Findings, HarnessError> {
    let setup = &inner.setup;
    let mut state = inner.state();
    freeze_on(setup, &mut state)?;
    let plan = &candidate.proposal.plan;
    let loaded = log.gate(setup, Gate::Load, || {
        let trial = GpuTrial::load(setup, &mut state, plan, &object.cubin, lane, bar)?;
        let registers = trial.runner.loaded.iter().map(|kernel| kernel.registers).max().unwrap_or(0);
        let note = format!("{} kernels, at most {registers} registers", trial.runner.loaded.len());
        Ok((trial, note))
    })?;
    let Some(mut trial) = loaded else {
        return Ok(Findings::default());
    };
    let t = &mut trial;
    log.gate(setup, Gate::Smoke, || noted(smoke::check(t)))?;
    log.gate(setup, Gate::Correctness, || noted(correctness::check(t)))?;
    if lane != Lane::Screen {
        log.gate(setup, Gate::Phase, || noted(phase::check(t)))?;
        log.gate(setup, Gate::Quiescence, || noted(quiescence::check(t)))?;
    }
    log.gate(setup, Gate::Timing, || noted(timing::check(t)))?;
    report_timed_outputs(setup, t, log);
    if lane != Lane::Screen {
        log.gate(setup, Gate::Plausibility, || noted(plausibility::check(t)))?;
    }
    if lane == Lane::Confirm && setup.options.python_rivals && log.passes() {
        add_rivals(t, &inner.rivals, log)?;
    }
    if lane != Lane::Screen {
        // Last: the candidate's code is gone afterwards.
        log.gate(setup, Gate::TimedOutputs, || noted(dense::check(t)))?;
    }
    t.notes.extend(t.runner.worker.confinement.notes.iter().cloned());
    let findings = Findings {
        tally: std::mem::take(&mut t.tally),
        notes: std::mem::take(&mut t.notes),
        performance: t.performance.take(),
        confinement: t.runner.worker.confinement.clone(),
        device: std::mem::take(&mut t.device),
    };
    let GpuTrial { runner, .. } = trial;
    if lane == Lane::Screen && log.failure.as_ref().is_none_or(|failure| leaves_context(failure.class)) {
        state.screen = Some(runner);
    }
    Ok(findings)
}

/// Times rivals; a candidate that fails beside them fails.
fn add_rivals(trial: &mut GpuTrial<'_>, rivals: &Rivals, log: &mut Log) -> Result<(), HarnessError> {
    match rivals::measure(trial, rivals) {
        Ok(measured) => {
            if let Some(performance) = &mut trial.performance {
                performance.rivals = measured;
            }
            Ok(())
        }
        Err(Stop::Apparatus(error)) => Err(error),
        Err(Stop::Rejected(rejection)) => {
            log.failure = Some(rejection.into_failure(Gate::Timing));
            Ok(())
        }
    }
}

/// The contract's rivals in pairs with the frozen baseline.
pub(crate) fn rivals_of_baseline(inner: &Inner) -> Result<Vec<Rival>, HarnessError> {
    freeze(inner)?;
    let setup = &inner.setup;
    let mut state = inner.state();
    let runner = state.take_baseline(setup)?;
    let mut trial = GpuTrial::around(setup, &mut state, runner, Lane::Confirm, None);
    trial.patient = true;
    rivals::measure(&mut trial, &inner.rivals).map_err(|stop| stop.trusted(&setup.baseline.name))
}

/// Whether a context can be used again after a failure.
const fn leaves_context(class: kernsmith_core::FailureClass) -> bool {
    use kernsmith_core::FailureClass as F;
    !matches!(class, F::Crash | F::Timeout | F::OutOfBounds | F::OutOfMemory | F::Infrastructure)
}

fn noted(outcome: Result<String, Stop>) -> Result<((), String), Stop> {
    outcome.map(|note| ((), note))
}

/// Timed outputs are looked at between batches; what that cost is taken out of the timing gate's time.
fn report_timed_outputs(setup: &Setup, trial: &GpuTrial<'_>, log: &mut Log) {
    let failed_here = log.failure.as_ref().is_some_and(|failure| failure.gate == Gate::TimedOutputs);
    if !setup.options.runs(Gate::TimedOutputs) || !log.passes() || failed_here {
        return;
    }
    let (note, spent) = timing::timed_outputs(trial);
    let wall_ms = spent.as_secs_f64() * 1e3;
    if let Some(timing) = log.reports.iter_mut().rev().find(|report| report.gate == Gate::Timing) {
        timing.wall_ms = (timing.wall_ms - wall_ms).max(0.0);
    }
    log.reports.push(GateReport { gate: Gate::TimedOutputs, passed: true, wall_ms, note });
}

fn packet(
    inner: &Inner,
    candidate: &Candidate,
    lane: Lane,
    object: Option<&CudaObject>,
    build: &BuildLog,
    log: Log,
    found: Findings,
) -> Evidence {
    let facts = object.map(|object| evidence::BuiltFacts {
        digest: object.digest,
        build_ms: object.build_ms,
        facts: fixed::object_facts(&object.facts),
    });
    let flags = object.map_or(&[][..], |object| &object.options);
    let environment = inner.environment(flags);
    evidence::assemble(&inner.setup, candidate, lane, environment, facts, build, log, found)
}
