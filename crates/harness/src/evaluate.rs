//! The lanes: which gates a candidate meets, in order.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use kernsmith_core::evidence::{GateReport, Rival};
use kernsmith_core::{Candidate, Digest, Evaluate, Evidence, Gate, Lane, Performance, Plan};
use kernsmith_toolchain::CodeObject;
use kernsmith_toolchain::cuda::CudaObject;

use crate::calibration;
use crate::check::Tally;
use crate::device::Device;
use crate::error::{HarnessError, Stop};
use crate::evidence::{self, Findings};
use crate::gates::build::BuildLog;
use crate::gates::{
    admit, audit, build, confirmation, correctness, load, phase, plausibility, quiescence, smoke,
    timed_outputs, timing,
};
use crate::gpu;
use crate::harness::{Harness, Inner, Side};
use crate::rivals;
use crate::setup::Setup;
use crate::trial::{Log, Trial};

/// How far a candidate goes.
#[derive(Debug, Clone, Copy)]
struct Course {
    lane: Lane,
    /// Ratio of the best candidate so far.
    bar: Option<f64>,
    /// Whether it goes on to the clock; a candidate that is confirmed right afterwards is timed only there.
    timed: bool,
}

/// A candidate that has been built and audited, or has already failed at that.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) candidate: Candidate,
    pub(crate) object: Option<Built>,
    pub(crate) log: Log,
    pub(crate) build: BuildLog,
}

/// A code object, by what it is for.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it lives as long as its judgement"
)]
pub(crate) enum Built {
    /// A shared object.
    Cpu(CodeObject),
    /// A cubin.
    Cuda(Box<CudaObject>),
}

impl Built {
    const fn digest(&self) -> Digest {
        match self {
            Self::Cpu(object) => object.digest,
            Self::Cuda(object) => object.digest,
        }
    }

    fn cpu(self) -> Option<CodeObject> {
        if let Self::Cpu(object) = self { Some(object) } else { None }
    }

    /// The cubin, where it is one.
    pub(crate) fn cuda(self) -> Option<CudaObject> {
        if let Self::Cuda(object) = self { Some(*object) } else { None }
    }
}

impl Evaluate for Harness {
    type Error = HarnessError;
    type Prepared = Prepared;

    fn prepare(&self, candidate: Candidate) -> impl Future<Output = Result<Prepared, HarnessError>> + Send {
        let side = self.side.clone();
        off_the_loop(move || match side {
            Side::Cpu(inner) => prepare(&inner.setup, candidate),
            Side::Gpu(inner) => gpu::prepare(&inner, candidate),
        })
    }

    fn prepares_aside(&self) -> usize {
        match &self.side {
            Side::Cpu(_) => 0,
            Side::Gpu(inner) => inner.compilers(),
        }
    }

    fn devices(&self) -> usize {
        match &self.side {
            Side::Cpu(_) => 1,
            Side::Gpu(inner) => inner.devices(),
        }
    }

    fn code_object(&self, prepared: &Prepared) -> Option<Digest> {
        prepared.object.as_ref().map(Built::digest)
    }

    fn judge(
        &self,
        prepared: Prepared,
        lane: Lane,
        bar: Option<f64>,
    ) -> impl Future<Output = Result<Evidence, HarnessError>> + Send {
        let side = self.side.clone();
        off_the_loop(move || match side {
            Side::Cpu(inner) => judge(&inner, prepared, lane, bar),
            Side::Gpu(inner) => gpu::judge(&inner, prepared, lane, bar),
        })
    }
}

async fn off_the_loop<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HarnessError> + Send + 'static,
) -> Result<T, HarnessError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| HarnessError::CutOff(error.to_string()))?
}

/// Gates that need no device.
pub(crate) fn prepare(setup: &Setup, candidate: Candidate) -> Result<Prepared, HarnessError> {
    let mut log = Log::default();
    let mut build_log = BuildLog::default();
    let proposal = &candidate.proposal;
    log.gate(setup, Gate::Admit, || admit::check(setup, &candidate).map(|note| ((), note)))?;
    let object = log.gate(setup, Gate::Build, || {
        build::check(setup, &proposal.source, &proposal.plan, false, &mut build_log)
    })?;
    if let Some(object) = &object {
        log.gate(setup, Gate::Audit, || {
            audit::check(setup, &proposal.plan, &object.facts).map(|note| ((), note))
        })?;
    }
    Ok(Prepared { candidate, object: object.map(Built::Cpu), log, build: build_log })
}

/// One lane.
fn judge(inner: &Inner, prepared: Prepared, lane: Lane, bar: Option<f64>) -> Result<Evidence, HarnessError> {
    let setup = &inner.setup;
    let Prepared { candidate, object, mut log, build } = prepared;
    let mut object = object.and_then(Built::cpu);
    if lane == Lane::Confirm && log.passes() {
        let before = object.as_ref().map(|object| object.facts.clone());
        let proposal = &candidate.proposal;
        let rebuilt = log.gate(setup, Gate::Confirmation, || {
            confirmation::rebuild(setup, &proposal.source, &proposal.plan, before.as_ref())
        })?;
        object = rebuilt.or(object);
    }
    let mut found = Findings::default();
    if let Some(object) = object.as_ref().filter(|_| log.passes()) {
        let mut device = inner.device();
        let course = Course { lane, bar, timed: true };
        found = run(setup, &mut device, &candidate, object, course, &mut log, &mut || ())?;
    }
    if lane == Lane::Confirm {
        log.failure = log.failure.take().map(confirmation::not_confirmed);
    }
    Ok(evidence::packet(setup, &candidate, lane, object.as_ref(), &build, log, found))
}

/// Verification and confirmation in one go; the clock runs once, in confirmation, on what will be published.
pub(crate) fn fully(inner: &Inner, candidate: Candidate) -> Result<Evidence, HarnessError> {
    let setup = &inner.setup;
    let mut device = inner.device();
    // Memory is made ready while the compiler works.
    let refused = AtomicBool::new(false);
    let prepared = std::thread::scope(|scope| {
        let device = &mut *device;
        let warm = scope.spawn(|| device.warm(setup, &refused));
        let prepared = prepare(setup, candidate);
        // What was refused needs no memory.
        let passes = prepared.as_ref().is_ok_and(|prepared| prepared.log.passes());
        refused.store(!passes, Ordering::Relaxed);
        warm.join().unwrap_or_else(|_| Err(HarnessError::CutOff("preparing memory panicked".to_owned())))?;
        prepared
    });
    let Prepared { candidate, object, mut log, build } = prepared?;
    let object = object.and_then(Built::cpu);
    let Some(first) = object.as_ref().filter(|_| log.passes()) else {
        return Ok(evidence::packet(
            setup,
            &candidate,
            Lane::Verify,
            object.as_ref(),
            &build,
            log,
            Findings::default(),
        ));
    };
    let proposal = &candidate.proposal;
    let (found, rebuilt) = std::thread::scope(|scope| {
        let mut fresh = Some(scope.spawn(|| {
            let begin = Instant::now();
            let built = confirmation::rebuild(setup, &proposal.source, &proposal.plan, Some(&first.facts));
            (built, begin.elapsed())
        }));
        let mut rebuilt = None;
        // Nothing else may run while the clock does.
        let mut join = || rebuilt = fresh.take().map(std::thread::ScopedJoinHandle::join);
        let course = Course { lane: Lane::Verify, bar: None, timed: false };
        let found = run(setup, &mut device, &candidate, first, course, &mut log, &mut join);
        join_again(&mut rebuilt, fresh);
        (found, rebuilt)
    });
    let found = found?;
    if !log.passes() {
        return Ok(evidence::packet(setup, &candidate, Lane::Verify, Some(first), &build, log, found));
    }
    let (built, _) = rebuilt
        .and_then(Result::ok)
        .ok_or_else(|| HarnessError::CutOff("the fresh build panicked".to_owned()))?;
    let fresh = log.gate(setup, Gate::Confirmation, || built)?;
    let object = fresh.as_ref().unwrap_or(first);
    let found = if log.passes() {
        let course = Course { lane: Lane::Confirm, bar: None, timed: true };
        run(setup, &mut device, &candidate, object, course, &mut log, &mut || ())?
    } else {
        found
    };
    // The clock runs in confirmation only: what it finds is found for the first time.
    log.failure = log.failure.take().map(|failure| match failure.gate {
        Gate::Timing | Gate::TimedOutputs | Gate::Plausibility => failure,
        _ => confirmation::not_confirmed(failure),
    });
    Ok(evidence::packet(setup, &candidate, Lane::Confirm, Some(object), &build, log, found))
}

/// The build may still run when an early gate said no.
fn join_again<T>(
    rebuilt: &mut Option<std::thread::Result<T>>,
    fresh: Option<std::thread::ScopedJoinHandle<'_, T>>,
) {
    if let Some(fresh) = fresh {
        *rebuilt = Some(fresh.join());
    }
}

/// All gates that need the device.
fn run(
    setup: &Setup,
    device: &mut Device,
    candidate: &Candidate,
    object: &CodeObject,
    course: Course,
    log: &mut Log,
    before_timing: &mut dyn FnMut(),
) -> Result<Findings, HarnessError> {
    let plan = &candidate.proposal.plan;
    let outcome = gates(setup, device, plan, object, course, log, before_timing);
    if matches!(outcome, Err(HarnessError::Oracle { .. } | HarnessError::Wire(_))) {
        device.revive(setup)?;
    }
    outcome
}

fn gates(
    setup: &Setup,
    device: &mut Device,
    plan: &Plan,
    object: &CodeObject,
    course: Course,
    log: &mut Log,
    before_timing: &mut dyn FnMut(),
) -> Result<Findings, HarnessError> {
    let Course { lane, bar, timed } = course;
    let loaded = log.gate(setup, Gate::Load, || {
        let mut trial = Trial::load(setup, device, plan, object, lane, bar)?;
        let note = load::check(&mut trial)?;
        Ok((trial, note))
    })?;
    let Some(mut trial) = loaded else {
        return Ok(Findings::default());
    };
    let trial = &mut trial;
    log.gate(setup, Gate::Smoke, || noted(smoke::check(trial)))?;
    log.gate(setup, Gate::Correctness, || noted(correctness::check(trial)))?;
    if lane != Lane::Screen {
        log.gate(setup, Gate::Phase, || noted(phase::check(trial)))?;
    }
    log.gate(setup, Gate::Quiescence, || noted(quiescence::check(trial)))?;
    before_timing();
    if !timed {
        return Ok(findings(trial));
    }
    if log.passes() {
        calibration::ensure(setup, trial.device)?;
    }
    log.gate(setup, Gate::Timing, || noted(timing::check(trial)))?;
    report_timed_outputs(setup, trial, log);
    if lane != Lane::Screen {
        log.gate(setup, Gate::Plausibility, || noted(plausibility::check(trial)))?;
    }
    if lane == Lane::Confirm && setup.options.rivals && log.passes() {
        add_rivals(trial, log)?;
    }
    Ok(findings(trial))
}

fn noted(outcome: Result<String, Stop>) -> Result<((), String), Stop> {
    outcome.map(|note| ((), note))
}

/// Timed outputs are looked at between intervals; what the gate cost is taken out of the timing gate's time.
fn report_timed_outputs(setup: &Setup, trial: &Trial<'_>, log: &mut Log) {
    let failed_here = log.failure.as_ref().is_some_and(|failure| failure.gate == Gate::TimedOutputs);
    if !setup.options.runs(Gate::TimedOutputs) || (!log.passes() && !failed_here) {
        return;
    }
    let (note, spent) = timed_outputs::check(trial);
    let wall_ms = spent.as_secs_f64() * 1e3;
    if let Some(timing) = log.reports.iter_mut().rev().find(|report| report.gate == Gate::Timing) {
        timing.wall_ms = (timing.wall_ms - wall_ms).max(0.0);
    }
    match log.reports.last_mut().filter(|_| failed_here) {
        Some(report) => report.wall_ms = wall_ms,
        None => log.reports.push(GateReport { gate: Gate::TimedOutputs, passed: true, wall_ms, note }),
    }
}

fn add_rivals(trial: &mut Trial<'_>, log: &mut Log) -> Result<(), HarnessError> {
    match rivals::measure(trial) {
        Ok(rivals) => {
            if let Some(performance) = &mut trial.performance {
                performance.rivals = rivals;
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

fn findings(trial: &mut Trial<'_>) -> Findings {
    Findings {
        tally: std::mem::take(&mut trial.tally),
        notes: std::mem::take(&mut trial.notes),
        performance: trial.performance.take(),
        confinement: trial.kernel.worker.confinement.clone(),
        device: Vec::new(),
    }
}

/// Verifies the frozen baseline and times it against itself, once.
pub(crate) fn freeze(inner: &Inner) -> Result<Performance, HarnessError> {
    let setup = &inner.setup;
    let mut device = inner.device();
    if device.frozen.is_none() {
        verify_baseline(setup, &mut device)?;
        device.freeze(setup)?;
    }
    let performance = device.frozen.as_ref().map(|frozen| frozen.performance.clone());
    performance.ok_or_else(|| HarnessError::NoWorkload { contract: setup.contract.name.clone() })
}

/// The contract's rivals in pairs with the frozen baseline.
pub(crate) fn rivals_of_baseline(inner: &Inner) -> Result<Vec<Rival>, HarnessError> {
    freeze(inner)?;
    let setup = &inner.setup;
    let mut device = inner.device();
    let (plan, object) = (setup.baseline.plan.clone(), device.baseline_object.clone());
    let trusted = |stop: Stop| stop.trusted(&setup.baseline.name);
    let mut trial = Trial::load(setup, &mut device, &plan, &object, Lane::Confirm, None).map_err(trusted)?;
    trial.patient = true;
    rivals::measure(&mut trial).map_err(trusted)
}

/// Puts the frozen baseline through the correctness gate before anything is measured against it.
pub(crate) fn verify_baseline(setup: &Setup, device: &mut Device) -> Result<Tally, HarnessError> {
    let plan = setup.baseline.plan.clone();
    let object = device.baseline_object.clone();
    let name = &setup.baseline.name;
    let mut trial =
        Trial::load(setup, device, &plan, &object, Lane::Verify, None).map_err(|stop| stop.trusted(name))?;
    // A slow baseline is legal: only a minute is too long for one call.
    trial.patient = true;
    correctness::check_trusted(&mut trial).map_err(|stop| stop.trusted(name))?;
    Ok(trial.tally.clone())
}
