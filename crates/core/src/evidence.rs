//! The evidence packet: everything that one judgement leaves behind, passed or failed.
//!
//! A rejected candidate has `performance: null` and a `failure`. Raw timing samples are kept. The schema is described in
//! `docs/evidence-schema.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::expr::Bindings;
use crate::failure::{Failure, Gate};
use crate::target::{Language, Target};

/// The version of the packet's schema.
pub const EVIDENCE_SCHEMA: u32 = 1;

/// How deep a judgement goes. Each lane runs every check of the one before it, and more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Build, audit and a few correctness checks on a few shapes, a few timing samples: is it worth more?
    Screen,
    /// The whole correctness battery and interleaved timing against the frozen baseline.
    Verify,
    /// All of it again: fresh process, fresh build, new seeds, more samples. Only this lane makes a champion.
    Confirm,
}

/// The judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It passed every gate of its lane. It need not be fast.
    Accepted,
    /// A gate said no.
    Rejected,
}

/// Everything that one judgement leaves behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// [`EVIDENCE_SCHEMA`].
    pub schema_version: u32,
    /// The judgement.
    pub verdict: Verdict,
    /// Why not, where rejected.
    pub failure: Option<Failure>,
    /// How deep the judgement went.
    pub lane: Lane,
    /// What was judged.
    pub candidate: CandidateFacts,
    /// Where and with what.
    pub environment: Environment,
    /// What was checked.
    pub validation: Validation,
    /// How fast it is; `None` where rejected.
    pub performance: Option<Performance>,
    /// What was kept.
    pub artifacts: Artifacts,
    /// What the audit and the sandbox saw.
    pub security: Security,
    /// A command that judges the same candidate again.
    pub replay: String,
}

/// What was judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateFacts {
    /// Contract name and version, as `rmsnorm_f32@1`.
    pub contract: String,
    /// Built for.
    pub target: Target,
    /// Written in.
    pub language: Language,
    /// Digest of the source text.
    pub source: Digest,
    /// Digest of the code object, once it is built.
    pub code_object: Option<Digest>,
}

/// Where and with what it was judged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Environment {
    /// Device name, as the machine reports it.
    pub device: String,
    /// Digest over device, core count, kernel and compiler: measurements with different fingerprints do not compare.
    pub fingerprint: String,
    /// Compiler name and version.
    pub compiler: String,
    /// Digest of the compiler's executable.
    pub compiler_digest: String,
    /// All flags of the build.
    pub flags: Vec<String>,
    /// The kernel's own version string.
    pub os: String,
    /// Any gate that the configuration switched off or weakened, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weakened: Vec<String>,
    /// Where a GPU differs from what is known of its name, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub odd: Vec<String>,
}

/// What was checked.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Validation {
    /// One line a gate, in order; the last one is where a rejected candidate stopped.
    pub gates: Vec<GateReport>,
    /// Calls whose outputs were compared with the oracle.
    pub calls_checked: u64,
    /// Output elements compared with the oracle.
    pub elements_checked: u64,
    /// The element closest to (or furthest beyond) its bound.
    pub worst: Option<WorstElement>,
}

/// One gate's outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// The gate.
    pub gate: Gate,
    /// Whether it let the candidate through.
    pub passed: bool,
    /// Time spent in it.
    pub wall_ms: f64,
    /// What it did, in a few words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// An output element and its error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorstElement {
    /// Output tensor.
    pub tensor: String,
    /// Flat index into it.
    pub index: u64,
    /// What the candidate wrote, as text because it may be NaN.
    pub got: String,
    /// What the oracle says.
    pub expected: String,
    /// Error divided by the bound; above 1 is a failure.
    pub error_over_bound: f64,
    /// Workload and distribution.
    pub case: String,
}

/// How fast it is.
///
/// With several bench workloads the times are weighted geometric means over them, so that `ratio` is
/// `baseline_us / median_us` up to resampling; with one workload they are plain medians.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Performance {
    /// Median time of one call.
    pub median_us: f64,
    /// Median time of one call of the frozen baseline, interleaved where the lane says so.
    pub baseline_us: f64,
    /// Name of the frozen baseline.
    pub baseline: String,
    /// Median of the paired ratios `baseline / candidate`; above 1 is faster.
    pub ratio: f64,
    /// Lower end of the 95 % bootstrap interval of `ratio`.
    pub ci_low: f64,
    /// Upper end of it.
    pub ci_high: f64,
    /// `1 / (1 + (T - T_sol) / (T_b - T_sol))`, weighted geometric mean; `None` where the device is not calibrated.
    pub sol_score: Option<f64>,
    /// The ratio that two identical binaries reached on this machine: gains below it are not gains.
    pub noise_floor: f64,
    /// Whether baseline and candidate were measured alternately (verify and confirm lanes).
    pub interleaved: bool,
    /// One row a bench workload.
    pub workloads: Vec<WorkloadTiming>,
    /// The same kernel against other named baselines, in the same run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rivals: Vec<Rival>,
}

/// One bench workload's timing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkloadTiming {
    /// Its name.
    pub workload: String,
    /// Its axes.
    pub axes: Bindings,
    /// Its weight in the means.
    pub weight: f64,
    /// Median time of one call.
    pub median_us: f64,
    /// The baseline's.
    pub baseline_us: f64,
    /// Median of the paired ratios.
    pub ratio: f64,
    /// Lower end of its 95 % interval.
    pub ci_low: f64,
    /// Upper end of it.
    pub ci_high: f64,
    /// The roofline bound at this shape.
    pub sol_us: Option<f64>,
    /// The score at this shape.
    pub sol_score: Option<f64>,
    /// Compulsory traffic over time, divided by the calibrated copy bandwidth at this size.
    pub copy_fraction: Option<f64>,
    /// Calls in one timed interval (short kernels are timed in batches over distinct buffers).
    pub calls_per_sample: u32,
    /// Whether caches were cold.
    pub cold: bool,
    /// Raw samples: time of one call, in order of measurement.
    pub samples_us: Vec<f64>,
    /// The baseline's raw samples.
    pub baseline_samples_us: Vec<f64>,
    /// Samples whose modified z-score (MAD) is above 3.5: reported, never removed.
    pub outliers: u32,
}

/// The candidate against another named baseline.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Rival {
    /// Its name in the contract, such as `openblas`.
    pub name: String,
    /// Why there are no numbers, such as `libopenblas not found`.
    pub skipped: Option<String>,
    /// The rival's median time of one call.
    pub median_us: Option<f64>,
    /// Median of the paired ratios `rival / candidate`; above 1 means that the candidate is faster.
    pub ratio: Option<f64>,
    /// Lower end of its 95 % interval.
    pub ci_low: Option<f64>,
    /// Upper end of it.
    pub ci_high: Option<f64>,
    /// What it runs on, such as `torch 2.11.0, Python 3.12.3`; for a rival in Python.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// One row a bench workload, as far as it was measured; for a rival in Python.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<RivalTiming>,
}

/// A rival on one bench workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RivalTiming {
    /// The workload.
    pub workload: String,
    /// The rival's median time of one call.
    pub median_us: f64,
    /// The candidate's, measured in turn with it.
    pub candidate_us: f64,
    /// Median of the paired ratios `rival / candidate`.
    pub ratio: f64,
    /// Lower end of its 95 % interval.
    pub ci_low: f64,
    /// Upper end of it.
    pub ci_high: f64,
    /// How it was called: `graph` or `plain`, with versions of its libraries.
    pub how: String,
}

/// What was kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Artifacts {
    /// First lines of the build log, where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub build_log: String,
    /// Compile time.
    pub build_ms: Option<f64>,
    /// Facts read from the binary.
    pub object: Option<ObjectFacts>,
    /// How a GPU was used and what it was like, one row a timed workload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device: Vec<DeviceState>,
    /// What a tool of the vendor's saw, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolReport>,
}

/// What a memory checker or a profiler saw.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ToolReport {
    /// `memcheck`, `racecheck`, `initcheck`, `synccheck` or `profile`.
    pub tool: String,
    /// What a checker found in the candidate's own kernels.
    pub findings: u64,
    /// The first findings, and why the calls ended early, where they did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// One row a launch that was profiled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<KernelProfile>,
}

/// One profiled launch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct KernelProfile {
    /// The kernel.
    pub symbol: String,
    /// Its grid, as the profiler writes it.
    pub grid: String,
    /// Its blocks, as the profiler writes them.
    pub block: String,
    /// Metrics by the profiler's own names, in base units.
    pub metrics: BTreeMap<String, f64>,
}

/// How a GPU was used and what it was like around one workload's timed calls.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeviceState {
    /// The workload.
    pub workload: String,
    /// Whether calls were started as graphs; otherwise launch by launch, into a stream.
    pub graph: bool,
    /// After the warm-up; `None` where the driver's management library is not there.
    pub before: Option<DeviceSample>,
    /// After the last timed call.
    pub after: Option<DeviceSample>,
    /// Whether the workload was timed a second time, because the device had slowed down.
    pub measured_again: bool,
}

/// Clocks, power and temperature of a GPU at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeviceSample {
    /// Clock of the multiprocessors in MHz.
    pub sm_mhz: u32,
    /// Clock of the memory in MHz.
    pub memory_mhz: u32,
    /// Power in milliwatts.
    pub power_mw: u32,
    /// Temperature in degrees Celsius.
    pub temperature_c: u32,
    /// What held the clocks down, such as `power_cap` or `thermal`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slowed_by: Vec<String>,
}

/// Facts read from a code object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectFacts {
    /// Size of the machine code.
    pub text_bytes: u64,
    /// Size of writable data, zero-initialised included.
    pub data_bytes: u64,
    /// Exported symbols.
    pub exports: Vec<String>,
    /// Imported symbols.
    pub imports: Vec<String>,
    /// Needed libraries.
    pub libraries: Vec<String>,
    /// Instructions by family, such as `avx512-fma`.
    pub families: BTreeMap<String, u64>,
    /// Vector registers stored to the stack: visible spills.
    pub vector_spills: u64,
    /// System-call instructions.
    pub raw_syscalls: u64,
    /// Entries in constructor tables that are not the compiler's own.
    pub constructors: u64,
    /// Whether a segment is writable and executable.
    pub writable_code: bool,
    /// One row a kernel of a GPU's code object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<KernelFacts>,
}

/// What one kernel of a GPU's code object takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KernelFacts {
    /// Its symbol.
    pub symbol: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes that a thread stores to local memory because it has no more registers.
    pub spill_store_bytes: u32,
    /// Bytes that it loads from there.
    pub spill_load_bytes: u32,
    /// Stack frame of a thread in bytes.
    pub stack_bytes: u32,
    /// Static shared memory of a block in bytes.
    pub static_shared_bytes: u32,
    /// Named barriers.
    pub barriers: u32,
}

/// What the audit and the sandbox saw.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Security {
    /// The confinement that the worker reached, such as `namespaces+landlock+seccomp+rlimits`.
    pub sandbox: String,
    /// What the machine would not give, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Observations that are not failures, such as parked threads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Evidence {
    /// Whether it passed.
    pub fn is_accepted(&self) -> bool {
        self.verdict == Verdict::Accepted
    }

    /// The measured ratio to the frozen baseline, where there is one.
    pub fn ratio(&self) -> Option<f64> {
        self.performance.as_ref().map(|performance| performance.ratio)
    }
}
