//! The candidate against other people's kernels: cuBLAS and `torch.compile` through torch, FlashInfer.
//!
//! They run in a Python process beside the worker, on the very tensors on which the candidate is timed, with the same bytes
//! overwritten before each call, in turn with the candidate. What they compute is held against the oracle first: a rival that is
//! wrong is no rival. Whatever is missing is said by name, and costs the candidate nothing.

mod lane;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kernsmith_core::Lane;
use kernsmith_core::evidence::{Rival, RivalTiming};
use kernsmith_op_contract::{Baseline, BaselineRole, Contract, TensorSpec};
use kernsmith_stats::{SequentialStop, Step, Workload, median, weighted_geometric_mean};
use kernsmith_tensor::DType;
use serde_json::json;

use self::lane::{On, PythonLane, Skipped, Spec, Work};
use super::clock::Timed;
use super::timed::TimedPool;
use super::trial::GpuTrial;
use super::worker::Mode;
use crate::arena::{Placed, Span};
use crate::check::{self, Tally, compare};
use crate::error::{HarnessError, Stop};
use crate::layout::{Shape, TensorLayout};
use crate::timing::{PairRules, Series, joint};

/// The process, from the first rival of a harness to its end: libraries are loaded and kernels compiled once.
#[derive(Debug, Default)]
pub(crate) struct Rivals(Mutex<Option<Result<PythonLane, Skipped>>>);

/// A library that rounds more than the contract allows is a yardstick all the same, and the better for it: up to this many times
/// the bound it is timed, and the evidence says by how much it is off.
const INEXACT: f64 = 16.0;

type Held<'a> = MutexGuard<'a, Option<Result<PythonLane, Skipped>>>;

impl Rivals {
    fn held(&self) -> Held<'_> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Times every rival of the contract in pairs with what is loaded in the trial.
pub(crate) fn measure(trial: &mut GpuTrial<'_>, rivals: &Rivals) -> Result<Vec<Rival>, Stop> {
    let contract = trial.setup.contract.clone();
    let platform = trial.setup.target.platform();
    let named = contract.baselines_for(platform).filter(|rival| rival.role == BaselineRole::Rival);
    let named: Vec<&Baseline> = named.collect();
    if named.is_empty() {
        return Ok(Vec::new());
    }
    trial.state.open_all_timed(trial.setup)?;
    let mut held = rivals.held();
    if let Some(Ok(lane)) = held.as_mut()
        && !lane.is_alive()
    {
        *held = None;
    }
    let mut measured = Vec::new();
    for rival in named {
        let cache = trial.setup.cache_dir.join("rivals");
        let flush_bytes = trial.runner.lanes.flush.1;
        let start = || PythonLane::start(On { device: "cuda", flush_bytes, cache: &cache });
        measured.push(match (rival.is_python(), held.get_or_insert_with(start)) {
            (false, _) => skipped(rival, "only rivals in Python are timed on a GPU".to_owned()),
            (true, Err(why)) => skipped(rival, why.clone()),
            (true, Ok(lane)) => one(trial, lane, rival)?,
        });
        // One that took the process with it does not take the others.
        if let Some(Ok(lane)) = held.as_mut()
            && (lane.close().is_err() || !lane.is_alive())
        {
            *held = None;
        }
    }
    Ok(measured)
}

fn skipped(rival: &Baseline, why: String) -> Rival {
    Rival { name: rival.name.clone(), skipped: Some(why), ..Rival::default() }
}

/// One rival on all bench shapes.
fn one(trial: &mut GpuTrial<'_>, lane: &mut PythonLane, rival: &Baseline) -> Result<Rival, Stop> {
    let setup = trial.setup;
    let mut measured: Vec<(usize, Series)> = Vec::new();
    let mut timings = Vec::new();
    let mut reason = None;
    for index in setup.shapes_of(kernsmith_op_contract::Role::Bench) {
        let name = &setup.shapes[index].name;
        let (series, how) = match on_shape(trial, lane, rival, index)? {
            Ok(found) => found,
            Err(why) => {
                reason = Some(format!("{name}: {why}"));
                break;
            }
        };
        let interval = joint(setup, &[workload(1.0, &series)], 1)?;
        timings.push(RivalTiming {
            workload: name.clone(),
            median_us: median(&series.baseline),
            candidate_us: median(&series.candidate),
            ratio: interval.ratio,
            ci_low: interval.low,
            ci_high: interval.high,
            how,
        });
        measured.push((index, series));
    }
    let version = Some(lane.facts.clone());
    let name = rival.name.clone();
    if reason.is_some() || measured.is_empty() {
        return Ok(Rival { name, skipped: reason, version, workloads: timings, ..Rival::default() });
    }
    let weight = |index: &usize| setup.contract.workloads[*index].weight;
    let series: Vec<Workload<'_>> =
        measured.iter().map(|(index, series)| workload(weight(index), series)).collect();
    let joint = joint(setup, &series, 1)?;
    let medians = measured.iter().map(|(index, series)| (weight(index), median(&series.baseline)));
    Ok(Rival {
        name,
        skipped: None,
        median_us: Some(weighted_geometric_mean(medians)),
        ratio: Some(joint.ratio),
        ci_low: Some(joint.low),
        ci_high: Some(joint.high),
        version,
        workloads: timings,
    })
}

fn workload(weight: f64, series: &Series) -> Workload<'_> {
    Workload { weight, baseline: &series.baseline, candidate: &series.candidate, paired: series.paired }
}

/// Pairs of one shape, after a look at what the rival computes.
fn on_shape(
    trial: &mut GpuTrial<'_>,
    lane: &mut PythonLane,
    rival: &Baseline,
    index: usize,
) -> Result<Result<(Series, String), Skipped>, Stop> {
    let Some(pool) = trial.state.timed.get(&index).cloned() else {
        return Err(HarnessError::Statistics("no timed buffers".to_owned()).into());
    };
    over_pool(trial, lane, rival, (index, &pool))
}

fn over_pool(
    trial: &mut GpuTrial<'_>,
    lane: &mut PythonLane,
    rival: &Baseline,
    (index, pool): (usize, &TimedPool),
) -> Result<Result<(Series, String), Skipped>, Stop> {
    let setup = trial.setup;
    let (contract, shape) = (&setup.contract, &setup.shapes[index]);
    let placed = pool.placed(&pool.at_rest());
    let opened = open(lane, rival, (contract, shape), (pool, &placed))?;
    let how = match opened.and_then(|how| lane.batch(1).and_then(|_| lane.fetch()).map(|()| how)) {
        Ok(how) => how,
        Err(why) => return Ok(Err(why)),
    };
    let how = match wrong(trial, index, pool, &placed)? {
        None => how,
        Some((times, _)) if times <= INEXACT => {
            format!("{how}, off by {times:.1} times the contract's bound")
        }
        Some((_, wrong)) => return Ok(Err(format!("its results are not those of the contract: {wrong}"))),
    };
    let timeout = trial.timeout(index);
    let mode = Mode { graphs: trial.runner.launches(setup, shape)? > 1, sense: false };
    let (mut ours, _) = Timed::warm_up(setup, index, pool, &mut trial.runner, timeout, mode)?;
    let rules = PairRules::of(setup, Lane::Confirm);
    Ok(in_turn(&mut ours, lane, rules)?.map(|series| (series, how)))
}

fn open(
    lane: &mut PythonLane,
    rival: &Baseline,
    (contract, shape): (&Contract, &Shape),
    (pool, placed): (&TimedPool, &Placed),
) -> Result<Result<String, Skipped>, Stop> {
    let files = || Ok((pool.inputs.reader()?, pool.outputs.writer()?));
    let files: std::io::Result<_> = files();
    let (reader, writer) = files.map_err(HarnessError::system("open a memory file for the rivals"))?;
    let specs = |tensors: &[TensorSpec], layouts: &[TensorLayout], spans: &[Span]| {
        let all = tensors.iter().zip(layouts).zip(spans);
        all.map(|((tensor, layout), span)| spec(tensor, layout, span, shape)).collect::<Result<Vec<_>, _>>()
    };
    let inputs = specs(&contract.inputs, &shape.inputs, &placed.inputs);
    let outputs = specs(&contract.outputs, &shape.outputs, &placed.outputs);
    let scalars = contract.scalars.iter().map(|scalar| (scalar.name.clone(), json!(scalar.value)));
    let file = format!("{}/{}", contract.name, rival.file);
    let work = Work {
        rival: &rival.name,
        file: &file,
        source: &rival.source,
        axes: json!(shape.axes),
        scalars: serde_json::Value::Object(scalars.collect()),
        inputs: (&reader, inputs?),
        outputs: (&writer, outputs?),
    };
    Ok(lane.open(&work))
}

fn spec(
    tensor: &TensorSpec,
    layout: &TensorLayout,
    span: &Span,
    shape: &Shape,
) -> Result<Spec, HarnessError> {
    let extents = tensor.shape.iter().map(|extent| Ok(extent.eval(&shape.axes)?.max(0) as u64));
    Ok(Spec {
        name: layout.name.clone(),
        dtype: torch_name(layout.dtype),
        shape: extents.collect::<Result<_, HarnessError>>()?,
        offset: span.offset,
        bytes: span.bytes,
    })
}

/// An element type as torch calls it; narrow floats come as bytes.
const fn torch_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "float64",
        DType::F32 => "float32",
        DType::F16 => "float16",
        DType::Bf16 => "bfloat16",
        DType::F8E4M3FN => "float8_e4m3fn",
        DType::F8E5M2 => "float8_e5m2",
        DType::I64 => "int64",
        DType::I32 => "int32",
        DType::I16 => "int16",
        DType::I8 => "int8",
        DType::Bool => "bool",
        DType::U8 | DType::F4E2M1 | DType::E8M0 => "uint8",
    }
}

/// What is wrong with the outputs that the rival left in the pool, by the oracle's rows: how many times the contract's bound, and
/// in words.
fn wrong(
    trial: &mut GpuTrial<'_>,
    index: usize,
    pool: &TimedPool,
    placed: &Placed,
) -> Result<Option<(f64, String)>, Stop> {
    let setup = trial.setup;
    let (contract, shape) = (&setup.contract, &setup.shapes[index]);
    let slices = check::sample(shape, &setup.options, &mut trial.rng);
    trial.state.oracle.begin(contract, shape, placed, &slices)?;
    let answers = trial.state.oracle.finish(contract, shape, &slices)?;
    let mut tally = Tally::default();
    match compare(contract, shape, &pool.outputs, placed, &answers, "a rival", &mut tally) {
        Ok(()) => Ok(None),
        Err(Stop::Rejected(rejection)) => {
            let times = tally.worst.map_or(f64::INFINITY, |worst| worst.error_over_bound);
            // What fails within every element's bound fails on the whole: that is no matter of a factor.
            Ok(Some((if times > 1.0 { times } else { f64::INFINITY }, rejection.detail)))
        }
        Err(other) => Err(other),
    }
}

/// Blocks of calls in turn, the order changing from block to block, until the interval is narrow or the time is up.
fn in_turn(
    ours: &mut Timed<'_>,
    lane: &mut PythonLane,
    rules: PairRules,
) -> Result<Result<Series, Skipped>, Stop> {
    let stop = SequentialStop {
        target_half_width: rules.target_half_width,
        min_samples: rules.least as usize,
        max_samples: rules.most as usize,
    };
    let mut series = Series { paired: true, calls: 1, cold: true, ..Series::default() };
    let mut log_ratios: Vec<f64> = Vec::new();
    let begin = Instant::now();
    for round in 0_u32.. {
        let rival_first = round % 2 == 0;
        let lease = ours.runner.lease.clone();
        let mut theirs = |calls| {
            let _alone = lease.lock();
            lane.batch(calls)
        };
        let early = if rival_first { Some(theirs(ours.calls)) } else { None };
        let times_us = ours.batch()?.times_us;
        let theirs = match early.unwrap_or_else(|| theirs(ours.calls)) {
            Ok(theirs) => theirs,
            Err(why) => return Ok(Err(why)),
        };
        log_ratios.extend(theirs.iter().zip(&times_us).map(|(theirs, ours)| (theirs / ours).ln()));
        series.baseline.extend(theirs);
        series.candidate.extend(times_us);
        let enough = log_ratios.len() >= rules.least as usize;
        // A rival's process answers more slowly than a worker does.
        let over = begin.elapsed() >= rules.budget.max(Duration::from_millis(500));
        if (enough && over) || stop.after(&log_ratios) != Step::Continue {
            break;
        }
    }
    Ok(Ok(series))
}
