//! Where the tensors of correctness calls live: two slots, so that one can be filled while the other is in use.

use kernsmith_op_contract::{Case, Contract};
use kernsmith_wire::Pool;
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use crate::check::Poison;
use crate::error::HarnessError;
use crate::inputs;
use crate::layout::{Shape, Side};

/// Which pair of pools a tensor lives in, as the oracle numbers them; 0 is the arena, the others are timed sets.
pub(crate) type Store = usize;
/// The arena's own number.
pub(crate) const ARENA: Store = 0;

/// A tensor's bytes in its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

impl Span {
    /// The bytes of a pool.
    pub(crate) fn of<'a>(&self, pool: &'a Pool) -> &'a [u8] {
        &pool.bytes()[self.offset as usize..(self.offset + self.bytes) as usize]
    }

    /// The same, to be changed.
    pub(crate) fn of_mut<'a>(&self, pool: &'a mut Pool) -> &'a mut [u8] {
        &mut pool.bytes_mut()[self.offset as usize..(self.offset + self.bytes) as usize]
    }
}

/// One call's tensors.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) store: Store,
    pub(crate) inputs: Vec<Span>,
    pub(crate) outputs: Vec<Span>,
}

/// One call's tensors in the arena, with their windows.
#[derive(Debug, Clone)]
pub(crate) struct ArenaCall {
    pub(crate) placed: Placed,
    /// Windows of the inputs, then of the outputs.
    pub(crate) input_windows: Vec<Span>,
    pub(crate) output_windows: Vec<Span>,
    /// The poison that was laid in each output.
    pub(crate) poison: Poison,
    /// Secret of the canaries around the outputs.
    pub(crate) canary: u64,
    /// Fingerprints of the inputs.
    pub(crate) fingerprints: Vec<u64>,
}

/// Two pools: inputs, which workers can only read, and outputs.
#[derive(Debug)]
pub(crate) struct Arena {
    pub(crate) inputs: Pool,
    pub(crate) outputs: Pool,
}

impl Arena {
    /// Room for two calls of every shape, or for a burst of small ones.
    pub(crate) fn new(shapes: &[Shape], burst_bytes: u64) -> Result<Self, HarnessError> {
        let largest = |size: fn(&Shape) -> u64| shapes.iter().map(size).max().unwrap_or(0);
        let room = |bytes: u64| (2 * bytes).max(burst_bytes);
        let create =
            |name, bytes| Pool::create(name, bytes).map_err(HarnessError::system("make a memory file"));
        Ok(Self {
            inputs: create("kernsmith-in", room(largest(Shape::input_bytes)))?,
            outputs: create("kernsmith-out", room(largest(Shape::output_bytes)))?,
        })
    }

    /// Lays out one call from the given bases and returns where the next one may begin.
    pub(crate) fn place(shape: &Shape, side: Side, bases: (u64, u64)) -> (ArenaCall, (u64, u64)) {
        let lay = |tensors: &[crate::layout::TensorLayout], mut base: u64| {
            let mut windows = Vec::new();
            let mut spans = Vec::new();
            for tensor in tensors {
                windows.push(Span { offset: base, bytes: tensor.window_bytes });
                spans.push(Span { offset: base + tensor.start(side), bytes: tensor.bytes });
                base += tensor.window_bytes;
            }
            (windows, spans, base)
        };
        let (input_windows, inputs, next_input) = lay(&shape.inputs, bases.0);
        let (output_windows, outputs, next_output) = lay(&shape.outputs, bases.1);
        let call = ArenaCall {
            placed: Placed { store: ARENA, inputs, outputs },
            input_windows,
            output_windows,
            poison: Poison::default(),
            canary: 0,
            fingerprints: Vec::new(),
        };
        (call, (next_input, next_output))
    }

    /// Base offsets of one of the two slots.
    pub(crate) fn slot(&self, index: usize) -> (u64, u64) {
        let half = |bytes: u64| bytes / 2 / kernsmith_wire::PAGE_BYTES * kernsmith_wire::PAGE_BYTES;
        if index.is_multiple_of(2) { (0, 0) } else { (half(self.inputs.len()), half(self.outputs.len())) }
    }

    /// Draws the inputs of a call.
    pub(crate) fn fill(
        &mut self,
        contract: &Contract,
        case: &Case,
        shape: &Shape,
        call: &mut ArenaCall,
        rng: &mut ChaCha12Rng,
    ) {
        for (index, (span, layout)) in call.placed.inputs.iter().zip(&shape.inputs).enumerate() {
            inputs::draw(contract, case, index, layout, rng, span.of_mut(&mut self.inputs));
        }
        call.fingerprints = self.fingerprints(call);
    }

    /// Lays poison of a kind in the outputs and canaries around them.
    pub(crate) fn poison(
        &mut self,
        shape: &Shape,
        call: &mut ArenaCall,
        (variant, sparse): (u32, bool),
        rng: &mut ChaCha12Rng,
    ) {
        call.poison = Poison { variant, secret: rng.random::<u64>(), sparse };
        call.canary = rng.random::<u64>();
        for ((window, span), layout) in
            call.output_windows.iter().zip(&call.placed.outputs).zip(&shape.outputs)
        {
            call.poison.lay(layout.dtype, span.of_mut(&mut self.outputs));
            for slack in slacks(window, span) {
                lay_canary(call.canary, slack.of_mut(&mut self.outputs));
            }
        }
    }

    /// The first output around which a canary is dead.
    pub(crate) fn dead_canary(&self, call: &ArenaCall) -> Option<usize> {
        call.output_windows.iter().zip(&call.placed.outputs).position(|(window, span)| {
            slacks(window, span).iter().any(|slack| !canary_lives(call.canary, slack.of(&self.outputs)))
        })
    }

    /// Fingerprints of the inputs as they are now.
    pub(crate) fn fingerprints(&self, call: &ArenaCall) -> Vec<u64> {
        call.placed.inputs.iter().map(|span| inputs::fingerprint(span.of(&self.inputs))).collect()
    }
}

/// What is left of a window before and behind its tensor.
fn slacks(window: &Span, span: &Span) -> [Span; 2] {
    let end = span.offset + span.bytes;
    [
        Span { offset: window.offset, bytes: span.offset - window.offset },
        Span { offset: end, bytes: window.offset + window.bytes - end },
    ]
}

fn canary_word(secret: u64, place: usize) -> [u8; 8] {
    // SplitMix64's finaliser. Source: Steele, Lea and Flood, OOPSLA 2014.
    let mut word = secret.wrapping_add((place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (word ^ (word >> 31)).to_le_bytes()
}

fn lay_canary(secret: u64, bytes: &mut [u8]) {
    for (place, chunk) in bytes.chunks_mut(8).enumerate() {
        chunk.copy_from_slice(&canary_word(secret, place)[..chunk.len()]);
    }
}

fn canary_lives(secret: u64, bytes: &[u8]) -> bool {
    bytes.chunks(8).enumerate().all(|(place, chunk)| chunk == &canary_word(secret, place)[..chunk.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_dies_of_one_byte() {
        let mut bytes = vec![0_u8; 37];
        lay_canary(5, &mut bytes);
        assert!(canary_lives(5, &bytes));
        bytes[36] ^= 1;
        assert!(!canary_lives(5, &bytes));
    }

    #[test]
    fn slack_is_all_that_is_not_tensor() {
        let window = Span { offset: 4096, bytes: 8192 };
        let [before, behind] = slacks(&window, &Span { offset: 5000, bytes: 7000 });
        assert_eq!((before.bytes, behind.offset, behind.bytes), (904, 12_000, 288));
    }
}
