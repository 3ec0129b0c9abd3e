//! Questions to the index of all runs, and tables out of it.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use kernsmith_experiment_log::{Index, RowObject, RunReader, Table, list, write_bundle, write_parquet};
use serde_json::json;

use super::table::{csv_line, csv_row, print, text};
use crate::args::{Format, Global};
use crate::console::{data, note};
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session;

/// A question.
#[derive(Debug, clap::Args)]
pub(crate) struct QueryArgs {
    /// One SELECT over `v_runs`, `v_candidates`, `v_judgements`, `v_workloads`, `v_gates`, `v_strategies`, …; `-` reads stdin.
    sql: String,
}

/// How the index is made.
#[derive(Debug, clap::Args)]
pub(crate) struct ReindexArgs {
    /// Make the sources of all candidates searchable too: `SELECT run, seq FROM v_sources WHERE text MATCH '_mm512_fmadd'`.
    #[arg(long)]
    sources: bool,
}

/// What is written, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// Run; a unique prefix or `latest` will do.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    run: Option<String>,
    /// All runs.
    #[arg(long)]
    all: bool,
    /// A view without its `v_`: runs, candidates, judgements, workloads, gates, strategies, …; or `log`, the entries in full.
    #[arg(long, default_value = "candidates", value_name = "NAME")]
    table: String,
    /// Write to a file instead of stdout.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the whole run as one file that `log import` takes in.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "output", "table"])]
    bundle: Option<PathBuf>,
}

/// `log query`.
pub(super) fn query(global: &Global, args: &QueryArgs) -> Answer {
    let mut sql = args.sql.clone();
    if sql == "-" {
        sql.clear();
        std::io::stdin()
            .read_to_string(&mut sql)
            .map_err(|error| CliError::usage(format!("cannot read stdin: {error}")))?;
    }
    let table = fresh(global)?.query(&sql).map_err(asked)?;
    print(global, &table)
}

/// `log reindex`.
pub(super) fn reindex(global: &Global, args: &ReindexArgs) -> Answer {
    let root = session::log_root(global)?;
    let (index, update) = Index::rebuild(&root, args.sources).map_err(CliError::log)?;
    update.damages.iter().for_each(|damage| note(&format!("read up to a damage: {damage}")));
    if global.format == Format::Human {
        data(&format!("{}: {} runs, {} entries", index.path().display(), update.runs, update.entries));
    } else {
        data(&json!({"schema_version": 1, "index": index.path(), "update": update}).to_string());
    }
    Ok(Exit::Done)
}

/// `log export`.
pub(super) fn export(global: &Global, args: &ExportArgs) -> Answer {
    let directory = args.run.as_ref().map(|run| session::run_directory(global, run)).transpose()?;
    if let (Some(output), Some(directory)) = (&args.bundle, &directory) {
        let bytes = write_bundle(directory, output).map_err(CliError::log)?;
        note(&format!("{}: {bytes} bytes; `kernsmith log import` takes it in", output.display()));
        return Ok(Exit::Done);
    }
    let format = match global.format {
        // A table for people is no file for a machine: lines of JSON are the default here.
        Format::Human => Format::Jsonl,
        Format::Parquet => return parquet(global, args, directory.as_deref()),
        other => other,
    };
    if let Some(output) = &args.output {
        let failed =
            |error: std::io::Error| CliError::usage(format!("cannot write {}: {error}", output.display()));
        let mut file = BufWriter::new(File::create(output).map_err(failed)?);
        let mut broken = None;
        rows(global, args, directory.as_deref(), format, &mut |line| {
            broken = writeln!(file, "{line}").err();
            broken.is_none()
        })?;
        broken.map_or_else(|| file.flush(), Err).map_err(failed)?;
    } else {
        rows(global, args, directory.as_deref(), format, &mut |line| {
            data(line);
            true
        })?;
    }
    Ok(Exit::Done)
}

/// A table as one Parquet file, which is no text for a terminal.
fn parquet(global: &Global, args: &ExportArgs, run: Option<&Path>) -> Answer {
    let Some(output) = &args.output else {
        return Err(CliError::usage("a Parquet file is binary: name it with `--output FILE`"));
    };
    let table = fresh(global)?.query(&select(args, run)?).map_err(asked)?;
    let failed =
        |error: std::io::Error| CliError::usage(format!("cannot write {}: {error}", output.display()));
    let mut file = BufWriter::new(File::create(output).map_err(failed)?);
    write_parquet(&table, &mut file).and_then(|()| file.flush()).map_err(failed)?;
    Ok(Exit::Done)
}

/// The question that an export asks.
fn select(args: &ExportArgs, run: Option<&Path>) -> Result<String, CliError> {
    if args.table == "log" {
        return Err(CliError::usage(
            "entries in full are lines of JSON: use `--format jsonl`, or another `--table`",
        ));
    }
    let known = kernsmith_experiment_log::VIEWS.iter().any(|view| *view == format!("v_{}", args.table));
    if !known || args.table == "sources" {
        let problem = format!("there is no table `{}`", args.table);
        return Err(asked(kernsmith_experiment_log::LogError::Query { problem }));
    }
    let only = run
        .and_then(Path::file_name)
        .map(|name| format!(" WHERE run = '{}'", name.to_string_lossy().replace('\'', "''")));
    Ok(format!("SELECT * FROM v_{}{}", args.table, only.unwrap_or_default()))
}

type Sink<'a> = dyn FnMut(&str) -> bool + 'a;

fn rows(
    global: &Global,
    args: &ExportArgs,
    run: Option<&Path>,
    format: Format,
    sink: &mut Sink<'_>,
) -> Result<(), CliError> {
    if args.table == "log" && format == Format::Jsonl {
        return entries(global, run, sink);
    }
    let sql = select(args, run)?;
    let index = fresh(global)?;
    if format == Format::Json {
        let table: Table = index.query(&sql).map_err(asked)?;
        let rows: Vec<RowObject<'_>> = table.objects().collect();
        sink(&text(&json!({"schema_version": 1, "columns": table.columns, "rows": rows}))?);
        return Ok(());
    }
    let mut failed = None;
    index
        .query_each(&sql, |columns, cells| match (format, cells) {
            (Format::Csv, None) => sink(&csv_line(columns.iter().map(String::as_str))),
            (Format::Csv, Some(cells)) => sink(&csv_row(&cells)),
            (_, None) => true,
            (_, Some(cells)) => match text(&RowObject { columns, cells: &cells }) {
                Ok(line) => sink(&line),
                Err(error) => {
                    failed = Some(error);
                    false
                }
            },
        })
        .map_err(asked)?;
    failed.map_or(Ok(()), Err)
}

/// The entries themselves, each with its run's name.
fn entries(global: &Global, run: Option<&Path>, sink: &mut Sink<'_>) -> Result<(), CliError> {
    let directories = match run {
        Some(run) => vec![run.to_owned()],
        None => list(&session::log_root(global)?)
            .map_err(CliError::log)?
            .into_iter()
            .map(|run| run.directory)
            .collect(),
    };
    for directory in directories {
        let reader = RunReader::open(&directory).map_err(CliError::log)?;
        let name = directory.file_name().map(|name| name.to_string_lossy().into_owned());
        for entry in reader.entries().map_err(CliError::log)? {
            let entry = entry.map_err(CliError::log)?;
            let line = json!({"run": name, "seq": entry.seq, "time": entry.time, "prev": entry.prev, "event": entry.event});
            if !sink(&line.to_string()) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The index with all that the runs hold by now.
fn fresh(global: &Global) -> Result<Index, CliError> {
    let mut index = Index::open(&session::log_root(global)?).map_err(CliError::log)?;
    let update = index.update().map_err(CliError::log)?;
    update.damages.iter().for_each(|damage| note(&format!("read up to a damage: {damage}")));
    Ok(index)
}

/// A bad question is the user's, everything else is the log's.
fn asked(error: kernsmith_experiment_log::LogError) -> CliError {
    match error {
        kernsmith_experiment_log::LogError::Query { .. } => CliError::usage(error.to_string()),
        other => CliError::log(other),
    }
}
