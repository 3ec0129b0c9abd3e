//! `kernsmith bench planner`.

use std::path::{Path, PathBuf};

use kernsmith_autotune::OptimizerOptions;
use kernsmith_bench::{
    BenchError, PolicyRow, RecordedOptions, RecordedReport, RecordedSpace, ScoreQuality, SyntheticOptions,
    SyntheticReport, Terrain, measure_recorded, measure_synthetic,
};
use kernsmith_planner::Policy;
use kernsmith_report::Curves;
use serde_json::json;

use crate::args::{Format, Global};
use crate::console::{data, note};
use crate::error::{Answer, CliError};
use crate::exit::Exit;

/// Searches of each recorded space, and landscapes of each terrain.
const SPACE_SEEDS: u64 = 50;
const LANDSCAPE_SEEDS: u64 = 200;

/// What to search, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Brute-forced spaces as T4 result files, plain or gzipped; without any, synthetic landscapes are searched.
    #[arg(value_name = "FILE")]
    spaces: Vec<PathBuf>,
    /// Independent searches of each space [default: 50], or landscapes of each terrain [default: 200].
    #[arg(long)]
    seeds: Option<u64>,
    /// Spaces: evaluations at which the best so far is noted.
    #[arg(long, value_delimiter = ',', default_value = "20,50,120,220")]
    budgets: Vec<u64>,
    /// Landscapes: evaluations in each search.
    #[arg(long, default_value_t = 120)]
    evaluations: u64,
    /// Landscapes: the policies to compare [default: all].
    #[arg(long, value_delimiter = ',')]
    policies: Vec<Policy>,
    /// Searches at the same time [default: one for each core]; the numbers do not depend on it.
    #[arg(long)]
    threads: Option<usize>,
    /// Draw the mean curves into this SVG file as well.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, args: &Args) -> Answer {
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    if args.spaces.is_empty() { landscapes(global, args, threads) } else { spaces(global, args, threads) }
}

fn spaces(global: &Global, args: &Args, threads: usize) -> Answer {
    let mut spaces = Vec::new();
    for path in &args.spaces {
        note(&format!("reading {}", path.display()));
        spaces.push(RecordedSpace::read(path).map_err(|error| refused(&error))?);
    }
    let options = RecordedOptions {
        seeds: args.seeds.unwrap_or(SPACE_SEEDS),
        budgets: args.budgets.clone(),
        threads,
        optimizer: OptimizerOptions::default(),
    };
    let report = measure_recorded(&spaces, &options, &progress).map_err(|error| refused(&error))?;
    if let Some(path) = &args.plot {
        let lines = report.spaces.iter().map(|row| (row.space.clone(), row.curve.clone())).collect();
        let title = format!("mean of {} searches", report.seeds);
        draw(path, title, "optimum / best so far", lines)?;
    }
    match global.format {
        Format::Human => print_spaces(&report),
        Format::Csv => spaces_csv(&report),
        Format::Json | Format::Jsonl | Format::Parquet => {
            data(&json!({"schema_version": 1, "recorded": report}).to_string());
        }
    }
    Ok(Exit::Done)
}

fn landscapes(global: &Global, args: &Args, threads: usize) -> Answer {
    let all = args.policies.is_empty();
    let options = SyntheticOptions {
        seeds: args.seeds.unwrap_or(LANDSCAPE_SEEDS),
        evaluations: args.evaluations,
        policies: if all { Policy::ALL.to_vec() } else { args.policies.clone() },
        threads,
    };
    let report = measure_synthetic(&options, &progress).map_err(|error| refused(&error))?;
    if let Some(path) = &args.plot {
        let useless = report.rows.iter().filter(|row| row.scores == ScoreQuality::Useless);
        let good = report.rows.iter().filter(|row| row.scores == ScoreQuality::Good);
        // Only policies that read scores differ with their quality.
        let heeds =
            |row: &PolicyRow| ["world-model", "puct", "ksearch", "beam"].contains(&row.policy.as_str());
        let shown = |row: &&PolicyRow| !row.curve.is_empty() && row.policy != "puct";
        let drawn = good.filter(|row| heeds(row) && row.policy != "beam").chain(useless).filter(shown);
        let name = |row: &PolicyRow| {
            if heeds(row) {
                format!("{}, {} scores", row.policy, row.scores.as_str())
            } else {
                row.policy.clone()
            }
        };
        let lines = drawn.map(|row| (name(row), row.curve.clone())).collect();
        let title = format!("mean of {} landscapes", report.seeds * Terrain::ALL.len() as u64);
        draw(path, title, "regret, ln(optimum / best)", lines)?;
    }
    match global.format {
        Format::Human => print_landscapes(&report),
        Format::Csv => landscapes_csv(&report),
        Format::Json | Format::Jsonl | Format::Parquet => {
            data(&json!({"schema_version": 1, "synthetic": report}).to_string());
        }
    }
    Ok(Exit::Done)
}

fn refused(error: &BenchError) -> CliError {
    CliError::bad_input_message(error.to_string())
}

fn draw(path: &Path, title: String, y: &str, lines: Vec<(String, Vec<f64>)>) -> Result<(), CliError> {
    let curves = Curves { title, x: "evaluations".to_owned(), y: y.to_owned(), lines };
    let svg = curves.svg().map_err(CliError::internal)?;
    let failed = |error| CliError::bad_input_message(format!("cannot write {}: {error}", path.display()));
    std::fs::write(path, svg).map_err(failed)?;
    note(&format!("wrote {}", path.display()));
    Ok(())
}

fn progress(ended: usize, of: usize) {
    if ended == of || ended.is_multiple_of((of / 20).max(1)) {
        note(&format!("{ended} of {of} searches"));
    }
}

fn aligned(cells: impl Iterator<Item = String>) -> String {
    cells.fold(String::new(), |line, cell| line + &format!(" {cell:>8}"))
}

fn print_spaces(report: &RecordedReport) {
    let numbers = |values: &[f64]| aligned(values.iter().map(|value| format!("{value:.4}")));
    let heads = aligned(report.budgets.iter().map(ToString::to_string));
    data(&format!("optimum/best after so many evaluations, {} seeds", report.seeds));
    data(&format!("{:<28} {:>8} {:>7}  {:<4}{heads}", "space", "configs", "failing", ""));
    for row in &report.spaces {
        let (space, configurations, failing) = (&row.space, row.configurations, row.failing);
        data(&format!("{space:<28} {configurations:>8} {failing:>7}  mean{}", numbers(&row.mean)));
        data(&format!("{:<28} {:>8} {:>7}  p10 {}", "", "", "", numbers(&row.p10)));
    }
    data(&format!("{:<28} {:>8} {:>7}  mean{}", "geometric mean", "", "", numbers(&report.geometric_mean)));
}

fn spaces_csv(report: &RecordedReport) {
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

fn print_landscapes(report: &SyntheticReport) {
    let (evaluations, seeds) = (report.evaluations, report.seeds);
    data(&format!(
        "regret after {evaluations} evaluations, ln(optimum/best); {seeds} landscapes of each terrain"
    ));
    let terrains = || Terrain::ALL.iter().map(|terrain| terrain.as_str());
    let heads = terrains().fold(String::new(), |line, terrain| line + &format!(" {terrain:>13}"));
    data(&format!(
        "{:<12} {:<12} {:>7} {:<16} {:>9}{heads}",
        "scores", "policy", "regret", "95 % interval", "to random"
    ));
    for row in report.rows.iter().filter(|row| row.terrain == "all") {
        let own = |terrain: &str| {
            let same = |other: &&PolicyRow| (&other.policy, other.scores) == (&row.policy, row.scores);
            report
                .rows
                .iter()
                .filter(same)
                .find(|other| other.terrain == terrain)
                .map_or(0.0, |row| row.regret)
        };
        let cells =
            terrains().fold(String::new(), |line, terrain| line + &format!(" {:>13.4}", own(terrain)));
        let ratio = row.to_random.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        let interval = format!("[{:.4}, {:.4}]", row.ci_low, row.ci_high);
        let (scores, policy) = (row.scores.as_str(), &row.policy);
        data(&format!("{scores:<12} {policy:<12} {:>7.4} {interval:<16} {ratio:>9}{cells}", row.regret));
    }
}

fn landscapes_csv(report: &SyntheticReport) {
    data("scores,policy,terrain,seeds,evaluations,regret,ci_low,ci_high,to_random");
    for row in &report.rows {
        let ratio = row.to_random.map(|ratio| ratio.to_string()).unwrap_or_default();
        let (scores, policy, terrain) = (row.scores.as_str(), &row.policy, &row.terrain);
        let (seeds, evaluations) = (report.seeds, report.evaluations);
        let (regret, low, high) = (row.regret, row.ci_low, row.ci_high);
        data(&format!("{scores},{policy},{terrain},{seeds},{evaluations},{regret},{low},{high},{ratio}"));
    }
}
