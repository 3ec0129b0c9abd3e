//! Where inputs begin in their slots: elsewhere in every turn, in an order that nobody can foresee.

use kernsmith_wire::PAGE_BYTES;
use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha12Rng;

/// Steps of a shift: the alignment that every tensor has.
const STEP_BYTES: u64 = 64;
/// Pages by which an input may be shifted, besides its place in the page.
const PAGES: u64 = 64;
/// What every row of slots has left over.
pub(crate) const SPARE_BYTES: u64 = PAGES * PAGE_BYTES;
/// Turns whose shifts are remembered; a range is looked at one turn after it was taken at the latest.
const REMEMBERED: usize = 4;

/// Shifts of all inputs in the last turns.
///
/// The place in the page comes from a shuffled deck, so that none comes again before all have been there, and each input has a
/// deck of its own, so that two inputs do not come again together even then.
#[derive(Debug)]
pub(crate) struct Shifts {
    decks: Vec<Vec<u64>>,
    recent: [Vec<u64>; REMEMBERED],
    turn: usize,
}

impl Shifts {
    /// The shifts of turn 0.
    pub(crate) fn new(inputs: usize, rng: &mut ChaCha12Rng) -> Self {
        let mut shifts = Self { decks: vec![Vec::new(); inputs], recent: Default::default(), turn: 0 };
        shifts.recent[0] = shifts.draw(rng);
        shifts
    }

    /// Makes sure that a turn has its shifts; turns come one after the other.
    pub(crate) fn reach(&mut self, turn: usize, rng: &mut ChaCha12Rng) {
        while self.turn < turn {
            self.turn += 1;
            self.recent[self.turn % REMEMBERED] = self.draw(rng);
        }
    }

    /// The shift of each input in one of the last turns, in bytes.
    pub(crate) fn of(&self, turn: usize) -> &[u64] {
        &self.recent[turn % REMEMBERED]
    }

    fn draw(&mut self, rng: &mut ChaCha12Rng) -> Vec<u64> {
        let one = |deck: &mut Vec<u64>| {
            if deck.is_empty() {
                deck.extend((0..PAGE_BYTES).step_by(STEP_BYTES as usize));
                deck.shuffle(rng);
            }
            deck.pop().unwrap_or(0) + rng.random_range(0..PAGES) * PAGE_BYTES
        };
        self.decks.iter_mut().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng as _;

    use super::*;

    fn series(seed: u64) -> Vec<Vec<u64>> {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut shifts = Shifts::new(2, &mut rng);
        let turns = 0..200;
        turns
            .map(|turn| {
                shifts.reach(turn, &mut rng);
                shifts.of(turn).to_vec()
            })
            .collect()
    }

    #[test]
    fn shifts_are_aligned_stay_in_what_is_spare_and_no_two_turns_share_all_of_them() {
        let series = series(1);
        assert!(series.iter().flatten().all(|shift| shift % STEP_BYTES == 0 && *shift < SPARE_BYTES));
        for deck in series.chunks_exact(64) {
            for input in 0..2 {
                let places: BTreeSet<u64> = deck.iter().map(|turn| turn[input] % PAGE_BYTES).collect();
                assert_eq!(places.len(), 64, "a place in the page came twice before all had been there");
            }
        }
        let distinct: BTreeSet<&Vec<u64>> = series.iter().collect();
        assert_eq!(distinct.len(), series.len());
    }

    #[test]
    fn another_secret_gives_another_order() {
        assert_ne!(series(1), series(2));
    }

    #[test]
    fn the_turn_before_is_remembered() {
        let mut rng = ChaCha12Rng::seed_from_u64(3);
        let mut shifts = Shifts::new(1, &mut rng);
        let first = shifts.of(0).to_vec();
        shifts.reach(1, &mut rng);
        assert_eq!(shifts.of(0), first);
        assert_ne!(shifts.of(1), first);
    }
}
