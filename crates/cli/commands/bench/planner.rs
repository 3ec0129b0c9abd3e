//! `kernsmith bench planner`.

use std::path::PathBuf;

use kernsmith_autotune::OptimizerOptions;
use kernsmith_bench::{BenchError, RecordedOptions, RecordedReport, RecordedSpace, measure_recorded};
use serde_json::json;

use crate::args::{Format, Global};
use crate::console::{data, note};
use crate::error::{Answer, CliError};
use crate::exit::Exit;

/// What to search, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Brute-forced spaces as T4 result files, plain or gzipped.
    #[arg(value_name = "FILE")]
    spaces: Vec<PathBuf>,
    /// Independent searches of each space.
    #[arg(long, default_value_t = 50)]
    seeds: u64,
    /// Evaluations at which the best so far is noted.
    #[arg(long, value_delimiter = ',', default_value = "20,50,120,220")]
    budgets: Vec<u64>,
    /// Searches at the same time [default: one for each core]; the numbers do not depend on it.
    #[arg(long)]
    threads: Option<usize>,
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, args: &Args) -> Answer {
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut spaces = Vec::new();
    for path in &args.spaces {
        note(&format!("reading {}", path.display()));
        spaces.push(RecordedSpace::read(path).map_err(|error| refused(&error))?);
    }
    let options = RecordedOptions {
        seeds: args.seeds,
        budgets: args.budgets.clone(),
        threads,
        optimizer: OptimizerOptions::default(),
    };
    let report = measure_recorded(&spaces, &options, &progress).map_err(|error| refused(&error))?;
    match global.format {
        Format::Human => human(&report),
        Format::Csv => csv(&report),
        Format::Json | Format::Jsonl | Format::Parquet => {
            data(&json!({"schema_version": 1, "recorded": report}).to_string());
        }
    }
    Ok(Exit::Done)
}

fn refused(error: &BenchError) -> CliError {
    CliError::bad_input_message(error.to_string())
}

fn progress(ended: usize, of: usize) {
    if ended == of || ended.is_multiple_of((of / 20).max(1)) {
        note(&format!("{ended} of {of} searches"));
    }
}

fn human(report: &RecordedReport) {
    let aligned =
        |cells: Vec<String>| cells.iter().fold(String::new(), |line, cell| line + &format!("{cell:>9}"));
    let numbers = |values: &[f64]| aligned(values.iter().map(|value| format!("{value:.4}")).collect());
    let heads = aligned(report.budgets.iter().map(ToString::to_string).collect());
    data(&format!("optimum/best after so many evaluations, {} seeds", report.seeds));
    data(&format!("{:<28} {:>8} {:>7}  {:<4}{heads}", "space", "configs", "failing", ""));
    for row in &report.spaces {
        let (space, configurations, failing) = (&row.space, row.configurations, row.failing);
        data(&format!("{space:<28} {configurations:>8} {failing:>7}  mean{}", numbers(&row.mean)));
        data(&format!("{:<28} {:>8} {:>7}  p10 {}", "", "", "", numbers(&row.p10)));
    }
    data(&format!(
        "{:<28} {:>8} {:>7}  {:<4}{}",
        "geometric mean",
        "",
        "",
        "",
        numbers(&report.geometric_mean)
    ));
}

fn csv(report: &RecordedReport) {
    data("space,configurations,failing,seeds,evaluations,mean,p10");
    for row in &report.spaces {
        for ((budget, mean), p10) in report.budgets.iter().zip(&row.mean).zip(&row.p10) {
            let (space, configurations, failing) = (&row.space, row.configurations, row.failing);
            data(&format!("{space},{configurations},{failing},{},{budget},{mean},{p10}", report.seeds));
        }
    }
    for (budget, mean) in report.budgets.iter().zip(&report.geometric_mean) {
        data(&format!("geometric mean,,,{},{budget},{mean},", report.seeds));
    }
}
