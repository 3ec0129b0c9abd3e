//! How large the tensors of a workload are, and where they lie in their windows.

use kernsmith_core::{Bindings, Plan};
use kernsmith_op_contract::{Contract, TensorSpec, Workload};
use kernsmith_tensor::DType;
use kernsmith_wire::PAGE_BYTES;

use crate::error::HarnessError;

/// Alignment in bytes that every tensor has.
const ALIGNMENT_BYTES: u64 = 64;

/// One tensor of one workload.
#[derive(Debug, Clone)]
pub(crate) struct TensorLayout {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) elements: u64,
    pub(crate) bytes: u64,
    /// The whole pages that it lies in; at least one.
    pub(crate) window_bytes: u64,
    /// Length of the innermost dimension.
    pub(crate) row_elements: u64,
    /// Elements that belong to one step of the partition axis; for outputs.
    pub(crate) slice_elements: u64,
    /// For integers that are positions in another tensor: how many positions there are. Such a tensor is drawn whole, and
    /// none of its elements is ever changed alone.
    pub(crate) limit: Option<u64>,
}

/// One workload with everything that is computed from its axes.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) axes: Bindings,
    pub(crate) inputs: Vec<TensorLayout>,
    pub(crate) outputs: Vec<TensorLayout>,
    /// Length of the partition axis.
    pub(crate) extent: u64,
    pub(crate) flops: f64,
    pub(crate) bytes: f64,
}

/// At which end of its window a tensor lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// It begins right behind the leading guard page.
    Left,
    /// It ends right before the trailing guard page, up to the alignment.
    Right,
}

impl TensorLayout {
    fn of(
        contract: &Contract,
        tensor: &TensorSpec,
        axes: &Bindings,
        output: bool,
    ) -> Result<Self, HarnessError> {
        let elements = contract.elements(tensor, axes)?;
        let bytes = tensor.dtype.bytes_for(elements);
        let slice_elements = if output { contract.slice_elements(tensor, axes)? } else { 0 };
        let limit = tensor.limit.as_ref().map(|limit| limit.eval(axes)).transpose()?;
        Ok(Self {
            name: tensor.name.clone(),
            dtype: tensor.dtype,
            elements,
            bytes,
            window_bytes: whole_pages(bytes),
            row_elements: contract.row_elements(tensor, axes)?.max(1),
            slice_elements,
            limit: limit.map(|limit| u64::try_from(limit).unwrap_or(0)),
        })
    }

    /// Where the tensor begins in its window.
    pub(crate) fn start(&self, side: Side) -> u64 {
        match side {
            Side::Left => 0,
            Side::Right => self.window_bytes - self.bytes.next_multiple_of(ALIGNMENT_BYTES),
        }
    }
}

impl Shape {
    pub(crate) fn of(contract: &Contract, workload: &Workload) -> Result<Self, HarnessError> {
        let axes = &workload.axes;
        let all = |tensors: &[TensorSpec], output: bool| {
            tensors.iter().map(|tensor| TensorLayout::of(contract, tensor, axes, output)).collect()
        };
        let inputs: Result<Vec<_>, HarnessError> = all(&contract.inputs, false);
        let outputs: Result<Vec<_>, HarnessError> = all(&contract.outputs, true);
        Ok(Self {
            name: workload.name.clone(),
            axes: axes.clone(),
            inputs: inputs?,
            outputs: outputs?,
            extent: contract.partition_extent(axes)?,
            flops: contract.flops.eval(axes)? as f64,
            bytes: contract.bytes.eval(axes)? as f64,
        })
    }

    /// Pages of all inputs.
    pub(crate) fn input_bytes(&self) -> u64 {
        self.inputs.iter().map(|tensor| tensor.window_bytes).sum()
    }

    /// Pages of all outputs.
    pub(crate) fn output_bytes(&self) -> u64 {
        self.outputs.iter().map(|tensor| tensor.window_bytes).sum()
    }

    /// Output elements of one step of the partition axis.
    pub(crate) fn slice_elements(&self) -> u64 {
        self.outputs.iter().map(|tensor| tensor.slice_elements).sum()
    }

    /// All output elements.
    pub(crate) fn output_elements(&self) -> u64 {
        self.outputs.iter().map(|tensor| tensor.elements).sum()
    }
}

/// Sizes of a plan's workspaces in whole pages.
pub(crate) fn workspaces(plan: &Plan, axes: &Bindings) -> Result<Vec<u64>, HarnessError> {
    let sizes = plan.workspaces.iter().map(|workspace| {
        let bytes = workspace.bytes.eval(axes)?;
        Ok(whole_pages(u64::try_from(bytes).unwrap_or(0)))
    });
    sizes.collect()
}

/// Rounds up to whole pages, at least one.
pub(crate) const fn whole_pages(bytes: u64) -> u64 {
    let bytes = if bytes == 0 { 1 } else { bytes };
    bytes.div_ceil(PAGE_BYTES) * PAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_aligned_tensor_ends_within_one_alignment_of_the_guard() {
        for bytes in [0, 4, 64, 100, 4096, 5000] {
            let window_bytes = whole_pages(bytes);
            let tensor = TensorLayout {
                name: "x".into(),
                dtype: DType::F32,
                elements: bytes / 4,
                bytes,
                window_bytes,
                row_elements: 1,
                slice_elements: 1,
                limit: None,
            };
            let start = tensor.start(Side::Right);
            assert_eq!(start % ALIGNMENT_BYTES, 0);
            assert!(window_bytes - (start + bytes) < ALIGNMENT_BYTES, "{bytes}");
        }
    }
}
