//! A question as the protocol says it: request bodies of both interfaces, made of async-openai's types.

use async_openai::types::chat::{
    ChatCompletionRequestAssistantMessage, ChatCompletionRequestMessage, ChatCompletionRequestSystemMessage,
    ChatCompletionRequestUserMessage, ChatCompletionStreamOptions, CreateChatCompletionRequest,
    ReasoningEffort, ResponseFormat, ResponseFormatJsonSchema,
};
use async_openai::types::responses::{
    CreateResponse, EasyInputContent, EasyInputMessage, InputItem, InputParam, Reasoning, ResponseTextParam,
    Role, TextResponseFormatConfiguration,
};
use kernsmith_core::Digest;
use kernsmith_core::inspect::Look;
use serde_json::Value;

use crate::evidence;

/// Which interface of a server is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `/chat/completions`.
    Chat,
    /// `/responses`.
    Responses,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Turn {
    /// We said this.
    User(String),
    /// The model said this, earlier.
    Model(String),
    /// The model asked for evidence, and we showed it.
    Looked(Vec<Look>),
}

/// Whether evidence can be had before the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRequest {
    /// Never.
    #[default]
    No,
    /// The model may ask for it.
    Offered,
    /// It was offered, and the budget for it is used up.
    Spent,
}

/// One logical question.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// Which model.
    pub model: String,
    /// Below 0: left to the server.
    pub temperature: f64,
    /// `default`: left to the server.
    pub effort: String,
    /// The system message.
    pub system: String,
    /// The conversation so far, ending with the question.
    pub turns: Vec<Turn>,
    /// Name and JSON schema of the answer.
    pub schema: Option<(&'static str, Value)>,
    /// Longest answer, reasoning included.
    pub reply_tokens: u32,
    /// Whether the model may ask for evidence.
    pub evidence: OnRequest,
}

/// What a server has been found not to understand; such fields are left out from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one feature, given up by itself")]
pub struct Dialect {
    /// No JSON schemas.
    pub no_schema: bool,
    /// No token counts in streams on request.
    pub no_stream_options: bool,
    /// `max_tokens` instead of `max_completion_tokens`.
    pub old_limit: bool,
    /// No temperature.
    pub no_temperature: bool,
    /// No reasoning effort.
    pub no_effort: bool,
    /// No streams.
    pub no_stream: bool,
    /// No tool calls: evidence is asked for in fenced JSON.
    pub no_tools: bool,
}

impl Dialect {
    /// Gives up the feature that a refusal complains about; `false` when it complains about none of them.
    pub(crate) fn give_up(&mut self, complaint: &str) -> bool {
        let complaint = complaint.to_lowercase();
        let about = |words: &[&str]| words.iter().any(|word| complaint.contains(word));
        let features = [
            (&mut self.no_stream_options, about(&["stream_options", "include_usage"])),
            (&mut self.no_tools, about(&["tool", "function call"])),
            (&mut self.no_schema, about(&["response_format", "json_schema", "text.format", "guided"])),
            (&mut self.old_limit, about(&["max_completion_tokens"])),
            (&mut self.no_temperature, about(&["temperature"])),
            (&mut self.no_effort, about(&["reasoning_effort", "reasoning.effort", "reasoning effort"])),
            (&mut self.no_stream, about(&["stream"])),
        ];
        for (given_up, meant) in features {
            if meant && !*given_up {
                *given_up = true;
                return true;
            }
        }
        false
    }
}

impl Ask {
    /// Equal digests are equal questions; what a dialect leaves out does not matter.
    pub fn key(&self) -> Digest {
        let mut parts = vec![self.model.clone(), self.system.clone()];
        parts.extend(self.turns.iter().map(|turn| match turn {
            Turn::User(text) => format!("User:{text}"),
            Turn::Model(text) => format!("Model:{text}"),
            Turn::Looked(looks) => format!("Looked:{}", evidence::words(looks)),
        }));
        parts.push(self.schema.as_ref().map_or_else(String::new, |(name, _)| (*name).to_owned()));
        Digest::of_parts(parts.iter().map(String::as_bytes))
    }

    /// Estimated tokens of the prompt.
    pub(crate) fn tokens(&self) -> u64 {
        let turns = self.turns.iter().map(|turn| match turn {
            Turn::User(text) | Turn::Model(text) => kernsmith_core::prompt::tokens(text),
            Turn::Looked(looks) => kernsmith_core::prompt::tokens(&evidence::words(looks)),
        });
        kernsmith_core::prompt::tokens(&self.system) + turns.sum::<u64>()
    }

    /// The request's body.
    pub(crate) fn body(&self, api: Api, stream: bool, dialect: Dialect) -> Value {
        let mut body = match api {
            Api::Chat => serde_json::to_value(self.chat(stream && !dialect.no_stream, dialect)),
            Api::Responses => serde_json::to_value(self.responses(stream && !dialect.no_stream, dialect)),
        }
        .unwrap_or_default();
        if dialect.old_limit
            && let Some(fields) = body.as_object_mut()
            && let Some(limit) = fields.remove("max_completion_tokens")
        {
            fields.insert("max_tokens".to_owned(), limit);
        }
        if self.evidence != OnRequest::No
            && !dialect.no_tools
            && let Some(fields) = body.as_object_mut()
        {
            fields.insert("tools".to_owned(), evidence::tools(api));
            if self.evidence == OnRequest::Spent {
                fields.insert("tool_choice".to_owned(), Value::from("none"));
            }
        }
        body
    }

    fn temperature(&self, dialect: Dialect) -> Option<f32> {
        (self.temperature >= 0.0 && !dialect.no_temperature).then_some(self.temperature as f32)
    }

    fn effort(&self, dialect: Dialect) -> Option<ReasoningEffort> {
        let word = Value::String(self.effort.clone());
        if dialect.no_effort { None } else { serde_json::from_value(word).ok() }
    }

    /// A schema would not let a model ask in fenced JSON, so there is none where that is the only way.
    fn schema(&self, dialect: Dialect) -> Option<(&'static str, Value)> {
        let asks_in_text = dialect.no_tools && self.evidence == OnRequest::Offered;
        self.schema.clone().filter(|_| !dialect.no_schema && !asks_in_text)
    }

    fn chat(&self, stream: bool, dialect: Dialect) -> CreateChatCompletionRequest {
        let system = ChatCompletionRequestSystemMessage::from(self.system.as_str());
        let mut messages = vec![ChatCompletionRequestMessage::from(system)];
        for turn in &self.turns {
            match turn {
                Turn::User(text) => {
                    messages.push(ChatCompletionRequestUserMessage::from(text.as_str()).into());
                }
                Turn::Model(text) => {
                    messages.push(ChatCompletionRequestAssistantMessage::from(text.as_str()).into());
                }
                Turn::Looked(looks) if dialect.no_tools => {
                    let (asked, shown) = evidence::plain(looks);
                    messages.push(ChatCompletionRequestAssistantMessage::from(asked.as_str()).into());
                    messages.push(ChatCompletionRequestUserMessage::from(shown.as_str()).into());
                }
                Turn::Looked(looks) => messages.extend(evidence::chat_messages(looks)),
            }
        }
        let schema = self.schema(dialect);
        let options = (stream && !dialect.no_stream_options)
            .then_some(ChatCompletionStreamOptions { include_usage: Some(true), include_obfuscation: None });
        CreateChatCompletionRequest {
            model: self.model.clone(),
            messages,
            temperature: self.temperature(dialect),
            reasoning_effort: self.effort(dialect),
            max_completion_tokens: Some(self.reply_tokens),
            response_format: schema.map(|(name, schema)| ResponseFormat::JsonSchema {
                json_schema: ResponseFormatJsonSchema {
                    description: None,
                    name: name.to_owned(),
                    schema,
                    strict: Some(true),
                },
            }),
            stream: stream.then_some(true),
            stream_options: options,
            ..CreateChatCompletionRequest::default()
        }
    }

    fn responses(&self, stream: bool, dialect: Dialect) -> CreateResponse {
        let message = |role: Role, text: &str| {
            let content = EasyInputContent::Text(text.to_owned());
            InputItem::EasyMessage(EasyInputMessage { role, content, ..EasyInputMessage::default() })
        };
        let items = |turn: &Turn| match turn {
            Turn::User(text) => vec![message(Role::User, text)],
            Turn::Model(text) => vec![message(Role::Assistant, text)],
            Turn::Looked(looks) if dialect.no_tools => {
                let (asked, shown) = evidence::plain(looks);
                vec![message(Role::Assistant, &asked), message(Role::User, &shown)]
            }
            Turn::Looked(looks) => evidence::response_items(looks),
        };
        let schema = self.schema(dialect);
        CreateResponse {
            model: Some(self.model.clone()),
            instructions: Some(self.system.clone()),
            input: InputParam::Items(self.turns.iter().flat_map(items).collect()),
            temperature: self.temperature(dialect),
            reasoning: self
                .effort(dialect)
                .map(|effort| Reasoning { effort: Some(effort), ..Reasoning::default() }),
            max_output_tokens: Some(self.reply_tokens),
            text: schema.map(|(name, schema)| ResponseTextParam {
                format: TextResponseFormatConfiguration::JsonSchema(ResponseFormatJsonSchema {
                    description: None,
                    name: name.to_owned(),
                    schema,
                    strict: Some(true),
                }),
                verbosity: None,
            }),
            store: Some(false),
            stream: stream.then_some(true),
            ..CreateResponse::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use kernsmith_core::inspect::Inspection;

    use super::*;

    fn ask() -> Ask {
        Ask {
            model: "m".to_owned(),
            temperature: 0.5,
            effort: "low".to_owned(),
            system: "be brief".to_owned(),
            turns: vec![Turn::User("one".to_owned()), Turn::Model("two".to_owned())],
            schema: Some(("answer", serde_json::json!({"type": "object"}))),
            reply_tokens: 100,
            evidence: OnRequest::No,
        }
    }

    fn looked() -> Ask {
        let arguments = serde_json::json!({"attempt": 7});
        let request = Inspection { id: "c1".to_owned(), tool: "source".to_owned(), arguments };
        let look = Look { request, text: "int x;".to_owned() };
        let mut ask = Ask { evidence: OnRequest::Offered, ..ask() };
        ask.turns.push(Turn::Looked(vec![look]));
        ask
    }

    #[test]
    fn evidence_goes_through_tool_calls_where_there_are_some() {
        let chat = looked().body(Api::Chat, false, Dialect::default());
        assert_eq!(chat["tools"].as_array().map(Vec::len), Some(5));
        assert_eq!(chat["messages"][3]["tool_calls"][0]["function"]["name"], "source");
        assert_eq!(chat["messages"][4]["role"], "tool");
        assert_eq!(chat["messages"][4]["content"], "int x;");
        let responses = looked().body(Api::Responses, false, Dialect::default());
        assert_eq!(responses["input"][2]["type"], "function_call");
        assert_eq!(responses["input"][3]["type"], "function_call_output");
        assert_eq!(responses["tools"][0]["type"], "function");
        let spent = Ask { evidence: OnRequest::Spent, ..looked() };
        assert_eq!(spent.body(Api::Chat, false, Dialect::default())["tool_choice"], "none");
        assert!(ask().body(Api::Chat, false, Dialect::default()).get("tools").is_none());
        assert_ne!(looked().key(), ask().key());
    }

    #[test]
    fn evidence_goes_through_text_where_there_are_no_tools() {
        let mut dialect = Dialect::default();
        assert!(dialect.give_up("\"auto\" tool choice requires --enable-auto-tool-choice"));
        for api in [Api::Chat, Api::Responses] {
            let body = looked().body(api, false, dialect);
            assert!(body.get("tools").is_none() && body.get("response_format").is_none(), "{body}");
            let text = body.to_string();
            assert!(text.contains("requests") && text.contains("int x;"), "{text}");
        }
        let spent = Ask { evidence: OnRequest::Spent, ..looked() };
        assert!(spent.body(Api::Chat, false, dialect).get("response_format").is_some());
    }

    #[test]
    fn both_interfaces_say_the_same() {
        let chat = ask().body(Api::Chat, true, Dialect::default());
        assert_eq!(chat["messages"][2]["role"], "assistant");
        assert_eq!(chat["response_format"]["json_schema"]["name"], "answer");
        assert_eq!(chat["stream_options"]["include_usage"], true);
        assert_eq!(chat["reasoning_effort"], "low");
        let responses = ask().body(Api::Responses, false, Dialect::default());
        assert_eq!(responses["input"][0]["content"], "one");
        assert_eq!(responses["text"]["format"]["type"], "json_schema");
        assert_eq!(responses["reasoning"]["effort"], "low");
        assert!(responses.get("stream").is_none());
    }

    #[test]
    fn what_a_server_does_not_understand_is_left_out() {
        let mut dialect = Dialect::default();
        assert!(dialect.give_up("Unsupported parameter: 'max_completion_tokens'"));
        assert!(dialect.give_up("response_format is not supported"));
        assert!(!dialect.give_up("something else is wrong"));
        let body = ask().body(Api::Chat, false, dialect);
        assert_eq!(body["max_tokens"], 100);
        assert!(body.get("max_completion_tokens").is_none() && body.get("response_format").is_none());
    }
}
