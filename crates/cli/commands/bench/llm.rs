//! `kernsmith bench llm`.

use std::path::PathBuf;

use kernsmith_bench::{AblationOptions, AblationReport, BenchError, Saved, measure_ablation};
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
    /// The first of their seeds; the others follow.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
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
        seeds: args.seeds.max(1),
        first_seed: args.first_seed,
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
        "proposals until {:.0} % of the optimum (of {} at most), a scripted model; landscapes {} to {} of each terrain",
        report.share * 100.0,
        report.proposals,
        report.seeds.0,
        report.seeds.1
    ));
    data("saved: proposals a landscape against no-planner, with its 95 % interval");
    data(&format!(
        "{:12} {:13} {:>5} {:>8} {:>7} {:>6} {:>5}  {:29} {:>6} {:>10} {:>7}",
        "scores",
        "arm",
        "runs",
        "reached",
        "median",
        "fewer",
        "more",
        "saved",
        "share",
        "proposals",
        "tokens"
    ));
    for row in &report.rows {
        data(&format!(
            "{:12} {:13} {:5} {:8} {:7.0} {:6} {:5}  {:29} {:6.3} {:10.1} {:7.0}",
            row.scores.as_str(),
            row.arm.as_str(),
            row.runs,
            row.reached,
            row.median_proposals,
            row.fewer,
            row.more,
            row.saved.as_ref().map_or_else(String::new, saved),
            row.mean_share,
            row.mean_proposals,
            row.mean_tokens
        ));
    }
    data(&format!(
        "\n{:12} {:13} {:14} {:>8} {:>8}  saved",
        "scores", "arm", "terrain", "reached", "without"
    ));
    for row in &report.terrains {
        data(&format!(
            "{:12} {:13} {:14} {:8} {:8}  {}",
            row.scores.as_str(),
            row.arm.as_str(),
            row.terrain.as_str(),
            row.reached,
            row.reached_without,
            saved(&row.saved)
        ));
    }
    data(&format!(
        "{} of {} runs came out the same from their cassette",
        report.replayed_alike, report.replayed
    ));
}

fn saved(saved: &Saved) -> String {
    let Saved { mean, low, high, p_value } = saved;
    // The fewest that so many draws can tell is not nothing.
    let p = if *p_value < 1e-4 { "p<0.0001".to_owned() } else { format!("p={p_value:.4}") };
    format!("{mean:.1} [{low:.1}, {high:.1}] {p}")
}

fn csv(report: &AblationReport) {
    data(
        "scores,arm,runs,reached,median_proposals,fewer,more,saved,saved_low,saved_high,saved_p,mean_share,mean_proposals,mean_tokens",
    );
    for row in &report.rows {
        let saved = row.saved.as_ref().map_or_else(
            || ",,,".to_owned(),
            |saved| format!("{:.4},{:.4},{:.4},{:.6}", saved.mean, saved.low, saved.high, saved.p_value),
        );
        data(&format!(
            "{},{},{},{},{},{},{},{saved},{:.6},{:.1},{:.1}",
            row.scores.as_str(),
            row.arm.as_str(),
            row.runs,
            row.reached,
            row.median_proposals,
            row.fewer,
            row.more,
            row.mean_share,
            row.mean_proposals,
            row.mean_tokens
        ));
    }
}
