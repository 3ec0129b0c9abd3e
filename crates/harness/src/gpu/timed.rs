//! Host pools that timed inputs are cut from, with content that never repeats.

use kernsmith_wire::Pool;
use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha12Rng;

use super::lanes::{ALIGNMENT_BYTES, SPARE_BYTES};
use crate::arena::{Placed, Span, Store};
use crate::error::HarnessError;
use crate::inputs;
use crate::layout::whole_pages;
use crate::setup::Setup;

/// Different drawings of a tensor that cannot be shifted, because its numbers are positions in another one.
const VARIANTS: u64 = 4;

/// One shape's timed inputs on the host, and room for what is fetched.
#[derive(Debug)]
pub(crate) struct TimedPool {
    /// The oracle's number for these pools.
    pub(crate) store: Store,
    pub(crate) inputs: Pool,
    pub(crate) outputs: Pool,
    lanes: Vec<Lane>,
    output_spans: Vec<Span>,
}

/// One input's bytes in the pool.
#[derive(Debug, Clone, Copy)]
struct Lane {
    base: u64,
    bytes: u64,
    /// Whether it is drawn several times instead of shifted.
    whole: bool,
    stride: u64,
}

impl Lane {
    const fn away(&self, pick: u64) -> u64 {
        if self.whole { pick * self.stride } else { pick }
    }
}

/// Where the inputs of one timed call are taken from, one number an input: the shift, or the drawing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    picks: Vec<u64>,
}

/// Turns in secret order: the first input that can be shifted never has the same shift twice before all have been used.
#[derive(Debug)]
pub(crate) struct Turns {
    deck: Vec<u64>,
    rng: ChaCha12Rng,
}

impl TimedPool {
    /// Draws a workload's inputs as the contract's first case says.
    pub(crate) fn draw(setup: &Setup, index: usize) -> Result<Self, HarnessError> {
        let shape = &setup.shapes[index];
        let case = &setup.contract.cases[0];
        let mut base = 0;
        let mut lanes = Vec::new();
        for layout in &shape.inputs {
            let whole = layout.limit.is_some();
            let stride = whole_pages(layout.bytes);
            lanes.push(Lane { base, bytes: layout.bytes, whole, stride });
            base += if whole { VARIANTS * stride } else { stride + SPARE_BYTES };
        }
        let create =
            |name, bytes| Pool::create(name, bytes).map_err(HarnessError::system("make a memory file"));
        let mut inputs = create("kernsmith-timed-in", base)?;
        inputs.populate();
        let mut rng = setup.rng();
        for (input, (lane, layout)) in lanes.iter().zip(&shape.inputs).enumerate() {
            let distribution = inputs::distribution(&setup.contract, case, input, layout);
            let (parts, bytes) =
                if lane.whole { (VARIANTS, lane.bytes) } else { (1, lane.stride + SPARE_BYTES) };
            for part in 0..parts {
                let span = Span { offset: lane.base + part * lane.stride, bytes };
                let seed = rng.random::<u64>();
                inputs::draw_pool(
                    layout.dtype,
                    &distribution,
                    seed,
                    layout.row_elements,
                    span.of_mut(&mut inputs),
                );
            }
        }
        let mut offset = 0;
        let mut output_spans = Vec::new();
        for layout in &shape.outputs {
            output_spans.push(Span { offset, bytes: layout.bytes });
            offset += layout.window_bytes;
        }
        let outputs = create("kernsmith-timed-out", offset)?;
        Ok(Self { store: 0, inputs, outputs, lanes, output_spans })
    }

    /// What lies on the device, an input each: offset in the pool and length.
    pub(crate) fn content(&self) -> Vec<(u64, u64)> {
        let bytes = |lane: &Lane| {
            if lane.whole { VARIANTS * lane.stride } else { lane.bytes + SPARE_BYTES }
        };
        self.lanes.iter().map(|lane| (lane.base, bytes(lane))).collect()
    }

    /// How far behind the beginning of its content each input begins in a turn.
    pub(crate) fn away(&self, turn: &Turn) -> Vec<u64> {
        self.lanes.iter().zip(&turn.picks).map(|(lane, pick)| lane.away(*pick)).collect()
    }

    /// The turn in which every input lies at the beginning of its content.
    pub(crate) fn at_rest(&self) -> Turn {
        Turn { picks: vec![0; self.lanes.len()] }
    }

    /// A turn's tensors, for the oracle.
    pub(crate) fn placed(&self, turn: &Turn) -> Placed {
        let span =
            |(lane, pick): (&Lane, &u64)| Span { offset: lane.base + lane.away(*pick), bytes: lane.bytes };
        Placed {
            store: self.store,
            inputs: self.lanes.iter().zip(&turn.picks).map(span).collect(),
            outputs: self.output_spans.clone(),
        }
    }
}

impl Turns {
    pub(crate) const fn new(rng: ChaCha12Rng) -> Self {
        Self { deck: Vec::new(), rng }
    }

    /// The next turn.
    pub(crate) fn next(&mut self, pool: &TimedPool) -> Turn {
        if self.deck.is_empty() {
            self.deck.extend((0..SPARE_BYTES / ALIGNMENT_BYTES).map(|step| step * ALIGNMENT_BYTES));
            self.deck.shuffle(&mut self.rng);
        }
        let mut first = self.deck.pop();
        let mut pick = |lane: &Lane| {
            if lane.whole {
                return self.rng.random_range(0..VARIANTS);
            }
            let steps = SPARE_BYTES / ALIGNMENT_BYTES;
            first.take().unwrap_or_else(|| self.rng.random_range(0..steps) * ALIGNMENT_BYTES)
        };
        Turn { picks: pool.lanes.iter().map(&mut pick).collect() }
    }
}
