//! The `kernsmith` command: names the concrete types, and nothing else.

mod args;
mod commands;
mod console;
mod error;
mod exit;
mod session;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::error::{Answer, CliError};

fn main() -> ExitCode {
    // The hidden verbs come before everything else: a confined child has no use for clap, threads or a runtime.
    if let Some(code) = hidden_verb() {
        return code;
    }
    let cli = Cli::parse();
    let exit = run(cli).unwrap_or_else(|CliError { exit, report }| {
        console::note(&format!("{report:?}"));
        exit
    });
    ExitCode::from(exit as u8)
}

fn run(cli: Cli) -> Answer {
    let global = cli.global;
    if global.format.is_tabular() && !cli.command.answers_with_a_table() {
        return Err(CliError::usage(
            "only tables of `kernsmith log` and `kernsmith bench` have that format; use human, json or jsonl",
        ));
    }
    match cli.command {
        Command::Search(args) => commands::search::run(&global, &args),
        Command::Resume(args) => commands::resume::run(&global, &args),
        Command::Evaluate(args) => commands::evaluate::run(&global, &args),
        Command::Rivals(args) => commands::rivals::run(&global, &args),
        Command::Replay(args) => commands::replay::run(&global, &args),
        Command::Tree(args) => commands::tree::run(&global, &args),
        Command::Report(args) => commands::report::run(&global, &args),
        Command::Contract(verb) => commands::contract::run(&global, verb),
        Command::Skill(verb) => commands::skill::run(&global, verb),
        Command::Isa(verb) => commands::isa::run(&global, verb),
        Command::Log(verb) => commands::log::run(&global, verb),
        Command::Batch(verb) => commands::batch::run(&global, &verb),
        Command::Audit(args) => commands::audit::run(&global, &args),
        Command::Llm(verb) => commands::llm::run(&global, verb),
        Command::Brief(args) => commands::brief::run(&global, &args),
        Command::Config(verb) => commands::config::run(&global, &verb),
        Command::Toolchain(verb) => commands::toolchain::run(&global, &verb),
        Command::Bench(verb) => commands::bench::run(&global, &verb),
        Command::Doctor(args) => commands::doctor::run(&global, &args),
    }
}

/// Answers `__confine`, `__worker`, `__gpu_worker` and `__nvrtc`.
fn hidden_verb() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let verb = arguments.next()?;
    if verb == "__confine" {
        return Some(kernsmith_sandbox::hidden::run_confine(arguments));
    }
    let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    match verb.to_str()? {
        "__worker" => Some(kernsmith_worker::main(arguments)),
        "__gpu_worker" => Some(kernsmith_worker::gpu_main(arguments)),
        "__nvrtc" => Some(kernsmith_worker::compile_main(arguments)),
        _ => None,
    }
}
