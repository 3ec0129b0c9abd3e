//! A worker with a plan: calls by shape.

use std::collections::BTreeMap;
use std::time::Duration;

use kernsmith_core::{FailureClass, Plan};
use kernsmith_op_contract::Contract;
use kernsmith_wire::Pool;
use rand_chacha::ChaCha12Rng;

use crate::arena::{ArenaCall, Store};
use crate::arguments::{self, Pointer};
use crate::error::{HarnessError, Stop};
use crate::layout::{Shape, workspaces};
use crate::process::{Ran, Task, Worker, WorkerRole};
use crate::setup::Setup;

/// A worker that can be asked for calls of a plan.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) worker: Worker,
    plan: Plan,
    stores: BTreeMap<Store, (u16, u16)>,
    scratch: Option<(Pool, u16)>,
    /// Timed intervals after whose end outputs were still being written.
    pub(crate) unfinished_intervals: u32,
}

/// Addresses of one call's windows: inputs, then outputs.
pub(crate) type Addresses = Vec<u64>;

impl Runner {
    /// Starts a worker for a plan's symbols.
    pub(crate) fn start(
        setup: &Setup,
        role: WorkerRole,
        object: &std::path::Path,
        plan: &Plan,
        rng: ChaCha12Rng,
    ) -> Result<Self, Stop> {
        let mut worker = setup.spawner.start(role, object, &plan.symbols(), plan.threads, rng)?;
        let mut most = 0;
        for shape in &setup.shapes {
            most = most.max(workspaces(plan, &shape.axes)?.iter().sum::<u64>());
        }
        let scratch = if most == 0 {
            None
        } else {
            let pool = Pool::create("kernsmith-scratch", most)
                .map_err(HarnessError::system("make a memory file for workspaces"))?;
            let index = worker.share(&[(&pool, true)])?;
            Some((pool, index))
        };
        Ok(Self { worker, plan: plan.clone(), stores: BTreeMap::new(), scratch, unfinished_intervals: 0 })
    }

    /// Gives the worker a store's pools, once.
    pub(crate) fn open_store(&mut self, store: Store, inputs: &Pool, outputs: &Pool) -> Result<(), Stop> {
        if !self.stores.contains_key(&store) {
            let first = self.worker.share(&[(inputs, false), (outputs, true)])?;
            self.stores.insert(store, (first, first + 1));
        }
        Ok(())
    }

    /// Pools of a store that was opened.
    pub(crate) fn pools(&self, store: Store) -> (u16, u16) {
        self.stores.get(&store).copied().unwrap_or_default()
    }

    /// Whether the plan has a variant for a shape.
    pub(crate) fn symbol(&self, shape: &Shape) -> Result<u16, Stop> {
        if let Some(launch) = self.plan.launch_for(&shape.axes)? {
            return Ok(self.worker.symbol(&launch.symbol));
        }
        let detail = format!("no launch covers `{}` ({:?})", shape.name, shape.axes);
        Err(Stop::rejected(FailureClass::PlanInvalid, detail))
    }

    /// Maps the plan's workspaces into a task.
    pub(crate) fn map_workspaces(&mut self, task: &mut Task, shape: &Shape) -> Result<Vec<Pointer>, Stop> {
        let Some((_, pool)) = self.scratch else {
            return Ok(Vec::new());
        };
        let mut offset = 0;
        let mut pointers = Vec::new();
        for bytes in workspaces(&self.plan, &shape.axes)? {
            let place = (pool, offset, bytes);
            pointers.push(Pointer::fixed(task.window(&mut self.worker, "workspace", place, true, None)));
            offset += bytes;
        }
        Ok(pointers)
    }

    /// Sends one call over arena tensors and does not wait. Given addresses are used again.
    pub(crate) fn begin(
        &mut self,
        contract: &Contract,
        shape: &Shape,
        call: &ArenaCall,
        addresses: Option<&Addresses>,
    ) -> Result<Addresses, Stop> {
        let mut task = Task::default();
        let used = self.add_call(&mut task, contract, shape, call, addresses)?;
        self.worker.begin(task, false)?;
        Ok(used)
    }

    /// Calls back to back, each over tensors of its own.
    pub(crate) fn burst(
        &mut self,
        contract: &Contract,
        shape: &Shape,
        calls: &[ArenaCall],
        timeout: Duration,
    ) -> Result<Ran, Stop> {
        let mut task = Task::default();
        for call in calls {
            self.add_call(&mut task, contract, shape, call, None)?;
        }
        self.worker.run(task, timeout)
    }

    fn add_call(
        &mut self,
        task: &mut Task,
        contract: &Contract,
        shape: &Shape,
        call: &ArenaCall,
        addresses: Option<&Addresses>,
    ) -> Result<Addresses, Stop> {
        let symbol = self.symbol(shape)?;
        let (inputs_pool, outputs_pool) = self.pools(call.placed.store);
        let mut used = Addresses::new();
        let mut tensors = Vec::new();
        let inputs = call.input_windows.iter().zip(&call.placed.inputs).zip(&shape.inputs);
        let outputs = call.output_windows.iter().zip(&call.placed.outputs).zip(&shape.outputs);
        let all = inputs.map(|part| (part, inputs_pool, false));
        let all = all.chain(outputs.map(|part| (part, outputs_pool, true)));
        for (((window, span), layout), pool, writable) in all {
            let fixed = addresses.and_then(|addresses| addresses.get(used.len()).copied());
            let place = (pool, window.offset, window.bytes);
            let address = task.window(&mut self.worker, &layout.name, place, writable, fixed);
            tensors.push(Pointer::fixed(address + span.offset - window.offset));
            used.push(address);
        }
        let scratch = self.map_workspaces(task, shape)?;
        task.batches.push(arguments::kernel(contract, &shape.axes, symbol, 1, &tensors, &scratch));
        Ok(used)
    }

    /// Waits for the end of a call.
    pub(crate) fn finish(&mut self, timeout: Duration) -> Result<Ran, Stop> {
        self.worker.finish(timeout)
    }
}
