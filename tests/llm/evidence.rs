//! A model asks for more evidence by name, through tool calls and without them.

use serde_json::{Value, json};

use super::model;
use super::run::{
    SEED, calls, entries, prompts_hold_no_secret, search, the_key_is_nowhere, the_servers_count_is_ours,
};
use super::server::{Act, Server};
use crate::support::{Place, Said, machine};

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
    let server = Server::with(vec![], model::curious());
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
    assert!(wish(5).contains("rmsnorm_f32") && !wish(5).contains(SEED), "{}", wish(5));
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
