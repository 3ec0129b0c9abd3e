//! One candidate in one GPU worker: what the GPU gates work on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use kernsmith_core::evidence::{DeviceState, Performance};
use kernsmith_core::{Lane, Plan};
use kernsmith_op_contract::Role;
use rand_chacha::ChaCha12Rng;

use super::ahead::Sheets;
use super::runner::{Bare, GpuRunner};
use super::timed::TimedPool;
use super::worker::Workshop;
use crate::arena::{Arena, Placed};
use crate::baseline::Frozen;
use crate::calibration::Calibration;
use crate::check::Tally;
use crate::error::{HarnessError, Stop};
use crate::oracle::{Oracle, Slice};
use crate::setup::Setup;
use crate::trial::TimedOutputs;

/// What evaluations share and use one after the other.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) arena: Arena,
    pub(crate) oracle: Oracle,
    pub(crate) workshop: Workshop,
    /// A worker with a fresh context, made ready while the one before was still in use.
    pub(crate) spare: Option<JoinHandle<Result<Bare, HarnessError>>>,
    /// The worker that candidates are screened in, one after the other.
    pub(crate) screen: Option<GpuRunner>,
    pub(crate) baseline: Option<GpuRunner>,
    pub(crate) baseline_cubin: Vec<u8>,
    pub(crate) timed: BTreeMap<usize, Arc<TimedPool>>,
    pub(crate) sheets: Sheets,
    pub(crate) frozen: Option<Frozen>,
    pub(crate) calibration: Calibration,
}

/// A timed call whose rows are on the host, and with the oracle.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) index: usize,
    pub(crate) pool: Arc<TimedPool>,
    pub(crate) placed: Placed,
    pub(crate) slices: Vec<Slice>,
}

/// One candidate in one worker.
pub(crate) struct GpuTrial<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) state: &'a mut State,
    pub(crate) lane: Lane,
    /// The ratio of the best candidate so far.
    pub(crate) bar: Option<f64>,
    pub(crate) runner: GpuRunner,
    pub(crate) rng: ChaCha12Rng,
    pub(crate) tally: Tally,
    pub(crate) notes: Vec<String>,
    pub(crate) performance: Option<Performance>,
    pub(crate) seen: TimedOutputs,
    /// What the device was like around each timed workload.
    pub(crate) device: Vec<DeviceState>,
    /// Timed outputs that the oracle is busy with.
    pub(crate) pending: Option<Pending>,
    /// Trusted code may take its time.
    pub(crate) patient: bool,
}

impl State {
    /// A worker with a fresh context; the next one is made ready meanwhile.
    pub(crate) fn fresh(&mut self) -> Result<Bare, HarnessError> {
        let bare = match self.spare.take() {
            Some(waiting) => waiting
                .join()
                .unwrap_or_else(|_| Err(HarnessError::CutOff("starting a worker panicked".to_owned()))),
            None => Bare::start(&self.workshop, &[]),
        };
        let workshop = self.workshop.clone();
        let timed: Vec<(usize, Arc<TimedPool>)> =
            self.timed.iter().map(|(index, pool)| (*index, pool.clone())).collect();
        self.spare = Some(std::thread::spawn(move || Bare::start(&workshop, &timed)));
        bare
    }

    /// The frozen baseline in a worker of its own.
    pub(crate) fn take_baseline(&mut self, setup: &Setup) -> Result<GpuRunner, HarnessError> {
        match self.baseline.take() {
            Some(runner) => Ok(runner),
            None => self.start_baseline(setup),
        }
    }

    /// A new worker for the frozen baseline.
    pub(crate) fn start_baseline(&mut self, setup: &Setup) -> Result<GpuRunner, HarnessError> {
        let bare = self.fresh()?;
        let baseline = &setup.baseline;
        bare.load(setup, &baseline.plan, &self.baseline_cubin, &self.arena)
            .map_err(|stop| stop.trusted(&baseline.name))
    }

    /// Makes the timed buffers of all bench shapes.
    pub(crate) fn open_all_timed(&mut self, setup: &Setup) -> Result<Vec<usize>, HarnessError> {
        let bench = setup.shapes_of(Role::Bench);
        for &shape in &bench {
            if !self.timed.contains_key(&shape) {
                let mut pool = TimedPool::draw(setup, shape)?;
                pool.store = self.oracle.add_store(&pool.inputs, &pool.outputs)?;
                self.timed.insert(shape, Arc::new(pool));
            }
        }
        Ok(bench)
    }
}

impl<'a> GpuTrial<'a> {
    /// Loads a candidate: in a process of its own, or, to be screened, in the one that is warm.
    pub(crate) fn load(
        setup: &'a Setup,
        state: &'a mut State,
        plan: &Plan,
        cubin: &[u8],
        lane: Lane,
        bar: Option<f64>,
    ) -> Result<Self, Stop> {
        let runner = match state.screen.take().filter(|_| lane == Lane::Screen) {
            Some(mut warm) => match warm.replace(setup, plan, cubin) {
                Ok(()) => warm,
                Err(Stop::Rejected(rejection)) => {
                    // A plan that cannot be loaded leaves the process as it was.
                    state.screen = Some(warm);
                    return Err(Stop::Rejected(rejection));
                }
                Err(Stop::Apparatus(_)) => state.fresh()?.load(setup, plan, cubin, &state.arena)?,
            },
            None => state.fresh()?.load(setup, plan, cubin, &state.arena)?,
        };
        Ok(Self::around(setup, state, runner, lane, bar))
    }

    /// A trial around code that is loaded.
    pub(crate) fn around(
        setup: &'a Setup,
        state: &'a mut State,
        runner: GpuRunner,
        lane: Lane,
        bar: Option<f64>,
    ) -> Self {
        Self {
            setup,
            state,
            lane,
            bar,
            runner,
            rng: setup.rng(),
            tally: Tally::default(),
            notes: Vec::new(),
            performance: None,
            seen: TimedOutputs::default(),
            device: Vec::new(),
            pending: None,
            patient: false,
        }
    }

    /// How long a call over a shape may take.
    pub(crate) fn timeout(&self, shape: usize) -> Duration {
        if self.patient {
            return Duration::from_mins(1);
        }
        let baseline_us = self.state.frozen.as_ref().and_then(|frozen| frozen.median_us(shape));
        self.setup.call_timeout(baseline_us)
    }
}
