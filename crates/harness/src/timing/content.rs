//! Content that nobody can know before: renewed after every use, and exchanged in the last moment.

use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use super::set::{Range, TimedSet};
use super::shift::SPARE_BYTES;

/// One element of each such block of an input is another one in the next turn, so that who keeps results of older content has to
/// read all of the new content to see which of them still hold.
const BLOCK_BYTES: usize = 4096;
/// Elements that stand in for others.
const RESERVE: usize = 1024;
/// A row of slots must be this many times as long as its shift: what changes then lies away from what waits to be looked at,
/// whose shift may be that of the turn before.
const ROOMY: u64 = 8;

impl TimedSet {
    /// Keeps some elements of every input, out of which content is renewed from then on.
    pub(super) fn keep_reserve(&mut self, rng: &mut ChaCha12Rng) {
        self.reserves = (0..self.input_count())
            .map(|input| {
                let (span, size) = self.row(input);
                let bytes = span.of(&self.inputs);
                let elements = bytes.len() / size;
                let one = |_| {
                    let at = rng.random_range(0..elements) * size;
                    bytes[at..at + size].iter().copied()
                };
                if elements == 0 { Vec::new() } else { (0..RESERVE).flat_map(one).collect() }
            })
            .collect();
    }

    /// Changes one element in each block of the inputs of a range that was looked at.
    pub(super) fn renew(&mut self, range: Range, rng: &mut ChaCha12Rng) {
        for call in 0..range.calls {
            let placed = self.placed(range, call);
            for (input, span) in placed.inputs.iter().enumerate() {
                let (_, size) = self.row(input);
                let reserve = self.reserves.get(input).map_or(&[][..], Vec::as_slice);
                if reserve.is_empty() || !self.is_roomy(input) {
                    continue;
                }
                for block in span.of_mut(&mut self.inputs).chunks_mut(BLOCK_BYTES / size * size) {
                    let elements = block.len() / size;
                    if elements > 0 {
                        let to = rng.random_range(0..elements) * size;
                        let from = rng.random_range(0..reserve.len() / size) * size;
                        block[to..to + size].copy_from_slice(&reserve[from..from + size]);
                    }
                }
            }
        }
    }

    /// Exchanges the inputs of one secret call of a range for those of a neighbour; says which call it was.
    ///
    /// Nothing may wait to be looked at. `None` where there is no neighbour, or no input that is large enough.
    pub(super) fn exchange(&mut self, range: Range) -> Option<u32> {
        let behind = range.first + u64::from(range.calls);
        let other = if behind < self.slots() { behind } else { range.first.checked_sub(1)? };
        let call = self.secret_below(range.calls);
        let ours = self.placed(range, call);
        let theirs = self.placed(Range { first: other, calls: 1, ..range }, 0);
        let mut exchanged = false;
        for (input, (one, two)) in ours.inputs.iter().zip(&theirs.inputs).enumerate() {
            if self.is_roomy(input) && one.bytes > 0 {
                let (first, second) = if one.offset < two.offset { (one, two) } else { (two, one) };
                let (head, tail) = self.inputs.bytes_mut().split_at_mut(second.offset as usize);
                let head = &mut head[first.offset as usize..(first.offset + first.bytes) as usize];
                head.swap_with_slice(&mut tail[..second.bytes as usize]);
                exchanged = true;
            }
        }
        exchanged.then_some(call)
    }

    fn is_roomy(&self, input: usize) -> bool {
        self.row(input).0.bytes >= ROOMY * SPARE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::timing::set::tests::small;

    #[test]
    fn what_comes_back_is_not_what_was_there() {
        let (mut set, mut rng) = (small(), ChaCha12Rng::seed_from_u64(3));
        for (at, byte) in set.inputs.bytes_mut().iter_mut().enumerate() {
            *byte = (at % 251) as u8;
        }
        set.keep_reserve(&mut rng);
        let range = set.take(3);
        let span = |set: &TimedSet, call| set.placed(range, call).inputs[0];
        let before: Vec<Vec<u8>> = (0..3).map(|call| span(&set, call).of(&set.inputs).to_vec()).collect();
        set.retire(range, &mut rng);
        for (call, old) in (0..3).zip(&before) {
            let now = span(&set, call);
            let blocks = now.of(&set.inputs).chunks(BLOCK_BYTES).zip(old.chunks(BLOCK_BYTES));
            let changed = blocks.clone().filter(|(new, old)| new != old).count();
            assert!(changed * 10 >= blocks.count() * 8, "call {call}: {changed} blocks");
        }
    }

    #[test]
    fn an_exchange_moves_whole_tensors_and_loses_nothing() {
        let mut set = small();
        for (at, byte) in set.inputs.bytes_mut().iter_mut().enumerate() {
            *byte = (at / 977) as u8;
        }
        let range = set.take(3);
        let all = |set: &TimedSet| {
            let mut bytes = set.inputs.bytes().to_vec();
            bytes.sort_unstable();
            bytes
        };
        let (content, everything) =
            (|set: &TimedSet, call| set.placed(range, call).inputs[0].of(&set.inputs).to_vec(), all(&set));
        let before: Vec<Vec<u8>> = (0..3).map(|call| content(&set, call)).collect();
        let call = set.exchange(range).expect("there is a neighbour");
        for (index, old) in (0..3).zip(&before) {
            assert_eq!(content(&set, index) != *old, index == call, "call {index}");
        }
        assert!(all(&set) == everything);
    }
}
