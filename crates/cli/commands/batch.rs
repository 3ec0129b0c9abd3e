//! `kernsmith batch`: candidates to another machine, evidence back. docs/batch.md.

mod export;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use kernsmith_batch::{
    BatchError, Bundle, Checked, CheckedRun, Holds, Manifest, holds, open_bundle, open_result, write_result,
};
use kernsmith_engine::Limit;
use kernsmith_experiment_log::{Taken, import_again};
use serde_json::{Value, json};

use crate::args::{Format, Global};
use crate::console::{data, note};
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session;
use crate::session::batch::{self, Batch};

/// What to do with a batch.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write candidates as one file, with everything that judging them takes.
    Export(export::Args),
    /// Judge the candidates of a bundle on this machine; the same command goes on after an interruption.
    Run(RunArgs),
    /// Take evidence into the experiment log, after checking it against its bundle.
    Import(ImportArgs),
    /// Say what a bundle or evidence holds.
    Show {
        /// The file.
        file: PathBuf,
    },
}

/// What is judged, and where the evidence goes.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// A file of `batch export`.
    bundle: PathBuf,
    /// Where the evidence is written; work goes on in `<FILE>.work` beside it until then.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Wall time that each job may take in this session.
    #[arg(long, value_name = "SECONDS", alias = "budget-seconds")]
    wall_seconds: Option<f64>,
    /// Time the contract's rivals in Python beside every confirmation, where their libraries are here.
    #[arg(long)]
    rivals: bool,
    /// Write the evidence although candidates are left; the work folder stays.
    #[arg(long)]
    partial: bool,
}

/// What is taken in.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// A file of `batch run`.
    result: PathBuf,
    /// Refuse evidence of any other bundle than this one.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Take evidence although the contract of that name has other files here.
    #[arg(long)]
    other_contract: bool,
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, verb: &Verb) -> Answer {
    match verb {
        Verb::Export(args) => export::run(global, args),
        Verb::Run(args) => judge(global, args),
        Verb::Import(args) => import(global, args),
        Verb::Show { file } => show(global, file),
    }
}

/// A folder that is gone when this is.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, CliError> {
        let now = jiff::Timestamp::now().as_nanosecond();
        let place = std::env::temp_dir().join(format!("kernsmith-batch-{}-{now}", std::process::id()));
        std::fs::create_dir_all(&place).map_err(CliError::apparatus)?;
        Ok(Self(place))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn judge(global: &Global, args: &RunArgs) -> Answer {
    let work = batch::work_folder(&args.out);
    let bundle = open_bundle(&args.bundle, &work.join("bundle"))?;
    if args.out.exists() && !work.join("log").exists() {
        let scratch = Scratch::new()?;
        let known = open_result(&args.out, &scratch.0, Some(bundle.number))?;
        if known.runs.iter().all(|run| run.missing.is_empty()) {
            note(&format!("{} is there already: nothing is left to judge", args.out.display()));
            std::fs::remove_dir_all(&work).map_err(CliError::log)?;
            print_run(global, &bundle, &known, Some(&args.out));
            return Ok(Exit::Done);
        }
        let problem = "was written with --partial and its work folder is gone; choose another --out";
        return Err(CliError::usage(format!("{} {problem}", args.out.display())));
    }
    let batch = Batch {
        global,
        bundle: &bundle,
        log: work.join("log"),
        wall_seconds: args.wall_seconds,
        rivals: args.rivals,
    };
    let limit = batch.run()?;
    let runs = batch.runs()?;
    let facts = batch::machine_facts(&runs)?;
    let runs: Vec<_> = runs.into_iter().map(|run| (run.job, run.run, run.directory)).collect();
    // What is written is read again before it stands where the result belongs.
    let draft = work.join("evidence");
    write_result(&draft, &bundle, facts, &runs)?;
    let checked = open_result(&draft, &work.join("check"), Some(bundle.number))?;
    let written = limit.is_none() || args.partial;
    if written {
        std::fs::rename(&draft, &args.out).map_err(CliError::log)?;
    }
    if limit.is_none() {
        std::fs::remove_dir_all(&work).map_err(CliError::log)?;
    } else {
        note(&format!("not done; the same command goes on ({} is kept)", work.display()));
    }
    print_run(global, &bundle, &checked, written.then_some(args.out.as_path()));
    Ok(match limit {
        None => Exit::Done,
        Some(Limit::Interrupted) => Exit::Interrupted,
        Some(_) => Exit::Budget,
    })
}

fn print_run(global: &Global, bundle: &Bundle, checked: &Checked, result: Option<&Path>) {
    if global.format != Format::Human {
        let jobs: Vec<Value> = checked.runs.iter().map(|run| run_json(&checked.manifest, run)).collect();
        let result = result.map(|path| path.display().to_string());
        data(
            &json!({"schema_version": 1, "bundle": bundle.number, "jobs": jobs, "result": result})
                .to_string(),
        );
        return;
    }
    for run in &checked.runs {
        data(&run_line(&checked.manifest, run));
    }
    if let Some(path) = result {
        data(&format!("evidence {}; `kernsmith batch import` takes it in", path.display()));
    }
}

fn run_json(manifest: &Manifest, run: &CheckedRun) -> Value {
    let job = &manifest.jobs[run.returned.job];
    json!({
        "run": run.returned.run, "contract": job.contract, "target": job.target, "accepted": run.accepted,
        "rejected": run.rejected, "missing": run.missing, "entries": run.returned.entries, "last": run.returned.last,
        "closed": run.returned.closed,
    })
}

fn run_line(manifest: &Manifest, run: &CheckedRun) -> String {
    let job = &manifest.jobs[run.returned.job];
    let missing = match run.missing.as_slice() {
        [] => String::new(),
        missing => format!(", never judged: {}", missing.join(", ")),
    };
    format!(
        "{}: {} for {}, {} candidates, {} accepted, {} rejected{missing}",
        run.returned.run,
        job.contract,
        job.target,
        job.candidates.len(),
        run.accepted,
        run.rejected
    )
}

fn import(global: &Global, args: &ImportArgs) -> Answer {
    let scratch = Scratch::new()?;
    let bundle = match &args.bundle {
        Some(bundle) => Some(open_bundle(bundle, &scratch.0.join("bundle"))?.number),
        None => None,
    };
    let checked = open_result(&args.result, &scratch.0.join("evidence"), bundle).map_err(|error| {
        let CliError { exit, report } = error.into();
        let wanted = args.bundle.as_ref().map(|bundle| format!("; compared with {}", bundle.display()));
        CliError { exit, report: miette::Report::msg(format!("{report}{}", wanted.unwrap_or_default())) }
    })?;
    if !args.other_contract {
        refuse_other_contracts(global, &checked.manifest)?;
    }
    let root = session::log_root(global)?;
    let origin = args.result.display().to_string();
    let mut taken = Vec::new();
    for run in &checked.runs {
        let outcome = import_again(&root, &run.directory, &origin, checked.returned.facts.clone());
        taken.push((run, outcome.map_err(CliError::log)?));
    }
    if global.format == Format::Human {
        for (run, outcome) in &taken {
            data(&format!(
                "{}; {}",
                run_line(&checked.manifest, run),
                outcome_word(outcome).replace('_', " ")
            ));
        }
        for (name, value) in &checked.returned.facts {
            data(&format!("  {name:15} {value}"));
        }
    } else {
        let rows = taken.iter().map(|(run, outcome)| {
            let mut row = run_json(&checked.manifest, run);
            row["outcome"] = outcome_word(outcome).into();
            row
        });
        let (bundle, facts) = (checked.returned.bundle, &checked.returned.facts);
        let runs: Vec<Value> = rows.collect();
        data(&json!({"schema_version": 1, "bundle": bundle, "runs": runs, "facts": facts}).to_string());
    }
    Ok(Exit::Done)
}

const fn outcome_word(taken: &Taken) -> &'static str {
    match taken {
        Taken::New(_) => "taken_in",
        Taken::Known(_) => "known",
        Taken::Grown(_) => "grown",
    }
}

/// Evidence under another contract of the same name would stand beside runs that it does not compare with.
fn refuse_other_contracts(global: &Global, manifest: &Manifest) -> Result<(), CliError> {
    let library = session::library(global)?;
    for job in &manifest.jobs {
        let Ok(contract) = library.find(&job.contract) else { continue };
        if contract.digest != job.contract_digest {
            return Err(CliError::bad_input_message(format!(
                "contract `{}` in {} has the digest {}, the evidence is for {}: its files are others; restore them, or say \
                 --other-contract to take it in all the same",
                job.contract,
                contract.directory.display(),
                contract.digest,
                job.contract_digest
            )));
        }
    }
    Ok(())
}

fn show(global: &Global, file: &Path) -> Answer {
    let scratch = Scratch::new()?;
    match holds(file)? {
        Holds::Candidates => {
            let Bundle { number, manifest, .. } = open_bundle(file, &scratch.0)?;
            export::print(global, &number, &manifest, None);
        }
        Holds::Evidence => {
            let checked = open_result(file, &scratch.0, None)?;
            if global.format != Format::Human {
                let runs: Vec<Value> =
                    checked.runs.iter().map(|run| run_json(&checked.manifest, run)).collect();
                let (bundle, facts) = (checked.returned.bundle, &checked.returned.facts);
                data(
                    &json!({"schema_version": 1, "bundle": bundle, "runs": runs, "facts": facts}).to_string(),
                );
                return Ok(Exit::Done);
            }
            data(&format!("evidence of bundle {}", checked.returned.bundle));
            for run in &checked.runs {
                data(&run_line(&checked.manifest, run));
            }
            for (name, value) in &checked.returned.facts {
                data(&format!("  {name:15} {value}"));
            }
        }
    }
    Ok(Exit::Done)
}

impl From<BatchError> for CliError {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Log(error) => Self::log(error),
            BatchError::Contract(error) => Self::bad_input(error),
            other => Self::log(other),
        }
    }
}
