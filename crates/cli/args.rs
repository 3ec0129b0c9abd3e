//! The command line: exactly what was typed. Each subcommand keeps its own arguments in its own file.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::commands;
use crate::exit::EXIT_CODES;

/// Searches for a faster kernel that it can prove.
#[derive(Debug, Parser)]
#[command(name = "kernsmith", version, after_long_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Everything that every command understands.
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Everything that every command understands.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// How results are printed on stdout.
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// Whether a progress bar is drawn on stderr; `auto` draws one on a terminal.
    #[arg(long, global = true, value_enum, default_value_t = Progress::Auto)]
    pub(crate) progress: Progress,
    /// A configuration: a file, or the name of one in search-configs/ (default, quick, overnight, seeded).
    #[arg(long, global = true, value_name = "FILE|NAME", env = "KERNSMITH_CONFIG")]
    pub(crate) config: Option<String>,
    /// Sets one configuration value, as `section.key=value`; may be repeated.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<String>,
    /// Where runs are kept [default: ./experiment-log].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) log_dir: Option<PathBuf>,
    /// A folder of op contracts, searched first; may be repeated.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) contracts: Vec<PathBuf>,
    /// A folder of skills, searched as well; may be repeated.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) skills: Vec<PathBuf>,
    /// The C++ compiler [default: `$KERNSMITH_CXX`, `$CXX`, g++, clang++].
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) compiler: Option<PathBuf>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// One JSON object at the end.
    Json,
    /// JSON lines as things happen, the final object last.
    Jsonl,
    /// Comma-separated values; tables of `log` and `bench` only.
    Csv,
    /// Apache Parquet; `log export --output FILE` only.
    Parquet,
}

/// Whether a progress bar is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// On a terminal.
    Auto,
    /// Lines only.
    Plain,
    /// As `plain`; kept for scripts.
    None,
}

impl Format {
    /// Whether only tables can be printed in it.
    pub(crate) const fn is_tabular(self) -> bool {
        matches!(self, Self::Csv | Self::Parquet)
    }
}

impl Command {
    /// Whether the answer is a table.
    pub(crate) const fn answers_with_a_table(&self) -> bool {
        match self {
            Self::Log(verb) => verb.answers_with_a_table(),
            Self::Bench(verb) => verb.answers_with_a_table(),
            _ => false,
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Search for a faster kernel.
    Search(commands::search::Args),
    /// Go on with a run that was interrupted or ran out of budget.
    Resume(commands::resume::Args),
    /// Take one candidate through all gates.
    Evaluate(commands::evaluate::Args),
    /// Time the kernels of others on a contract's shapes: the rivals that it names.
    Rivals(commands::rivals::Args),
    /// Judge a recorded candidate again.
    Replay(commands::replay::Args),
    /// Print a run's tree of strategies.
    Tree(commands::tree::Args),
    /// Write a run's report again.
    Report(commands::report::Args),
    /// List, show, check and make op contracts.
    #[command(subcommand)]
    Contract(commands::contract::Verb),
    /// List, show and check skills.
    #[command(subcommand)]
    Skill(commands::skill::Verb),
    /// Ask what a target can do: facts, rules, topics.
    #[command(subcommand)]
    Isa(commands::isa::Verb),
    /// List, show and verify runs.
    #[command(subcommand)]
    Log(commands::log::Verb),
    /// Take candidates to another machine, judge them there, and bring the evidence back.
    #[command(subcommand)]
    Batch(commands::batch::Verb),
    /// Ask a model to break the harness, and file what got through.
    Audit(commands::audit::Args),
    /// Test an endpoint for the model proposer.
    #[command(subcommand)]
    Llm(commands::llm::Verb),
    /// Print exactly what a model was sent.
    Brief(commands::brief::Args),
    /// Show the effective configuration.
    #[command(subcommand)]
    Config(commands::config::Verb),
    /// Say which compilers are there, and fetch one.
    #[command(subcommand)]
    Toolchain(commands::toolchain::Verb),
    /// Measure how good and how fast the search itself is.
    #[command(subcommand)]
    Bench(commands::bench::Verb),
    /// Say what this machine can do and what it lacks.
    Doctor(commands::doctor::Args),
}
