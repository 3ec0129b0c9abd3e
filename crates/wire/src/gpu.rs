//! What harness and GPU worker say to each other.
//!
//! A GPU candidate has no host code, so this worker's host side is trusted and can do more than the other one: it is given a
//! row of [`Step`]s, puts them into one stream, waits, and answers with what the steps found. Which steps, in which order,
//! over which addresses, is the harness's business alone.

use serde::{Deserialize, Serialize};

/// From the harness to its GPU worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToGpu {
    /// The first frame.
    Hello {
        /// [`crate::build_id`] of the harness.
        build: u64,
        /// What the worker may do, as the sandbox's own policy.
        policy: serde_json::Value,
        /// Number of the device among those that the process sees.
        ordinal: u32,
    },
    /// The trusted kernels that steps use; the code object comes with the frame.
    Kit,
    /// Memory files of the harness, in order of their numbers; they come with the frame and stay mapped.
    Pools {
        /// Which of them may be written.
        writable: Vec<bool>,
    },
    /// Device memory; every range lies between two that fault.
    Reserve {
        /// Lengths in bytes.
        bytes: Vec<u64>,
    },
    /// Unmap ranges by their first addresses.
    Release {
        /// Addresses.
        addresses: Vec<u64>,
    },
    /// The candidate's code object, which comes with the frame; one that was loaded before is unloaded.
    Load {
        /// Its kernels, which launches name by their index.
        kernels: Vec<Kernel>,
    },
    /// Steps, one after the other.
    Run(GpuRun),
    /// End.
    Bye,
}

/// A kernel that shall be found in a code object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// Its symbol.
    pub symbol: String,
    /// Sizes of the parameters that the plan will pass, in bytes.
    pub parameter_bytes: Vec<u32>,
    /// The most dynamic shared memory that a launch will ask for, in bytes.
    pub shared_bytes: u32,
    /// Whether it is launched in clusters.
    pub cluster: bool,
}

/// From the GPU worker to the harness.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromGpu {
    /// The worker is confined and has its device.
    Hello {
        /// [`crate::build_id`] of the worker.
        build: u64,
        /// What it reached, as the sandbox's own report.
        confinement: serde_json::Value,
        /// The device.
        device: Option<GpuDevice>,
    },
    /// Done.
    Done,
    /// Ranges are mapped.
    Reserved {
        /// First address and length of each.
        ranges: Vec<(u64, u64)>,
    },
    /// The code object is loaded.
    Loaded {
        /// What each kernel takes.
        kernels: Vec<LoadedKernel>,
    },
    /// All steps have ended.
    Ran {
        /// The run's number.
        sequence: u32,
        /// What the asking steps found, in their order.
        values: Vec<u64>,
        /// Nanoseconds between [`Step::Start`] and [`Step::Stop`], in their order.
        times_ns: Vec<u64>,
        /// Nanoseconds that the device was still busy after the stream had ended.
        drain_ns: u64,
        /// What the device was like while it did the steps, where it was asked for and can be known.
        sensed: Option<Sensed>,
        /// Whether the calls were graphs: asked for, and the driver could make them.
        graphs: bool,
    },
    /// It cannot be done; the worker goes on.
    Refused {
        /// What was the matter.
        kind: Refusal,
        /// Why.
        reason: String,
    },
    /// The device failed; the context is lost and the worker ends.
    Failed {
        /// The driver's number, such as 700 for an illegal address; `None` where time was up.
        code: Option<u32>,
        /// What the driver says.
        reason: String,
    },
}

/// A device's clocks, power and temperature at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sensed {
    /// Clock of the multiprocessors in MHz.
    pub sm_mhz: u32,
    /// Clock of the memory in MHz.
    pub memory_mhz: u32,
    /// Power in milliwatts.
    pub power_mw: u32,
    /// Temperature in degrees Celsius.
    pub temperature_c: u32,
    /// Why the clocks are not higher: the bits of NVML's `nvmlClocksEventReasons`.
    pub reasons: u64,
}

/// Why something cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No driver, or no such device.
    NoDevice,
    /// A symbol is not in the code object.
    MissingSymbol,
    /// A kernel does not take the parameters that the plan passes.
    Parameters,
    /// The device cannot launch it like this.
    Launch,
    /// Not enough device memory.
    Memory,
    /// Anything else.
    Other,
}

/// What a loaded kernel takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedKernel {
    /// Registers of a thread.
    pub registers: u32,
    /// Local memory of a thread in bytes.
    pub local_bytes: u32,
    /// Static shared memory of a block in bytes.
    pub static_shared_bytes: u32,
    /// Most threads of a block.
    pub max_threads: u32,
}

/// A device, as its driver describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuDevice {
    /// Name.
    pub name: String,
    /// Unique number.
    pub uuid: String,
    /// Architecture, such as `sm_90a`.
    pub arch: String,
    /// Multiprocessors.
    pub sm_count: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Last-level cache in bytes.
    pub l2_bytes: u64,
    /// Dynamic shared memory that one block may have, in bytes.
    pub shared_optin_bytes: u32,
    /// Highest clock of the multiprocessors in kHz.
    pub clock_khz: u32,
    /// Highest clock of the memory in kHz.
    pub memory_clock_khz: u32,
    /// Width of the memory bus in bits.
    pub memory_bus_bits: u32,
    /// Interface version of the driver, as 13000.
    pub driver_version: u32,
}

/// Steps, one after the other, in one stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GpuRun {
    /// Counts up.
    pub sequence: u32,
    /// How long all of it may take, in milliseconds.
    pub timeout_ms: u64,
    /// Launches of a call, which steps name by their index.
    pub calls: Vec<GpuCall>,
    /// The steps.
    pub steps: Vec<Step>,
    /// Whether each call is made a graph before the first step, and [`Step::Call`] starts that graph.
    pub graphs: bool,
    /// Whether clocks, power and temperature are asked for while the device is at work.
    pub sense: bool,
}

/// One call of a candidate: its launches in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GpuCall {
    /// The launches.
    pub launches: Vec<GpuLaunch>,
}

/// One launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuLaunch {
    /// Index of the kernel.
    pub kernel: u16,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Blocks of a cluster.
    pub cluster: Option<[u32; 3]>,
    /// Dynamic shared memory in bytes.
    pub shared_bytes: u32,
    /// All blocks resident together.
    pub cooperative: bool,
    /// May begin early.
    pub programmatic: bool,
    /// Parameters.
    pub parameters: Vec<Parameter>,
}

/// One parameter of a launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Parameter {
    /// A number or a pointer: value and size in bytes.
    Word(u64, u8),
    /// A tensor map.
    Map(MapSpec),
}

/// A tensor map; words as in the plan format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapSpec {
    /// Where the tensor begins.
    pub address: u64,
    /// `u8`, `i32`, `f16`, `bf16` or `f32`.
    pub element: kernsmith_core::launch::MapElement,
    /// Elements, innermost first.
    pub dims: Vec<u64>,
    /// Bytes from one index to the next.
    pub strides_bytes: Vec<u64>,
    /// Elements of a box.
    pub box_elements: Vec<u32>,
    /// Permutation in shared memory.
    pub swizzle: kernsmith_core::launch::Swizzle,
    /// Fetch granularity.
    pub l2_promotion: kernsmith_core::launch::L2Promotion,
}

/// How elements are poisoned and looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u32)]
pub enum Cell {
    /// 16 bytes at a time, whatever they hold.
    Block = 0,
    /// Half precision.
    F16 = 1,
    /// Brain floats.
    Bf16 = 2,
    /// Single precision.
    F32 = 3,
}

/// Answers of [`Step::Differences`].
pub const GROUPS: usize = 8;

/// One step in the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Copies from a pool.
    Upload {
        /// Number of the pool.
        pool: u16,
        /// First byte in it.
        offset: u64,
        /// Length.
        bytes: u64,
        /// Where to.
        address: u64,
    },
    /// Copies to a pool.
    Download {
        /// Number of the pool.
        pool: u16,
        /// First byte in it.
        offset: u64,
        /// Length.
        bytes: u64,
        /// Where from.
        address: u64,
    },
    /// Lays poison.
    Poison {
        /// Where.
        address: u64,
        /// How much.
        bytes: u64,
        /// How.
        cell: Cell,
        /// Its secret.
        secret: u64,
    },
    /// Asks for the first cell that still holds its poison; `u64::MAX` for none.
    FindPoison {
        /// Where.
        address: u64,
        /// How much.
        bytes: u64,
        /// How it was laid.
        cell: Cell,
        /// Its secret.
        secret: u64,
    },
    /// Asks for the first cell of 16 bytes that does *not* hold its poison any more; `u64::MAX` for none.
    FindChange {
        /// Where.
        address: u64,
        /// How much; whole blocks of 16 bytes.
        bytes: u64,
        /// Its secret.
        secret: u64,
    },
    /// Asks for the first element that is NaN or infinite; `u64::MAX` for none.
    FindNonFinite {
        /// Where.
        address: u64,
        /// How much.
        bytes: u64,
        /// What they are.
        cell: Cell,
    },
    /// Asks for a sum over all bytes that changes when one of them does.
    Sum {
        /// Where.
        address: u64,
        /// How much.
        bytes: u64,
    },
    /// Asks where two tensors differ most, in [`GROUPS`] answers: of the rows whose number leaves the same remainder, the one with the
    /// largest difference, measured in root mean squares of its second version. Upper half: that measure as a float's bits; lower
    /// half: the row.
    Differences {
        /// First version.
        ours: u64,
        /// Second version.
        theirs: u64,
        /// Rows.
        rows: u64,
        /// Elements of a row.
        row_elements: u64,
        /// What they are.
        cell: Cell,
    },
    /// Writes so many bytes at an address, so that the last-level cache holds nothing else.
    Flush {
        /// Where.
        address: u64,
        /// How much.
        bytes: u64,
    },
    /// Copies on the device with a trusted kernel: for measured ceilings.
    Copy {
        /// Where from.
        from: u64,
        /// Where to.
        to: u64,
        /// How much.
        bytes: u64,
    },
    /// Multiplies matrices in registers with a trusted kernel: for measured ceilings.
    Multiply {
        /// Where sums are written, so that they are not optimised away; 4 bytes a thread.
        address: u64,
        /// Rounds.
        rounds: u32,
        /// Blocks.
        blocks: u32,
    },
    /// Launches a call.
    Call(u16),
    /// Starts a clock.
    Start,
    /// Stops it.
    Stop,
    /// Gives persisting cache lines back; waits for the stream first.
    ResetCache,
}
