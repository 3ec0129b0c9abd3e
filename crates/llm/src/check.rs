//! Finds out what an endpoint can do, with a handful of small calls.

use std::time::Duration;

use kernsmith_core::CallClass;
use kernsmith_core::model::Usage;
use serde::Serialize;
use serde_json::{Value, json};

use crate::answer;
use crate::ask::{Api, Ask, OnRequest, Turn};
use crate::client::{Called, Client, Endpoint};
use crate::error::LlmError;

/// Tokens that an answer to a check may have; reasoning models need some before they say a word.
const REPLY_TOKENS: u32 = 1024;
/// Whoever checks wants to know soon.
const MAX_DEADLINE: Duration = Duration::from_mins(1);

/// Characters of an answer that are shown.
const MAX_SHOWN: usize = 60;

/// What was found about one feature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    /// What was tried.
    pub feature: &'static str,
    /// Whether it works.
    pub works: bool,
    /// What was seen.
    pub detail: String,
    /// Tokens that it took.
    pub usage: Usage,
    /// How long it took.
    pub wall_ms: f64,
}

/// What is tried of each interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Try {
    Plain,
    Streamed,
    Schema,
    Tools,
}

/// Tries both interfaces, whole and streamed, with a schema and with tools.
///
/// # Errors
///
/// An address that cannot be used.
pub async fn check(endpoint: &Endpoint, model: &str) -> Result<Vec<Checked>, LlmError> {
    let mut found = Vec::new();
    for (api, names) in [
        (Api::Chat, ["chat", "chat, streamed", "chat, JSON schema", "chat, tools"]),
        (Api::Responses, ["responses", "responses, streamed", "responses, JSON schema", "responses, tools"]),
    ] {
        for (feature, tried) in names.into_iter().zip([Try::Plain, Try::Streamed, Try::Schema, Try::Tools]) {
            let deadline = endpoint.deadline.min(MAX_DEADLINE);
            let stream = tried == Try::Streamed;
            let client = Client::new(Endpoint { api, stream, deadline, ..endpoint.clone() })?;
            let called = client.call(&question(model, tried)).await;
            let hopeless = called.class.is_hopeless() || called.class == CallClass::Unreachable;
            found.push(judge(feature, tried, &client, &called));
            // Without the plain form there is no use in the others.
            if tried == Try::Plain && hopeless {
                break;
            }
        }
    }
    Ok(found)
}

fn question(model: &str, tried: Try) -> Ask {
    let answer = json!({
        "type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"],
        "additionalProperties": false,
    });
    let (words, evidence) = if tried == Try::Tools {
        ("Call the tool `isa_topic` with the words `registers`, and say nothing else.", OnRequest::Offered)
    } else {
        ("What is 6 times 7? Answer with the JSON object {\"answer\": N}.", OnRequest::No)
    };
    Ask {
        model: model.to_owned(),
        temperature: -1.0,
        effort: "default".to_owned(),
        system: "Answer as asked, without any other words.".to_owned(),
        turns: vec![Turn::User(words.to_owned())],
        schema: (tried == Try::Schema).then_some(("answer", answer)),
        reply_tokens: REPLY_TOKENS,
        evidence,
    }
}

fn judge(feature: &'static str, tried: Try, client: &Client, called: &Called) -> Checked {
    let dialect = client.dialect();
    let reply = called.reply.as_deref().unwrap_or_default();
    let answered = called.class == CallClass::Answered;
    let mut notes = Vec::new();
    if !answered {
        notes.push(format!("{}: {}", called.class, called.detail));
    }
    let problem = match tried {
        _ if !answered => None,
        Try::Schema if dialect.no_schema => Some("schemas are refused; fenced JSON will be used"),
        Try::Schema if !keeps_the_schema(reply) => {
            Some("the schema is taken and not kept; answers will be read as they come")
        }
        Try::Streamed if dialect.no_stream => Some("streams are refused"),
        Try::Tools if dialect.no_tools => {
            Some("tools are refused; evidence will be asked for in fenced JSON")
        }
        Try::Tools if answer::read_requests(reply).is_none() => {
            Some("tools are taken, and this model called none; it may ask in fenced JSON")
        }
        _ => None,
    };
    notes.extend(problem.map(str::to_owned));
    if answered && tried != Try::Tools {
        let right = reply.contains("42");
        notes.push(if right {
            "the answer is right".to_owned()
        } else {
            format!("the answer is {}", short(reply))
        });
    }
    if answered && called.usage.total() == 0 {
        notes.push("tokens are not counted: budgets will use estimates".to_owned());
    }
    if called.tries.len() > 1 {
        notes.push(format!("{} tries", called.tries.len()));
    }
    let works = answered && problem.is_none();
    Checked { feature, works, detail: notes.join("; "), usage: called.usage, wall_ms: called.wall_ms }
}

fn keeps_the_schema(reply: &str) -> bool {
    serde_json::from_str::<Value>(reply.trim()).is_ok_and(|value| value["answer"].is_i64())
}

/// The beginning of an answer, on one line.
fn short(reply: &str) -> String {
    let beginning: String = reply.chars().take(MAX_SHOWN).collect();
    let more = if beginning.len() < reply.len() { " …" } else { "" };
    format!("{beginning:?}{more}")
}
