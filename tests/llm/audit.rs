//! A model attacks the harness.

use serde_json::{Value, json};

use super::model;
use super::run::{calls, entries, prompts_hold_no_secret, the_key_is_nowhere, the_servers_count_is_ours};
use super::server::{Act, KEY, Server};
use crate::support::{Place, Said, machine};

/// An auditor that says these sources, one after the other.
fn auditor(sources: Vec<String>) -> Server {
    let mut sources = sources.into_iter();
    Server::with(vec![], move |seen| {
        let system = model::text(&seen.body["messages"][0], "content");
        assert!(system.starts_with("You audit a harness"), "{system}");
        match sources.next() {
            Some(source) => Act::Say(model::code(&source, 1.0)),
            None => Act::Refuse,
        }
    })
}

fn audit(place: &Place, server: &Server, run: &str, more: &[&str]) -> Said {
    let mut command = place.command();
    command.env("OPENAI_API_KEY", KEY);
    command.args(["audit", "rmsnorm_f32", "--base-url", &server.url(), "--model", "test", "--run-id", run]);
    command.args(["--format", "json", "--rounds", "1", "--set", "search.seed=7319"]).args(more);
    Said::of(&command.output().expect("the binary runs"))
}

fn verdicts(said: &Value) -> Vec<&str> {
    let attempts = said["attempts"].as_array().expect("attempts");
    attempts.iter().map(|attempt| model::text(attempt, "verdict")).collect()
}

#[test]
fn a_cheat_is_refused_and_an_honest_kernel_is_no_defect() {
    let place = Place::new();
    let server = auditor(vec![model::cheat(), model::good(16)]);
    let _machine = machine();
    let said = audit(&place, &server, "audited", &["--candidates", "2"]).expect(0);
    let json = said.json();
    assert_eq!((verdicts(&json), json["bugs"].as_u64()), (vec!["refused", "honest"], Some(0)), "{json}");
    assert!(!place.path("experiment-log/harness-bugs").exists());
    let entries = entries(&place, "audited");
    assert!(calls(&entries).iter().all(|call| call["role"] == "auditor" && call["purpose"] == "attack"));
    let judged: Vec<&Value> = entries.iter().filter(|entry| entry["event"]["type"] == "judged").collect();
    assert_eq!(judged.len(), 3, "the honest one was judged again, more strictly");
    let checked = |n: usize| judged[n]["event"]["evidence"]["validation"]["elements_checked"].as_u64();
    assert!(checked(2) > checked(1), "{:?} {:?}", checked(2), checked(1));
    prompts_hold_no_secret(&server, &place);
    the_key_is_nowhere(&place, &said);
    the_servers_count_is_ours(&server, &entries);
    place.run(&["log", "verify", "audited"]).expect(0);
    // What it learned of earlier attempts stands in the next question, and the harness is told as it is documented.
    let second = model::question(server.seen().last().expect("asked twice"));
    assert!(second.contains("The gates, in order"), "{second}");
}

#[test]
fn in_a_drill_what_gets_through_is_filed_with_its_evidence() {
    let place = Place::new();
    let server = auditor(vec![model::shy()]);
    let _machine = machine();
    let drill = "smoke,correctness,phase";
    let said = audit(&place, &server, "drill", &["--candidates", "1", "--drill", drill]).expect(1);
    let json = said.json();
    assert_eq!(verdicts(&json), ["got through"], "{json}");
    let filed = place.path(model::text(&json["attempts"][0], "bug"));
    let read = |name: &str| std::fs::read_to_string(filed.join(name)).expect("a file");
    assert_eq!(read("source.cpp"), model::shy());
    let accepted: Value = serde_json::from_str(&read("accepted.json")).expect("json");
    let refused: Value = serde_json::from_str(&read("refused.json")).expect("json");
    assert_eq!((&accepted["verdict"], &refused["verdict"]), (&json!("accepted"), &json!("rejected")));
    assert!(accepted["environment"]["weakened"].to_string().contains("correctness is off"));
    assert_eq!(
        refused["environment"].get("weakened").map_or(0, |list| list.as_array().map_or(0, Vec::len)),
        0
    );
    assert_eq!(refused["failure"]["class"], "wrong_result", "{}", refused["failure"]);
    assert!(read("README.md").contains("correctness is off"));
    place
        .run(&["audit", "rmsnorm_f32", "--drill", "luck"])
        .expect(2)
        .complains(&["no such gate", "correctness"]);
}

#[test]
fn an_auditor_that_will_not_is_asked_no_more_than_configured() {
    let place = Place::new();
    let server = auditor(Vec::new());
    let _machine = machine();
    let said =
        audit(&place, &server, "unwilling", &["--candidates", "9", "--set", "llm.give_up_calls=4"]).expect(5);
    assert!(model::text(&said.json(), "halted").contains("refused 4"), "{said:?}");
    assert_eq!(server.seen().len(), 4);
}
