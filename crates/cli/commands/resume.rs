//! `kernsmith resume`: goes on with a run, search or audit, that was interrupted or ran out of budget.

use super::audit;
use crate::args::Global;
use crate::error::{Answer, CliError};
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
    if let Some(terms) = opened.audit.clone() {
        if args.wall_seconds.is_some() {
            return Err(CliError::usage(
                "an audit has no wall time to be extended: leave `--wall-seconds` out",
            ));
        }
        return audit::resume(global, directory, opened, terms);
    }
    let contract = session::recorded_contract(global, &opened)?;
    let bench = Bench::of_run(global, &opened)?;
    hunt::run(
        global,
        bench,
        contract,
        Start::Resume { directory, opened: Box::new(opened), wall_seconds: args.wall_seconds },
    )
}
