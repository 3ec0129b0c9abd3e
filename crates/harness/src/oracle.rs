//! The oracle: the contract's fp64 reference and its invariants, in a process of their own.

use std::path::PathBuf;
use std::time::Duration;

use kernsmith_op_contract::Contract;
use kernsmith_tensor::DType;
use kernsmith_wire::{PAGE_BYTES, Pool};
use rand_chacha::ChaCha12Rng;

use crate::arena::{Placed, Span};
use crate::arguments::{self, Pointer};
use crate::error::{HarnessError, Stop};
use crate::layout::{Shape, whole_pages};
use crate::process::{Spawner, Task, Worker, WorkerRole};

/// The reference is slow by design; this is for a machine that is very busy.
const TIMEOUT: Duration = Duration::from_mins(2);
const VALUES_BYTES: u64 = 64 << 20;

/// The oracle's worker with what it was given.
#[derive(Debug)]
pub(crate) struct Oracle {
    object: PathBuf,
    values: Pool,
    worker: Worker,
    /// Index of the pool of values, and of inputs and outputs by store.
    values_pool: u16,
    stores: Vec<(u16, u16)>,
}

/// A run of indices of the partition axis.
pub(crate) type Slice = (u64, u64);

/// What the oracle says about some slices, decoded.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// One a slice and output.
    pub(crate) parts: Vec<Answer>,
}

/// What the oracle says about one slice of one output.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) output: usize,
    pub(crate) first_element: u64,
    pub(crate) expected: Vec<f64>,
    pub(crate) scale: Vec<f64>,
}

impl Oracle {
    /// Starts the worker.
    pub(crate) fn start(
        contract: &Contract,
        spawner: &Spawner,
        object: PathBuf,
        rng: ChaCha12Rng,
    ) -> Result<Self, HarnessError> {
        let symbols: Vec<&str> = symbols(contract);
        let broken = |stop: Stop| trusted(contract, stop);
        let mut worker = spawner.start(WorkerRole::Oracle, &object, &symbols, None, rng).map_err(broken)?;
        let values = Pool::create("kernsmith-values", VALUES_BYTES)
            .map_err(HarnessError::system("make a memory file"))?;
        let values_pool = worker.share(&[(&values, true)])?;
        Ok(Self { object, values, worker, values_pool, stores: Vec::new() })
    }

    /// Lets the oracle read the pools of a store; stores are numbered in this order.
    pub(crate) fn add_store(&mut self, inputs: &Pool, outputs: &Pool) -> Result<usize, HarnessError> {
        // The outputs' file must stay writable for kernels, so the oracle, which is trusted, gets a writer.
        let first = self.worker.share(&[(inputs, false), (outputs, true)])?;
        self.stores.push((first, first + 1));
        Ok(self.stores.len() - 1)
    }

    /// The confinement that the worker reached.
    pub(crate) fn object(&self) -> &PathBuf {
        &self.object
    }

    /// Asks for some slices and does not wait. They must fit, see [`Oracle::capacity_elements`].
    pub(crate) fn begin(
        &mut self,
        contract: &Contract,
        shape: &Shape,
        placed: &Placed,
        slices: &[Slice],
    ) -> Result<(), HarnessError> {
        let (inputs_pool, _) = self.stores[placed.store];
        let worker = &mut self.worker;
        let mut task = Task::default();
        let inputs = map_spans(&mut task, worker, inputs_pool, &placed.inputs);
        let used = whole_pages(answers_bytes(shape, slices));
        let base = task.window(worker, "values", (self.values_pool, 0, used), true, None);
        let symbol = worker.symbol(&contract.oracle.symbol);
        let mut cursor = base;
        for &slice in slices {
            let mut answers = Vec::new();
            for output in &shape.outputs {
                let bytes = 8 * output.slice_elements * (slice.1 - slice.0);
                answers.extend([Pointer::fixed(cursor), Pointer::fixed(cursor + padded(bytes))]);
                cursor += 2 * padded(bytes);
            }
            task.batches.push(arguments::reference(contract, &shape.axes, symbol, &inputs, &answers, slice));
        }
        worker.begin(task, false).map_err(|stop| trusted(contract, stop))
    }

    /// Waits for what [`Oracle::begin`] asked for.
    pub(crate) fn finish(
        &mut self,
        contract: &Contract,
        shape: &Shape,
        slices: &[Slice],
    ) -> Result<Answers, HarnessError> {
        self.worker.finish(TIMEOUT).map_err(|stop| trusted(contract, stop))?;
        let mut parts = Vec::new();
        let mut cursor = 0;
        for &(begin, end) in slices {
            for (index, output) in shape.outputs.iter().enumerate() {
                let count = output.slice_elements * (end - begin);
                let expected = self.doubles(cursor, count);
                let scale = self.doubles(cursor + padded(8 * count), count);
                cursor += 2 * padded(8 * count);
                let first_element = begin * output.slice_elements;
                parts.push(Answer { output: index, first_element, expected, scale });
            }
        }
        Ok(Answers { parts })
    }

    fn doubles(&self, offset: u64, count: u64) -> Vec<f64> {
        let bytes = Span { offset, bytes: 8 * count }.of(&self.values);
        let mut values = vec![0.0; count as usize];
        DType::F64.decode(bytes, &mut values);
        values
    }

    /// The worst violation of every invariant, in the contract's order.
    pub(crate) fn violations(
        &mut self,
        contract: &Contract,
        shape: &Shape,
        placed: &Placed,
    ) -> Result<Vec<f64>, HarnessError> {
        if contract.invariants.is_empty() {
            return Ok(Vec::new());
        }
        let (inputs_pool, outputs_pool) = self.stores[placed.store];
        let mut task = Task { measure: true, ..Task::default() };
        let mut tensors = map_spans(&mut task, &mut self.worker, inputs_pool, &placed.inputs);
        tensors.extend(map_spans(&mut task, &mut self.worker, outputs_pool, &placed.outputs));
        for invariant in &contract.invariants {
            let symbol = self.worker.symbol(&invariant.symbol);
            task.batches.push(arguments::invariant(contract, &shape.axes, symbol, &tensors));
        }
        let ran = self.worker.run(task, TIMEOUT).map_err(|stop| trusted(contract, stop))?;
        Ok(ran.values)
    }

    /// Output elements of one step that fit into the pool of values, times steps.
    pub(crate) fn capacity_elements() -> u64 {
        VALUES_BYTES / 16 / 2
    }
}

/// The reference and the invariants.
pub(crate) fn symbols(contract: &Contract) -> Vec<&str> {
    let invariants = contract.invariants.iter().map(|invariant| invariant.symbol.as_str());
    std::iter::once(contract.oracle.symbol.as_str()).chain(invariants).collect()
}

/// Maps the pages around some tensors, read-only, and says where each tensor then begins.
fn map_spans(task: &mut Task, worker: &mut Worker, pool: u16, spans: &[Span]) -> Vec<Pointer> {
    let map = |span: &Span| {
        let first = span.offset / PAGE_BYTES * PAGE_BYTES;
        let bytes = whole_pages(span.offset + span.bytes - first);
        let address = task.window(worker, "tensor", (pool, first, bytes), false, None);
        Pointer::fixed(address + span.offset - first)
    };
    spans.iter().map(map).collect()
}

fn answers_bytes(shape: &Shape, slices: &[Slice]) -> u64 {
    let steps: u64 = slices.iter().map(|(begin, end)| end - begin).sum();
    let per_slice = 128 * shape.outputs.len() as u64;
    16 * steps * shape.slice_elements() + per_slice * slices.len() as u64
}

const fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(64)
}

fn trusted(contract: &Contract, stop: Stop) -> HarnessError {
    match stop {
        Stop::Apparatus(HarnessError::Worker { problem, .. }) => {
            HarnessError::Oracle { contract: contract.name.clone(), problem }
        }
        Stop::Apparatus(error) => error,
        Stop::Rejected(rejection) => HarnessError::Oracle {
            contract: contract.name.clone(),
            problem: format!("{}: {}", rejection.class, rejection.detail),
        },
    }
}
