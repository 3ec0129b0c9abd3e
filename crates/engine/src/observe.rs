//! Who watches the search.

use kernsmith_core::Entry;
use kernsmith_planner::Tree;

/// Watches a search: a terminal, a dashboard, a test.
pub trait Observe: Send {
    /// An entry is durable and the tree has learned from it.
    fn noted(&mut self, tree: &Tree, entry: &Entry);

    /// The search does something that may take a while, in a few words; empty when it is done.
    fn busy(&mut self, what: &str);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observe for Silent {
    fn noted(&mut self, _: &Tree, _: &Entry) {}

    fn busy(&mut self, _: &str) {}
}
