//! `kernsmith batch export`: what goes out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kernsmith_batch::{Export, Given, Manifest};
use kernsmith_core::{Digest, Event, Language, Plan, Prediction, Proposal, Seq, Target};
use kernsmith_experiment_log::RunReader;
use serde_json::{Value, json};

use crate::args::{Format, Global};
use crate::commands::static_only::{DEFAULT_ARCHITECTURE, first_device};
use crate::console::{data, note};
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session::{self, batch, hunt};

/// What goes out.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `<run>#<seq>`: that candidate. `<run>`: its best ones. A unique prefix or `latest` will do for the run.
    #[arg(value_name = "RUN[#SEQ]")]
    candidates: Vec<String>,
    /// How many of a run go out, the champion first.
    #[arg(long, default_value_t = 1, value_name = "N")]
    top: usize,
    /// A source, or a folder of sources; may be repeated.
    #[arg(long, value_name = "FILE|FOLDER", requires = "contract")]
    source: Vec<PathBuf>,
    /// The launch plan of the sources; by default `<name>.plan.toml` or `plan.toml` beside each.
    #[arg(long, value_name = "FILE", requires = "source")]
    plan: Option<PathBuf>,
    /// Contract of the sources: a name, or a folder with a contract.toml.
    #[arg(long, value_name = "NAME")]
    contract: Option<String>,
    /// What the sources are for; `cuda` needs no device here.
    #[arg(long, default_value = "cpu")]
    target: String,
    /// Measure the sources against this kernel instead of the contract's own baseline.
    #[arg(long, value_name = "FILE", requires = "source")]
    baseline: Option<PathBuf>,
    /// Launch plan of that kernel.
    #[arg(long, value_name = "FILE", requires = "baseline")]
    baseline_plan: Option<PathBuf>,
    /// Where the bundle is written.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs the subcommand.
pub(super) fn run(global: &Global, args: &Args) -> Answer {
    let mut export = Export::default();
    for word in &args.candidates {
        let (run, seq) = match word.split_once('#') {
            Some((run, seq)) => (run, Some(session::seq(seq)?)),
            None => (word.as_str(), None),
        };
        for given in of_run(global, run, seq, args.top)? {
            add(&mut export, given)?;
        }
    }
    for given in of_files(global, args)? {
        add(&mut export, given)?;
    }
    if export.is_empty() {
        return Err(CliError::usage("nothing to export; name a run, `<run>#<seq>`, or a `--source`"));
    }
    let now = jiff::Timestamp::now();
    let time = now.round(jiff::Unit::Second).unwrap_or(now).to_string();
    let (number, manifest, bytes) = export.write(&args.out, hunt::program(), time)?;
    print(global, &number, &manifest, Some(bytes));
    Ok(Exit::Done)
}

fn add(export: &mut Export, given: Given) -> Result<(), CliError> {
    let from = given.from.clone();
    if !export.add(given)? {
        note(&format!("{from} is there already, with the same source and plan"));
    }
    Ok(())
}

/// What a bundle holds.
pub(super) fn print(global: &Global, number: &Digest, manifest: &Manifest, bytes: Option<u64>) {
    if global.format != Format::Human {
        let jobs: Vec<Value> = manifest
            .jobs
            .iter()
            .map(|job| {
                let candidates: Vec<Value> = job
                    .candidates
                    .iter()
                    .map(|item| json!({"from": item.from, "source": item.source, "expected": item.expected}))
                    .collect();
                json!({"contract": job.contract, "version": job.version, "contract_digest": job.contract_digest,
                    "target": job.target, "candidates": candidates})
            })
            .collect();
        let (program, time) = (&manifest.program, &manifest.time);
        data(
            &json!({"schema_version": 1, "bundle": number, "program": program, "time": time, "jobs": jobs, "bytes": bytes})
                .to_string(),
        );
        return;
    }
    for job in &manifest.jobs {
        data(&format!("{}@{} for {}", job.contract, job.version, job.target));
        for item in &job.candidates {
            let expected = item.expected.map(|expected| format!("{:.3}x before", expected.ratio));
            data(&format!("  {:50} {} {}", item.from, item.source.short(), expected.unwrap_or_default()));
        }
    }
    let size = bytes.map(|bytes| format!(", {bytes} bytes")).unwrap_or_default();
    data(&format!("bundle {number}{size}"));
}

/// One candidate of a run, or its best ones.
fn of_run(global: &Global, run: &str, seq: Option<Seq>, top: usize) -> Result<Vec<Given>, CliError> {
    let reader = session::reader(global, run)?;
    let opened = reader.opened();
    let contract = session::recorded_contract(global, opened)?;
    let baseline = session::recorded_baseline(&reader)?;
    let attempts = attempts(&reader)?;
    let chosen = match seq {
        Some(seq) => {
            let missing = || {
                CliError::usage(format!(
                    "entry {seq} of {run} is about no candidate; `kernsmith log show` lists them"
                ))
            };
            vec![attempts.iter().find(|attempt| attempt.entries.contains(&seq)).ok_or_else(missing)?]
        }
        None => best(&attempts, top),
    };
    if chosen.is_empty() {
        note(&format!("{run} has no accepted candidate"));
    }
    let given = chosen.into_iter().map(|attempt| Given {
        from: format!("{}#{}", opened.run_id, attempt.seq.0),
        contract: contract.clone(),
        contract_path: opened.contract_path.clone(),
        target: opened.target.clone(),
        config: batch::travelling(&opened.config),
        baseline: baseline.clone(),
        proposal: Proposal { prediction: attempt.measured, ..attempt.proposal.clone() },
    });
    Ok(given.collect())
}

/// A candidate of a run with what became of it.
struct Attempt {
    seq: Seq,
    /// All entries that are about it.
    entries: BTreeSet<Seq>,
    proposal: Proposal,
    /// The last measurement that passed.
    measured: Option<Prediction>,
    rejected: bool,
    champion: bool,
}

fn attempts(reader: &RunReader) -> Result<Vec<Attempt>, CliError> {
    let mut attempts: BTreeMap<Seq, Attempt> = BTreeMap::new();
    for entry in reader.entries().map_err(CliError::log)? {
        let entry = entry.map_err(CliError::log)?;
        let proposal = match &entry.event {
            Event::Proposed(_) => entry.seq,
            Event::Judged { proposal, .. }
            | Event::Promoted { proposal, .. }
            | Event::Deduplicated { proposal, .. } => *proposal,
            _ => continue,
        };
        if let Event::Proposed(proposed) = entry.event {
            let source = reader.blob(&proposed.source).map_err(CliError::log)?;
            let (seq, proposal) = (entry.seq, proposed.into_proposal(&source));
            let attempt = Attempt {
                seq,
                entries: BTreeSet::from([seq]),
                proposal,
                measured: None,
                rejected: false,
                champion: false,
            };
            attempts.insert(seq, attempt);
            continue;
        }
        if matches!(entry.event, Event::Promoted { .. }) {
            for attempt in attempts.values_mut() {
                attempt.champion = false;
            }
        }
        let Some(attempt) = attempts.get_mut(&proposal) else { continue };
        attempt.entries.insert(entry.seq);
        match entry.event {
            Event::Promoted { .. } => attempt.champion = true,
            Event::Judged { evidence, .. } => {
                let conclusive =
                    evidence.failure.as_ref().is_some_and(|failure| failure.class.is_conclusive());
                attempt.rejected |= conclusive;
                if let Some(times) = evidence.performance.filter(|_| evidence.failure.is_none()) {
                    attempt.measured =
                        Some(Prediction { ratio: times.ratio, low: times.ci_low, high: times.ci_high });
                }
            }
            _ => {}
        }
    }
    Ok(attempts.into_values().collect())
}

/// The champion, then the fastest of those that were never refused.
fn best(attempts: &[Attempt], top: usize) -> Vec<&Attempt> {
    let ratio = |attempt: &Attempt| attempt.measured.map_or(0.0, |measured| measured.ratio);
    let mut passed: Vec<&Attempt> =
        attempts.iter().filter(|attempt| attempt.measured.is_some() && !attempt.rejected).collect();
    passed.sort_by(|a, b| b.champion.cmp(&a.champion).then(ratio(b).total_cmp(&ratio(a))));
    passed.truncate(top);
    passed
}

/// Sources from files and folders.
fn of_files(global: &Global, args: &Args) -> Result<Vec<Given>, CliError> {
    let Some(name) = args.contract.as_ref().filter(|_| !args.source.is_empty()) else {
        return Ok(Vec::new());
    };
    let contract = session::contract(global, name)?;
    let axes = contract.variable_axes();
    let target = target(&args.target)?;
    let language = if matches!(target, Target::Cuda(_)) { Language::Cuda } else { Language::Cpp };
    let baseline = match &args.baseline {
        Some(path) => Some((session::read_text(path)?, session::plan(args.baseline_plan.as_deref(), &axes)?)),
        None => None,
    };
    let config = batch::travelling(&session::config(global, &[])?.config.effective());
    let mut given = Vec::new();
    for path in sources(&args.source, language)? {
        let beside = args.plan.clone().or_else(|| plan_beside(&path));
        let plan: Plan = session::plan(beside.as_deref(), &axes)?;
        let proposal = Proposal { language, ..Proposal::by_user(session::read_text(&path)?, plan) };
        given.push(Given {
            from: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            contract: contract.clone(),
            contract_path: hunt::contract_path(&contract),
            target: target.clone(),
            config: config.clone(),
            baseline: baseline.clone(),
            proposal,
        });
    }
    Ok(given)
}

/// `cuda` is what the first device is, and Hopper where there is none: nothing is run here.
fn target(word: &str) -> Result<Target, CliError> {
    if word == "cuda" {
        return Ok(Target::Cuda(first_device().unwrap_or_else(|| DEFAULT_ARCHITECTURE.to_owned())));
    }
    word.parse().map_err(|error| CliError::usage(format!("{error}")))
}

/// The files that are named, and those of a language in folders that are named.
fn sources(named: &[PathBuf], language: Language) -> Result<Vec<PathBuf>, CliError> {
    let mut found = Vec::new();
    for path in named {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        let listing = std::fs::read_dir(path)
            .map_err(|error| CliError::usage(format!("cannot list {}: {error}", path.display())))?;
        for file in listing.flatten().map(|entry| entry.path()) {
            if file.extension().is_some_and(|extension| extension == language.extension()) {
                inside.push(file);
            }
        }
        if inside.is_empty() {
            let (folder, extension) = (path.display(), language.extension());
            return Err(CliError::usage(format!("{folder} holds no `.{extension}` file")));
        }
        inside.sort();
        found.extend(inside);
    }
    Ok(found)
}

fn plan_beside(source: &Path) -> Option<PathBuf> {
    let own = source.with_extension("plan.toml");
    let common = source.with_file_name("plan.toml");
    [own, common].into_iter().find(|path| path.is_file())
}
