//! `kernsmith evaluate`: one candidate through all gates.

use std::path::PathBuf;

use kernsmith_core::evidence::{Rival, ToolReport};
use kernsmith_core::{Candidate, Evidence, Language, Plan, Proposal, Target};
use kernsmith_harness::Tool;

use crate::args::{Format, Global};
use crate::commands::static_only;
use crate::console::{data, time};
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session::{self, Bench};

/// What to evaluate.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Contract name, or a folder with a contract.toml.
    contract: String,
    /// The candidate's source.
    source: PathBuf,
    /// The candidate's launch plan [default: call `kernel`].
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// What to build for.
    #[arg(long, default_value = "cpu")]
    target: String,
    /// Seed of the input data, for a reproducible judgement; absent: secret and fresh.
    #[arg(long)]
    seed: Option<u64>,
    /// Measure against this kernel instead of the contract's own baseline.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Time the contract's rivals in Python too: torch.compile, cuBLAS, FlashInfer. GPU targets only.
    #[arg(long)]
    rivals: bool,
    /// Only the gates that need no device: compile, audit, report what the kernels take. CUDA targets only.
    #[arg(long, conflicts_with_all = ["seed", "baseline", "rivals"])]
    static_only: bool,
    /// Judge, and then call the kernel under compute-sanitizer: memcheck, racecheck, initcheck or synccheck. GPUs only.
    #[arg(long, value_name = "CHECKER", conflicts_with_all = ["static_only", "profile"])]
    sanitize: Option<Tool>,
    /// Judge, and then profile the kernel's launches with ncu: a small fixed set of metrics. GPUs only.
    #[arg(long, conflicts_with = "static_only")]
    profile: bool,
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, args: &Args) -> Answer {
    if args.static_only {
        let contract = session::contract(global, &args.contract)?;
        let source = session::read_text(&args.source)?;
        let plan = session::plan(args.plan.as_deref(), &contract.variable_axes())?;
        return static_only::run(global, &args.target, &contract, &source, &plan);
    }
    let target = session::target(&args.target)?;
    let contract = session::contract(global, &args.contract)?;
    let source = session::read_text(&args.source)?;
    let plan = session::plan(args.plan.as_deref(), &contract.variable_axes())?;
    let baseline = args.baseline.as_deref().map(session::read_text).transpose()?;
    let rivals = args.rivals.then(|| ("harness.rivals".to_owned(), "true".to_owned()));
    let bench = Bench::open_with(global, &target, rivals.as_slice())?;
    let language = if matches!(target, Target::Cuda(_)) { Language::Cuda } else { Language::Cpp };
    let proposal = Proposal { language, ..Proposal::by_user(source, plan) };
    let candidate = Candidate::new(&contract.name, &target, proposal);
    let harness = bench.harness(contract, baseline.map(|source| (source, Plan::default())), args.seed)?;
    let tool = args.sanitize.or_else(|| args.profile.then_some(Tool::Profile));
    let watched = tool.map(|_| candidate.clone());
    let mut evidence = harness.evaluate_fully(candidate).map_err(CliError::apparatus)?;
    evidence.replay = replay_command(args);
    if let (Some(tool), Some(candidate)) = (tool, watched) {
        evidence.artifacts.tool = Some(harness.watch(&candidate, tool).map_err(CliError::apparatus)?);
    }
    print(global, &evidence)?;
    let clean = evidence.artifacts.tool.as_ref().is_none_or(|report| report.findings == 0);
    Ok(if evidence.is_accepted() && clean { Exit::Done } else { Exit::No })
}

/// What a tool saw, for people.
fn print_tool(report: &ToolReport) {
    if report.tool != Tool::Profile.as_str() {
        data(&format!("{}: {} findings in the kernel", report.tool, report.findings));
    }
    for line in &report.lines {
        data(&format!("  {line}"));
    }
    for kernel in &report.kernels {
        data(&format!("profile: {} {} {}", kernel.symbol, kernel.grid, kernel.block));
        for (metric, value) in &kernel.metrics {
            data(&format!("  {metric:60} {value:>16.2}"));
        }
    }
}

fn replay_command(args: &Args) -> String {
    let plan = args.plan.as_ref().map(|plan| format!(" --plan {}", plan.display())).unwrap_or_default();
    format!("kernsmith evaluate {} {}{plan} --target {}", args.contract, args.source.display(), args.target)
}

/// Prints a judgement: a few lines for people, one object for programs.
pub(crate) fn print(global: &Global, evidence: &Evidence) -> Result<(), CliError> {
    if global.format != Format::Human {
        data(&serde_json::to_string(evidence).map_err(CliError::internal)?);
        return Ok(());
    }
    for gate in &evidence.validation.gates {
        let mark = if gate.passed { "pass" } else { "FAIL" };
        data(&format!("  {mark}  {:14} {:8.1} ms  {}", gate.gate, gate.wall_ms, gate.note));
    }
    if let Some(failure) = &evidence.failure {
        data(&format!("rejected: {} at {}", failure.class, failure.gate));
        data(&format!("  {}", failure.detail.replace('\n', "\n  ")));
    }
    if let Some(performance) = &evidence.performance {
        for row in &performance.workloads {
            let copy = row.copy_fraction.map(|f| format!("  {:.0} % of copy", f * 100.0)).unwrap_or_default();
            data(&format!(
                "  {:20} {:>10} against {:>10}  {:.3}x [{:.3}, {:.3}]{copy}",
                row.workload,
                time(row.median_us),
                time(row.baseline_us),
                row.ratio,
                row.ci_low,
                row.ci_high
            ));
        }
        print_rivals(&performance.rivals);
        let score = performance.sol_score.map(|score| format!(", SOL score {score:.3}")).unwrap_or_default();
        data(&format!(
            "accepted: {:.3}x [{:.3}, {:.3}] against {}{score}",
            performance.ratio, performance.ci_low, performance.ci_high, performance.baseline
        ));
    }
    if let Some(report) = &evidence.artifacts.tool {
        print_tool(report);
    }
    data(&format!("sandbox: {}", evidence.security.sandbox));
    Ok(())
}

/// A line a rival, and one below it for each workload.
pub(crate) fn print_rivals(rivals: &[Rival]) {
    for rival in rivals {
        let version = rival.version.as_ref().map(|version| format!("  ({version})")).unwrap_or_default();
        data(&format!("  against {}: {}{version}", rival.name, rival_words(rival)));
        for row in &rival.workloads {
            data(&format!(
                "    {:20} {:>10}, this one {:>10}  {:.3}x [{:.3}, {:.3}]  {}",
                row.workload,
                time(row.median_us),
                time(row.candidate_us),
                row.ratio,
                row.ci_low,
                row.ci_high,
                row.how
            ));
        }
    }
}

fn rival_words(rival: &Rival) -> String {
    match (&rival.skipped, rival.ratio, rival.ci_low, rival.ci_high) {
        (Some(reason), ..) => format!("rival skipped: {reason}"),
        (None, Some(ratio), Some(low), Some(high)) => format!("{ratio:.3}x [{low:.3}, {high:.3}]"),
        _ => "not measured".to_owned(),
    }
}
