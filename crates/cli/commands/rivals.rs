//! `kernsmith rivals`: the kernels of others on a contract's shapes, against its frozen baseline.

use serde_json::json;

use crate::args::{Format, Global};
use crate::commands::evaluate::print_rivals;
use crate::console::{data, time};
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session::{self, Bench};

/// Whose rivals.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Contract name, or a folder with a contract.toml.
    contract: String,
    /// What to run on.
    #[arg(long, default_value = "cuda")]
    target: String,
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, args: &Args) -> Answer {
    let target = session::target(&args.target)?;
    let contract = session::contract(global, &args.contract)?;
    let bench = Bench::open(global, &target)?;
    let harness = bench.harness(contract.for_platform(target.platform()), None, None)?;
    let rivals = harness.rivals().map_err(CliError::apparatus)?;
    let (baseline, _, _, performance) = harness.freeze_baseline().map_err(CliError::apparatus)?;
    let measured = rivals.iter().any(|rival| rival.ratio.is_some());
    if global.format == Format::Human {
        data(&format!("{} on {}", args.contract, harness.environment().device));
        data(&format!(
            "  this one is the frozen baseline, {baseline}: {} over all workloads",
            time(performance.median_us)
        ));
        print_rivals(&rivals);
        if rivals.is_empty() {
            data(&format!("  the contract names no rival for {}", target.platform()));
        }
    } else {
        let environment = harness.environment();
        data(
            &json!({"schema_version": 1, "contract": args.contract, "target": target, "environment": environment,
                "baseline": {"name": baseline, "performance": performance}, "rivals": rivals})
            .to_string(),
        );
    }
    Ok(if measured { Exit::Done } else { Exit::No })
}
