//! `kernsmith replay <run>#<seq>`: judges a recorded candidate again, in full.

use kernsmith_core::{Candidate, Event, Proposal, Seq};
use kernsmith_experiment_log::RunReader;

use crate::args::Global;
use crate::commands::evaluate;
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session::{self, Bench};

/// Which candidate.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `<run>#<seq>`: any entry of the candidate; a unique prefix or `latest` will do for the run.
    candidate: String,
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, args: &Args) -> Answer {
    let (run, seq) = args
        .candidate
        .split_once('#')
        .ok_or_else(|| CliError::usage("expected `<run>#<seq>`, for example `latest#42`"))?;
    let reader = session::reader(global, run)?;
    let opened = reader.opened().clone();
    let proposal = recorded(&reader, session::seq(seq)?)?;
    let contract = session::recorded_contract(global, &opened)?;
    let candidate = Candidate::new(&contract.name, &opened.target, proposal);
    let bench = Bench::of_run(global, &opened)?;
    let baseline = session::recorded_baseline(&reader)?;
    let harness = bench.harness(contract, baseline, None)?;
    let mut evidence = harness.evaluate_fully(candidate).map_err(CliError::apparatus)?;
    evidence.replay = format!("kernsmith replay {}", args.candidate);
    evaluate::print(global, &evidence)?;
    Ok(if evidence.is_accepted() { Exit::Done } else { Exit::No })
}

/// The candidate that an entry is about.
fn recorded(reader: &RunReader, seq: Seq) -> Result<Proposal, CliError> {
    let entry = session::entry(reader, seq)?;
    match entry.event {
        Event::Proposed(proposed) => {
            let bytes = reader.blob(&proposed.source).map_err(CliError::log)?;
            Ok(proposed.into_proposal(&bytes))
        }
        Event::Judged { proposal, .. }
        | Event::Promoted { proposal, .. }
        | Event::Deduplicated { proposal, .. } => recorded(reader, proposal),
        other => {
            let name = other.name();
            Err(CliError::usage(format!(
                "entry {seq} is `{name}`, not a candidate; `kernsmith log show` lists them"
            )))
        }
    }
}
