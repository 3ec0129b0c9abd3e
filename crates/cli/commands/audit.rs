//! `kernsmith audit`: asks a model to break the harness, and files what got through.

use std::path::PathBuf;

use kernsmith_core::Gate;
use kernsmith_core::event::{AuditTerms, Opened};
use kernsmith_engine::Limit;
use serde_json::{Value, json};

use crate::args::{Format, Global};
use crate::console::data;
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session::audit::{self, Audit, Outcome, Start};
use crate::session::{self, Bench};

/// What to attack, and how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Contract name, or a folder with a contract.toml.
    contract: String,
    /// What to build for.
    #[arg(long, default_value = "cpu")]
    target: String,
    /// Candidates that are asked for.
    #[arg(long, default_value_t = 12)]
    candidates: u64,
    /// Address of an OpenAI-compatible server; docs/llm.md says what is sent there.
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The model to ask [default: `llm.auditor_model`, or the first of `llm.models`].
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Stricter judgements of every candidate that was accepted, each with fresh seeds.
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// Fire drill: leaves these gates out of the judged harness, to see that the audit notices.
    #[arg(long, value_name = "GATE", value_delimiter = ',', value_parser = gate)]
    drill: Vec<Gate>,
    /// Name of the run [default: made from time and contract].
    #[arg(long, value_name = "NAME")]
    run_id: Option<String>,
}

fn gate(text: &str) -> Result<Gate, String> {
    let known = Gate::ALL.into_iter().find(|gate| gate.as_str() == text);
    let names: Vec<&str> = Gate::ALL.iter().map(|gate| gate.as_str()).collect();
    known.ok_or_else(|| format!("no such gate; there are {}", names.join(", ")))
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, args: &Args) -> Answer {
    let target = session::target(&args.target)?;
    let contract = session::contract(global, &args.contract)?;
    let run_id = args.run_id.as_deref().map(session::run_id).transpose()?;
    let mut flags = vec![("proposer.kind".to_owned(), "llm".to_owned())];
    flags.extend(args.base_url.clone().map(|url| ("llm.base_url".to_owned(), url)));
    flags.extend(args.model.as_deref().map(|model| ("llm.models".to_owned(), session::list_of_one(model))));
    let bench = Bench::open_with(global, &target, &flags)?;
    let terms =
        AuditTerms { candidates: args.candidates, rounds: args.rounds.max(1), drill: args.drill.clone() };
    let outcome = audit::run(global, &bench, &Audit { contract, terms }, Start::New(run_id))?;
    Ok(conclude(global, &outcome))
}

/// Goes on with an audit that was interrupted.
pub(super) fn resume(global: &Global, directory: PathBuf, opened: Opened, terms: AuditTerms) -> Answer {
    let contract = session::recorded_contract(global, &opened)?;
    let bench = Bench::of_run(global, &opened)?;
    let start = Start::Resume(directory, Box::new(opened));
    let outcome = audit::run(global, &bench, &Audit { contract, terms }, start)?;
    Ok(conclude(global, &outcome))
}

fn conclude(global: &Global, outcome: &Outcome) -> Exit {
    print(global, outcome);
    match &outcome.halted {
        Some((Limit::Interrupted, _)) => Exit::Interrupted,
        _ if outcome.attempts.iter().any(|attempt| attempt.bug.is_some()) => Exit::No,
        Some(_) if outcome.attempts.is_empty() => Exit::Budget,
        _ => Exit::Done,
    }
}

fn print(global: &Global, outcome: &Outcome) {
    let bugs = outcome.attempts.iter().filter(|attempt| attempt.bug.is_some()).count();
    if global.format != Format::Human {
        let attempts: Vec<Value> = outcome
            .attempts
            .iter()
            .map(|attempt| {
                json!({
                    "seq": attempt.seq, "kind": attempt.kind, "verdict": attempt.verdict, "detail": attempt.detail,
                    "bug": attempt.bug.as_ref().map(|path| path.display().to_string()),
                })
            })
            .collect();
        let object = json!({
            "schema_version": 1, "run": outcome.run, "attempts": attempts, "bugs": bugs,
            "halted": outcome.halted.as_ref().map(|(_, reason)| reason),
            "calls": outcome.bill.calls, "tokens": outcome.bill.tokens, "cost_usd": outcome.bill.cost_usd,
        });
        data(&object.to_string());
        return;
    }
    for attempt in &outcome.attempts {
        data(&format!("{} {:32} {:10} {}", attempt.seq, attempt.kind, attempt.verdict, attempt.detail));
        if let Some(path) = &attempt.bug {
            data(&format!("      filed as a defect of the harness: {}", path.display()));
        }
    }
    data(&format!(
        "{} attempts, {bugs} defects of the harness; {} calls, {} tokens, {:.4} US dollars; run {}",
        outcome.attempts.len(),
        outcome.bill.calls,
        outcome.bill.tokens,
        outcome.bill.cost_usd,
        outcome.run
    ));
    if let Some((_, reason)) = &outcome.halted {
        data(&format!("ended early: {reason}; `kernsmith resume {}` goes on", outcome.run));
    }
}

impl From<audit::Stopped> for CliError {
    fn from(stopped: audit::Stopped) -> Self {
        match stopped {
            audit::Stopped::Log(error) => Self::log(error),
            audit::Stopped::Llm(error) => session::proposer::bad_setting(error),
            audit::Stopped::Apparatus(error) => Self::apparatus(error),
        }
    }
}
