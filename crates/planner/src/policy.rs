//! The policies: each a pure function from a view of the tree and a seeded stream to a node. `docs/planner.md` describes them.

mod beam;
mod islands;
mod ksearch;
mod mcts;
mod puct;
mod random;
mod world_model;

use kernsmith_core::NodeId;
use rand_chacha::ChaCha12Rng;
use serde::{Deserialize, Serialize};

use crate::view::View;

/// Which rule chooses the next node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Policy {
    /// The highest upper bound of a Gaussian belief over the tree.
    #[default]
    WorldModel,
    /// PUCT with max-backup and priors by rank.
    Puct,
    /// The highest score first, worked on until it stagnates.
    Ksearch,
    /// Islands of MAP-Elites cells.
    Islands,
    /// The best few of each level, level by level.
    Beam,
    /// UCT: mean outcomes and visit counts.
    Mcts,
    /// Any open node with equal chance.
    Random,
}

/// A name that no policy has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no policy `{0}`: it is one of world-model, puct, ksearch, islands, beam, mcts, random")]
pub struct UnknownPolicy(String);

impl Policy {
    /// All policies, the default first.
    pub const ALL: [Self; 7] =
        [Self::WorldModel, Self::Puct, Self::Ksearch, Self::Islands, Self::Beam, Self::Mcts, Self::Random];

    /// The stable word, as it stands in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WorldModel => "world-model",
            Self::Puct => "puct",
            Self::Ksearch => "ksearch",
            Self::Islands => "islands",
            Self::Beam => "beam",
            Self::Mcts => "mcts",
            Self::Random => "random",
        }
    }

    /// The next node; `None` when none may be chosen.
    pub(crate) fn choose(self, view: &View<'_>, random: &mut ChaCha12Rng) -> Option<NodeId> {
        match self {
            Self::WorldModel => world_model::choose(view, random),
            Self::Puct => puct::choose(view, random),
            Self::Ksearch => ksearch::choose(view, random),
            Self::Islands => islands::choose(view, random),
            Self::Beam => beam::choose(view, random),
            Self::Mcts => mcts::choose(view, random),
            Self::Random => random::choose(view, random),
        }
    }
}

impl std::str::FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|policy| policy.as_str() == text);
        known.ok_or_else(|| UnknownPolicy(text.to_owned()))
    }
}
