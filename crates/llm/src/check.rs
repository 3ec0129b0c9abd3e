//! Finds out what an endpoint can do, with a handful of small calls.

use std::time::Duration;

use kernsmith_core::CallClass;
use kernsmith_core::model::Usage;
use serde::Serialize;
use serde_json::json;

use crate::ask::{Api, Ask, OnRequest, Turn};
use crate::client::{Called, Client, Endpoint};
use crate::error::LlmError;

/// Tokens that an answer to a check may have; reasoning models need some before they say a word.
const REPLY_TOKENS: u32 = 1024;
/// Whoever checks wants to know soon.
const MAX_DEADLINE: Duration = Duration::from_mins(1);

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

/// Tries both interfaces, whole and streamed, with and without a schema.
///
/// # Errors
///
/// An address that cannot be used.
pub async fn check(endpoint: &Endpoint, model: &str) -> Result<Vec<Checked>, LlmError> {
    let mut found = Vec::new();
    for (api, names) in [
        (Api::Chat, ["chat", "chat, streamed", "chat, JSON schema"]),
        (Api::Responses, ["responses", "responses, streamed", "responses, JSON schema"]),
    ] {
        let variants = [(false, false), (true, false), (false, true)];
        for (feature, (stream, schema)) in names.into_iter().zip(variants) {
            let deadline = endpoint.deadline.min(MAX_DEADLINE);
            let client = Client::new(Endpoint { api, stream, deadline, ..endpoint.clone() })?;
            let called = client.call(&question(model, schema)).await;
            let hopeless = called.class.is_hopeless() || called.class == CallClass::Unreachable;
            found.push(judge(feature, schema, stream, &client, &called));
            // Without the plain form there is no use in the others.
            if !stream && !schema && hopeless {
                break;
            }
        }
    }
    Ok(found)
}

fn question(model: &str, schema: bool) -> Ask {
    let answer = json!({
        "type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"],
        "additionalProperties": false,
    });
    Ask {
        model: model.to_owned(),
        temperature: -1.0,
        effort: "default".to_owned(),
        system: "Answer as asked, without any other words.".to_owned(),
        turns: vec![Turn::User("What is 6 times 7? Answer with the JSON object {\"answer\": N}.".to_owned())],
        schema: schema.then_some(("answer", answer)),
        reply_tokens: REPLY_TOKENS,
        evidence: OnRequest::No,
    }
}

fn judge(feature: &'static str, schema: bool, stream: bool, client: &Client, called: &Called) -> Checked {
    let dialect = client.dialect();
    let reply = called.reply.clone().unwrap_or_default();
    let mut notes = Vec::new();
    let mut works = called.class == CallClass::Answered;
    if !works {
        notes.push(format!("{}: {}", called.class, called.detail));
    }
    if schema && dialect.no_schema {
        works = false;
        notes.push("schemas are refused; fenced JSON will be used".to_owned());
    }
    if stream && dialect.no_stream {
        works = false;
        notes.push("streams are refused".to_owned());
    }
    if called.class == CallClass::Answered {
        let right = reply.contains("42");
        notes.push(if right { "the answer is right".to_owned() } else { format!("the answer is {reply:?}") });
        if called.usage.total() == 0 {
            notes.push("tokens are not counted: budgets will use estimates".to_owned());
        }
    }
    let tried = called.tries.len();
    if tried > 1 {
        notes.push(format!("{tried} tries"));
    }
    Checked { feature, works, detail: notes.join("; "), usage: called.usage, wall_ms: called.wall_ms }
}
