//! Evidence that a model may ask for by name while it works on an answer.
//!
//! Who asks (`llm`) and who answers (`brief`) do not know each other; they meet in these types. Nothing that can be asked for
//! here gives a held-out shape, a seed or an oracle value away.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// One kind of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// What it gives.
    pub about: &'static str,
    /// What it wants to know.
    pub fields: &'static [Field],
}

/// One argument of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
    /// Whether it is a whole number; a text otherwise.
    pub whole: bool,
    /// Whether it may be missing.
    pub optional: bool,
}

const ATTEMPT: Field =
    Field { name: "attempt", about: "number of the attempt", whole: true, optional: false };

/// Everything that can be asked for.
pub const TOOLS: [Tool; 5] = [
    Tool {
        name: "log_query",
        about: "Answers one SQL SELECT (SQLite) over this run. Views: v_candidates (seq, node, strategy, operator, status, \
                class, gate, detail, ratio, ci_low, ci_high, median_us, predicted, parents, rationale), v_judgements (proposal, \
                lane, class, detail, ratio, text_bytes, vector_spills), v_workloads (proposal, lane, workload, axes, median_us, \
                baseline_us, ratio, copy_fraction), v_gates (proposal, gate, passed, note), v_strategies (node, parent, title, \
                predicted, best_ratio, proposed, accepted, rejected), v_edits, v_champions.",
        fields: &[Field { name: "sql", about: "the SELECT", whole: false, optional: false }],
    },
    Tool {
        name: "isa_topic",
        about: "What the corpus of machine facts says about some words, such as `streaming stores` or `avx512 fma latency`.",
        fields: &[Field { name: "words", about: "the words", whole: false, optional: false }],
    },
    Tool {
        name: "build_log",
        about: "The compiler's whole log of an attempt, warnings included.",
        fields: &[ATTEMPT],
    },
    Tool {
        name: "disassembly",
        about: "Machine code of an attempt as the compiler left it.",
        fields: &[
            ATTEMPT,
            Field {
                name: "symbol",
                about: "an exported symbol; all code without one",
                whole: false,
                optional: true,
            },
            Field { name: "from", about: "first instruction, counted from 0", whole: true, optional: true },
            Field { name: "count", about: "instructions, at most 300", whole: true, optional: true },
        ],
    },
    Tool {
        name: "source",
        about: "Source, plan, rationale and outcome of any attempt of this run, of other strategies too.",
        fields: &[ATTEMPT],
    },
];

/// One request for evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// The server's name for the call; made up where there is none.
    #[serde(default)]
    pub id: String,
    /// Which tool.
    pub tool: String,
    /// Its arguments, as an object.
    #[serde(default)]
    pub arguments: Value,
}

/// A request and what was handed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// What was asked.
    pub request: Inspection,
    /// What was shown: evidence, or why there is none.
    pub text: String,
}

impl Tool {
    /// The arguments as a JSON schema in strict mode: every field is required, optional ones may be null.
    pub fn schema(&self) -> Value {
        let kind = |field: &Field| {
            let name = if field.whole { "integer" } else { "string" };
            if field.optional { json!([name, "null"]) } else { json!(name) }
        };
        let properties: Map<String, Value> = self
            .fields
            .iter()
            .map(|field| (field.name.to_owned(), json!({"type": kind(field), "description": field.about})))
            .collect();
        let required: Vec<&str> = self.fields.iter().map(|field| field.name).collect();
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    }
}

impl Inspection {
    /// A text among the arguments; empty ones count as missing.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.arguments[field].as_str().map(str::trim).filter(|text| !text.is_empty())
    }

    /// A whole number among the arguments, also where it was written as text (`"12"`, `"#0012"`).
    pub fn whole(&self, field: &str) -> Option<u64> {
        let value = &self.arguments[field];
        value.as_u64().or_else(|| value.as_str()?.trim().trim_start_matches('#').parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_requires_every_field_and_lets_optional_ones_be_null() {
        let schema = TOOLS[3].schema();
        assert_eq!(schema["required"].as_array().map(Vec::len), Some(4));
        assert_eq!(schema["properties"]["attempt"]["type"], "integer");
        assert_eq!(schema["properties"]["symbol"]["type"], json!(["string", "null"]));
    }

    #[test]
    fn numbers_may_be_written_as_text() {
        let arguments = json!({"attempt": "#0012", "from": 3, "symbol": " "});
        let request = Inspection { id: String::new(), tool: "source".to_owned(), arguments };
        assert_eq!(
            (request.whole("attempt"), request.whole("from"), request.whole("count")),
            (Some(12), Some(3), None)
        );
        assert_eq!(request.text("symbol"), None);
    }
}
