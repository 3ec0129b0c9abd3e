//! `kernsmith log`: everything about runs. Nothing here needs a compiler or a device.

mod mining;
mod query;
mod show;
mod table;
mod travel;

use clap::Subcommand;
use kernsmith_experiment_log::{list as runs, verify as verify_run};
use serde_json::json;

use crate::args::{Format, Global};
use crate::console::{data, note};
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session;

/// What to do with runs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// All runs, a line each.
    List,
    /// A run's entries, a line each; or one entry in full.
    Show {
        /// Run, or `<run>#<seq>`; a unique prefix or `latest` will do.
        run: String,
        /// Print the candidate's source of `<run>#<seq>` instead of the entry.
        #[arg(long)]
        source: bool,
    },
    /// Reads every byte of a run and names every damage.
    Verify {
        /// Run; a unique prefix or `latest` will do.
        run: String,
    },
    /// Answers one SQL SELECT over all runs; `docs/mining.md` lists the views.
    Query(query::QueryArgs),
    /// Makes the index of all runs again from nothing.
    Reindex(query::ReindexArgs),
    /// Writes tables as jsonl, csv or parquet, or a run as one file.
    Export(query::ExportArgs),
    /// Begins a new run where an old one stood.
    Fork(travel::ForkArgs),
    /// Takes in runs from another machine after verifying every byte.
    Import(travel::ImportArgs),
    /// Choices that never work, with their evidence.
    DeadEnds(mining::MineArgs),
    /// Tried and untried values of every gene.
    Frontier(mining::MineArgs),
    /// Which gene value wins, by how much.
    Facts(mining::MineArgs),
    /// What predictions were worth.
    Calibration(mining::MineArgs),
}

impl Verb {
    /// Whether the answer is a table, which csv can hold.
    pub(crate) const fn answers_with_a_table(&self) -> bool {
        !matches!(
            self,
            Self::List | Self::Show { .. } | Self::Verify { .. } | Self::Fork(_) | Self::Import(_)
        )
    }
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, verb: Verb) -> Answer {
    match verb {
        Verb::List => list(global),
        Verb::Show { run, source } => match run.split_once('#') {
            Some((run, seq)) => show::show_entry(global, run, session::seq(seq)?, source),
            None if source => Err(CliError::usage("--source needs `<run>#<seq>`")),
            None => show::show_run(global, &run),
        },
        Verb::Verify { run } => verify(global, &run),
        Verb::Query(args) => query::query(global, &args),
        Verb::Reindex(args) => query::reindex(global, &args),
        Verb::Export(args) => query::export(global, &args),
        Verb::Fork(args) => travel::fork(global, &args),
        Verb::Import(args) => travel::import(global, &args),
        Verb::DeadEnds(args) => mining::dead_ends(global, &args),
        Verb::Frontier(args) => mining::frontier(global, &args),
        Verb::Facts(args) => mining::facts(global, &args),
        Verb::Calibration(args) => mining::calibration(global, &args),
    }
}

fn list(global: &Global) -> Answer {
    let root = session::log_root(global)?;
    let runs = runs(&root).map_err(CliError::log)?;
    for run in &runs {
        if global.format == Format::Human {
            let best = run.best_ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}x"));
            data(&format!(
                "{:44} {:16} {:12} {:>5} candidates {:>5} accepted  best {best:>9}  {}{}",
                run.run,
                run.contract,
                run.target,
                run.candidates,
                run.accepted,
                session::word(&run.state),
                if run.imported_from.is_some() { ", imported" } else { "" }
            ));
        } else {
            data(&serde_json::to_string(run).map_err(CliError::internal)?);
        }
    }
    if runs.is_empty() {
        note(&format!("no runs in {}; `kernsmith search rmsnorm_f32` makes one", root.display()));
    }
    Ok(Exit::Done)
}

fn verify(global: &Global, run: &str) -> Answer {
    let directory = session::run_directory(global, run)?;
    let report = verify_run(&directory).map_err(CliError::log)?;
    if global.format == Format::Human {
        for damage in &report.damages {
            data(&format!("damage: {damage}"));
        }
        let state = if report.sealed { "sealed" } else { "open" };
        let end = if report.is_intact() {
            "intact"
        } else if report.passed() {
            "intact but for a torn tail that was never acknowledged; it is cut off when the run goes on"
        } else {
            "damaged"
        };
        data(&format!("{}: {} entries, {} blobs, {state}: {end}", report.run, report.entries, report.blobs));
    } else {
        let passed = report.passed();
        data(&json!({"schema_version": 1, "passed": passed, "report": report}).to_string());
    }
    Ok(if report.passed() { Exit::Done } else { Exit::Log })
}
