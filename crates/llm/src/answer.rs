//! What a model may answer, and how it is read: JSON by schema, JSON in a fence, code in a fence.

use kernsmith_core::inspect::Inspection;
use kernsmith_core::{CallClass, Edit, Language, NewNode, NodeId, NodeKind, Plan, Prediction};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::patch;

/// Words behind three backticks.
const CODE_FENCES: [&str; 7] = ["cpp", "c++", "c", "cc", "cuda", "cu", "hip"];
const PATCH_FENCES: [&str; 2] = ["patch", "diff"];

/// Why an answer cannot be used: the class, and what to tell the model.
pub(crate) type Fault = (CallClass, String);

/// A candidate as a model writes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Code {
    pub(crate) source: String,
    pub(crate) plan: Plan,
    pub(crate) predicted: Option<Prediction>,
    pub(crate) rationale: String,
}

#[derive(Debug, Deserialize)]
struct RawCode {
    #[serde(default)]
    rationale: String,
    #[serde(default)]
    predicted: Option<Prediction>,
    #[serde(default)]
    plan: Option<Value>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    patch: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RawEdits {
    edits: Vec<RawEdit>,
}

#[derive(Debug, Deserialize)]
struct RawEdit {
    op: String,
    #[serde(default)]
    parent: Option<String>,
    #[serde(default)]
    node: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    rationale: String,
    #[serde(default)]
    axes: Option<Vec<String>>,
    #[serde(default)]
    predicted: Option<Prediction>,
    #[serde(default)]
    difficulty: Option<u8>,
    #[serde(default)]
    expected_instructions: Option<Vec<String>>,
}

/// A reviewer's word.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Review {
    /// `build` or `revise`.
    pub(crate) verdict: String,
    #[serde(default)]
    pub(crate) problems: Vec<String>,
}

/// What a reviewer reads out of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Advice {
    /// What limits the attempt, or why it failed.
    pub(crate) diagnosis: String,
    #[serde(default)]
    pub(crate) next: Vec<String>,
}

impl Advice {
    /// For whoever writes the next version.
    pub(crate) fn words(&self) -> String {
        let next =
            if self.next.is_empty() { String::new() } else { format!(" Next: {}.", self.next.join("; ")) };
        format!("{}{next}", self.diagnosis)
    }
}

/// How a candidate is to be written.
pub(crate) fn code_format(language: Language) -> String {
    let plan = if language == Language::Cpp { CPU_PLAN } else { GPU_PLAN };
    CODE_FORMAT.replace("{language}", language.as_str()).replace("{plan}", plan)
}

const CODE_FORMAT: &str = "\
One JSON object: `rationale` (one or two sentences: what you change and why it is faster), `predicted` (your honest \
expectation of the speed-up over the frozen baseline: `ratio`, and `low` to `high`, an interval that holds nine times in \
ten), `plan` (a launch plan as JSON text, or null for the default), and either `source` (the whole program) or `patch` \
(SEARCH/REPLACE blocks against the base), the other one null. If you cannot put code into JSON, leave both null and add the \
program in one ```{language} fence, or the blocks in one ```patch fence, after the object.
A block of a patch:
<<<<<<< SEARCH
lines of the base, exactly
=======
lines in their place
>>>>>>> REPLACE
{plan}
To leave a number to the autotuner, write `constexpr int NAME = 4;  //@tune NAME in [1, 2, 4, 8]`.";

const CPU_PLAN: &str = "\
The plan's fields, all optional: `threads` (most threads at the same time), `flags` (list), `expected_instructions` (list of \
families that the binary must contain), `launch` (list of {`symbol`, `when`: guard over the axes}), `workspace` (list of \
{`name`, `bytes`: expression over the axes}; each becomes a `void*` argument after all others).";

const GPU_PLAN: &str = "\
The plan is never null here. Its fields: `launch` (list of variants {`when`: guard over the axes, absent for always; `kernel`: \
list of launches, run one after the other}), `workspace` (list of {`name`, `bytes`}), `tensor_map` (list of {`name`, `tensor`, \
`dims`, `strides_bytes`, `box`, `swizzle`: none, 32B, 64B or 128B, `element`: only over a workspace}), `flags`, \
`expected_instructions`. A launch is {`symbol`, `grid`: list of one to three expressions, `block`: the same, `cluster`: list of \
whole numbers, `shared_bytes`, `arguments`: names of tensors, scalars, workspaces and tensor maps, or expressions (passed as \
`long long`); absent: inputs, outputs, axes, scalars, workspaces; `cooperative`, `programmatic`: true or false}. Expressions are \
text such as \"ceil_div(rows, 4)\" over the axes and `sm_count`; every legal shape needs a variant, and a grid is never 0.";

/// How edits are to be written.
pub(crate) const EDITS_FORMAT: &str = "\
One JSON object with `edits`, a list; empty when nothing should change. Each edit has `op` (`insert`, `update` or `prune`) and \
`rationale`. An insert has `parent` (a node's id such as `n3`, `n0` for the root, or the title of a node inserted earlier in \
the list), `kind` (`family`, `decision` or `action`), `title` (short, unique among siblings), `axes` (tags such as \
`vector=avx512`), `predicted` (`ratio` to the frozen baseline with `low` and `high`, nine times in ten), `difficulty` (1 to 5) \
and `expected_instructions` (families that the binary should contain). An update has `node` and `predicted`; a prune has `node`. \
Fields that do not apply are null.";

/// How a review is to be written.
pub(crate) const REVIEW_FORMAT: &str = "\
One JSON object: `verdict` (`build` when it is worth building, `revise` when you see a defect that would make it fail or slow) \
and `problems` (a list of defects, each with the line; empty for `build`).";

/// How evidence is to be read.
pub(crate) const ADVICE_FORMAT: &str = "\
One JSON object: `diagnosis` (one to three sentences: what the evidence shows) and `next` (a list of changes, the most valuable \
first, one sentence each).";

pub(crate) fn code_schema() -> Value {
    let text = json!({"type": ["string", "null"]});
    object(&json!({
        "rationale": {"type": "string"}, "predicted": prediction(false), "plan": text, "source": text, "patch": text,
    }))
}

pub(crate) fn edits_schema() -> Value {
    let word = json!({"type": ["string", "null"]});
    let list = json!({"type": ["array", "null"], "items": {"type": "string"}});
    let edit = object(&json!({
        "op": {"type": "string", "enum": ["insert", "update", "prune"]}, "rationale": {"type": "string"},
        "parent": word, "node": word, "kind": word, "title": word, "axes": list, "predicted": prediction(true),
        "difficulty": {"type": ["integer", "null"]}, "expected_instructions": list,
    }));
    object(&json!({"edits": {"type": "array", "items": edit}}))
}

pub(crate) fn review_schema() -> Value {
    object(&json!({
        "verdict": {"type": "string", "enum": ["build", "revise"]},
        "problems": {"type": "array", "items": {"type": "string"}},
    }))
}

pub(crate) fn advice_schema() -> Value {
    object(&json!({
        "diagnosis": {"type": "string"}, "next": {"type": "array", "items": {"type": "string"}},
    }))
}

/// Strict mode wants every field required and no others.
fn object(properties: &Value) -> Value {
    let required: Vec<String> =
        properties.as_object().into_iter().flat_map(|map| map.keys().cloned()).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn prediction(may_be_null: bool) -> Value {
    let number = json!({"type": "number"});
    let mut schema = object(&json!({"ratio": number, "low": number, "high": number}));
    if may_be_null {
        schema["type"] = json!(["object", "null"]);
    }
    schema
}

/// Reads a candidate against its base; `axes` are those that a plan may name.
pub(crate) fn read_code(reply: &str, base: &str, axes: &[String]) -> Result<Code, Fault> {
    let unreadable = |problem: String| (CallClass::Unreadable, problem);
    let raw: Result<RawCode, String> = read_json(reply);
    let (fenced_source, fenced_patch) = (fence(reply, &CODE_FENCES), fence(reply, &PATCH_FENCES));
    let raw = match raw {
        Ok(raw) => raw,
        // A bare program is better than nothing.
        Err(_) if fenced_source.is_some() => {
            RawCode { rationale: String::new(), predicted: None, plan: None, source: None, patch: None }
        }
        Err(problem) => return Err(unreadable(problem)),
    };
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let source = given(raw.source).or_else(|| fenced_source.map(str::to_owned));
    let patch = given(raw.patch).or_else(|| fenced_patch.map(str::to_owned));
    let source = match (source, patch) {
        (Some(source), _) => source,
        (None, Some(patch)) => {
            patch::apply(base, &patch).map_err(|problem| (CallClass::BadPatch, problem))?
        }
        (None, None) => return Err(unreadable("there is neither `source` nor `patch`".to_owned())),
    };
    if kernsmith_core::candidate::normalise(&source) == kernsmith_core::candidate::normalise(base) {
        return Err((
            CallClass::CopiesBase,
            "the program is the base, but for comments and spacing".to_owned(),
        ));
    }
    let plan = read_plan(raw.plan, axes).map_err(|problem| (CallClass::BadPlan, problem))?;
    let predicted = raw.predicted.filter(is_prediction);
    Ok(Code { source, plan, predicted, rationale: raw.rationale })
}

fn is_prediction(predicted: &Prediction) -> bool {
    let Prediction { ratio, low, high } = *predicted;
    [ratio, low, high].iter().all(|value| value.is_finite())
        && 0.0 < low
        && low <= ratio
        && ratio <= high
        && high < 1e5
}

/// A plan as JSON text or as an object; null and empty are the default plan.
fn read_plan(plan: Option<Value>, axes: &[String]) -> Result<Plan, String> {
    let value = match plan {
        None | Some(Value::Null) => return Ok(Plan::default()),
        Some(Value::String(text)) if text.trim().is_empty() || text.trim() == "null" => {
            return Ok(Plan::default());
        }
        Some(Value::String(text)) => serde_json::from_str(&text).map_err(|error| format!("plan: {error}"))?,
        Some(value) => value,
    };
    let plan: Plan = serde_json::from_value(value).map_err(|error| format!("plan: {error}"))?;
    let axes: Vec<&str> = axes.iter().map(String::as_str).collect();
    plan.check(&axes).map_err(|error| error.to_string())?;
    Ok(plan)
}

/// Reads an edit script; `nodes` is the number of nodes that there are, root included.
pub(crate) fn read_edits(reply: &str, nodes: usize) -> Result<Vec<Edit>, Fault> {
    let raw: RawEdits = read_json(reply).map_err(|problem| (CallClass::Unreadable, problem))?;
    let mut titles: Vec<(String, NodeId)> = Vec::new();
    let mut edits = Vec::new();
    for (index, raw) in raw.edits.into_iter().enumerate() {
        let next = NodeId((nodes + titles.len()) as u32);
        let edit = edit(raw, &titles)
            .map_err(|problem| (CallClass::BadEdits, format!("edit {index}: {problem}")))?;
        if let Edit::Insert { node, .. } = &edit {
            titles.push((node.title.clone(), next));
        }
        edits.push(edit);
    }
    Ok(edits)
}

fn edit(raw: RawEdit, titles: &[(String, NodeId)]) -> Result<Edit, String> {
    let id = |text: Option<String>, field: &str| {
        let text = text.ok_or(format!("`{field}` is missing"))?;
        let named = titles.iter().find(|(title, _)| *title == text).map(|(_, id)| *id);
        let numbered = text.trim_start_matches('n').parse().ok().map(NodeId);
        named
            .or(numbered)
            .ok_or(format!("`{field}` is `{text}`, which is neither an id nor a title given before"))
    };
    let predicted = raw.predicted.ok_or("`predicted` is missing");
    match raw.op.as_str() {
        "insert" => {
            let kind = match raw.kind.as_deref() {
                Some("family") => NodeKind::Family,
                Some("decision") => NodeKind::Decision,
                Some("action") => NodeKind::Action,
                other => return Err(format!("`kind` is {other:?}, not family, decision or action")),
            };
            let node = NewNode {
                kind,
                title: raw.title.ok_or("`title` is missing")?,
                rationale: raw.rationale,
                template: None,
                fixed: std::collections::BTreeMap::new(),
                axes: raw.axes.unwrap_or_default(),
                predicted: predicted?,
                difficulty: raw.difficulty.unwrap_or(3).clamp(1, 5),
                expected_instructions: raw.expected_instructions.unwrap_or_default(),
            };
            Ok(Edit::Insert { parent: id(raw.parent, "parent")?, node })
        }
        "update" => {
            Ok(Edit::Update { node: id(raw.node, "node")?, predicted: predicted?, rationale: raw.rationale })
        }
        "prune" => Ok(Edit::Prune { node: id(raw.node, "node")?, rationale: raw.rationale }),
        other => Err(format!("`op` is `{other}`, not insert, update or prune")),
    }
}

/// Reads a review.
pub(crate) fn read_review(reply: &str) -> Result<Review, Fault> {
    read_json(reply).map_err(|problem| (CallClass::Unreadable, problem))
}

/// Reads what a reviewer says about evidence.
pub(crate) fn read_advice(reply: &str) -> Result<Advice, Fault> {
    let advice: Advice = read_json(reply).map_err(|problem| (CallClass::Unreadable, problem))?;
    if advice.diagnosis.trim().is_empty() {
        return Err((CallClass::Unreadable, "`diagnosis` is empty".to_owned()));
    }
    Ok(advice)
}

#[derive(Debug, Deserialize)]
struct RawRequests {
    requests: Vec<Inspection>,
}

/// The evidence that an answer asks for instead of answering; `None` for an answer.
pub(crate) fn read_requests(reply: &str) -> Option<Vec<Inspection>> {
    // Whatever holds a program is an answer.
    if fence(reply, &CODE_FENCES).or_else(|| fence(reply, &PATCH_FENCES)).is_some() {
        return None;
    }
    let mut requests = read_json::<RawRequests>(reply).ok()?.requests;
    for (number, request) in requests.iter_mut().enumerate() {
        if request.id.is_empty() {
            request.id = format!("request_{number}");
        }
    }
    (!requests.is_empty()).then_some(requests)
}

/// JSON as the whole answer, in a fence, or somewhere within words.
fn read_json<T: serde::de::DeserializeOwned>(reply: &str) -> Result<T, String> {
    let whole = reply.trim();
    let fenced = fence(reply, &["json"]);
    let inner =
        whole.find('{').and_then(|start| Some(&whole[start..=whole.rfind('}').filter(|end| *end > start)?]));
    let mut problem = "there is no JSON object in the answer".to_owned();
    for (first, text) in [Some(whole), fenced, inner].into_iter().flatten().enumerate() {
        match serde_json::from_str(text) {
            Ok(value) => return Ok(value),
            Err(error) if first == 0 || text.starts_with('{') => {
                problem = format!("the JSON cannot be read: {error}");
            }
            Err(_) => {}
        }
    }
    Err(problem)
}

/// The inside of the first fence with one of these words.
fn fence<'a>(text: &'a str, words: &[&str]) -> Option<&'a str> {
    for (at, _) in text.match_indices("```") {
        let rest = &text[at + 3..];
        let line = rest.find('\n')?;
        if words.contains(&rest[..line].trim()) {
            let body = &rest[line + 1..];
            return body.find("\n```").map(|end| &body[..=end]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes() -> Vec<String> {
        vec!["rows".to_owned()]
    }

    #[test]
    fn code_comes_as_json_as_a_fence_or_as_a_patch() {
        let bare = r#"{"rationale":"r","predicted":{"ratio":2,"low":1,"high":3},"plan":null,"source":"int x;","patch":null}"#;
        assert_eq!(read_code(bare, "int y;", &axes()).unwrap().source, "int x;");
        let fenced = "Sure!\n```json\n{\"rationale\":\"r\",\"plan\":\"{\\\"threads\\\": 2}\"}\n```\n```cpp\nint x;\n```\n";
        let code = read_code(fenced, "int y;", &axes()).unwrap();
        assert_eq!((code.source.as_str(), code.plan.threads), ("int x;\n", Some(2)));
        let patch = "{\"rationale\":\"r\"}\n```patch\n<<<<<<< SEARCH\nint y;\n=======\nint z;\n>>>>>>> REPLACE\n```\n";
        assert_eq!(read_code(patch, "int y;\n", &axes()).unwrap().source, "int z;\n");
    }

    #[test]
    fn every_fault_has_its_class() {
        let class = |reply: &str| read_code(reply, "int y;", &axes()).unwrap_err().0;
        assert_eq!(class("I cannot help you {"), CallClass::Unreadable);
        assert_eq!(class(r#"{"source":"int  y; // same"}"#), CallClass::CopiesBase);
        assert_eq!(
            class(r#"{"patch":"<<<<<<< SEARCH\nint q;\n=======\n\n>>>>>>> REPLACE"}"#),
            CallClass::BadPatch
        );
        assert_eq!(
            class(r#"{"source":"int x;","plan":{"launch":[{"symbol":"k","when":"cols > 1"}]}}"#),
            CallClass::BadPlan
        );
        assert_eq!(class(r#"{"source":"int x;","plan":"{\"launch\": 7}"}"#), CallClass::BadPlan);
        assert_eq!(class(r#"{"rationale":"nothing"}"#), CallClass::Unreadable);
    }

    #[test]
    fn a_request_for_evidence_is_no_answer() {
        let asked = "I want to see more.\n```json\n{\"requests\": [{\"tool\": \"source\", \"arguments\": {\"attempt\": 3}}]}\n```\n";
        let requests = read_requests(asked).unwrap();
        assert_eq!((requests[0].tool.as_str(), requests[0].whole("attempt")), ("source", Some(3)));
        assert_eq!(read_requests(r#"{"source":"int x;","rationale":""}"#), None);
        assert_eq!(read_requests(r#"{"edits":[]}"#), None);
        assert_eq!(read_requests("no"), None);
    }

    #[test]
    fn a_later_insert_may_name_an_earlier_one() {
        let reply = r#"{"edits":[
            {"op":"insert","parent":"n0","kind":"family","title":"rows","rationale":"","predicted":{"ratio":2,"low":1,"high":3}},
            {"op":"insert","parent":"rows","kind":"decision","title":"wide","rationale":"","predicted":{"ratio":2,"low":1,"high":3}},
            {"op":"prune","node":"n2","rationale":"slow"}]}"#;
        let edits = read_edits(reply, 5).unwrap();
        assert!(matches!(edits[1], Edit::Insert { parent: NodeId(5), .. }));
        assert!(matches!(edits[2], Edit::Prune { node: NodeId(2), .. }));
        assert_eq!(read_edits(r#"{"edits":[{"op":"grow"}]}"#, 1).unwrap_err().0, CallClass::BadEdits);
        assert_eq!(read_edits("no", 1).unwrap_err().0, CallClass::Unreadable);
    }

    #[test]
    fn a_lie_about_the_interval_is_no_prediction() {
        let reply = r#"{"source":"int x;","predicted":{"ratio":5,"low":9,"high":1}}"#;
        assert_eq!(read_code(reply, "", &axes()).unwrap().predicted, None);
    }
}
