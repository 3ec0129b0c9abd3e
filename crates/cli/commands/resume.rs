//! `kernsmith resume`: goes on with a run that was interrupted or ran out of budget.

use crate::args::Global;
use crate::error::Answer;
use crate::session::hunt::{self, Start};
use crate::session::{self, Bench};

/// Which run, and how much further.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run; a unique prefix or `latest` will do.
    #[arg(default_value = "latest")]
    run: String,
    /// Wall time that this session may take, on top of what is used already; absent: what is left of the run's own budget.
    #[arg(long, value_name = "SECONDS", alias = "budget-seconds")]
    wall_seconds: Option<f64>,
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, args: &Args) -> Answer {
    let directory = session::run_directory(global, &args.run)?;
    let earlier = session::reader(global, &args.run)?;
    let opened = earlier.opened().clone();
    let contract = session::recorded_contract(global, &opened)?;
    let bench = Bench::of_run(global, &opened)?;
    hunt::run(
        global,
        bench,
        contract,
        Start::Resume { directory, opened: Box::new(opened), wall_seconds: args.wall_seconds },
    )
}
