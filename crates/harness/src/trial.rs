//! One candidate in one worker: what the gates work on.

use std::time::{Duration, Instant};

use kernsmith_core::evidence::{GateReport, Performance};
use kernsmith_core::{Failure, Gate, Lane, Plan};
use kernsmith_op_contract::Contract;
use kernsmith_toolchain::CodeObject;
use rand_chacha::ChaCha12Rng;

use crate::arena::ARENA;
use crate::check::Tally;
use crate::device::Device;
use crate::error::{HarnessError, Stop};
use crate::process::WorkerRole;
use crate::runner::Runner;
use crate::setup::Setup;

/// One candidate in one worker.
pub(crate) struct Trial<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) device: &'a mut Device,
    pub(crate) lane: Lane,
    /// The ratio of the best candidate so far.
    pub(crate) bar: Option<f64>,
    pub(crate) kernel: Runner,
    pub(crate) rng: ChaCha12Rng,
    pub(crate) tally: Tally,
    pub(crate) notes: Vec<String>,
    pub(crate) performance: Option<Performance>,
    /// What the timing gate learned about the outputs that were produced while being timed.
    pub(crate) timed: TimedOutputs,
    /// Trusted code may take its time.
    pub(crate) patient: bool,
}

/// Timed outputs that were looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TimedOutputs {
    pub(crate) calls: u64,
    pub(crate) compared: u64,
    pub(crate) spent: Duration,
}

impl<'a> Trial<'a> {
    /// Starts the candidate's worker.
    pub(crate) fn load(
        setup: &'a Setup,
        device: &'a mut Device,
        plan: &'a Plan,
        object: &CodeObject,
        lane: Lane,
        bar: Option<f64>,
    ) -> Result<Self, Stop> {
        let mut kernel = Runner::start(setup, WorkerRole::Kernel, &object.path, plan, setup.rng())?;
        kernel.open_store(ARENA, &device.arena.inputs, &device.arena.outputs)?;
        Ok(Self {
            setup,
            device,
            lane,
            bar,
            kernel,
            rng: setup.rng(),
            tally: Tally::default(),
            notes: Vec::new(),
            performance: None,
            timed: TimedOutputs::default(),
            patient: false,
        })
    }

    pub(crate) fn contract(&self) -> &'a Contract {
        &self.setup.contract
    }

    /// How long a call over a shape may take.
    pub(crate) fn timeout(&self, shape: usize) -> Duration {
        if self.patient {
            return Duration::from_mins(1);
        }
        let baseline_us = self.device.frozen.as_ref().and_then(|frozen| frozen.median_us(shape));
        self.setup.call_timeout(baseline_us)
    }
}

/// The gates that a candidate has met, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    pub(crate) reports: Vec<GateReport>,
    pub(crate) failure: Option<Failure>,
}

impl Log {
    /// Runs one gate unless an earlier one said no or an option switched it off; `None` where it was not passed.
    pub(crate) fn gate<T>(
        &mut self,
        setup: &Setup,
        gate: Gate,
        check: impl FnOnce() -> Result<(T, String), Stop>,
    ) -> Result<Option<T>, HarnessError> {
        if self.failure.is_some() || !setup.options.runs(gate) {
            return Ok(None);
        }
        let begin = Instant::now();
        let outcome = check();
        let wall_ms = begin.elapsed().as_secs_f64() * 1e3;
        match outcome {
            Ok((value, note)) => {
                self.reports.push(GateReport { gate, passed: true, wall_ms, note });
                Ok(Some(value))
            }
            Err(Stop::Apparatus(error)) => Err(error),
            Err(Stop::Rejected(rejection)) => {
                let failure = rejection.into_failure(gate);
                if failure.gate != gate {
                    // It was found on the way: the running gate itself had nothing against the candidate.
                    self.reports.push(GateReport { gate, passed: true, wall_ms, note: String::new() });
                }
                let wall_ms = if failure.gate == gate { wall_ms } else { 0.0 };
                let note = failure.class.to_string();
                self.reports.push(GateReport { gate: failure.gate, passed: false, wall_ms, note });
                self.failure = Some(failure);
                Ok(None)
            }
        }
    }

    /// Whether everything so far said yes.
    pub(crate) const fn passes(&self) -> bool {
        self.failure.is_none()
    }
}
