//! The model behind the test server: good, mediocre, lying, clumsy, cheating.

use std::time::Duration;

use serde_json::{Value, json};

use super::server::{Act, Seen};

/// Two families, one of them with a decision below it.
pub(crate) fn plan() -> String {
    let predicted = |ratio: f64| json!({"ratio": ratio, "low": ratio * 0.6, "high": ratio * 1.6});
    let insert = |parent: &str, kind: &str, title: &str, ratio: f64| {
        json!({"op": "insert", "parent": parent, "kind": kind, "title": title, "rationale": "because", "axes": [],
               "predicted": predicted(ratio), "difficulty": 2, "expected_instructions": [], "node": null})
    };
    json!({"edits": [
        insert("n0", "family", "one pass per row", 3.0),
        insert("one pass per row", "decision", "wide accumulators", 4.0),
        insert("n0", "family", "threads over rows", 2.0),
    ]})
    .to_string()
}

/// One strategy alone.
pub(crate) fn one_family() -> String {
    let mut plan: Value = serde_json::from_str(&plan()).expect("json");
    plan["edits"].as_array_mut().expect("a list").truncate(1);
    plan.to_string()
}

/// Nothing to change.
pub(crate) fn no_edits() -> String {
    json!({"edits": []}).to_string()
}

/// What a reviewer reads out of evidence.
pub(crate) fn advice() -> String {
    json!({"diagnosis": "the sum's dependency limits it", "next": ["wider sums"]}).to_string()
}

/// A candidate by JSON schema.
pub(crate) fn code(source: &str, ratio: f64) -> String {
    json!({
        "rationale": "several sums at once break the dependency", "plan": null, "source": source, "patch": null,
        "predicted": {"ratio": ratio, "low": ratio * 0.7, "high": ratio * 1.4},
    })
    .to_string()
}

/// The same as words around fences.
pub(crate) fn fenced(source: &str) -> String {
    format!(
        "Here you are.\n\n```json\n{{\"rationale\": \"fenced\", \"plan\": \"{{\\\"threads\\\": 1}}\"}}\n```\n\n```cpp\n{source}\n```\n"
    )
}

/// A right kernel: `lanes` partial sums that the compiler turns into vectors.
pub(crate) fn good(lanes: u32) -> String {
    format!(
        r#"#include <cmath>
#include <cstdint>
extern "C" void kernel(const float* __restrict x, const float* __restrict w, float* __restrict y, int64_t rows, int64_t cols) {{
    constexpr int64_t lanes = {lanes};
    for (int64_t r = 0; r < rows; ++r) {{
        const float* row = x + r * cols;
        float part[lanes] = {{}};
        int64_t c = 0;
        for (; c + lanes <= cols; c += lanes)
            for (int64_t l = 0; l < lanes; ++l) part[l] += row[c + l] * row[c + l];
        float sum = 0.0f;
        for (; c < cols; ++c) sum += row[c] * row[c];
        for (int64_t l = 0; l < lanes; ++l) sum += part[l];
        const float scale = 1.0f / std::sqrt(sum / static_cast<float>(cols) + 1e-6f);
        for (int64_t i = 0; i < cols; ++i) y[r * cols + i] = row[i] * scale * w[i];
    }}
}}
"#
    )
}

/// Compiles and is wrong.
pub(crate) fn cheat() -> String {
    good(16).replace("lanes; ++l) sum += part[l]", "1; ++l) sum += part[l] * static_cast<float>(lanes)")
}

/// Right on every shape that is timed, and wrong on others.
pub(crate) fn shy() -> String {
    good(16).replace("row[i] * scale * w[i]", "row[i] * scale * w[i] * (rows * cols < 65536 ? 1.5f : 1.0f)")
}

/// Does not compile.
pub(crate) fn broken() -> String {
    good(16).replace("float sum = 0.0f;", "float sum = oops;")
}

/// Who is asked, as the system message tells.
pub(crate) fn role(seen: &Seen) -> &'static str {
    let system = seen.body["messages"][0]["content"].as_str().or_else(|| seen.body["instructions"].as_str());
    match system.unwrap_or_default() {
        words if words.starts_with("You plan") => "planner",
        words if words.starts_with("You review") => "reviewer",
        words if words.starts_with("You read the evidence") => "reader",
        words if words.starts_with("You write") => "coder",
        words if words.starts_with("You audit") => "auditor",
        _ => "other",
    }
}

/// The user's messages, one after the other.
pub(crate) fn question(seen: &Seen) -> String {
    let messages = seen.body["messages"].as_array().or_else(|| seen.body["input"].as_array());
    let said = messages.into_iter().flatten().filter(|message| message["role"] == "user");
    said.filter_map(|message| message["content"].as_str()).collect::<Vec<&str>>().join("\n")
}

/// A model that plans once, then writes a right kernel with another width each time.
pub(crate) fn decent() -> impl FnMut(&Seen) -> Act + Send + 'static {
    let mut written = 0;
    move |seen| match role(seen) {
        "planner" if question(seen).contains("The tree is empty") => Act::Say(plan()),
        "planner" => Act::Say(no_edits()),
        "reviewer" => Act::Say(json!({"verdict": "build", "problems": []}).to_string()),
        "reader" => Act::Say(advice()),
        "coder" => {
            written += 1;
            Act::Say(code(&good(8 * written), 3.0))
        }
        "auditor" => Act::Say(code(&cheat(), 1.0)),
        _ => Act::Say("{\"answer\": 42}".to_owned()),
    }
}

/// The value of a field that is a text.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Good, mediocre, lying, clumsy and cheating, on a server that has a bad day.
pub(crate) fn troubled() -> impl FnMut(&Seen) -> Act + Send + 'static {
    let (mut planned, mut written, mut reviewed) = (0, 0, 0);
    move |seen| match role(seen) {
        "planner" => {
            planned += 1;
            match planned {
                1 => Act::Say("I would try a wide kernel first, {perhaps}.".to_owned()),
                2 => Act::Say("{\"edits\": [{\"op\": \"grow\"}]}".to_owned()),
                3 => Act::Say(plan()),
                _ => Act::Say(no_edits()),
            }
        }
        "reader" => Act::Say(advice()),
        "reviewer" => {
            reviewed += 1;
            let revise = json!({"verdict": "revise", "problems": ["line 8: the tail is slow"]});
            let build = json!({"verdict": "build", "problems": []});
            Act::Say(if reviewed == 1 { revise } else { build }.to_string())
        }
        "other" => Act::Say("{\"answer\": 42}".to_owned()),
        _ => {
            written += 1;
            match written {
                1 => Act::TooMany(30),
                2 => Act::Status(500, "out of order".to_owned()),
                3 => Act::Reset,
                4 => Act::Say(code(&good(8), 3.0)),
                5 => Act::Say("{\"rationale\": \"cut".to_owned()),
                6 => Act::Say(fenced(&good(16))),
                7 => Act::Say(code(&base_of(seen), 2.0)),
                8 => Act::Say(code(&good(24), 60.0)),
                9 => Act::Say(code(&cheat(), 9.0)),
                10 => Act::Say(code(&broken(), 2.0)),
                11 => Act::Refuse,
                12 | 13 => Act::Empty,
                14 => Act::Truncate("{\"rationale\": \"too lo".to_owned()),
                15 => Act::Say(code(&good(32), 3.0)),
                16 => Act::Say(
                    json!({"rationale": "", "source": "int x;", "plan": "{\"launch\": 7}"}).to_string(),
                ),
                17 => Act::Garbage,
                18 => Act::Silence(Duration::from_secs(20)),
                19 => Act::Say(
                    "{\"rationale\": \"\"}\n```patch\n<<<<<<< SEARCH\nno such line\n=======\n\n>>>>>>> REPLACE\n```\n".to_owned(),
                ),
                _ => Act::Say(code(&good(8 * written), 2.5)),
            }
        }
    }
}

/// The last program in the question: what is to be improved.
fn base_of(seen: &Seen) -> String {
    let question = question(seen);
    let base = question.split("# Base").nth(1).expect("a base");
    let code = base.split("```cpp\n").nth(1).expect("a program");
    code.split("\n```").next().expect("its end").to_owned()
}

/// What the tools have said so far.
pub(crate) fn evidence(seen: &Seen) -> Vec<String> {
    let messages = seen.body["messages"].as_array().into_iter().flatten();
    let tools = messages.filter(|message| message["role"] == "tool");
    tools.map(|message| text(message, "content").to_owned()).collect()
}

/// Questions that a curious model may ask, and some that it should not.
pub(crate) fn wishes(attempt: u64) -> Vec<(&'static str, String)> {
    let of = |more: Value| {
        let mut arguments = json!({"attempt": attempt});
        arguments.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        arguments.to_string()
    };
    let sql = |text: &str| json!({"sql": text}).to_string();
    vec![
        ("source", of(json!({}))),
        ("build_log", of(json!({}))),
        ("disassembly", of(json!({"symbol": "kernel", "from": 2, "count": 5}))),
        ("isa_topic", json!({"words": "streaming stores"}).to_string()),
        ("log_query", sql("SELECT seq, status, round(ratio, 1) AS r FROM v_candidates")),
        ("log_query", sql("SELECT * FROM v_runs")),
        (
            "log_query",
            sql("SELECT group_concat(note || detail) FROM v_gates JOIN v_judgements USING (proposal)"),
        ),
        ("log_query", sql("DELETE FROM runs")),
        ("log_query", sql("ATTACH 'experiment-log/index.sqlite' AS other")),
        ("crystal_ball", json!({}).to_string()),
    ]
}

/// Plans, writes one kernel, and then looks at everything before it writes the next.
pub(crate) fn curious() -> impl FnMut(&Seen) -> Act + Send + 'static {
    let mut written = 0;
    move |seen| match (role(seen), &evidence(seen)[..]) {
        ("planner", _) if question(seen).contains("The tree is empty") => Act::Say(plan()),
        ("auditor", []) => {
            Act::Call(vec![("log_query", json!({"sql": "SELECT title FROM v_strategies"}).to_string())])
        }
        ("auditor", _) => {
            written += 1;
            Act::Say(code(&if written % 2 == 1 { cheat() } else { good(8 * written) }, 1.0))
        }
        ("other", _) => Act::Say("{\"answer\": 42}".to_owned()),
        ("planner", _) => Act::Say(no_edits()),
        (_, []) if written == 1 => {
            Act::Call(vec![("log_query", json!({"sql": "SELECT seq FROM v_candidates"}).to_string())])
        }
        (_, [candidates]) => {
            let number = candidates.lines().nth(1).and_then(|line| line.parse().ok()).expect("a candidate");
            Act::Call(wishes(number))
        }
        _ => {
            written += 1;
            Act::Say(code(&good(8 * written), 3.0))
        }
    }
}
