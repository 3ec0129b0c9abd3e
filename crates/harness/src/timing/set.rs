//! Buffers for timed calls: many slots, used in turn, with content that never repeats and caches that never hold it.

use kernsmith_tensor::DType;
use kernsmith_wire::{PAGE_BYTES, Pool};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use crate::arena::{Placed, Span, Store};
use crate::check::Poison;
use crate::error::HarnessError;
use crate::inputs;
use crate::layout::{Shape, TensorLayout};
use crate::setup::Setup;
use crate::timing::shift::{SPARE_BYTES, Shifts};

/// Assumed where the machine does not say how large its last-level cache is.
const DEFAULT_CACHE_BYTES: u64 = 32 << 20;
/// Between two uses of a slot, so many cache sizes of other slots are touched.
const CACHE_FACTOR: u64 = 2;
/// Where warm caches are asked for, all slots together are this part of the cache, so that most of it is still there.
const WARM_PARTS: u64 = 4;
/// A candidate's range waits to be looked at while the baseline runs twice and the candidate once more; and the end of the
/// row may be left over before it begins anew. None of these five may meet.
const SLOTS_MIN: u64 = 5;
const SLOTS_MAX: u64 = 4096;
/// Places of the outputs that are looked at when an interval ends, and again when the worker has answered; one in two lies
/// in the last call, which is the one that may not be done yet.
const WATCHED_PLACES: usize = 256;
const WORD_BYTES: u64 = 8;

/// One tensor's row of slots in its pool.
#[derive(Debug, Clone)]
struct Lane {
    base: u64,
    stride: u64,
    bytes: u64,
    dtype: DType,
    /// Whether the content makes sense as a whole only, so that no window may be cut out of it.
    whole: bool,
}

impl Lane {
    /// Where the tensor begins in its slot when inputs are shifted.
    const fn shifted(&self, shift: u64) -> u64 {
        if self.whole { 0 } else { shift }
    }
}

/// The timed buffers of one shape.
#[derive(Debug)]
pub(crate) struct TimedSet {
    /// The oracle's number for these pools.
    pub(crate) store: Store,
    pub(crate) inputs: Pool,
    pub(crate) outputs: Pool,
    input_lanes: Vec<Lane>,
    output_lanes: Vec<Lane>,
    turns: Turns,
    shifts: Shifts,
    secrets: ChaCha12Rng,
    poisons: Vec<Poison>,
    /// Elements out of which the content of each input is renewed; none where it need not be.
    pub(super) reserves: Vec<Vec<u8>>,
}

/// Which slots come next, in turn.
#[derive(Debug)]
struct Turns {
    slots: u64,
    cursor: u64,
    turn: usize,
}

impl Turns {
    const fn new(slots: u64) -> Self {
        Self { slots, cursor: 0, turn: 0 }
    }

    /// The most calls that one interval can hold.
    const fn calls_max(&self) -> u64 {
        self.slots / SLOTS_MIN
    }

    fn take(&mut self, calls: u32) -> Range {
        let calls = calls.clamp(1, self.calls_max().max(1) as u32);
        if self.cursor + u64::from(calls) > self.slots {
            self.cursor = 0;
            self.turn += 1;
        }
        let range = Range { first: self.cursor, calls, turn: self.turn };
        self.cursor += u64::from(calls);
        range
    }
}

/// Consecutive slots that one interval uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) calls: u32,
    pub(super) turn: usize,
}

impl TimedSet {
    /// Buffers of a workload, drawn as the contract's first case says.
    pub(crate) fn for_shape(setup: &Setup, index: usize) -> Result<Self, HarnessError> {
        let shape = &setup.shapes[index];
        let mut rng = setup.rng();
        let mut set = Self::new(setup, &shape.inputs, &shape.outputs)?;
        std::thread::scope(|scope| {
            scope.spawn(|| set.inputs.populate());
            set.outputs.populate();
        });
        let case = &setup.contract.cases[0];
        for (input, lane) in set.input_lanes.clone().iter().enumerate() {
            let layout = &shape.inputs[input];
            let distribution = inputs::distribution(&setup.contract, case, input, layout);
            let (parts, bytes) = if lane.whole {
                (set.turns.slots, lane.bytes)
            } else {
                (1, lane.stride * set.turns.slots + SPARE_BYTES)
            };
            for part in 0..parts {
                let span = Span { offset: lane.base + part * lane.stride, bytes };
                let (row, seed) = (layout.row_elements, rng.random::<u64>());
                inputs::draw_pool(lane.dtype, &distribution, seed, row, span.of_mut(&mut set.inputs));
            }
        }
        set.keep_reserve(&mut rng);
        set.poison_all(&mut rng);
        Ok(set)
    }

    /// Buffers of any tensors, zeroed.
    pub(crate) fn new(
        setup: &Setup,
        inputs: &[TensorLayout],
        outputs: &[TensorLayout],
    ) -> Result<Self, HarnessError> {
        let bytes_of = |tensors: &[TensorLayout]| tensors.iter().map(|t| t.window_bytes).sum::<u64>();
        let both = (bytes_of(inputs) + bytes_of(outputs)).max(1);
        let cache = if setup.host.l3_bytes == 0 { DEFAULT_CACHE_BYTES } else { setup.host.l3_bytes };
        let footprint = if setup.options.cold_cache { CACHE_FACTOR * cache } else { cache / WARM_PARTS };
        let wanted = footprint.div_ceil(both).clamp(SLOTS_MIN, SLOTS_MAX);
        let slots = wanted.min((setup.options.timing_memory_bytes / both).max(SLOTS_MIN));
        let (input_lanes, input_bytes) = lanes(inputs, slots);
        let (output_lanes, output_bytes) = lanes(outputs, slots);
        let create =
            |name, bytes| Pool::create(name, bytes).map_err(HarnessError::system("make a memory file"));
        let mut secrets = setup.rng();
        Ok(Self {
            store: 0,
            inputs: create("kernsmith-timed-in", input_bytes)?,
            outputs: create("kernsmith-timed-out", output_bytes)?,
            input_lanes,
            output_lanes,
            turns: Turns::new(slots),
            shifts: Shifts::new(inputs.len(), &mut secrets),
            secrets,
            poisons: vec![Poison::default(); slots as usize],
            reserves: Vec::new(),
        })
    }

    /// The most calls that one interval can hold: intervals that are in use must never meet in a slot.
    pub(crate) const fn calls_max(&self) -> u64 {
        self.turns.calls_max()
    }

    /// Whether all slots together are larger than what caches can hold.
    pub(crate) fn is_cold(&self, setup: &Setup) -> bool {
        let bytes: u64 = self.input_lanes.iter().chain(&self.output_lanes).map(|lane| lane.stride).sum();
        bytes * self.turns.slots >= CACHE_FACTOR * setup.host.l3_bytes
    }

    /// The next slots, in turn.
    pub(crate) fn take(&mut self, calls: u32) -> Range {
        let range = self.turns.take(calls);
        self.shifts.reach(range.turn, &mut self.secrets);
        range
    }

    /// Windows over a range: offset, length, where the first call's tensor begins in it, stride; inputs, then outputs.
    pub(crate) fn windows(&self, range: Range) -> Vec<(u64, u64, u64, u64)> {
        let inputs = self.input_lanes.iter().zip(self.shifts.of(range.turn)).map(|(lane, shift)| {
            let shift = lane.shifted(*shift);
            let offset = lane.base + range.first * lane.stride + shift / PAGE_BYTES * PAGE_BYTES;
            let bytes = lane.stride * u64::from(range.calls) + PAGE_BYTES;
            (offset, bytes, shift % PAGE_BYTES, lane.stride)
        });
        let outputs = self.output_lanes.iter().map(|lane| {
            let offset = lane.base + range.first * lane.stride;
            (offset, lane.stride * u64::from(range.calls), 0, lane.stride)
        });
        inputs.chain(outputs).collect()
    }

    /// All slots of one input, and the bytes of one element.
    pub(super) fn row(&self, input: usize) -> (Span, usize) {
        let lane = &self.input_lanes[input];
        let size = (lane.dtype.bits() as usize / 8).max(1);
        (Span { offset: lane.base, bytes: lane.stride * self.turns.slots }, size)
    }

    pub(super) const fn slots(&self) -> u64 {
        self.turns.slots
    }

    /// A secret number below `end`; 0 where there is none.
    pub(crate) fn secret_below(&mut self, end: u32) -> u32 {
        self.secrets.random_range(0..end.max(1))
    }

    /// Inputs in a set.
    pub(crate) fn input_count(&self) -> usize {
        self.input_lanes.len()
    }

    /// One call's tensors, for the oracle.
    pub(crate) fn placed(&self, range: Range, call: u32) -> Placed {
        let slot = range.first + u64::from(call);
        let span = |lane: &Lane, shift: u64| Span {
            offset: lane.base + slot * lane.stride + lane.shifted(shift),
            bytes: lane.bytes,
        };
        Placed {
            store: self.store,
            inputs: self
                .input_lanes
                .iter()
                .zip(self.shifts.of(range.turn))
                .map(|(lane, shift)| span(lane, *shift))
                .collect(),
            outputs: self.output_lanes.iter().map(|lane| span(lane, 0)).collect(),
        }
    }

    /// Secret places in the outputs of a range, as offsets in their pool.
    pub(crate) fn watched_places(&mut self, range: Range) -> Vec<u64> {
        let lanes: Vec<&Lane> = self.output_lanes.iter().filter(|lane| lane.bytes >= WORD_BYTES).collect();
        if lanes.is_empty() {
            return Vec::new();
        }
        let last = u64::from(range.calls) - 1;
        let place = |index: usize| {
            let lane = lanes[index % lanes.len()];
            let call = if (index / lanes.len()).is_multiple_of(2) {
                last
            } else {
                self.secrets.random_range(0..=last)
            };
            let word = self.secrets.random_range(0..lane.bytes / WORD_BYTES);
            lane.base + (range.first + call) * lane.stride + word * WORD_BYTES
        };
        (0..WATCHED_PLACES).map(place).collect()
    }

    /// What stands at some places of the outputs now.
    pub(crate) fn words(&self, places: &[u64]) -> Vec<u64> {
        let word = |&offset: &u64| {
            let bytes = Span { offset, bytes: WORD_BYTES }.of(&self.outputs);
            bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
        };
        places.iter().map(word).collect()
    }

    /// The first output of a call that still holds poison, with the element.
    pub(crate) fn unwritten(&self, range: Range, call: u32) -> Option<(usize, u64)> {
        let poison = self.poisons[(range.first + u64::from(call)) as usize];
        let placed = self.placed(range, call);
        self.output_lanes.iter().zip(&placed.outputs).enumerate().find_map(|(index, (lane, span))| {
            let first = poison.first(lane.dtype, span.of(&self.outputs))?;
            Some((index, first))
        })
    }

    /// Poisons the outputs of a range and renews its inputs for the next use, which is a whole turn away, when no cache holds
    /// them.
    pub(crate) fn retire(&mut self, range: Range, rng: &mut ChaCha12Rng) {
        self.renew(range, rng);
        for slot in range.first..range.first + u64::from(range.calls) {
            self.poison_slot(slot, rng);
        }
    }

    fn poison_all(&mut self, rng: &mut ChaCha12Rng) {
        for slot in 0..self.turns.slots {
            self.poison_slot(slot, rng);
        }
    }

    fn poison_slot(&mut self, slot: u64, rng: &mut ChaCha12Rng) {
        let variant = self.poisons[slot as usize].variant + 1;
        let poison = Poison { variant: variant % 2, secret: rng.random::<u64>(), sparse: true };
        self.poisons[slot as usize] = poison;
        for lane in &self.output_lanes {
            let span = Span { offset: lane.base + slot * lane.stride, bytes: lane.bytes };
            poison.lay(lane.dtype, span.of_mut(&mut self.outputs));
        }
    }
}

/// Puts one row of slots behind the other; some pages are left over for the shift.
fn lanes(tensors: &[TensorLayout], slots: u64) -> (Vec<Lane>, u64) {
    let mut base = 0;
    let mut lanes = Vec::new();
    for tensor in tensors {
        let stride = tensor.window_bytes;
        let whole = tensor.limit.is_some();
        lanes.push(Lane { base, stride, bytes: tensor.bytes, dtype: tensor.dtype, whole });
        base += stride * slots + SPARE_BYTES;
    }
    (lanes, base)
}

/// A tensor of plain bytes, for kernels that belong to no contract.
pub(crate) fn plain(name: &str, bytes: u64) -> TensorLayout {
    TensorLayout {
        name: name.to_owned(),
        dtype: DType::F32,
        elements: bytes / 4,
        bytes,
        window_bytes: crate::layout::whole_pages(bytes),
        row_elements: 1,
        slice_elements: 1,
        limit: None,
    }
}

impl TimedSet {
    /// Buffers for one input and one output of so many bytes.
    pub(crate) fn for_copy(setup: &Setup, bytes: u64) -> Result<Self, HarnessError> {
        let mut set = Self::new(setup, &[plain("in", bytes)], &[plain("out", bytes)])?;
        // Pages that were never written share one page of zeros, which no cache would miss.
        set.inputs.bytes_mut().fill(1);
        set.outputs.bytes_mut().fill(2);
        Ok(set)
    }

    /// The shape of [`TimedSet::for_copy`], for the meter.
    pub(crate) fn copy_shape(bytes: u64) -> Shape {
        Shape {
            name: "copy".to_owned(),
            axes: kernsmith_core::Bindings::new(),
            inputs: vec![plain("in", bytes)],
            outputs: vec![plain("out", bytes)],
            extent: 1,
            flops: 0.0,
            bytes: 2.0 * bytes as f64,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rand::SeedableRng as _;

    use super::*;

    /// One input and one output of 40,000 bytes in 256 slots.
    pub(in crate::timing) fn small() -> TimedSet {
        let (tensors, slots) = ([plain("t", 40_000)], 256);
        let (input_lanes, input_bytes) = lanes(&tensors, slots);
        let (output_lanes, output_bytes) = lanes(&tensors, slots);
        let mut secrets = ChaCha12Rng::seed_from_u64(1);
        TimedSet {
            store: 0,
            inputs: Pool::create("in", input_bytes).unwrap(),
            outputs: Pool::create("out", output_bytes).unwrap(),
            input_lanes,
            output_lanes,
            turns: Turns::new(slots),
            shifts: Shifts::new(1, &mut secrets),
            secrets,
            poisons: vec![Poison::default(); slots as usize],
            reserves: Vec::new(),
        }
    }

    #[test]
    fn ranges_that_are_in_use_never_meet() {
        for slots in 5..80_u64 {
            for (candidate, baseline) in [(1, 1), (7, 2), (2, 7), (300, 1), (1, 300), (300, 300)] {
                let mut turns = Turns::new(slots);
                let mut recent: Vec<Range> = Vec::new();
                for turn in 0..200 {
                    // Order as in interleaved pairs: candidate, baseline, baseline, candidate.
                    let range = turns.take(if turn % 4 == 1 || turn % 4 == 2 { baseline } else { candidate });
                    let end = |range: &Range| range.first + u64::from(range.calls);
                    assert!(end(&range) <= slots);
                    let waiting = &recent[recent.len().saturating_sub(3)..];
                    let meets = waiting.iter().any(|old| old.first < end(&range) && range.first < end(old));
                    assert!(!meets, "{slots} slots, {candidate} and {baseline} calls, turn {turn}");
                    recent.push(range);
                }
            }
        }
    }
}
