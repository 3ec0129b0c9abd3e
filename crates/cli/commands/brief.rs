//! `kernsmith brief <run>#<seq>`: exactly what a model was sent, with tokens by section.

use kernsmith_core::{Entry, Event, ModelCall, Seq};
use kernsmith_experiment_log::RunReader;
use serde_json::{Value, json};

use crate::args::{Format, Global};
use crate::console::data;
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session;

/// Which call.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `<run>#<seq>`: a `model_called` entry, or a candidate that a model wrote; a unique prefix or `latest` will do for the
    /// run.
    call: String,
    /// Print the answer instead of the question.
    #[arg(long)]
    reply: bool,
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, args: &Args) -> Answer {
    let (run, seq) = args
        .call
        .split_once('#')
        .ok_or_else(|| CliError::usage("expected `<run>#<seq>`, for example `latest#42`"))?;
    let reader = session::reader(global, run)?;
    let (seq, call) = call(&reader, session::seq(seq)?)?;
    let request = reader.blob(&call.request).map_err(CliError::log)?;
    let request = String::from_utf8_lossy(&request).into_owned();
    let reply = call.reply.map(|digest| reader.blob(&digest)).transpose().map_err(CliError::log)?;
    let reply = reply.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if global.format != Format::Human {
        let body: Value = serde_json::from_str(&request).map_err(CliError::internal)?;
        let object = json!({
            "schema_version": 1, "seq": seq, "call": call, "request": body, "request_text": request, "reply": reply,
        });
        data(&object.to_string());
        return Ok(Exit::Done);
    }
    if args.reply {
        data(reply.as_deref().unwrap_or("there was no answer"));
        return Ok(Exit::Done);
    }
    header(seq, &call);
    for (role, text) in messages(&request) {
        data(&format!("\n--- {role} ---\n{text}"));
    }
    Ok(Exit::Done)
}

fn header(seq: Seq, call: &ModelCall) {
    data(&format!("{seq} {} {} of {}: {}", call.role, call.purpose, call.model, call.class));
    if !call.detail.is_empty() {
        data(&format!("  {}", call.detail));
    }
    data(&format!(
        "  {} tries, {} prompt tokens and {} answer tokens by the server's count, {:.4} US dollars, {:.0} ms",
        call.tries.len(),
        call.usage.prompt_tokens,
        call.usage.completion_tokens,
        call.cost_usd,
        call.wall_ms
    ));
    data("  section                     tokens (estimated)  items cut");
    for section in &call.sections {
        data(&format!("  {:26} {:12} {:16}", section.name, section.tokens, section.cut));
    }
}

/// The messages of either interface, as they were sent.
fn messages(request: &str) -> Vec<(String, String)> {
    let body: Value = serde_json::from_str(request).unwrap_or_default();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let instructions = body.get("instructions").map(|value| ("system".to_owned(), text(value)));
    let list = body["messages"].as_array().or_else(|| body["input"].as_array());
    let said = list.into_iter().flatten().map(|message| (text(&message["role"]), text(&message["content"])));
    instructions.into_iter().chain(said).collect()
}

/// The call of that entry, or the last one that led to the candidate of that entry.
fn call(reader: &RunReader, seq: Seq) -> Result<(Seq, ModelCall), CliError> {
    match session::entry(reader, seq)?.event {
        Event::ModelCalled(call) => Ok((seq, *call)),
        Event::Judged { proposal, .. }
        | Event::Promoted { proposal, .. }
        | Event::Deduplicated { proposal, .. } => call(reader, proposal),
        Event::Proposed(proposed) => {
            let mut last = None;
            for entry in reader.entries().map_err(CliError::log)? {
                let Entry { seq: at, event, .. } = entry.map_err(CliError::log)?;
                if at >= seq {
                    break;
                }
                if let Event::ModelCalled(call) = event
                    && call.node == Some(proposed.node)
                    && call.role == "coder"
                {
                    last = Some((at, *call));
                }
            }
            let nobody = format!("no model wrote {seq}; its proposer is `{}`", proposed.origin.proposer);
            last.ok_or_else(|| CliError::usage(nobody))
        }
        other => Err(CliError::usage(format!(
            "entry {seq} is `{}`, neither a call nor a candidate; `kernsmith log show` lists them",
            other.name()
        ))),
    }
}
