//! `kernsmith bench`: how good the search itself is. Only `bench harness` needs a compiler and a device.

mod engine;
mod harness;
mod llm;
mod planner;

use clap::Subcommand;

use crate::args::Global;
use crate::error::Answer;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// How fast the search closes in on the best: on recorded spaces, or on synthetic landscapes.
    Planner(planner::Args),
    /// How fast the loop itself is: null proposer and null evaluator through the real engine and log.
    Engine(engine::Args),
    /// What judging costs: an honest candidate through screen and full evaluation, gate by gate.
    Harness(harness::Args),
    /// What the planner role is worth: a scripted model with and without it, on cassettes.
    Llm(llm::Args),
}

impl Verb {
    /// Whether the answer is a table, which csv can hold.
    pub(crate) const fn answers_with_a_table(&self) -> bool {
        matches!(self, Self::Planner(_) | Self::Llm(_) | Self::Harness(_))
    }
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, verb: &Verb) -> Answer {
    match verb {
        Verb::Planner(args) => planner::run(global, args),
        Verb::Engine(args) => engine::run(global, args),
        Verb::Harness(args) => harness::run(global, args),
        Verb::Llm(args) => llm::run(global, args),
    }
}
