//! What one call of a model leaves behind in the log: what was asked, what came back, and what it cost.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::NodeId;
use crate::inspect::Inspection;

/// One logical call of a model, all its tries together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCall {
    /// The question's place in the search, such as `code/17/n3/0/1`: a place has one answer, which is paid once.
    pub place: String,
    /// Digest of model, messages and format, so that a cassette finds the answer again.
    pub key: Digest,
    /// Who was asked: `planner`, `coder`, `reviewer`, `auditor`.
    pub role: String,
    /// What for: `start`, `improve`, `debug`, `repair`, ….
    pub purpose: String,
    /// The strategy that it was about, where it was about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The model's name, as it was asked for.
    pub model: String,
    /// Blob with the request's body, byte for byte as it was sent.
    pub request: Digest,
    /// The parts of the prompt, in order.
    pub sections: Vec<PromptSection>,
    /// Blob with the text of the answer, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Digest>,
    /// How it ended.
    pub class: CallClass,
    /// What was wrong, where something was; never holds a key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Every request that was sent, in order.
    pub tries: Vec<CallTry>,
    /// Tokens of all tries together.
    pub usage: Usage,
    /// Their price in US dollars, by the price table of the run's configuration.
    pub cost_usd: f64,
    /// Time from the first try to the last, pauses included.
    pub wall_ms: f64,
    /// Evidence that this call brought along, because the model had asked for it before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inspected: Vec<Inspected>,
}

/// Evidence that a model asked for, and where the log keeps what it was shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspected {
    /// What was asked.
    pub request: Inspection,
    /// Blob with what was shown: evidence, or why there is none.
    pub shown: Digest,
    /// Its length.
    pub bytes: u64,
}

/// One part of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptSection {
    /// Its name.
    pub name: String,
    /// Its length in tokens, estimated from its bytes.
    pub tokens: u64,
    /// Items that were left out to stay within the prompt's budget.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut: u64,
}

/// One request and its fate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallTry {
    /// How it ended.
    pub class: CallClass,
    /// Status code, where the server sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Time of the request itself.
    pub wall_ms: f64,
    /// Pause after it.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub pause_ms: f64,
    /// What the server or the network said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Tokens, as the server counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Those of them that the server had cached.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub completion_tokens: u64,
    /// Those of them that were spent on reasoning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reasoning_tokens: u64,
    /// Estimate for tries whose count never arrived; not part of the other numbers, but charged to the budget.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unreported_tokens: u64,
}

impl Usage {
    /// Tokens of prompt and answer.
    pub const fn total(&self) -> u64 {
        self.prompt_tokens + self.completion_tokens
    }

    /// Adds another count.
    pub const fn add(&mut self, other: &Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.completion_tokens += other.completion_tokens;
        self.reasoning_tokens += other.reasoning_tokens;
        self.unreported_tokens += other.unreported_tokens;
    }
}

macro_rules! call_classes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// How a call or a single try of it ended. The names are stable: logs, tests and people rely on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum CallClass {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant,)+
        }

        impl CallClass {
            /// Every class, in catalogue order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

call_classes! {
    /// An answer that could be used.
    Answered = "answered",
    /// No connection: nothing listens, or the name is not known.
    Unreachable = "unreachable",
    /// The connection broke before the answer was complete.
    Reset = "reset",
    /// The call's deadline passed.
    DeadlinePassed = "deadline_passed",
    /// The stream stood still for too long.
    SlowStream = "slow_stream",
    /// The server asked to come back later (429).
    RateLimited = "rate_limited",
    /// The server failed (5xx).
    ServerError = "server_error",
    /// The key was not accepted (401, 403).
    Unauthorized = "unauthorized",
    /// The server knows no such model or address (404).
    NotFound = "not_found",
    /// The request was refused as wrong (other 4xx).
    BadRequest = "bad_request",
    /// The prompt does not fit the model's context.
    ContextOverflow = "context_overflow",
    /// The body was not what the protocol says.
    ProtocolViolation = "protocol_violation",
    /// The model would not answer.
    Refused = "refused",
    /// The answer was cut off at the token limit.
    Truncated = "truncated",
    /// The answer held no text.
    Empty = "empty",
    /// The answer could not be read as what was asked for.
    Unreadable = "unreadable",
    /// A patch that does not fit the base source.
    BadPatch = "bad_patch",
    /// A launch plan that is not legal.
    BadPlan = "bad_plan",
    /// An edit script that is not legal.
    BadEdits = "bad_edits",
    /// The base source, unchanged.
    CopiesBase = "copies_base",
    /// The model asks for evidence before it answers.
    Inspects = "inspects",
    /// The search ended before the answer came.
    Abandoned = "abandoned",
}

impl CallClass {
    /// Whether the network or the server is to blame, so that the same question may be answered later.
    pub const fn is_outage(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::Reset
                | Self::DeadlinePassed
                | Self::SlowStream
                | Self::RateLimited
                | Self::ServerError
                | Self::ProtocolViolation
        )
    }

    /// Whether no further question can be answered until a person changes something.
    pub const fn is_hopeless(self) -> bool {
        matches!(self, Self::Unauthorized | Self::NotFound)
    }
}

impl fmt::Display for CallClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_nothing(value: &f64) -> bool {
    *value <= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_json_are_the_stable_names() {
        for class in CallClass::ALL {
            assert_eq!(serde_json::to_string(class).unwrap(), format!("\"{class}\""));
        }
    }

    #[test]
    fn an_outage_may_pass_and_a_wrong_key_does_not() {
        assert!(CallClass::RateLimited.is_outage() && !CallClass::Unauthorized.is_outage());
        assert!(CallClass::Unauthorized.is_hopeless() && !CallClass::Refused.is_hopeless());
    }
}
