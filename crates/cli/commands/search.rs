//! `kernsmith search`: the main job.

use std::path::PathBuf;

use kernsmith_core::Plan;

use crate::args::Global;
use crate::error::Answer;
use crate::session::hunt::{self, Start};
use crate::session::{self, Bench};

/// What to search for, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Contract name, or a folder with a contract.toml.
    contract: String,
    /// What to build for.
    #[arg(long, default_value = "cpu")]
    target: String,
    /// Wall time of the whole search in seconds; 0 is no limit.
    #[arg(long, value_name = "SECONDS", alias = "budget-seconds")]
    wall_seconds: Option<f64>,
    /// Candidates that may be proposed; 0 is no limit.
    #[arg(long)]
    candidates: Option<u64>,
    /// Candidates that may be judged; 0 is no limit.
    #[arg(long)]
    evaluations: Option<u64>,
    /// End when the champion's confirmed lower bound reaches this ratio.
    #[arg(long, value_name = "RATIO")]
    goal: Option<f64>,
    /// Seed of everything but measured time.
    #[arg(long)]
    seed: Option<u64>,
    /// Start from this kernel: it is frozen as the baseline and every claim is a ratio against it.
    #[arg(long, value_name = "FILE")]
    seed_kernel: Option<PathBuf>,
    /// Launch plan of the seed kernel.
    #[arg(long, value_name = "FILE", requires = "seed_kernel")]
    seed_plan: Option<PathBuf>,
    /// Who writes candidates: autotune, llm, exec, or two of them, as `llm,autotune`.
    #[arg(long, value_name = "KIND")]
    proposer: Option<String>,
    /// Learn from earlier searches: `auto` takes the runs of the same log, a path a `memory.json`.
    #[arg(long, value_name = "FILE|auto")]
    memory: Option<String>,
    /// Address of an OpenAI-compatible server, for `--proposer llm`; docs/llm.md says what is sent there.
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The model to ask, for `--proposer llm`.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Time the contract's rivals in Python beside every confirmation: torch.compile, cuBLAS, FlashInfer. GPU targets only.
    #[arg(long)]
    rivals: bool,
    /// Name of the run [default: made from time and contract].
    #[arg(long, value_name = "NAME")]
    run_id: Option<String>,
}

impl Args {
    /// The flags as configuration settings, the last and strongest layer.
    fn settings(&self) -> Vec<(String, String)> {
        let mut settings = Vec::new();
        let mut set = |key: &str, value: Option<String>| {
            settings.extend(value.map(|value| (key.to_owned(), value)));
        };
        set("budget.wall_seconds", self.wall_seconds.map(|value| value.to_string()));
        set("budget.candidates", self.candidates.map(|value| value.to_string()));
        set("budget.evaluations", self.evaluations.map(|value| value.to_string()));
        set("budget.goal_ratio", self.goal.map(|value| value.to_string()));
        set("search.seed", self.seed.map(|value| value.to_string()));
        set("proposer.kind", self.proposer.clone());
        set("search.memory", self.memory.clone());
        set("harness.rivals", self.rivals.then(|| "true".to_owned()));
        set("llm.base_url", self.base_url.clone());
        set("llm.models", self.model.as_deref().map(session::list_of_one));
        settings
    }
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, args: &Args) -> Answer {
    let target = session::target(&args.target)?;
    let contract = session::contract(global, &args.contract)?;
    let plan = session::plan(args.seed_plan.as_deref(), &contract.variable_axes())?;
    let seed_kernel = args.seed_kernel.as_deref().map(session::read_text).transpose()?;
    let run_id = args.run_id.as_deref().map(session::run_id).transpose()?;
    let bench = Bench::open_with(global, &target, &args.settings())?;
    let baseline =
        seed_kernel.map(|source| (source, if args.seed_plan.is_some() { plan } else { Plan::default() }));
    hunt::run(global, bench, contract, Start::New { run_id, baseline })
}
