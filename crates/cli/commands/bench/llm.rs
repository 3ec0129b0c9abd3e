//! `kernsmith bench llm`.

use std::path::PathBuf;

use kernsmith_bench::{AblationOptions, AblationReport, BenchError, measure_ablation};
use serde_json::json;

use crate::args::{Format, Global};
use crate::console::{data, note};
use crate::error::{Answer, CliError};
use crate::exit::Exit;

/// How many landscapes, and how long each run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Landscapes of each of the five terrains.
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// Candidates of one run.
    #[arg(long, default_value_t = 80)]
    proposals: u64,
    /// Share of the optimum, on the logarithmic scale, that counts as reached.
    #[arg(long, default_value_t = 0.8)]
    share: f64,
    /// Runs at the same time [default: one for each core]; the numbers do not depend on it.
    #[arg(long)]
    threads: Option<usize>,
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, args: &Args) -> Answer {
    let folder = PathBuf::from(format!("kernsmith-bench-llm-{}", std::process::id()));
    let options = AblationOptions {
        seeds: args.seeds,
        proposals: args.proposals,
        share: args.share,
        threads: args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        folder: folder.clone(),
    };
    let progress = |ended: usize| {
        if ended.is_multiple_of(100) {
            note(&format!("{ended} runs"));
        }
    };
    let measured = measure_ablation(&options, &progress);
    let _ = std::fs::remove_dir_all(&folder);
    let report = measured.map_err(|error| match error {
        BenchError::Engine(error) => error.into(),
        other => CliError::bad_input_message(other.to_string()),
    })?;
    match global.format {
        Format::Human => human(&report),
        Format::Csv => csv(&report),
        Format::Json | Format::Jsonl | Format::Parquet => {
            data(&json!({"schema_version": 1, "ablation": report}).to_string());
        }
    }
    Ok(Exit::Done)
}

fn human(report: &AblationReport) {
    data(&format!(
        "proposals until {:.0} % of the optimum (of {} at most), a scripted model",
        report.share * 100.0,
        report.proposals
    ));
    data("scores       arm            runs  reached  median  fewer  more  share in the end  tokens a run");
    for row in &report.rows {
        data(&format!(
            "{:12} {:13} {:5} {:8} {:7.0} {:6} {:5} {:17.3} {:13.0}",
            row.scores.as_str(),
            row.arm.as_str(),
            row.runs,
            row.reached,
            row.median_proposals,
            row.fewer,
            row.more,
            row.mean_share,
            row.mean_tokens
        ));
    }
    data(&format!(
        "{} of {} runs came out the same from their cassette",
        report.replayed_alike, report.replayed
    ));
}

fn csv(report: &AblationReport) {
    data("scores,arm,runs,reached,median_proposals,fewer,more,mean_share,mean_tokens");
    for row in &report.rows {
        data(&format!(
            "{},{},{},{},{},{},{},{:.6},{:.1}",
            row.scores.as_str(),
            row.arm.as_str(),
            row.runs,
            row.reached,
            row.median_proposals,
            row.fewer,
            row.more,
            row.mean_share,
            row.mean_tokens
        ));
    }
}
