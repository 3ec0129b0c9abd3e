//! NVIDIA's own tools around a candidate: the memory checkers of `compute-sanitizer`, and the kernel profiler `ncu`.
//!
//! A tool starts the worker and puts itself between it and the driver, so such a worker is not confined; a candidate has no host
//! code. It calls the candidate on a few shapes and times nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kernsmith_core::evidence::{KernelProfile, ToolReport};
use kernsmith_core::{Candidate, Lane};
use kernsmith_op_contract::Role;
use kernsmith_toolchain::cuda::CudaObject;
use kernsmith_wire::gpu::Step;

use super::checked::Staged;
use super::gates::correctness;
use super::runner::{Bare, GpuRunner};
use super::trial::GpuTrial;
use super::worker::{Workshop, Wrapper};
use super::{Inner, tool_logs};
use crate::arena::Arena;
use crate::error::{HarnessError, Stop};
use crate::gates::build::BuildLog;
use crate::layout::Side;

/// A checker slows a kernel down by orders of magnitude.
const CALL_TIMEOUT: Duration = Duration::from_mins(2);
/// Inputs of a bench shape that is called under a tool.
const BENCH_BYTES: u64 = 64 << 20;
/// What the profiler is asked for, besides registers and shared memory, which the build knows.
const METRICS: [&str; 9] = [
    "gpu__time_duration.sum",
    "sm__throughput.avg.pct_of_peak_sustained_elapsed",
    "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed",
    "dram__bytes_read.sum",
    "dram__bytes_write.sum",
    "lts__t_sector_hit_rate.pct",
    "sm__warps_active.avg.pct_of_peak_sustained_active",
    "smsp__inst_executed.sum",
    "sm__inst_executed_pipe_tensor.sum",
];

/// A tool that watches a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Accesses outside of memory, and misaligned ones.
    Memcheck,
    /// Races on shared memory.
    Racecheck,
    /// Reads of device memory that nobody has written.
    Initcheck,
    /// Illegal use of barriers.
    Synccheck,
    /// The profiler, with a fixed small set of metrics.
    Profile,
}

impl Tool {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memcheck => "memcheck",
            Self::Racecheck => "racecheck",
            Self::Initcheck => "initcheck",
            Self::Synccheck => "synccheck",
            Self::Profile => "profile",
        }
    }

    const fn program(self) -> &'static str {
        if matches!(self, Self::Profile) { "ncu" } else { "compute-sanitizer" }
    }

    fn arguments(self, log: &Path, symbols: &[&str]) -> Vec<String> {
        let log = log.display().to_string();
        let words: Vec<String> = match self {
            Self::Profile => {
                let kernels = format!("regex:^({})$", symbols.join("|"));
                let metrics = METRICS.join(",");
                [
                    "--csv",
                    "--page",
                    "raw",
                    "--print-units",
                    "base",
                    "--clock-control",
                    "none",
                    "--kernel-name",
                ]
                .map(str::to_owned)
                .into_iter()
                .chain([kernels, "--metrics".to_owned(), metrics])
                .collect()
            }
            checker => vec!["--tool".to_owned(), checker.as_str().to_owned()],
        };
        words.into_iter().chain(["--log-file".to_owned(), log]).collect()
    }
}

impl std::str::FromStr for Tool {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        [Self::Memcheck, Self::Racecheck, Self::Initcheck, Self::Synccheck, Self::Profile]
            .into_iter()
            .find(|tool| tool.as_str() == word)
            .ok_or_else(|| {
                format!("`{word}` is no checker; there are memcheck, racecheck, initcheck and synccheck")
            })
    }
}

/// Calls a candidate under a tool and reads what the tool says.
pub(crate) fn watch(inner: &Inner, candidate: &Candidate, tool: Tool) -> Result<ToolReport, HarnessError> {
    let object = match inner.built(candidate, &mut BuildLog::default()) {
        Ok(object) => object,
        Err(Stop::Apparatus(error)) => return Err(error),
        Err(Stop::Rejected(rejection)) => {
            let lines = vec![format!("not run: {}: {}", rejection.class, rejection.detail)];
            return Ok(ToolReport { tool: tool.as_str().to_owned(), lines, ..ToolReport::default() });
        }
    };
    let program = find(inner.toolkit_root(), tool)?;
    let folder = tempfile::tempdir().map_err(HarnessError::system("make a folder for a tool's log"))?;
    let log = folder.path().join("log");
    let symbols: Vec<&str> = candidate.proposal.plan.symbols();
    let wrapper =
        Wrapper { program, arguments: tool.arguments(&log, &symbols), folder: folder.path().to_owned() };
    let stopped = call_under(inner, candidate, &object, wrapper)?;
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let report = match tool {
        Tool::Profile => {
            let kernels: Vec<KernelProfile> = tool_logs::profile(&text, &METRICS);
            ToolReport { tool: tool.as_str().to_owned(), findings: 0, lines: Vec::new(), kernels }
        }
        checker => tool_logs::checked(checker.as_str(), &text, &symbols),
    };
    refusal(tool, &text, &report)?;
    Ok(ToolReport { lines: report.lines.iter().cloned().chain(stopped).collect(), ..report })
}

/// What a tool says when it may not work here.
fn refusal(tool: Tool, text: &str, report: &ToolReport) -> Result<(), HarnessError> {
    let refused = |reason: String| Err(HarnessError::ToolRefused { tool: tool.program(), reason });
    if text.contains("ERR_NVGPUCTRPERM") {
        return refused(
            "this user may not read performance counters (ERR_NVGPUCTRPERM); the driver's option \
             NVreg_RestrictProfilingToAdminUsers=0 or a privileged user changes that"
                .to_owned(),
        );
    }
    let silent = if tool == Tool::Profile {
        report.kernels.is_empty()
    } else {
        !text.contains("ERROR SUMMARY") && !text.contains("SUMMARY:")
    };
    if !silent {
        return Ok(());
    }
    let said: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    refused(if said.is_empty() { "it left no log".to_owned() } else { said.join(" | ") })
}

/// Calls the candidate on a few small shapes, and on one bench shape; what stopped it, if something did.
fn call_under(
    inner: &Inner,
    candidate: &Candidate,
    object: &CudaObject,
    wrapper: Wrapper,
) -> Result<Option<String>, HarnessError> {
    let setup = &*inner.setup;
    let mut state = inner.state();
    let workshop = Workshop { wrapper: Some(wrapper), ..state.workshop.clone() };
    let bare = Bare::start(&workshop, &[])?;
    let stopped = match bare.load(setup, &candidate.proposal.plan, &object.cubin, &state.arena) {
        Ok(runner) => {
            let mut trial = GpuTrial::around(setup, &mut state, runner, Lane::Screen, None);
            let outcome = calls(&mut trial);
            let GpuTrial { runner, .. } = trial;
            end(runner);
            outcome
        }
        Err(stop) => Err(stop),
    };
    match stopped {
        Ok(()) => Ok(None),
        Err(Stop::Rejected(rejection)) => {
            Ok(Some(format!("the calls ended early: {}: {}", rejection.class, rejection.detail)))
        }
        Err(Stop::Apparatus(error)) => Err(error),
    }
}

/// The worker says goodbye, so that the tool can write its summary.
fn end(runner: GpuRunner) {
    runner.worker.end(CALL_TIMEOUT);
}

fn calls(trial: &mut GpuTrial<'_>) -> Result<(), Stop> {
    let setup = trial.setup;
    let jobs = correctness::jobs(setup, true, &mut trial.rng);
    let mut calls: Vec<(usize, usize, Side)> =
        jobs.iter().map(|job| (job.shape, job.case, job.side)).collect();
    let bench = setup
        .shapes_of(Role::Bench)
        .into_iter()
        .filter(|shape| setup.shapes[*shape].input_bytes() <= BENCH_BYTES);
    calls.extend(
        bench.max_by_key(|shape| setup.shapes[*shape].input_bytes()).map(|shape| (shape, 0, Side::Right)),
    );
    for (index, case, side) in calls {
        let shape = &setup.shapes[index];
        let arena = &mut trial.state.arena;
        let (mut call, _) = Arena::place(shape, Side::Left, arena.slot(0));
        arena.fill(&setup.contract, &setup.contract.cases[case], shape, &mut call, &mut trial.rng);
        let places = trial.runner.lanes.place(shape, side, 0);
        let staged = Staged::new(trial, places, 0);
        let launches = trial.runner.call(setup, shape, &staged.inputs, &staged.outputs)?;
        let mut steps = Vec::new();
        staged.before(trial, &call.placed, &mut steps);
        steps.push(Step::Call(0));
        trial.runner.run(vec![launches], steps, CALL_TIMEOUT)?;
    }
    Ok(())
}

/// The tool: beside the toolkit's compiler, in the usual place, or on the path.
fn find(toolkit: &Path, tool: Tool) -> Result<PathBuf, HarnessError> {
    let name = tool.program();
    let path = std::env::var_os("PATH").unwrap_or_default();
    [toolkit.join("bin"), PathBuf::from("/usr/local/cuda/bin")]
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .ok_or(HarnessError::ToolMissing { tool: name })
}
