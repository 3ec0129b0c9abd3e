//! A model attacks the harness.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::model;
use super::run::{
    SEED, calls, entries, killed_at_every_question, nothing_was_paid_twice, prompts_hold_no_secret, resume,
    the_key_is_nowhere, the_servers_count_is_ours,
};
use super::server::{Act, KEY, Seen, Server};
use crate::support::{Place, Said, machine};

/// An auditor that says these sources, one after the other.
fn auditor(sources: Vec<String>) -> impl FnMut(&Seen) -> Act + Send + 'static {
    let mut sources = sources.into_iter();
    move |seen| {
        assert_eq!(model::role(seen), "auditor");
        match sources.next() {
            Some(source) => Act::Say(model::code(&source, 1.0)),
            None => Act::Refuse,
        }
    }
}

fn audit(place: &Place, server: &Server, run: &str, more: &[&str]) -> Said {
    Said::of(&command(place, server, run, more).output().expect("the binary runs"))
}

fn command(place: &Place, server: &Server, run: &str, more: &[&str]) -> Command {
    let mut command = place.command();
    command.env("OPENAI_API_KEY", KEY);
    command.args(["audit", "rmsnorm_f32", "--base-url", &server.url(), "--model", "test", "--run-id", run]);
    command.args(["--format", "json", "--rounds", "1", "--set", &format!("search.seed={SEED}")]).args(more);
    command
}

fn verdicts(said: &Value) -> Vec<&str> {
    let attempts = said["attempts"].as_array().expect("attempts");
    attempts.iter().map(|attempt| model::text(attempt, "verdict")).collect()
}

#[test]
fn a_cheat_is_refused_and_an_honest_kernel_is_no_defect() {
    let place = Place::new();
    let server = Server::with(vec![], auditor(vec![model::cheat(), model::good(16)]));
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
    let counted = server.tokens();
    assert_eq!(
        (json["calls"].as_u64(), json["tokens"].as_u64()),
        (Some(2), Some(counted.prompt + counted.completion))
    );
    place.run(&["log", "verify", "audited"]).expect(0);
    // What it learned of earlier attempts stands in the next question, and the harness is told as it is documented.
    let second = model::question(server.seen().last().expect("asked twice"));
    assert!(second.contains("The gates, in order"), "{second}");
}

#[test]
fn in_a_drill_what_gets_through_is_filed_with_its_evidence() {
    let place = Place::new();
    let server = Server::with(vec![], auditor(vec![model::shy()]));
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
    let server = Server::with(vec![], auditor(Vec::new()));
    let _machine = machine();
    let said =
        audit(&place, &server, "unwilling", &["--candidates", "9", "--set", "llm.give_up_calls=4"]).expect(5);
    assert!(model::text(&said.json(), "halted").contains("refused 4"), "{said:?}");
    assert_eq!(server.seen().len(), 4);
}

#[test]
fn an_audit_that_is_killed_at_every_question_goes_on_where_it_stood() {
    let place = Place::new();
    let mut writes = auditor(vec![model::cheat(), model::good(16)]);
    let mut clumsy = vec!["{".to_owned()].into_iter();
    let server = Server::holding(move |seen| {
        let sql = json!({"sql": "SELECT title FROM v_strategies"}).to_string();
        if model::evidence(seen).is_empty() {
            return Act::Call(vec![("log_query", sql)]);
        }
        clumsy.next().map_or_else(|| writes(seen), Act::Say)
    });
    let _machine = machine();
    let more = ["--candidates", "2", "--set", "llm.prices=[\"test=1/0.25/4\"]"];
    let start = command(&place, &server, "audited", &more);
    let go_on = || resume(&place, "audited", &["--format", "json"]);
    let (said, killed) = killed_at_every_question(&server, start, go_on);
    let json = said.expect(0).json();
    assert_eq!((verdicts(&json), json["bugs"].as_u64()), (vec!["refused", "honest"], Some(0)), "{json}");
    let entries = entries(&place, "audited");
    nothing_was_paid_twice(&server, &entries, killed);
    let counted = server.tokens();
    assert_eq!(
        json["tokens"].as_u64(),
        Some(counted.prompt + counted.completion),
        "of all sessions together"
    );
    let count = |kind: &str| entries.iter().filter(|entry| entry["event"]["type"] == kind).count();
    assert_eq!((count("proposed"), count("judged"), count("closed")), (2, 3, 1));
    assert_eq!(count("resumed") as u64, killed);
    prompts_hold_no_secret(&server, &place);
    place.run(&["log", "verify", "audited"]).expect(0);
    // It is done, and says so.
    resume(&place, "audited", &[]).output().map(|output| Said::of(&output)).expect("it runs").expect(6);
}

#[test]
fn an_audit_that_is_killed_while_it_judges_judges_again_what_was_not_judged() {
    let place = Place::new();
    let server = Server::with(vec![], auditor(vec![model::shy(), model::cheat()]));
    let _machine = machine();
    let more = ["--candidates", "2", "--drill", "smoke,correctness,phase"];
    let mut start = command(&place, &server, "drilled", &more);
    let mut child = start.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let history = place.path("experiment-log/runs/drilled/history.jsonl");
    let proposed = || {
        let lines = std::fs::File::open(&history).map(|file| BufReader::new(file).lines());
        lines.into_iter().flatten().map_while(Result::ok).any(|line| line.contains("\"type\":\"proposed\""))
    };
    while !proposed() && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    place.run(&["resume", "drilled", "--wall-seconds", "9"]).expect(2).complains(&["--wall-seconds"]);
    let go_on = resume(&place, "drilled", &["--format", "json"]).output().expect("the binary runs");
    let json = Said::of(&go_on).expect(1).json();
    assert_eq!(verdicts(&json)[0], "got through", "{json}");
    assert!(place.path(model::text(&json["attempts"][0], "bug")).join("refused.json").is_file());
    let entries = entries(&place, "drilled");
    assert_eq!(server.seen().len(), 2, "no candidate was asked for twice");
    the_servers_count_is_ours(&server, &entries);
    assert_eq!(entries.iter().filter(|entry| entry["event"]["type"] == "proposed").count(), 2);
    place.run(&["log", "verify", "drilled"]).expect(0);
}
