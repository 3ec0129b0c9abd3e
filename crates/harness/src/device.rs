//! What evaluations share and use one after the other: memory, the oracle, the baseline's worker, measured ceilings.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use kernsmith_op_contract::Role;
use kernsmith_toolchain::{BuildOutcome, BuildRequest, BuildRole, CodeObject};

use crate::arena::Arena;
use crate::baseline::Frozen;
use crate::calibration::Calibration;
use crate::error::{HarnessError, Stop};
use crate::oracle::{self, Oracle};
use crate::process::WorkerRole;
use crate::runner::Runner;
use crate::setup::Setup;
use crate::timing::TimedSet;

/// Room for bursts of small calls in the arena.
pub(crate) const BURST_BYTES: u64 = 16 << 20;

/// What evaluations share.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) arena: Arena,
    pub(crate) oracle: Oracle,
    /// Timed buffers by shape.
    pub(crate) timed: BTreeMap<usize, TimedSet>,
    pub(crate) baseline_object: CodeObject,
    /// The baseline's worker; started again when it has died.
    pub(crate) baseline: Option<Runner>,
    pub(crate) frozen: Option<Frozen>,
    pub(crate) calibration: Calibration,
}

impl Device {
    /// Builds oracle and baseline at the same time and starts the oracle.
    pub(crate) fn open(setup: &Setup) -> Result<Self, HarnessError> {
        let (oracle_object, baseline_object) = std::thread::scope(|scope| {
            let oracle = scope.spawn(|| build_oracle(setup));
            let baseline = build_baseline(setup);
            let oracle = oracle
                .join()
                .unwrap_or_else(|_| Err(HarnessError::CutOff("building the oracle panicked".to_owned())));
            (oracle, baseline)
        });
        let arena = Arena::new(&setup.shapes, BURST_BYTES)?;
        let oracle = start_oracle(setup, &arena, oracle_object?)?;
        Ok(Self {
            arena,
            oracle,
            timed: BTreeMap::new(),
            baseline_object: baseline_object?,
            baseline: None,
            frozen: None,
            calibration: Calibration::default(),
        })
    }

    /// Starts the oracle again when it has died, with everything that it was given.
    pub(crate) fn revive(&mut self, setup: &Setup) -> Result<(), HarnessError> {
        let object = self.oracle.object().clone();
        let mut oracle = Oracle::start(&setup.contract, &setup.spawner, object, setup.rng())?;
        oracle.add_store(&self.arena.inputs, &self.arena.outputs)?;
        let mut sets: Vec<&TimedSet> = self.timed.values().collect();
        sets.sort_by_key(|set| set.store);
        for set in sets {
            oracle.add_store(&set.inputs, &set.outputs)?;
        }
        self.oracle = oracle;
        Ok(())
    }

    /// The baseline's worker, started when there is none.
    pub(crate) fn take_baseline(&mut self, setup: &Setup) -> Result<Runner, HarnessError> {
        match self.baseline.take() {
            Some(runner) => Ok(runner),
            None => self.start_baseline(setup),
        }
    }

    /// A new worker for the frozen baseline.
    pub(crate) fn start_baseline(&self, setup: &Setup) -> Result<Runner, HarnessError> {
        let path = &self.baseline_object.path;
        Runner::start(setup, WorkerRole::Trusted, path, &setup.baseline.plan, setup.rng())
            .map_err(|stop| stop.trusted(&setup.baseline.name))
    }

    /// Makes the timed buffers of a shape, once.
    pub(crate) fn open_timed(&mut self, setup: &Setup, shape: usize) -> Result<(), HarnessError> {
        if self.timed.contains_key(&shape) {
            return Ok(());
        }
        let mut set = TimedSet::for_shape(setup, shape)?;
        set.store = self.oracle.add_store(&set.inputs, &set.outputs)?;
        self.timed.insert(shape, set);
        Ok(())
    }

    /// Makes ready what the first evaluation would otherwise wait for: memory, and the baseline's worker. Stops between two
    /// steps when it turns out that nothing of it is needed.
    pub(crate) fn warm(&mut self, setup: &Setup, needless: &AtomicBool) -> Result<(), HarnessError> {
        let goes_on = || !needless.load(Ordering::Relaxed);
        if !self.timed.is_empty() {
            return Ok(());
        }
        let baseline = self.take_baseline(setup)?;
        self.baseline = Some(baseline);
        for pool in [&self.arena.inputs, &self.arena.outputs] {
            if goes_on() {
                pool.populate();
            }
        }
        for shape in setup.shapes_of(Role::Bench) {
            if goes_on() {
                self.open_timed(setup, shape)?;
            }
        }
        Ok(())
    }

    /// Makes the timed buffers of all bench shapes.
    pub(crate) fn open_all_timed(&mut self, setup: &Setup) -> Result<Vec<usize>, HarnessError> {
        let bench = setup.shapes_of(Role::Bench);
        for &shape in &bench {
            self.open_timed(setup, shape)?;
        }
        Ok(bench)
    }
}

pub(crate) fn start_oracle(setup: &Setup, arena: &Arena, object: CodeObject) -> Result<Oracle, HarnessError> {
    let mut oracle = Oracle::start(&setup.contract, &setup.spawner, object.path, setup.rng())?;
    oracle.add_store(&arena.inputs, &arena.outputs)?;
    Ok(oracle)
}

pub(crate) fn build_oracle(setup: &Setup) -> Result<CodeObject, HarnessError> {
    let contract = &setup.contract;
    let symbols = oracle::symbols(contract);
    let request = BuildRequest {
        source: &contract.oracle.source,
        role: BuildRole::Oracle,
        flags: &[],
        symbols: &symbols,
        link: &[],
        fresh: false,
    };
    match setup.toolchain.build(&request)? {
        BuildOutcome::Built(object) => Ok(*object),
        BuildOutcome::Refused { class, detail, .. } => Err(HarnessError::Oracle {
            contract: contract.name.clone(),
            problem: format!("{class}: {detail}"),
        }),
    }
}

fn build_baseline(setup: &Setup) -> Result<CodeObject, HarnessError> {
    let baseline = &setup.baseline;
    build_trusted(setup, &baseline.source, &baseline.plan, &baseline.link)
        .map_err(|stop| stop.trusted(&baseline.name))
}

/// Builds trusted code; what the compiler says against it comes back as a rejection.
pub(crate) fn build_trusted(
    setup: &Setup,
    source: &str,
    plan: &kernsmith_core::Plan,
    link: &[String],
) -> Result<CodeObject, Stop> {
    let symbols = plan.symbols();
    let request = BuildRequest {
        source,
        role: BuildRole::Trusted,
        flags: &plan.flags,
        symbols: &symbols,
        link,
        fresh: false,
    };
    match setup.toolchain.build(&request)? {
        BuildOutcome::Built(object) => Ok(*object),
        BuildOutcome::Refused { class, detail, .. } => Err(Stop::rejected(class, detail)),
    }
}
