//! Any open node with equal chance: the yardstick for every other policy.

use kernsmith_core::NodeId;
use rand::seq::IteratorRandom;
use rand_chacha::ChaCha12Rng;

use crate::view::View;

pub(crate) fn choose(view: &View<'_>, random: &mut ChaCha12Rng) -> Option<NodeId> {
    view.open().map(|node| node.id).choose(random)
}
