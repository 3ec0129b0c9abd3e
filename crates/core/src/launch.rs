//! What a launch plan says for a GPU: grids, arguments and tensor maps, all as data.
//!
//! A GPU candidate brings device code only, so everything that host code would do stands here, as integer expressions over
//! the contract's axes and the names in [`DEVICE_NUMBERS`]. The written format is described in `docs/plan-format.md`.

use serde::{Deserialize, Serialize};

use crate::expr::Expr;
use crate::plan::{PlanError, check_axes, check_name, error, in_range};

/// Names that expressions of a GPU plan may use besides the axes: multiprocessors of the device.
pub const DEVICE_NUMBERS: [&str; 1] = ["sm_count"];
const MAX_KERNELS: usize = 32;
const MAX_ARGUMENTS: usize = 64;
const MAX_TENSOR_MAPS: usize = 16;
/// CUDA C++ Programming Guide, technical specifications: threads per block.
const MAX_BLOCK_THREADS: u64 = 1024;
/// The largest cluster that a device may allow; above 8 it is not portable.
const MAX_CLUSTER_BLOCKS: u64 = 16;
/// CUDA driver API, `cuTensorMapEncodeTiled`: ranks 1 to 5.
const MAX_RANK: usize = 5;
/// The same: elements of one box dimension.
const MAX_BOX: u32 = 256;

/// One kernel launch of a variant; a variant's launches run one after the other in one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelLaunch {
    /// The `extern "C" __global__` function.
    pub symbol: String,
    /// Blocks (clusters times blocks of a cluster) in x, y and z; missing ones are 1.
    pub grid: Vec<Expr>,
    /// Threads of a block in x, y and z; missing ones are 1.
    pub block: Vec<Expr>,
    /// Blocks of a cluster in x, y and z; absent: no clusters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster: Vec<u32>,
    /// Dynamic shared memory of a block in bytes; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_bytes: Option<Expr>,
    /// The arguments in order: names of tensors, scalars, workspaces or tensor maps; anything else is an expression, passed
    /// as a 64-bit integer. Absent: inputs, outputs, variable axes, scalars, workspaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Vec<String>>,
    /// Whether all blocks must be resident at the same time, so that a grid-wide barrier is legal.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cooperative: bool,
    /// Whether it may begin before the launch in front of it has ended (programmatic dependent launch).
    #[serde(default, skip_serializing_if = "is_false")]
    pub programmatic: bool,
}

/// A tensor map for the bulk tensor copy engine, over a tensor or a workspace; passed by value.
///
/// Fields follow `cuTensorMapEncodeTiled` of the CUDA driver API; element type and address come from the tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorMap {
    /// Its name, for arguments.
    pub name: String,
    /// The tensor or workspace that it describes.
    pub tensor: String,
    /// Element type; absent: the tensor's. A workspace has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<MapElement>,
    /// Elements per dimension, innermost first; 1 to 5 of them.
    pub dims: Vec<Expr>,
    /// Bytes from one index to the next, for every dimension but the innermost; multiples of 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strides_bytes: Vec<Expr>,
    /// Elements of a box per dimension, at most 256 each.
    #[serde(rename = "box")]
    pub box_elements: Vec<u32>,
    /// How a box is permuted in shared memory.
    #[serde(default)]
    pub swizzle: Swizzle,
    /// How much of a line the L2 cache fetches ahead.
    #[serde(default)]
    pub l2_promotion: L2Promotion,
}

/// Element types of tensor maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapElement {
    /// Bytes.
    U8,
    /// 32-bit integers.
    I32,
    /// Half precision.
    F16,
    /// Brain floats.
    Bf16,
    /// Single precision.
    F32,
}

/// Shared-memory permutation of a box; its innermost dimension must fit into the named span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Swizzle {
    /// None.
    #[default]
    #[serde(rename = "none")]
    None,
    /// Within 32 bytes.
    #[serde(rename = "32B")]
    B32,
    /// Within 64 bytes.
    #[serde(rename = "64B")]
    B64,
    /// Within 128 bytes.
    #[serde(rename = "128B")]
    B128,
}

impl Swizzle {
    /// Bytes that the innermost box dimension may have; `None` where there is no such limit.
    pub const fn span_bytes(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::B32 => Some(32),
            Self::B64 => Some(64),
            Self::B128 => Some(128),
        }
    }
}

/// Fetch granularity of the L2 cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum L2Promotion {
    /// None.
    #[default]
    #[serde(rename = "none")]
    None,
    /// 64 bytes.
    #[serde(rename = "64B")]
    B64,
    /// 128 bytes.
    #[serde(rename = "128B")]
    B128,
    /// 256 bytes.
    #[serde(rename = "256B")]
    B256,
}

/// Names that a plan's arguments can refer to, from the contract.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// All axes.
    pub axes: &'a [&'a str],
    /// Inputs and outputs.
    pub tensors: &'a [&'a str],
    /// Scalars.
    pub scalars: &'a [&'a str],
}

impl KernelLaunch {
    /// Checks what needs no binary and no device.
    pub(crate) fn check(&self, field: &str, axes: &[&str]) -> Result<(), PlanError> {
        check_name(&format!("{field}.symbol"), &self.symbol)?;
        in_range(&format!("{field}.grid"), self.grid.len(), 1, 3)?;
        in_range(&format!("{field}.block"), self.block.len(), 1, 3)?;
        in_range(&format!("{field}.cluster"), self.cluster.len(), 0, 3)?;
        for (name, list) in [("grid", &self.grid), ("block", &self.block)] {
            for (index, expr) in list.iter().enumerate() {
                check_axes(&format!("{field}.{name}[{index}]"), expr, axes)?;
            }
        }
        if let Some(bytes) = &self.shared_bytes {
            check_axes(&format!("{field}.shared_bytes"), bytes, axes)?;
        }
        let blocks: u64 = self.cluster.iter().map(|count| u64::from(*count)).product();
        if !self.cluster.is_empty() && !(1..=MAX_CLUSTER_BLOCKS).contains(&blocks) {
            return Err(error(
                &format!("{field}.cluster"),
                format!("{blocks} blocks are outside 1 to {MAX_CLUSTER_BLOCKS}"),
            ));
        }
        // The names are the contract's: `Plan::check_for_gpu` looks at those.
        let arguments = self.arguments.as_ref().map_or(0, Vec::len);
        in_range(&format!("{field}.arguments"), arguments, 0, MAX_ARGUMENTS)?;
        Ok(())
    }
}

impl TensorMap {
    /// Checks what needs no device.
    pub(crate) fn check(&self, field: &str, axes: &[&str]) -> Result<(), PlanError> {
        check_name(&format!("{field}.name"), &self.name)?;
        check_name(&format!("{field}.tensor"), &self.tensor)?;
        in_range(&format!("{field}.dims"), self.dims.len(), 1, MAX_RANK)?;
        let rank = self.dims.len();
        in_range(&format!("{field}.strides_bytes"), self.strides_bytes.len(), rank - 1, rank - 1)?;
        in_range(&format!("{field}.box"), self.box_elements.len(), rank, rank)?;
        for (name, list) in [("dims", &self.dims), ("strides_bytes", &self.strides_bytes)] {
            for (index, expr) in list.iter().enumerate() {
                check_axes(&format!("{field}.{name}[{index}]"), expr, axes)?;
            }
        }
        for (index, elements) in self.box_elements.iter().enumerate() {
            in_range(&format!("{field}.box[{index}]"), *elements as usize, 1, MAX_BOX as usize)?;
        }
        Ok(())
    }
}

/// The largest number of threads that a block can have on any device.
pub const fn block_threads_max() -> u64 {
    MAX_BLOCK_THREADS
}

/// Whether a variant has a legal number of launches.
pub(crate) fn check_count(field: &str, kernels: &[KernelLaunch]) -> Result<(), PlanError> {
    in_range(field, kernels.len(), 0, MAX_KERNELS)
}

/// Whether a plan has a legal number of tensor maps.
pub(crate) fn check_map_count(maps: &[TensorMap]) -> Result<(), PlanError> {
    in_range("tensor_map", maps.len(), 0, MAX_TENSOR_MAPS)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}
