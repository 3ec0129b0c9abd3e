//! What is known about a cubin.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Facts read from a cubin.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CudaFacts {
    /// The architecture that the object says it is for, without the letter, such as `sm_90`.
    pub arch: String,
    /// Size of the machine code of all kernels and functions.
    pub text_bytes: u64,
    /// The kernels that can be launched, by symbol.
    pub kernels: Vec<CudaKernelFacts>,
    /// Instructions of the whole object by family, such as `HGMMA` and `LDG.E.128`; docs/cuda.md lists them.
    pub families: BTreeMap<String, u64>,
    /// Variables at module scope.
    pub globals: Vec<CudaGlobal>,
    /// Symbols that the object needs and does not define, such as `vprintf`.
    pub undefined: Vec<String>,
    /// What could not be determined, by name and reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// Facts about one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CudaKernelFacts {
    /// The symbol.
    pub symbol: String,
    /// Size of its machine code.
    pub text_bytes: u64,
    /// Registers of one thread.
    pub registers: u32,
    /// Bytes of registers that the assembler stored to local memory for want of registers.
    pub spill_store_bytes: u64,
    /// The same, loaded back.
    pub spill_load_bytes: u64,
    /// Stack of one thread: spills, arrays with a variable index, calls.
    pub stack_bytes: u64,
    /// Local-memory instructions: loads and stores in the machine code.
    pub local_instructions: u64,
    /// Shared memory that the source declares, what the system reserves for itself left out.
    pub static_shared_bytes: u64,
    /// Constant memory of its own: parameters and what the compiler put there.
    pub constant_bytes: u64,
    /// Named barriers.
    pub barriers: u32,
    /// Threads a block that `__launch_bounds__` allows; absent where the source does not say.
    pub max_threads: Option<u32>,
    /// The cluster's shape that the source fixes.
    pub cluster: Option<[u32; 3]>,
    /// Parameters in order.
    pub parameters: Vec<CudaParameter>,
    /// Its instructions by family.
    pub families: BTreeMap<String, u64>,
}

/// One parameter of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CudaParameter {
    /// Where it begins in the parameter buffer.
    pub offset_bytes: u32,
    /// Its size.
    pub bytes: u32,
}

/// A variable at module scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CudaGlobal {
    /// Its symbol.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Whether it lies in constant memory.
    pub constant: bool,
    /// Whether a kernel can write to it: everything outside constant memory, `const` or not, if the code knows any address there,
    /// but for three tables that the compiler puts beside sine and cosine.
    pub writable: bool,
    /// Whether the object brings a value for it; otherwise it is zero when the module is loaded.
    pub initialised: bool,
}

impl CudaFacts {
    /// The facts about one kernel.
    pub fn kernel(&self, symbol: &str) -> Option<&CudaKernelFacts> {
        self.kernels.iter().find(|kernel| kernel.symbol == symbol)
    }
}
