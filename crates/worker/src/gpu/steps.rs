//! Steps, one after the other.

use std::time::Duration;

use kernsmith_core::launch::{L2Promotion, MapElement, Swizzle as PlanSwizzle};
use kernsmith_device::cuda::{
    Context, CudaError, Element, Event, Graph, KernelCall, Map, Promotion, Sample, Swizzle, TensorMapBytes,
};
use kernsmith_wire::gpu::{FromGpu, GROUPS, GpuCall, GpuLaunch, GpuRun, MapSpec, Parameter, Sensed, Step};

use super::Gpu;
use super::kit::{Kit, word_bytes};

/// Events in pairs, used again by every run.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    pairs: Vec<(Event, Event)>,
}

impl Clocks {
    fn ready(&mut self, context: &Context, pairs: usize) -> Result<(), CudaError> {
        while self.pairs.len() < pairs {
            self.pairs.push((context.event()?, context.event()?));
        }
        Ok(())
    }
}

/// The calls of a run, ready to be started.
enum Calls {
    /// Launch by launch.
    Launches(Vec<Vec<KernelCall>>),
    /// Each as one graph.
    Graphs(Vec<Graph>),
}

/// What a run has used up so far.
#[derive(Default)]
struct Cursor {
    question: usize,
    clock: usize,
}

impl Gpu {
    /// Puts all steps into the stream, waits, and reads what they found.
    pub(super) fn run(&mut self, run: &GpuRun) -> Result<FromGpu, CudaError> {
        let timeout = Duration::from_millis(run.timeout_ms);
        let calls: Result<Vec<Vec<KernelCall>>, CudaError> =
            run.calls.iter().map(|call| self.prepare(call)).collect();
        let calls = self.made_ready(calls?, run.graphs);
        let pairs = run.steps.iter().filter(|step| matches!(step, Step::Start)).count();
        self.clocks.ready(&self.context, pairs)?;
        let questions = run.steps.iter().map(answers).sum();
        let mut cursor = Cursor::default();
        for step in &run.steps {
            self.step(step, &calls, &mut cursor, timeout)?;
        }
        // While the device works: asking takes some milliseconds.
        let sensed = self.sensor.as_ref().filter(|_| run.sense).map(|sensor| sensed(&sensor.sample()));
        self.context.wait(timeout)?;
        let drain = self.context.drain()?;
        let values = self.kit()?.end(&self.context, questions)?;
        let times_ns: Result<Vec<u64>, CudaError> = self.clocks.pairs[..cursor.clock]
            .iter()
            .map(|(start, stop)| self.context.between_ns(start, stop))
            .collect();
        let drain_ns = drain.as_nanos() as u64;
        let graphs = matches!(calls, Calls::Graphs(_));
        if let Calls::Graphs(graphs) = calls {
            graphs.into_iter().try_for_each(|graph| self.context.discard(graph))?;
        }
        Ok(FromGpu::Ran { sequence: run.sequence, values, times_ns: times_ns?, drain_ns, sensed, graphs })
    }

    /// Graphs where they are wanted and the driver can make them of these launches.
    fn made_ready(&self, calls: Vec<Vec<KernelCall>>, graphs: bool) -> Calls {
        let made = |calls: &[Vec<KernelCall>]| -> Result<Vec<Graph>, CudaError> {
            calls.iter().map(|call| self.context.graph(call)).collect()
        };
        match graphs.then(|| made(&calls)) {
            Some(Ok(graphs)) => Calls::Graphs(graphs),
            // What the driver has against a launch, it says again when that is started.
            Some(Err(_)) | None => Calls::Launches(calls),
        }
    }

    fn call(&self, calls: &Calls, index: usize) -> Result<(), CudaError> {
        let missing = || CudaError::Invalid(format!("no call {index}"));
        match calls {
            Calls::Launches(calls) => {
                let call = calls.get(index).ok_or_else(missing)?;
                call.iter().try_for_each(|launch| self.context.launch(launch))
            }
            Calls::Graphs(graphs) => self.context.start(graphs.get(index).ok_or_else(missing)?),
        }
    }

    fn kit(&self) -> Result<&Kit, CudaError> {
        self.kit.as_ref().ok_or_else(|| CudaError::Invalid("the trusted kernels are not loaded".to_owned()))
    }

    fn step(
        &mut self,
        step: &Step,
        calls: &Calls,
        cursor: &mut Cursor,
        timeout: Duration,
    ) -> Result<(), CudaError> {
        match *step {
            Step::Upload { pool, offset, bytes, address } => {
                let pool = self.pools.get(pool as usize).ok_or_else(no_pool)?;
                return self.context.upload(address, pool.bytes(offset, bytes)?);
            }
            Step::Download { pool, offset, bytes, address } => {
                // What comes before may hang, and the copy itself waits without end.
                self.context.wait(timeout)?;
                let pool = self.pools.get_mut(pool as usize).ok_or_else(no_pool)?;
                return self.context.download(address, pool.bytes_mut(offset, bytes)?);
            }
            Step::Call(index) => {
                return self.call(calls, index as usize);
            }
            Step::Start => return self.context.record(&self.clocks.pairs[cursor.clock].0),
            Step::Stop => {
                cursor.clock += 1;
                let pair = self.clocks.pairs.get(cursor.clock - 1);
                let pair =
                    pair.ok_or_else(|| CudaError::Invalid("a clock stops that never started".to_owned()))?;
                return self.context.record(&pair.1);
            }
            Step::ResetCache => {
                self.context.wait(timeout)?;
                return self.context.reset_persisting_cache();
            }
            _ => {}
        }
        let question = cursor.question;
        cursor.question += answers(step);
        self.trusted(step, question)
    }

    /// Steps that are one trusted kernel.
    fn trusted(&self, step: &Step, question: usize) -> Result<(), CudaError> {
        let (context, kit) = (&self.context, self.kit()?);
        match *step {
            Step::Poison { address, bytes, cell, secret } => {
                kit.poison(context, (address, bytes), cell as u32, secret)
            }
            Step::FindPoison { address, bytes, cell, secret } => {
                kit.find_poison(context, (address, bytes), cell as u32, secret, question)
            }
            Step::FindChange { address, bytes, secret } => {
                kit.find_change(context, (address, bytes), secret, question)
            }
            Step::FindNonFinite { address, bytes, cell } => {
                kit.find_non_finite(context, (address, bytes), cell as u32, question)
            }
            Step::Sum { address, bytes } => kit.sum(context, (address, bytes), question),
            Step::Differences { ours, theirs, rows, row_elements, cell } => {
                kit.differences(context, (ours, theirs), (rows, row_elements), cell as u32, question)
            }
            Step::Flush { address, bytes } => kit.flush(context, (address, bytes)),
            Step::Copy { from, to, bytes } => kit.copy(context, from, to, bytes),
            Step::Multiply { address, rounds, blocks } => kit.multiply(context, address, rounds, blocks),
            _ => Ok(()),
        }
    }

    fn prepare(&self, call: &GpuCall) -> Result<Vec<KernelCall>, CudaError> {
        call.launches.iter().map(|launch| self.prepare_launch(launch)).collect()
    }

    fn prepare_launch(&self, launch: &GpuLaunch) -> Result<KernelCall, CudaError> {
        let index = launch.kernel as usize;
        let (Some(function), Some(sizes)) = (self.kernels.get(index), self.parameters.get(index)) else {
            return Err(CudaError::Invalid(format!("no kernel {index}")));
        };
        // The driver reads as many bytes as the kernel says: no launch may bring others than were promised at loading.
        let given: Vec<u32> = launch.parameters.iter().map(size_of).collect();
        if given != *sizes {
            return Err(CudaError::Invalid(format!(
                "parameters of {given:?} bytes for a kernel with {sizes:?}"
            )));
        }
        let parameters: Result<Vec<TensorMapBytes>, CudaError> =
            launch.parameters.iter().map(parameter).collect();
        Ok(KernelCall {
            function: *function,
            grid: launch.grid,
            block: launch.block,
            cluster: launch.cluster,
            shared_bytes: launch.shared_bytes,
            cooperative: launch.cooperative,
            programmatic: launch.programmatic,
            parameters: parameters?,
        })
    }
}

/// How many values a step asks for.
const fn answers(step: &Step) -> usize {
    match step {
        Step::FindPoison { .. } | Step::FindChange { .. } | Step::FindNonFinite { .. } | Step::Sum { .. } => {
            1
        }
        Step::Differences { .. } => GROUPS,
        _ => 0,
    }
}

const fn sensed(sample: &Sample) -> Sensed {
    Sensed {
        sm_mhz: sample.sm_mhz,
        memory_mhz: sample.memory_mhz,
        power_mw: sample.power_mw,
        temperature_c: sample.temperature_c,
        reasons: sample.reasons,
    }
}

const fn size_of(parameter: &Parameter) -> u32 {
    match parameter {
        Parameter::Word(_, bytes) => *bytes as u32,
        Parameter::Map(_) => 128,
    }
}

fn parameter(parameter: &Parameter) -> Result<TensorMapBytes, CudaError> {
    match parameter {
        Parameter::Word(word, _) => Ok(word_bytes(*word)),
        Parameter::Map(spec) => map(spec).encode(),
    }
}

fn map(spec: &MapSpec) -> Map {
    Map {
        address: spec.address,
        element: match spec.element {
            MapElement::U8 => Element::U8,
            MapElement::I32 => Element::I32,
            MapElement::F16 => Element::F16,
            MapElement::Bf16 => Element::Bf16,
            MapElement::F32 => Element::F32,
        },
        dims: spec.dims.clone(),
        strides_bytes: spec.strides_bytes.clone(),
        box_elements: spec.box_elements.clone(),
        swizzle: match spec.swizzle {
            PlanSwizzle::None => Swizzle::None,
            PlanSwizzle::B32 => Swizzle::B32,
            PlanSwizzle::B64 => Swizzle::B64,
            PlanSwizzle::B128 => Swizzle::B128,
        },
        promotion: match spec.l2_promotion {
            L2Promotion::None => Promotion::None,
            L2Promotion::B64 => Promotion::B64,
            L2Promotion::B128 => Promotion::B128,
            L2Promotion::B256 => Promotion::B256,
        },
    }
}

fn no_pool() -> CudaError {
    CudaError::Invalid("no such pool".to_owned())
}
