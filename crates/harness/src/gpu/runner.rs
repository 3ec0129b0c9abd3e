//! A code object in a worker: launched by its plan, over tensors in their ranges.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kernsmith_core::Plan;
use kernsmith_wire::Pool;
use kernsmith_wire::gpu::{Cell, GpuCall, Kernel, LoadedKernel, Step};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use super::lanes::{Lanes, Place};
use super::resolve::Resolver;
use super::timed::TimedPool;
use super::worker::{GpuRan, GpuWorker, Mode, Workshop};
use crate::arena::{ARENA, Arena, Store};
use crate::error::{HarnessError, Stop};
use crate::layout::{Shape, Side};
use crate::setup::Setup;

/// Workspaces are poisoned up to this size before each call: longer ones at their beginning.
const WORKSPACE_POISON_BYTES: u64 = 64 << 20;

/// A code object in a worker.
#[derive(Debug)]
pub(crate) struct GpuRunner {
    pub(crate) worker: GpuWorker,
    pub(crate) lanes: Lanes,
    pools: BTreeMap<Store, (u16, u16)>,
    plan: Plan,
    kernels: Vec<Kernel>,
    pub(crate) loaded: Vec<LoadedKernel>,
    /// Held while something is timed on the device, and while much is copied to it.
    pub(crate) lease: Arc<Mutex<()>>,
}

/// A worker with its ranges and timed content, and nothing loaded yet.
#[derive(Debug)]
pub(crate) struct Bare(GpuRunner);

impl Bare {
    /// Starts a process, makes its context and its ranges, and puts timed content there: all before any candidate's code comes.
    pub(crate) fn start(
        workshop: &Workshop,
        timed: &[(usize, Arc<TimedPool>)],
    ) -> Result<Self, HarnessError> {
        let mut worker = GpuWorker::start(workshop)?;
        let lanes =
            Lanes::reserve(&workshop.room, &mut worker).map_err(|stop| stop.trusted("device memory"))?;
        let mut runner = GpuRunner {
            worker,
            lanes,
            pools: BTreeMap::new(),
            plan: Plan::default(),
            kernels: Vec::new(),
            loaded: Vec::new(),
            lease: workshop.lease.clone(),
        };
        for (index, pool) in timed {
            runner.furnish(*index, pool).map_err(|stop| stop.trusted("device memory"))?;
        }
        Ok(Self(runner))
    }

    /// Loads a code object.
    pub(crate) fn load(
        self,
        setup: &Setup,
        plan: &Plan,
        cubin: &[u8],
        arena: &Arena,
    ) -> Result<GpuRunner, Stop> {
        let mut runner = self.0;
        runner.open_store(ARENA, &arena.inputs, &arena.outputs)?;
        runner.replace(setup, plan, cubin)?;
        Ok(runner)
    }
}

impl GpuRunner {
    /// Loads another code object in the same process: for screening, and for trusted code.
    pub(crate) fn replace(&mut self, setup: &Setup, plan: &Plan, cubin: &[u8]) -> Result<(), Stop> {
        self.plan = plan.clone();
        let device = self.worker.device.clone();
        let resolver = Resolver { contract: &setup.contract, plan, device: &device };
        let kernels = resolver.kernels(&setup.shapes)?;
        let mut workspaces = vec![0_u64; plan.workspaces.len()];
        for shape in &setup.shapes {
            for (most, bytes) in workspaces.iter_mut().zip(resolver.workspaces(shape)?) {
                *most = (*most).max(bytes);
            }
        }
        self.lanes.set_workspaces(&mut self.worker, &workspaces)?;
        self.loaded = self.worker.load(cubin, kernels.clone())?;
        self.kernels = kernels;
        Ok(())
    }

    /// Makes a store's pools known to the worker, once.
    pub(crate) fn open_store(
        &mut self,
        store: Store,
        inputs: &Pool,
        outputs: &Pool,
    ) -> Result<(), HarnessError> {
        if !self.pools.contains_key(&store) {
            let first = self.worker.share(&[(inputs, false), (outputs, true)])?;
            self.pools.insert(store, (first, first + 1));
        }
        Ok(())
    }

    /// Numbers of a store's pools.
    pub(crate) fn pools(&self, store: Store) -> (u16, u16) {
        self.pools.get(&store).copied().unwrap_or_default()
    }

    /// The launches of one call.
    pub(crate) fn call(
        &self,
        setup: &Setup,
        shape: &Shape,
        inputs: &[Place],
        outputs: &[Place],
    ) -> Result<GpuCall, Stop> {
        let names: Vec<&str> = self.plan.workspaces.iter().map(|workspace| workspace.name.as_str()).collect();
        let addresses = self.lanes.addresses(setup, &names, inputs, outputs);
        let resolver = Resolver { contract: &setup.contract, plan: &self.plan, device: &self.worker.device };
        resolver.call(shape, &addresses, &self.kernels)
    }

    /// Poison for everything that a call may not rely on: its workspaces.
    pub(crate) fn spoil_workspaces(&self, rng: &mut ChaCha12Rng) -> Vec<Step> {
        let spoil = |(address, bytes): &(u64, u64)| Step::Poison {
            address: *address,
            bytes: (*bytes).min(WORKSPACE_POISON_BYTES),
            cell: Cell::Block,
            secret: rng.random(),
        };
        self.lanes.workspaces.iter().map(spoil).collect()
    }

    /// How many launches a call at a shape is.
    pub(crate) fn launches(&self, setup: &Setup, shape: &Shape) -> Result<usize, Stop> {
        let (inputs, outputs) = self.lanes.place(shape, Side::Right, 0);
        Ok(self.call(setup, shape, &inputs, &outputs)?.launches.len())
    }

    /// Does some steps.
    pub(crate) fn run(
        &mut self,
        calls: Vec<GpuCall>,
        steps: Vec<Step>,
        timeout: Duration,
    ) -> Result<GpuRan, Stop> {
        self.run_as(Mode::default(), calls, steps, timeout)
    }

    /// The same, in a special way.
    pub(crate) fn run_as(
        &mut self,
        mode: Mode,
        calls: Vec<GpuCall>,
        steps: Vec<Step>,
        timeout: Duration,
    ) -> Result<GpuRan, Stop> {
        self.worker.run(calls, steps, timeout, mode)
    }
}
