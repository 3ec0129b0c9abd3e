//! What earlier searches teach a proposer.

use kernsmith_core::{Digest, Genome, Prediction};

/// What earlier searches of the same contract teach, as far as it still holds. All answers are pure: the same question always
/// has the same answer, so that a search with it can be repeated.
pub trait Experience: std::fmt::Debug + Send + Sync {
    /// Why a genome need not be tried again; a part of a genome asks for everything that makes these choices.
    fn refuses(&self, template: &str, genome: &Genome) -> Option<String>;

    /// Genomes of a template with what came out: the ratio to the frozen baseline, or `None` where it failed.
    fn outcomes(&self, template: &str) -> Vec<(Genome, Option<f64>)>;

    /// Whether exactly this candidate failed before, whatever genes it was made from.
    fn failed(&self, key: &Digest) -> bool;

    /// The best ratio to expect of a template with some genes fixed; `None` where nothing is known.
    fn predict(&self, template: &str, fixed: &Genome) -> Option<Prediction>;
}

/// No experience: everything is new.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inexperienced;

impl Experience for Inexperienced {
    fn refuses(&self, _: &str, _: &Genome) -> Option<String> {
        None
    }

    fn outcomes(&self, _: &str) -> Vec<(Genome, Option<f64>)> {
        Vec::new()
    }

    fn failed(&self, _: &Digest) -> bool {
        false
    }

    fn predict(&self, _: &str, _: &Genome) -> Option<Prediction> {
        None
    }
}
