//! One degree of freedom of a template.

use kernsmith_core::GeneValue;
use serde::Serialize;

/// A gene whose values have been cut to what the machine can run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gene {
    /// Its name; a template reads its value under this name.
    pub name: String,
    /// Its values in the order of the file: ascending numbers for an ordered gene, words for a categorical one.
    pub values: Vec<GeneValue>,
    /// The value of the first guess.
    pub default: GeneValue,
    /// Whether each value is a decision of its own in the search tree.
    pub decision: bool,
    /// One sentence of what it changes; may be empty.
    pub summary: String,
}

impl Gene {
    /// Whether neighbours in `values` are alike, so that a mutation should step and not jump.
    pub fn is_ordered(&self) -> bool {
        self.values.iter().all(|value| matches!(value, GeneValue::Int(_)))
    }
}
