//! The model behind the test server: good, mediocre, lying, clumsy, cheating.

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

/// Nothing to change.
pub(crate) fn no_edits() -> String {
    json!({"edits": []}).to_string()
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

/// Right and so slow that any other kernel is faster, however busy the machine is: each sum is taken four times.
pub(crate) fn slow() -> String {
    crate::support::RMSNORM.replace(
        "float sum = 0.0f;",
        "volatile float sum = 0.0f;\n        for (int again = 0; again < 3; ++again) {\n            \
         for (int64_t c = 0; c < cols; ++c) sum += x[r * cols + c];\n            sum = 0.0f;\n        }",
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
        words if words.starts_with("You write") => "coder",
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
        "coder" => {
            written += 1;
            Act::Say(code(&good(8 * written), 3.0))
        }
        _ => Act::Say("{\"answer\": 42}".to_owned()),
    }
}

/// The value of a field that is a text.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}
