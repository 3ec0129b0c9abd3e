//! A model asks for more evidence by name, through tool calls and without them.

use serde_json::{Value, json};

use super::model;
use super::run::{
    calls, entries, prompts_hold_no_secret, search, the_key_is_nowhere, the_servers_count_is_ours,
};
use super::server::{Act, Seen, Server};
use crate::support::{Place, Said, machine};

/// What the tools have said so far.
fn evidence(seen: &Seen) -> Vec<String> {
    let messages = seen.body["messages"].as_array().into_iter().flatten();
    let tools = messages.filter(|message| message["role"] == "tool");
    tools.map(|message| model::text(message, "content").to_owned()).collect()
}

/// Questions that a curious model may ask, and some that it should not.
fn wishes(attempt: u64) -> Vec<(&'static str, String)> {
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
fn curious() -> impl FnMut(&Seen) -> Act + Send + 'static {
    let mut written = 0;
    move |seen| match (model::role(seen), &evidence(seen)[..]) {
        ("planner", _) if model::question(seen).contains("The tree is empty") => Act::Say(model::plan()),
        ("planner", _) => Act::Say(model::no_edits()),
        (_, []) if written == 1 => {
            Act::Call(vec![("log_query", json!({"sql": "SELECT seq FROM v_candidates"}).to_string())])
        }
        (_, [candidates]) => {
            let number = candidates.lines().nth(1).and_then(|line| line.parse().ok()).expect("a candidate");
            Act::Call(wishes(number))
        }
        _ => {
            written += 1;
            Act::Say(model::code(&model::good(8 * written), 3.0))
        }
    }
}

/// What the last question of that place's course brought along, in order.
fn shown(place: &Place, entries: &[Value], run: &str) -> Vec<String> {
    let is_last =
        |entry: &&Value| entry["event"]["place"].as_str().is_some_and(|place| place.ends_with("/0+2"));
    let looked = entries.iter().find(is_last).expect("the second round of evidence");
    let name = format!("{run}#{}", looked["seq"]);
    let sent = place.run(&["brief", &name, "--format", "json"]).expect(0).json();
    let messages = sent["request"]["messages"].as_array().expect("messages").clone();
    let tools = messages.iter().filter(|message| message["role"] == "tool");
    tools.map(|message| model::text(message, "content").to_owned()).skip(1).collect()
}

#[test]
fn a_model_sees_what_it_asks_for_and_nothing_that_is_secret() {
    let place = Place::new();
    let server = Server::with(vec![], curious());
    let _machine = machine();
    let settings = [
        "--candidates",
        "2",
        "--set",
        "search.width=1",
        "--set",
        "llm.inspect_calls=11",
        "--set",
        "llm.inspect_bytes=64Ki",
    ];
    let said = Said::of(&search(&place, &server.url(), "curious", &settings).output().expect("it runs"));
    assert!(matches!(said.code, 0 | 1), "{said:?}");
    let entries = entries(&place, "curious");
    let shown = shown(&place, &entries, "curious");
    let wish = |n: usize| shown[n].as_str();
    assert!(wish(0).contains("part[l]") && wish(0).contains("passed in the"), "{}", wish(0));
    assert!(wish(1).contains("compiles, with") && wish(1).contains("-O3"), "{}", wish(1));
    assert!(wish(2).contains("instructions 2 to 7"), "{}", wish(2));
    assert!(wish(3).contains("nontemporal") || wish(3).contains("stream"), "{}", wish(3));
    assert!(wish(4).starts_with("seq | status | r\n") && wish(4).contains("accepted"), "{}", wish(4));
    assert!(wish(5).contains("rmsnorm_f32") && !wish(5).contains("7319"), "{}", wish(5));
    assert!(
        wish(7).contains("only SELECT is answered") && wish(8).contains("only SELECT is answered"),
        "{}",
        wish(8)
    );
    assert!(wish(9).contains("there is no `crystal_ball`") && wish(9).contains("answer now"), "{}", wish(9));
    prompts_hold_no_secret(&server, &place);
    the_key_is_nowhere(&place, &said);
    the_servers_count_is_ours(&server, &entries);
    let calls = calls(&entries);
    let asked = calls.iter().filter(|call| call["class"] == "inspects").count();
    let looked: Vec<&&Value> = calls.iter().filter(|call| call["inspected"].is_array()).collect();
    assert_eq!((asked, looked.len()), (2, 2), "one question, asked again with what was wanted");
    let first = &looked[1]["inspected"][0];
    assert_eq!(
        (model::text(&first["request"], "tool"), first["bytes"].as_u64()),
        ("source", Some(wish(0).len() as u64))
    );
    place.run(&["log", "verify", "curious"]).expect(0);
}

#[test]
fn without_tool_calls_evidence_is_asked_for_in_words_and_the_budget_ends_it() {
    let place = Place::new();
    let server = Server::with(vec![], move |seen| {
        if seen.body.get("tools").is_some() {
            return Act::Status(400, "\"auto\" tool choice requires --enable-auto-tool-choice".to_owned());
        }
        let ends = model::question(seen).contains("no further evidence can be had");
        match model::role(seen) {
            "planner" => Act::Say(model::plan()),
            _ if ends => Act::Say(model::code(&model::good(16), 3.0)),
            _ => {
                let request = json!({"tool": "isa_topic", "arguments": {"words": "avx512"}});
                Act::Say(json!({"requests": [request]}).to_string())
            }
        }
    });
    let _machine = machine();
    let settings = ["--candidates", "1", "--set", "search.width=1", "--set", "llm.inspect_calls=2"];
    let said = Said::of(&search(&place, &server.url(), "greedy", &settings).output().expect("it runs"));
    assert!(matches!(said.code, 0 | 1), "{said:?}");
    let entries = entries(&place, "greedy");
    let coder: Vec<(&str, &str)> = calls(&entries)
        .into_iter()
        .filter(|call| call["role"] == "coder")
        .map(|call| {
            (model::text(call, "place").rsplit('/').next().unwrap_or_default(), model::text(call, "class"))
        })
        .collect();
    let expected = [("0", "inspects"), ("0+1", "inspects"), ("0+2", "unreadable"), ("repair", "answered")];
    assert_eq!(coder, expected);
    assert!(entries.iter().any(|entry| entry["event"]["type"] == "proposed"));
    // Before the evidence is spent, nothing forces an answer upon the model; afterwards the schema does.
    let schemas: Vec<bool> = server
        .seen()
        .iter()
        .filter(|seen| model::role(seen) == "coder" && seen.body.get("tools").is_none())
        .map(|seen| seen.body.get("response_format").is_some())
        .collect();
    assert_eq!(schemas[..3], [false, false, true]);
}
