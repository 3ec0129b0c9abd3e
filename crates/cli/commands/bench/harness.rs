//! `kernsmith bench harness`.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::time::Instant;

use kernsmith_core::{Candidate, Evaluate, Evidence, Lane, Language, Plan, Proposal, Target};
use kernsmith_harness::Harness;
use kernsmith_stats::median;
use serde::Serialize;
use serde_json::json;

use crate::args::{Format, Global};
use crate::console::{data, note};
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session::{self, Bench};

/// What is judged, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Contract name, or a folder with a contract.toml.
    contract: String,
    /// An honest candidate [default: the contract's own baseline].
    source: Option<PathBuf>,
    /// The candidate's launch plan [default: the baseline's, or call `kernel`].
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// What to build for.
    #[arg(long, default_value = "cpu")]
    target: String,
    /// Judgements in each lane, after one that does not count.
    #[arg(long, default_value_t = 7)]
    runs: u32,
}

/// One way through the gates, medians over the runs.
#[derive(Debug, Serialize)]
struct Course {
    /// `screen`, or `full`: verification and confirmation with a fresh build.
    #[serde(rename = "course")]
    name: &'static str,
    /// From the source text to the evidence, median.
    wall_ms: f64,
    /// The same of each run.
    each_wall_ms: Vec<f64>,
    gates: Vec<GateCost>,
}

/// What one gate took, in the order of the gates.
#[derive(Debug, Serialize)]
struct GateCost {
    gate: String,
    /// Which time the course met this gate: the full one meets some again in confirmation.
    pass: usize,
    wall_ms: f64,
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, args: &Args) -> Answer {
    if args.runs == 0 {
        return Err(CliError::usage("`--runs 0` measures nothing; give 1 or more"));
    }
    let target = session::target(&args.target)?;
    let contract = session::contract(global, &args.contract)?;
    let (source, plan) = match &args.source {
        Some(path) => {
            (session::read_text(path)?, session::plan(args.plan.as_deref(), &contract.variable_axes())?)
        }
        None => own_baseline(&contract, &target)?,
    };
    let harness = Bench::open(global, &target)?.harness(contract.clone(), None, None)?;
    let candidate = |number: u32| fresh(&contract.name, &target, &source, &plan, number);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::apparatus)?;
    let screen = |number| runtime.block_on(screened(&harness, candidate(2 * number)));
    let full = |number| harness.evaluate_fully(candidate(2 * number + 1)).map_err(CliError::apparatus);
    let courses = [measured("screen", args.runs, screen)?, measured("full", args.runs, full)?];
    match global.format {
        Format::Human => human(&courses),
        Format::Csv => csv(&courses),
        Format::Json | Format::Jsonl | Format::Parquet => {
            let report = json!({"contract": contract.name, "target": target.to_string(), "courses": courses});
            data(&json!({"schema_version": 1, "harness": report}).to_string());
        }
    }
    Ok(Exit::Done)
}

fn own_baseline(
    contract: &kernsmith_op_contract::Contract,
    target: &Target,
) -> Result<(String, Plan), CliError> {
    let frozen = contract.frozen_baseline(target.platform()).ok_or_else(|| {
        CliError::usage(format!(
            "contract `{}` has no baseline for `{}`; name a source",
            contract.name,
            target.platform()
        ))
    })?;
    Ok((frozen.source.clone(), frozen.plan.clone()))
}

/// The same kernel in a text that no cache has seen, so that its compilation is a real one each time.
fn fresh(contract: &str, target: &Target, source: &str, plan: &Plan, number: u32) -> Candidate {
    let salt = RandomState::new().build_hasher().finish();
    let source = format!("#define UNSEEN_BEFORE_{salt:016X} {number}\n{source}");
    let language = if matches!(target, Target::Cuda(_)) { Language::Cuda } else { Language::Cpp };
    Candidate::new(contract, target, Proposal { language, ..Proposal::by_user(source, plan.clone()) })
}

async fn screened(harness: &Harness, candidate: Candidate) -> Result<Evidence, CliError> {
    let prepared = harness.prepare(candidate).await.map_err(CliError::apparatus)?;
    harness.judge(prepared, Lane::Screen, None).await.map_err(CliError::apparatus)
}

/// A gate, which meeting of it, and what it took in each run.
type GateTimes = (String, usize, Vec<f64>);

/// The first run pays for what a process and a machine pay once: it is made, and left out.
fn measured(
    course: &'static str,
    runs: u32,
    judge: impl Fn(u32) -> Result<Evidence, CliError>,
) -> Result<Course, CliError> {
    let (mut walls, mut gates): (Vec<f64>, Vec<GateTimes>) = (Vec::new(), Vec::new());
    for number in 0..=runs {
        let begun = Instant::now();
        let evidence = judge(number)?;
        let wall_ms = begun.elapsed().as_secs_f64() * 1e3;
        if let Some(failure) = &evidence.failure {
            return Err(CliError::bad_input_message(format!(
                "the candidate was rejected, {} at {}, so that its cost says nothing of honest ones: {}",
                failure.class, failure.gate, failure.detail
            )));
        }
        note(&format!("{course} {number} of {runs}: {wall_ms:.0} ms"));
        if number > 0 {
            walls.push(wall_ms);
            add(&mut gates, &evidence);
        }
    }
    let cost =
        |(gate, pass, times): (String, usize, Vec<f64>)| GateCost { gate, pass, wall_ms: median(&times) };
    let wall_ms = median(&walls);
    Ok(Course { name: course, wall_ms, each_wall_ms: walls, gates: gates.into_iter().map(cost).collect() })
}

fn add(gates: &mut Vec<(String, usize, Vec<f64>)>, evidence: &Evidence) {
    let mut met: Vec<String> = Vec::new();
    for report in &evidence.validation.gates {
        let gate = report.gate.to_string();
        let pass = met.iter().filter(|name| **name == gate).count() + 1;
        met.push(gate.clone());
        match gates.iter_mut().find(|known| known.0 == gate && known.1 == pass) {
            Some(known) => known.2.push(report.wall_ms),
            None => gates.push((gate, pass, vec![report.wall_ms])),
        }
    }
}

fn human(courses: &[Course]) {
    for course in courses {
        let (low, high) = course
            .each_wall_ms
            .iter()
            .fold((f64::INFINITY, 0.0_f64), |(low, high), ms| (low.min(*ms), high.max(*ms)));
        data(&format!(
            "{:<16} {:>9.1} ms, median of {} ({low:.1} to {high:.1})",
            course.name,
            course.wall_ms,
            course.each_wall_ms.len()
        ));
        for gate in &course.gates {
            let again = if gate.pass > 1 { " again" } else { "" };
            data(&format!("  {:<14} {:>9.1} ms{again}", gate.gate, gate.wall_ms));
        }
    }
}

fn csv(courses: &[Course]) {
    data("course,gate,pass,wall_ms");
    for course in courses {
        data(&format!("{},all,1,{:.3}", course.name, course.wall_ms));
        for gate in &course.gates {
            data(&format!("{},{},{},{:.3}", course.name, gate.gate, gate.pass, gate.wall_ms));
        }
    }
}
