//! Where tensors lie on the device: one range a tensor, between two that fault.

use std::collections::BTreeMap;

use kernsmith_tensor::DType;
use kernsmith_wire::gpu::Cell;

use super::resident::Resident;
use super::resolve::Addresses;
use super::worker::GpuWorker;
use crate::error::Stop;
use crate::layout::{Shape, Side, TensorLayout};
use crate::setup::Setup;

/// Every tensor begins at a multiple of this.
pub(crate) const ALIGNMENT_BYTES: u64 = 256;
/// What inputs are shifted by, at most, so that timed contents never repeat.
pub(crate) const SPARE_BYTES: u64 = 1 << 20;
/// Memory next to an output that is watched.
pub(crate) const CANARY_BYTES: u64 = 4096;

/// The ranges of one worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lanes {
    pub(crate) inputs: Vec<(u64, u64)>,
    pub(crate) outputs: Vec<(u64, u64)>,
    pub(crate) workspaces: Vec<(u64, u64)>,
    /// What is written to empty the cache.
    pub(crate) flush: (u64, u64),
    /// Timed content by shape: a range an input.
    pub(crate) resident: BTreeMap<usize, Resident>,
}

/// Bytes that each tensor needs over all shapes, and some to shift it by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room {
    inputs: Vec<u64>,
    outputs: Vec<u64>,
}

impl Room {
    pub(crate) fn of(shapes: &[Shape]) -> Self {
        let largest = |pick: fn(&Shape) -> &[TensorLayout]| -> Vec<u64> {
            let count = shapes.first().map_or(0, |shape| pick(shape).len());
            let of = |index: usize| shapes.iter().map(|shape| pick(shape)[index].bytes).max().unwrap_or(0);
            (0..count).map(|index| of(index) + SPARE_BYTES).collect()
        };
        Self { inputs: largest(|shape| &shape.inputs), outputs: largest(|shape| &shape.outputs) }
    }
}

/// A tensor's place on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: u64,
    pub(crate) bytes: u64,
    pub(crate) cell: Cell,
}

impl Lanes {
    /// Makes the ranges.
    pub(crate) fn reserve(room: &Room, worker: &mut GpuWorker) -> Result<Self, Stop> {
        let flush_bytes = 2 * worker.device.l2_bytes.max(32 << 20);
        let wanted: Vec<u64> =
            room.inputs.iter().chain(&room.outputs).copied().chain([flush_bytes]).collect();
        let ranges = worker.reserve(&wanted)?;
        let (tensors, flush) = ranges.split_at(room.inputs.len() + room.outputs.len());
        Ok(Self {
            inputs: tensors[..room.inputs.len()].to_vec(),
            outputs: tensors[room.inputs.len()..].to_vec(),
            workspaces: Vec::new(),
            flush: flush.first().copied().unwrap_or_default(),
            resident: BTreeMap::new(),
        })
    }

    /// Replaces the workspaces.
    pub(crate) fn set_workspaces(&mut self, worker: &mut GpuWorker, bytes: &[u64]) -> Result<(), Stop> {
        worker.release(&self.workspaces)?;
        self.workspaces = worker.reserve(bytes)?;
        Ok(())
    }

    /// A shape's tensors at one end of their ranges, `back` places of the same size away from it.
    pub(crate) fn place(&self, shape: &Shape, side: Side, back: u64) -> (Vec<Place>, Vec<Place>) {
        let at = |(range, layout): (&(u64, u64), &TensorLayout)| {
            let step = layout.bytes.next_multiple_of(ALIGNMENT_BYTES).max(ALIGNMENT_BYTES);
            let away = back * (step + 2 * CANARY_BYTES);
            let address = match side {
                Side::Left => range.0 + away,
                Side::Right => range.0 + range.1 - step - away,
            };
            Place { address, bytes: layout.bytes, cell: cell(layout.dtype) }
        };
        (
            self.inputs.iter().zip(&shape.inputs).map(at).collect(),
            self.outputs.iter().zip(&shape.outputs).map(at).collect(),
        )
    }

    /// The inputs out of a shape's timed content, so many bytes behind its beginning, and the outputs at the end of their ranges.
    pub(crate) fn place_timed(&self, index: usize, shape: &Shape, away: &[u64]) -> (Vec<Place>, Vec<Place>) {
        let (mut inputs, outputs) = self.place(shape, Side::Right, 0);
        let ranges = self.resident.get(&index).map_or(&[][..], |resident| resident.ranges.as_slice());
        for ((place, range), away) in inputs.iter_mut().zip(ranges).zip(away) {
            place.address = range.0 + away;
        }
        (inputs, outputs)
    }

    /// Watched memory on both sides of a place, as far as its range goes.
    pub(crate) fn canaries(&self, output: usize, place: Place) -> Vec<(u64, u64)> {
        let (first, bytes) = self.outputs[output];
        let end = place.address + place.bytes.next_multiple_of(16);
        let before = place.address.saturating_sub(CANARY_BYTES).max(first);
        let behind = (end + CANARY_BYTES).min(first + bytes);
        [(before, place.address - before), (end, behind.saturating_sub(end) / 16 * 16)]
            .into_iter()
            .filter(|(_, bytes)| *bytes > 0)
            .collect()
    }

    /// The names that a plan can use.
    pub(crate) fn addresses(
        &self,
        setup: &Setup,
        workspace_names: &[&str],
        inputs: &[Place],
        outputs: &[Place],
    ) -> Addresses {
        let tensors =
            setup.contract.inputs.iter().zip(inputs).chain(setup.contract.outputs.iter().zip(outputs));
        let mut addresses = Addresses::default();
        for (tensor, place) in tensors {
            addresses.by_name.insert(tensor.name.clone(), place.address);
        }
        for (name, range) in workspace_names.iter().zip(&self.workspaces) {
            addresses.by_name.insert((*name).to_owned(), range.0);
        }
        addresses
    }
}

/// How a tensor of a type is poisoned.
pub(crate) const fn cell(dtype: DType) -> Cell {
    match dtype {
        DType::F16 => Cell::F16,
        DType::Bf16 => Cell::Bf16,
        DType::F32 => Cell::F32,
        _ => Cell::Block,
    }
}
