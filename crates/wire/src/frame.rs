//! What harness and worker say to each other.

use serde::{Deserialize, Serialize};

/// From the harness to its worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToWorker {
    /// The first frame; the control page comes with it.
    Hello {
        /// [`build_id`] of the harness.
        build: u64,
        /// What the worker may do, as the sandbox's own policy.
        policy: serde_json::Value,
        /// Which system calls are left after loading, as the sandbox's own profile.
        profile: serde_json::Value,
    },
    /// Load a code object and find its symbols, then give up everything that only loading needs.
    Load {
        /// The file.
        path: String,
        /// Symbols, which later frames name by their index.
        symbols: Vec<String>,
    },
    /// Map, call, unmap. The memory files come with the frame and are closed when they are mapped: a kernel that looks
    /// through its process finds no descriptor of a tensor.
    Run(Run),
    /// End.
    Bye,
}

/// From the worker to the harness.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromWorker {
    /// The worker is confined.
    Hello {
        /// [`build_id`] of the worker.
        build: u64,
        /// What it reached, as the sandbox's own report.
        confinement: serde_json::Value,
    },
    /// The code object is loaded and the second phase of confinement is on.
    Loaded,
    /// The windows of a gated run are mapped.
    Ready {
        /// The run's number.
        sequence: u32,
    },
    /// The calls of a gated run have returned. The harness's clock stops when this frame is there: one that was sent by
    /// somebody else is followed by the true one, where another frame is expected.
    Returned {
        /// The run's number.
        sequence: u32,
    },
    /// The calls have returned and everything is unmapped.
    Ran {
        /// The run's number.
        sequence: u32,
        /// The floating-point environment, where a call left it changed: (vector, x87).
        state: Option<(u32, u16)>,
        /// Bit patterns of the returned doubles, one a batch, where they were asked for.
        values: Vec<u64>,
    },
    /// It cannot be done.
    Refused {
        /// Whether a symbol is missing, as against any other reason.
        missing_symbol: bool,
        /// Why.
        reason: String,
    },
}

/// Part of a pool, and where it shall be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Index of the memory file among those that come with the frame.
    pub pool: u16,
    /// First byte in the file; a whole page.
    pub offset: u64,
    /// Length; whole pages.
    pub bytes: u64,
    /// Address in the worker, chosen by the harness.
    pub address: u64,
    /// Whether the worker may write there.
    pub writable: bool,
}

/// One integer-class argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// A number, as it stands in a register.
    Value(u64),
    /// A pointer: in call `k`, `first + k * stride`.
    Address {
        /// In the first call.
        first: u64,
        /// What is added from call to call.
        stride: u64,
    },
}

/// Calls of one symbol, back to back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Index of the symbol.
    pub symbol: u16,
    /// How many calls.
    pub calls: u32,
    /// Integer-class arguments.
    pub words: Vec<Word>,
    /// Float-class arguments as bit patterns.
    pub floats: Vec<u64>,
}

/// Map, call, unmap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Counts up; also the value of the futex word `go`.
    pub sequence: u32,
    /// What to map first and to unmap last.
    pub windows: Vec<Window>,
    /// What to call.
    pub batches: Vec<Batch>,
    /// Whether to say [`FromWorker::Ready`] when mapped and to wait for the word `go`.
    pub gated: bool,
    /// Whether the symbols return doubles.
    pub measure: bool,
}

/// A number that differs between builds that speak differently: harness and worker must be the same program.
pub const fn build_id() -> u64 {
    let id = fold(0xcbf2_9ce4_8422_2325, include_bytes!("frame.rs"));
    let id = fold(id, include_bytes!("control.rs"));
    let id = fold(id, include_bytes!("gpu.rs"));
    fold(id, env!("CARGO_PKG_VERSION").as_bytes())
}

/// FNV-1a. Source: Fowler, Noll and Vo, IETF draft-eastlake-fnv.
const fn fold(mut id: u64, bytes: &[u8]) -> u64 {
    let mut index = 0;
    while index < bytes.len() {
        id = (id ^ bytes[index] as u64).wrapping_mul(0x0100_0000_01b3);
        index += 1;
    }
    id
}
