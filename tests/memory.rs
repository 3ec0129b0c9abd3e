//! A second search on the same contract spends nothing on what failed before.

use serde_json::Value;

use crate::support::{Place, machine};

/// A skill with a gene whose values build, do not build, and are far too slow.
const SKILL: &str = r#"
format = 1
name = "careless"

[[template]]
name = "loop"
contracts = ["softsign_f32"]
targets = ["cpu-x86_64"]
file = "loop.cpp.tera"
title = "a loop"
rationale = "Three styles of one loop."
difficulty = 1
predicted = { ratio = 1.2, low = 0.5, high = 2.0 }

[[template.gene]]
name = "style"
values = ["plain", "typo", "slow"]
summary = "how it is written"

[[template.gene]]
name = "unroll"
values = [1, 2, 4, 8]
summary = "iterations at once"
"#;

const TEMPLATE: &str = r#"
#include <cmath>
#include <cstdint>
extern "C" void kernel(const float* x, float* y, int64_t n) {
{% if style == "slow" %}    for (volatile int k = 0; k < 20000000 + {{ unroll }}; k = k + 1) {}
{% endif %}#pragma GCC unroll {{ unroll }}
    for (int64_t i = 0; i < n; ++i) {
        y[i] = {% if style == "typo" %}nobody_knows_this_{{ unroll }}(x[i]){% else %}x[i] / (1.0F + std::fabs(x[i])){% endif %};
    }
}
"#;

/// A place with the contract `softsign_f32`, for which only the careless skill has a template.
fn place() -> Place {
    let place = Place::new();
    place.run(&["contract", "new", "softsign_f32"]).expect(0);
    let path = place.path("op-contracts/softsign_f32/contract.toml");
    let text = std::fs::read_to_string(&path).expect("the scaffold");
    let text = text.replace("family = \"elementwise\"", "family = \"scan\"");
    let text = text.replace("[element]\ny = \"x / (1.0f + fabsf(x))\"\n", "");
    std::fs::write(&path, text).expect("written");
    place.write("skills/careless/skill.toml", SKILL);
    place.write("skills/careless/loop.cpp.tera", TEMPLATE);
    place.write(
        "skills/careless/SKILL.md",
        "---\nname: careless\ndescription: Three styles of one loop.\n---\n\n# Careless\n\nThree styles of one loop.\n",
    );
    place
}

fn search(place: &Place, run: &str, candidates: &str, more: &[&str]) -> String {
    let fixed = [
        "search",
        "softsign_f32",
        "--run-id",
        run,
        "--seed",
        "3",
        "--candidates",
        candidates,
        "--wall-seconds",
        "0",
        "--set",
        "harness.verify_seconds_per_workload=0.02",
        "--set",
        "harness.confirm_seconds_per_workload=0.02",
        "--format",
        "json",
    ];
    let said = place.run(&[&fixed, more].concat());
    assert!(matches!(said.code, 0 | 1), "{said:?}");
    said.stderr
}

fn count(place: &Place, sql: &str) -> i64 {
    let said = place.run(&["log", "query", sql, "--format", "jsonl"]).expect(0).json();
    said["n"].as_i64().expect("a number")
}

fn evaluations(place: &Place, run: &str, style: &str) -> i64 {
    count(
        place,
        &format!(
            "SELECT count(*) AS n FROM v_candidates WHERE run = '{run}' AND judgements > 0 AND genome ->> '$.style' LIKE '{style}'"
        ),
    )
}

#[test]
fn a_second_search_spends_nothing_on_what_failed_before() {
    let place = place();
    let _machine = machine();
    search(&place, "first", "12", &[]);
    assert!(evaluations(&place, "first", "typo") >= 3, "the first search pays for every typo");
    let said = search(&place, "second", "12", &["--memory", "auto"]);
    assert!(said.contains("dead ends and 12 outcomes of 1 runs"), "{said}");
    assert_eq!(evaluations(&place, "second", "typo"), 0);
    // On a disturbed machine an interval of a slow style may reach 1, which keeps the style alive.
    let slow = |run| evaluations(&place, run, "slow");
    assert!(slow("second") <= slow("first"));
    let all = |run| evaluations(&place, run, "%");
    assert!(all("second") >= 1 && all("second") + 4 <= all("first"), "{} of {}", all("second"), all("first"));
    remembered_by_the_log(&place);
    a_fork_and_an_imported_run_go_on(&place);
    forgotten_when_the_contract_changes(&place);
}

/// The run holds what it was told, under its digest, so that it can go on without the file and the other runs.
fn remembered_by_the_log(place: &Place) {
    let opened = place.run(&["log", "show", "second#0", "--format", "json"]).expect(0).json();
    let memory: &Value = &opened["event"]["memory"];
    assert_eq!(memory["origin"], "auto", "{opened}");
    assert_eq!(memory["runs"][0], "first");
    assert!(memory["digest"].as_str().is_some_and(|digest| digest.len() == 64));
    place.run(&["log", "verify", "second"]).expect(0);
    let first = place.run(&["log", "show", "first#0", "--format", "json"]).expect(0).json();
    assert!(first["event"].get("memory").is_none(), "a search without a memory says nothing of one");
}

/// A run that was forked, and one that came from another log, go on like any other.
fn a_fork_and_an_imported_run_go_on(place: &Place) {
    let ninth =
        count(place, "SELECT seq AS n FROM v_candidates WHERE run = 'first' ORDER BY seq LIMIT 1 OFFSET 8");
    place.run(&["log", "fork", &format!("first#{}", ninth - 1), "--run-id", "again"]).expect(0);
    let before = count(place, "SELECT count(*) AS n FROM v_candidates WHERE run = 'again'");
    assert_eq!(before, 8);
    let resumed = place.run(&["resume", "again", "--format", "json"]);
    assert!(matches!(resumed.code, 0 | 1), "{resumed:?}");
    assert_eq!(resumed.json()["candidates"]["proposed"], 12);
    place.run(&["log", "verify", "again"]).expect(0);
    let elsewhere = ["--log-dir", "elsewhere"];
    place.run(&[&elsewhere[..], &["log", "import", "experiment-log/runs/again"]].concat()).expect(0);
    let resumed = place.run(&[&elsewhere[..], &["resume", "again", "--format", "json"]].concat());
    assert!(matches!(resumed.code, 0 | 1), "{resumed:?}");
    assert_eq!(resumed.json()["candidates"]["proposed"], 12, "its budget was used up elsewhere");
    place.run(&[&elsewhere[..], &["log", "verify", "again"]].concat()).expect(0);
}

fn forgotten_when_the_contract_changes(place: &Place) {
    place.run(&["log", "dead-ends", "--write", "learned"]).expect(0);
    let path = place.path("op-contracts/softsign_f32/contract.toml");
    let text = std::fs::read_to_string(&path).expect("the scaffold");
    std::fs::write(&path, text.replace("version = 1 ", "version = 2 ")).expect("written");
    let said = search(place, "third", "1", &["--memory", "learned"]);
    assert!(said.contains("left out") && said.contains("another contract version"), "{said}");
}
