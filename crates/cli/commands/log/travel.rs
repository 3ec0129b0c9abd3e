//! Runs that come from other runs: forks and imports.

use std::path::PathBuf;

use kernsmith_core::RunId;
use serde_json::json;

use crate::args::{Format, Global};
use crate::console::{data, note};
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session;

/// Where a fork begins.
#[derive(Debug, clap::Args)]
pub(crate) struct ForkArgs {
    /// `<run>#<seq>`: the last entry that is taken over; a unique prefix of the run or `latest` will do.
    point: String,
    /// The new run's name (default: the old one's with `-at-<seq>`).
    #[arg(long, value_name = "NAME")]
    run_id: Option<String>,
    /// Carry what was learned after that entry: judged candidates, but no champion and no strategies.
    #[arg(long)]
    with_experience: bool,
}

/// What is taken in.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// A run's folder, a log folder with all its runs, or a file of `log export --bundle`.
    from: PathBuf,
}

/// `log fork`.
pub(super) fn fork(global: &Global, args: &ForkArgs) -> Answer {
    let point = args.point.split_once('#');
    let (run, seq) = point.ok_or_else(|| CliError::usage("a fork begins at `<run>#<seq>`"))?;
    let (origin, seq) = (session::run_directory(global, run)?, session::seq(seq)?);
    let name: RunId = if let Some(name) = &args.run_id {
        session::run_id(name)?
    } else {
        let old = origin.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let suffix = if args.with_experience { "-wiser" } else { "" };
        session::run_id(&format!("{old}-at-{}{suffix}", seq.0))?
    };
    let root = session::log_root(global)?;
    let forked = kernsmith_experiment_log::fork(&root, &origin, seq, &name, args.with_experience)
        .map_err(CliError::log)?;
    let carried: u64 = forked.from.carried.iter().map(|range| range.count).sum();
    if global.format == Format::Human {
        data(&format!("{name}: {} entries of {} and {carried} learned later", seq.0 + 1, forked.from.run));
        note(&format!("`kernsmith resume {name}` goes on from there"));
    } else {
        let from = &forked.from;
        data(&json!({"schema_version": 1, "run": name, "directory": forked.directory, "entries": forked.entries,
            "forked_from": from, "carried": carried}).to_string());
    }
    Ok(Exit::Done)
}

/// `log import`: every run is tried; one that is refused does not keep the others out.
pub(super) fn import(global: &Global, args: &ImportArgs) -> Answer {
    let root = session::log_root(global)?;
    let mut exit = Exit::Done;
    for from in kernsmith_experiment_log::importable(&args.from).map_err(CliError::log)? {
        match kernsmith_experiment_log::import(&root, &from) {
            Ok(provenance) if global.format == Format::Human => {
                data(&format!(
                    "{}: {} entries, last line {}",
                    provenance.run, provenance.entries, provenance.last
                ));
            }
            Ok(provenance) => data(&json!({"schema_version": 1, "imported": provenance}).to_string()),
            Err(error) => {
                note(&format!("{} refused: {error}", from.display()));
                exit = Exit::Log;
            }
        }
    }
    Ok(exit)
}
