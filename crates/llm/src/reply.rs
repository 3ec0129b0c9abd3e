//! An answer as servers really send it: tolerant readers for both interfaces, streamed or whole.

use kernsmith_core::CallClass;
use kernsmith_core::model::Usage;
use serde_json::Value;

use crate::ask::Api;

/// Longest body that is read.
pub(crate) const MAX_BODY_BYTES: usize = 16 << 20;
/// Calls of tools in one answer that are read.
const MAX_TOOL_CALLS: usize = 64;

/// What came back.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Reply {
    /// The text so far.
    pub(crate) text: String,
    /// Words of refusal, where there are some.
    pub(crate) refusal: String,
    /// Why the model stopped.
    pub(crate) finish: Option<String>,
    /// Tokens, where the server counted them.
    pub(crate) usage: Option<Usage>,
    /// What the server says went wrong.
    pub(crate) error: Option<String>,
    /// Tools that the model calls.
    pub(crate) calls: Vec<ToolCall>,
}

/// One call of a tool, as it comes in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ToolCall {
    id: String,
    name: String,
    arguments: String,
}

impl Reply {
    /// Reads a whole body.
    pub(crate) fn whole(api: Api, body: &[u8]) -> Result<Self, String> {
        let value: Value =
            serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
        let mut reply = Self::default();
        match api {
            Api::Chat => reply.chat(&value, "message"),
            Api::Responses => reply.response(&value),
        }
        if reply == Self::default() {
            return Err("the body holds neither an answer nor an error".to_owned());
        }
        Ok(reply)
    }

    /// Takes one event of a stream.
    pub(crate) fn event(&mut self, api: Api, data: &str) -> Result<(), String> {
        let value: Value = serde_json::from_str(data)
            .map_err(|error| format!("a piece of the stream is not JSON: {error}"))?;
        match api {
            Api::Chat => self.chat(&value, "delta"),
            Api::Responses => match value["type"].as_str().unwrap_or_default() {
                "response.output_text.delta" => self.text.push_str(text(&value["delta"])),
                "response.refusal.delta" => self.refusal.push_str(text(&value["delta"])),
                "response.completed" | "response.incomplete" | "response.failed" => {
                    self.text.clear();
                    self.refusal.clear();
                    self.calls.clear();
                    self.response(&value["response"]);
                }
                "error" => self.error = Some(value.to_string()),
                _ => {}
            },
        }
        Ok(())
    }

    /// Whether the model said that it is done.
    pub(crate) const fn is_finished(&self) -> bool {
        self.finish.is_some() || self.error.is_some()
    }

    /// What kind of answer it is.
    pub(crate) fn class(&self) -> (CallClass, String) {
        let finish = self.finish.as_deref().unwrap_or_default();
        if let Some(error) = &self.error {
            return (CallClass::ServerError, error.clone());
        }
        if !self.refusal.is_empty() || finish == "content_filter" {
            return (CallClass::Refused, self.refusal.clone());
        }
        if matches!(finish, "length" | "max_output_tokens" | "max_tokens") {
            let detail = format!("cut off after {} bytes", self.text.len());
            return (CallClass::Truncated, detail);
        }
        if self.text.trim().is_empty() && self.calls.is_empty() {
            return (CallClass::Empty, "the answer holds no text".to_owned());
        }
        (CallClass::Answered, String::new())
    }

    /// The answer's text; calls of tools are written as a model without tools would ask.
    pub(crate) fn words(&self) -> String {
        if self.calls.is_empty() {
            return self.text.clone();
        }
        let request = |(number, call): (usize, &ToolCall)| {
            // A server that names no call still wants its results told apart.
            let id = if call.id.is_empty() { format!("call_{number}") } else { call.id.clone() };
            let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
            serde_json::json!({"id": id, "tool": call.name, "arguments": arguments})
        };
        let requests: Vec<Value> = self.calls.iter().enumerate().map(request).collect();
        serde_json::json!({"requests": requests}).to_string()
    }

    /// Calls of tools come whole, or in pieces under one index.
    fn tool_calls(&mut self, value: &Value) {
        for (place, piece) in value.as_array().into_iter().flatten().enumerate() {
            let index = piece["index"].as_u64().map_or(place, |index| index as usize);
            if index >= MAX_TOOL_CALLS {
                continue;
            }
            if self.calls.len() <= index {
                self.calls.resize(index + 1, ToolCall::default());
            }
            let call = &mut self.calls[index];
            call.id.push_str(text(&piece["id"]));
            call.name.push_str(text(&piece["function"]["name"]));
            call.arguments.push_str(text(&piece["function"]["arguments"]));
        }
    }

    fn chat(&mut self, value: &Value, part: &str) {
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            self.error = Some(error.to_string());
        }
        let choice = &value["choices"][0];
        self.text.push_str(text(&choice[part]["content"]));
        self.refusal.push_str(text(&choice[part]["refusal"]));
        self.tool_calls(&choice[part]["tool_calls"]);
        if let Some(finish) = choice["finish_reason"].as_str() {
            self.finish = Some(finish.to_owned());
        }
        let usage = &value["usage"];
        if usage.is_object() {
            self.usage = Some(Usage {
                prompt_tokens: count(&usage["prompt_tokens"]),
                cached_tokens: count(&usage["prompt_tokens_details"]["cached_tokens"]),
                completion_tokens: count(&usage["completion_tokens"]),
                reasoning_tokens: count(&usage["completion_tokens_details"]["reasoning_tokens"]),
                unreported_tokens: 0,
            });
        }
    }

    fn response(&mut self, value: &Value) {
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            self.error = Some(error.to_string());
        }
        let parts = value["output"].as_array().into_iter().flatten();
        for part in parts.flat_map(|item| item["content"].as_array().into_iter().flatten()) {
            match part["type"].as_str() {
                Some("output_text") => self.text.push_str(text(&part["text"])),
                Some("refusal") => self.refusal.push_str(text(&part["refusal"])),
                _ => {}
            }
        }
        for item in value["output"].as_array().into_iter().flatten() {
            if item["type"] == "function_call" && self.calls.len() < MAX_TOOL_CALLS {
                let part = |name: &str| text(&item[name]).to_owned();
                self.calls.push(ToolCall {
                    id: part("call_id"),
                    name: part("name"),
                    arguments: part("arguments"),
                });
            }
        }
        self.finish = match value["incomplete_details"]["reason"].as_str() {
            Some(reason) => Some(reason.to_owned()),
            None => value["status"].as_str().map(str::to_owned),
        };
        let usage = &value["usage"];
        if usage.is_object() {
            self.usage = Some(Usage {
                prompt_tokens: count(&usage["input_tokens"]),
                cached_tokens: count(&usage["input_tokens_details"]["cached_tokens"]),
                completion_tokens: count(&usage["output_tokens"]),
                reasoning_tokens: count(&usage["output_tokens_details"]["reasoning_tokens"]),
                unreported_tokens: 0,
            });
        }
    }
}

/// Splits a server-sent event stream into the data of its events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    buffer: Vec<u8>,
}

impl Events {
    /// Takes bytes and gives back the data of all events that are complete.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            // Every server that we know puts one event's data on one line; other fields say nothing that we need.
            if let Some(data) = line.trim_end().strip_prefix("data:") {
                events.push(data.trim_start().to_owned());
            }
        }
        events
    }
}

/// The class of an HTTP refusal.
pub(crate) fn refusal_class(status: u16, body: &str) -> CallClass {
    let body = body.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| body.contains(word));
    let overflow = [
        "context_length",
        "context length",
        "context window",
        "context size",
        "too many tokens",
        "prompt is too long",
    ];
    match status {
        // llama.cpp refuses tools with a failure of its own.
        500.. if says(&["tools param", "does not support tools"]) => CallClass::BadRequest,
        401 | 403 => CallClass::Unauthorized,
        404 => CallClass::NotFound,
        429 => CallClass::RateLimited,
        400 | 413 | 422 if says(&overflow) => CallClass::ContextOverflow,
        400 if says(&["content_filter", "content_policy", "safety"]) => CallClass::Refused,
        408 | 409 | 425 | 500.. => CallClass::ServerError,
        _ => CallClass::BadRequest,
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_may_break_anywhere() {
        let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"ab\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"c\"},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
        for piece in [1, 7, 1000] {
            let (mut events, mut reply) = (Events::default(), Reply::default());
            for bytes in stream.as_bytes().chunks(piece) {
                for data in events.take(bytes).iter().filter(|data| *data != "[DONE]") {
                    reply.event(Api::Chat, data).unwrap();
                }
            }
            assert_eq!(reply.text, "abc");
            assert_eq!(reply.usage.unwrap().total(), 9);
            assert_eq!(reply.class().0, CallClass::Answered);
        }
    }

    #[test]
    fn every_kind_of_answer_has_its_class() {
        let class = |body: &str| Reply::whole(Api::Chat, body.as_bytes()).unwrap().class().0;
        assert_eq!(
            class(r#"{"choices":[{"message":{"content":"x"},"finish_reason":"length"}]}"#),
            CallClass::Truncated
        );
        assert_eq!(
            class(r#"{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}"#),
            CallClass::Empty
        );
        assert_eq!(
            class(r#"{"choices":[{"message":{"refusal":"no"},"finish_reason":"stop"}]}"#),
            CallClass::Refused
        );
        assert_eq!(class(r#"{"error":{"message":"overloaded"}}"#), CallClass::ServerError);
        assert!(Reply::whole(Api::Chat, b"{}").is_err());
        let body = r#"{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},
            "output":[{"type":"reasoning"},{"type":"message","content":[{"type":"output_text","text":"x"}]}],
            "usage":{"input_tokens":3,"output_tokens":4,"output_tokens_details":{"reasoning_tokens":2}}}"#;
        let reply = Reply::whole(Api::Responses, body.as_bytes()).unwrap();
        assert_eq!((reply.class().0, reply.usage.unwrap().reasoning_tokens), (CallClass::Truncated, 2));
    }

    #[test]
    fn calls_of_tools_come_whole_and_in_pieces() {
        let wanted = r#"{"requests":[{"arguments":{"attempt":7},"id":"c1","tool":"source"}]}"#;
        let whole = r#"{"choices":[{"message":{"content":null,"tool_calls":[{"id":"c1","type":"function",
            "function":{"name":"source","arguments":"{\"attempt\": 7}"}}]},"finish_reason":"tool_calls"}]}"#;
        let reply = Reply::whole(Api::Chat, whole.as_bytes()).unwrap();
        assert_eq!((reply.class().0, reply.words().as_str()), (CallClass::Answered, wanted));
        let mut reply = Reply::default();
        for piece in [
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"source","arguments":""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"attem"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"pt\": 7}"}}]},"finish_reason":"tool_calls"}]}"#,
        ] {
            reply.event(Api::Chat, piece).unwrap();
        }
        assert_eq!(reply.words(), wanted);
        let body = r#"{"status":"completed","output":[{"type":"function_call","call_id":"c1","name":"source",
            "arguments":"{\"attempt\":7}"}]}"#;
        assert_eq!(Reply::whole(Api::Responses, body.as_bytes()).unwrap().words(), wanted);
    }

    #[test]
    fn refusals_are_told_apart() {
        assert_eq!(refusal_class(400, "maximum context length is 8192"), CallClass::ContextOverflow);
        assert_eq!(refusal_class(400, "temperature is not supported"), CallClass::BadRequest);
        assert_eq!(refusal_class(529, ""), CallClass::ServerError);
        assert_eq!(refusal_class(403, ""), CallClass::Unauthorized);
    }
}
