//! Evidence on request, as both interfaces say it: tools, tool calls and their results, or fenced JSON.

use async_openai::types::chat::{
    ChatCompletionMessageToolCall, ChatCompletionMessageToolCalls, ChatCompletionRequestAssistantMessage,
    ChatCompletionRequestMessage, ChatCompletionRequestToolMessage, ChatCompletionTool, ChatCompletionTools,
    FunctionCall, FunctionObject,
};
use async_openai::types::responses::{
    FunctionCallOutputItemParam, FunctionTool, FunctionToolCall, InputItem, Item, Tool as ResponsesTool,
};
use kernsmith_core::inspect::{Inspection, Look, TOOLS, Tool};
use serde_json::{Value, json};

use crate::ask::Api;

/// Answers one request, or says why not.
pub type Inspect = Box<dyn Fn(&Inspection) -> Result<String, String> + Send + Sync>;

/// How evidence is asked for, in a prompt.
pub(crate) fn format() -> String {
    let tool = |tool: &Tool| {
        let fields: Vec<String> = tool
            .fields
            .iter()
            .map(|field| format!("`{}`{}", field.name, if field.optional { " (optional)" } else { "" }))
            .collect();
        format!("- `{}` ({}): {}", tool.name, fields.join(", "), tool.about)
    };
    let tools: Vec<String> = TOOLS.iter().map(tool).collect();
    format!(
        "Before you answer, you may look at more evidence; ask for what would change your answer, not for everything. Call \
         the tools; where you have none, answer with nothing but one JSON object such as \
         {{\"requests\": [{{\"tool\": \"source\", \"arguments\": {{\"attempt\": 12}}}}]}}.\n{}",
        tools.join("\n")
    )
}

/// The tools, as that interface declares them.
pub(crate) fn tools(api: Api) -> Value {
    let chat = |tool: &Tool| {
        ChatCompletionTools::Function(ChatCompletionTool {
            function: FunctionObject {
                name: tool.name.to_owned(),
                description: Some(tool.about.to_owned()),
                parameters: Some(tool.schema()),
                strict: Some(true),
            },
        })
    };
    let responses = |tool: &Tool| {
        ResponsesTool::Function(FunctionTool {
            name: tool.name.to_owned(),
            description: Some(tool.about.to_owned()),
            parameters: Some(tool.schema()),
            strict: Some(true),
            ..FunctionTool::default()
        })
    };
    match api {
        Api::Chat => serde_json::to_value(TOOLS.iter().map(chat).collect::<Vec<_>>()),
        Api::Responses => serde_json::to_value(TOOLS.iter().map(responses).collect::<Vec<_>>()),
    }
    .unwrap_or_default()
}

/// The model's calls and their results, in the chat interface.
pub(crate) fn chat_messages(looks: &[Look]) -> Vec<ChatCompletionRequestMessage> {
    let call = |look: &Look| {
        ChatCompletionMessageToolCalls::Function(ChatCompletionMessageToolCall {
            id: look.request.id.clone(),
            function: FunctionCall {
                name: look.request.tool.clone(),
                arguments: look.request.arguments.to_string(),
            },
        })
    };
    let asked = ChatCompletionRequestAssistantMessage {
        tool_calls: Some(looks.iter().map(call).collect()),
        ..ChatCompletionRequestAssistantMessage::default()
    };
    let shown = looks.iter().map(|look| {
        ChatCompletionRequestToolMessage {
            content: look.text.as_str().into(),
            tool_call_id: look.request.id.clone(),
        }
        .into()
    });
    std::iter::once(asked.into()).chain(shown).collect()
}

/// The same in the responses interface.
pub(crate) fn response_items(looks: &[Look]) -> Vec<InputItem> {
    let call = |look: &Look| {
        InputItem::Item(Item::FunctionCall(FunctionToolCall {
            arguments: look.request.arguments.to_string(),
            call_id: look.request.id.clone(),
            namespace: None,
            name: look.request.tool.clone(),
            id: None,
            status: None,
            caller: None,
            r#async: None,
        }))
    };
    let shown = |look: &Look| {
        InputItem::Item(Item::FunctionCallOutput(FunctionCallOutputItemParam {
            call_id: Some(look.request.id.clone()),
            output: look.text.as_str().into(),
            id: None,
            status: None,
            name: None,
            namespace: None,
            caller: None,
        }))
    };
    looks.iter().map(call).chain(looks.iter().map(shown)).collect()
}

/// The same as words, for servers without tools: what the model said, and what we answered.
pub(crate) fn plain(looks: &[Look]) -> (String, String) {
    let requests: Vec<&Inspection> = looks.iter().map(|look| &look.request).collect();
    let shown: Vec<String> = looks
        .iter()
        .map(|look| format!("# {} {}\n\n{}", look.request.tool, look.request.arguments, look.text))
        .collect();
    (json!({"requests": requests}).to_string(), shown.join("\n\n"))
}

/// Everything that was asked and shown, for digests and lengths.
pub(crate) fn words(looks: &[Look]) -> String {
    let (asked, shown) = plain(looks);
    format!("{asked}\n{shown}")
}
