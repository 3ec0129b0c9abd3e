//! `kernsmith bench engine`.

use std::path::PathBuf;

use kernsmith_bench::{BenchError, EngineOptions, EngineReport, Reopened, measure_engine, measure_reopening};
use serde_json::json;

use crate::args::{Format, Global};
use crate::console::{data, note};
use crate::error::{Answer, CliError};
use crate::exit::Exit;

/// How long a run, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Candidates that are proposed.
    #[arg(long, default_value_t = 10_000)]
    candidates: u64,
    /// Size of each source.
    #[arg(long, default_value_t = 12_000)]
    source_bytes: usize,
    /// Folder for the run, on the disk that is to be measured; it is kept [default: one below the working directory, removed
    /// at the end].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Seed of everything.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only opens the run again that an earlier call left in `--dir`, and measures that.
    #[arg(long, requires = "dir")]
    reopen: bool,
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, args: &Args) -> Answer {
    let folder =
        args.dir.clone().unwrap_or_else(|| PathBuf::from(format!("kernsmith-bench-{}", std::process::id())));
    let options = EngineOptions {
        candidates: args.candidates,
        source_bytes: args.source_bytes,
        seed: args.seed,
        folder: folder.clone(),
    };
    if args.reopen {
        let reopened = measure_reopening(&options).map_err(problem)?;
        data(&json!({"schema_version": 1, "reopened": reopened}).to_string());
        return Ok(Exit::Done);
    }
    let part = (args.candidates / 10).max(1);
    let progress = |proposed: u64| {
        if proposed.is_multiple_of(part) {
            note(&format!("{proposed} of {} candidates", args.candidates));
        }
    };
    let measured = measure_engine(&options, &progress, &reopen_in_another_process);
    if args.dir.is_none() {
        let _ = std::fs::remove_dir_all(&folder);
    }
    let report = measured.map_err(problem)?;
    match global.format {
        Format::Human => human(&report),
        Format::Json | Format::Jsonl | Format::Csv | Format::Parquet => {
            data(&json!({"schema_version": 1, "engine": report}).to_string());
        }
    }
    Ok(Exit::Done)
}

fn problem(error: BenchError) -> CliError {
    match error {
        BenchError::Engine(error) => error.into(),
        BenchError::Log(error) => CliError::log(error),
        other => CliError::bad_input_message(other.to_string()),
    }
}

/// Opens the run as `resume` would, in a fresh process: what a search left on this heap is not counted twice.
fn reopen_in_another_process(options: &EngineOptions) -> Result<Reopened, BenchError> {
    let failed = |source| BenchError::Read { path: options.folder.clone(), source };
    let output = std::process::Command::new(std::env::current_exe().map_err(failed)?)
        .args(["bench", "engine", "--reopen", "--dir"])
        .arg(&options.folder)
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(failed)?;
    if !output.status.success() {
        let said = format!("the process that opened the run again ended with {}", output.status);
        return Err(failed(std::io::Error::other(said)));
    }
    let said: Said = serde_json::from_slice(&output.stdout).map_err(|error| failed(error.into()))?;
    Ok(said.reopened)
}

/// What the other process prints.
#[derive(serde::Deserialize)]
struct Said {
    reopened: Reopened,
}

fn human(report: &EngineReport) {
    let row = |name: &str, value: String| data(&format!("{name:<34} {value}"));
    let speeds = (report.per_second, report.per_second_first_tenth, report.per_second_last_tenth);
    row(
        "candidates",
        format!("{} of {} bytes, seed {}", report.candidates, report.source_bytes, report.seed),
    );
    row(
        "candidates a second",
        format!("{:.0} (first tenth {:.0}, last tenth {:.0})", speeds.0, speeds.1, speeds.2),
    );
    row("last tenth over first", format!("{:.2}", speeds.2 / speeds.1));
    row(
        "processor time for a candidate",
        format!(
            "{:.3} ms in the first tenth, {:.3} ms in the last",
            report.cpu_ms_first_tenth, report.cpu_ms_last_tenth
        ),
    );
    row(
        "waiting for the log",
        format!(
            "{:.3} ms in the first tenth, {:.3} ms in the last",
            report.log_ms_first_tenth, report.log_ms_last_tenth
        ),
    );
    row(
        "bytes on disk for a candidate",
        format!(
            "{:.0} = {:.2} of its source (pack {:.0}, history {:.0})",
            report.disk_bytes_per_candidate,
            report.disk_over_source,
            report.pack_bytes_per_candidate,
            report.history_bytes_per_candidate
        ),
    );
    let mib = |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), |mib| format!("{mib:.1} MiB"));
    row(
        "peak memory",
        format!(
            "{} ({} at the start; {} in the process that opened the run again)",
            mib(report.peak_rss_mib),
            mib(report.start_rss_mib),
            mib(report.peak_rss_reopened_mib)
        ),
    );
    row(
        "open again and fold",
        format!(
            "{:.2} s for {} entries, {:.2} s for 100,000",
            report.resume_seconds, report.entries, report.resume_seconds_per_100k_entries
        ),
    );
    row("judged deeper, promoted", format!("{}, {}", report.deeper_judgements, report.promotions));
    row("digest of what happened", report.events.clone());
}
