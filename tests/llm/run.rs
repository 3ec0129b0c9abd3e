//! Whole searches with a model behind them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kernsmith_op_contract::Role;
use serde_json::{Value, json};

use super::model;
use super::server::{Act, KEY, Seen, Server};
use crate::support::{Place, Said, machine};

/// A short search of that server's model.
pub(crate) fn search(place: &Place, url: &str, name: &str, more: &[&str]) -> Command {
    let mut command = place.command();
    command.env("OPENAI_API_KEY", KEY);
    command.args(["search", "rmsnorm_f32", "--proposer", "llm", "--base-url", url, "--model", "test"]);
    command.args(["--run-id", name, "--wall-seconds", "60", "--seed", "7319", "--set", "llm.idle_seconds=2"]);
    // The champion must be confirmed on a busy machine too: more pairs, narrower intervals.
    command.args(["--set", "search.final_seconds=4", "--set", "harness.confirm_seconds_per_workload=1.5"]);
    command.args(more);
    command
}

/// All entries of a run.
pub(crate) fn entries(place: &Place, run: &str) -> Vec<Value> {
    let log = place.run(&["log", "show", run, "--format", "jsonl"]).expect(0).stdout;
    log.lines().map(|line| serde_json::from_str(line).expect("json")).collect()
}

pub(crate) fn calls(entries: &[Value]) -> Vec<&Value> {
    entries.iter().map(|entry| &entry["event"]).filter(|event| event["type"] == "model_called").collect()
}

/// Good, mediocre, lying, clumsy and cheating, on a server that has a bad day.
fn troubled() -> impl FnMut(usize, &Seen) -> Act + Send + 'static {
    let (mut planned, mut written, mut reviewed) = (0, 0, 0);
    move |_, seen| match model::role(seen) {
        "planner" => {
            planned += 1;
            match planned {
                1 => Act::Say("I would try a wide kernel first, {perhaps}.".to_owned()),
                2 => Act::Say(model::plan()),
                _ => Act::Say(model::no_edits()),
            }
        }
        "reviewer" => {
            reviewed += 1;
            let revise = json!({"verdict": "revise", "problems": ["line 8: the tail is slow"]});
            let build = json!({"verdict": "build", "problems": []});
            Act::Say(if reviewed == 1 { revise } else { build }.to_string())
        }
        _ => {
            written += 1;
            match written {
                1 => Act::TooMany(30),
                2 => Act::Status(500, "out of order".to_owned()),
                3 => Act::Reset,
                4 => Act::Say(model::code(&model::good(8), 3.0)),
                5 => Act::Say("{\"rationale\": \"cut".to_owned()),
                6 => Act::Say(model::fenced(&model::good(16))),
                7 => Act::Say(model::code(&base_of(seen), 2.0)),
                8 => Act::Say(model::code(&model::good(24), 60.0)),
                9 => Act::Say(model::code(&model::cheat(), 9.0)),
                10 => Act::Say(model::code(&model::broken(), 2.0)),
                11 => Act::Refuse,
                12 | 13 => Act::Empty,
                14 => Act::Truncate("{\"rationale\": \"too lo".to_owned()),
                15 => Act::Say(model::code(&model::good(32), 3.0)),
                16 => Act::Say(
                    json!({"rationale": "", "source": "int x;", "plan": "{\"launch\": 7}"}).to_string(),
                ),
                _ => Act::Say(model::code(&model::good(8 * written), 2.5)),
            }
        }
    }
}

/// The last program in the question: what is to be improved.
fn base_of(seen: &Seen) -> String {
    let question = model::question(seen);
    let base = question.split("# Base").nth(1).expect("a base");
    let code = base.split("```cpp\n").nth(1).expect("a program");
    code.split("\n```").next().expect("its end").to_owned()
}

#[test]
fn a_model_with_bad_days_still_finds_a_confirmed_champion() {
    let place = Place::new();
    let server = Server::start(troubled());
    let _machine = machine();
    let done = AtomicBool::new(false);
    let cassette = place.path("calls.jsonl").display().to_string();
    let slow = place.write("slow.cpp", &model::slow()).display().to_string();
    let settings = [
        "--seed-kernel",
        &slow,
        "--candidates",
        "9",
        "--format",
        "json",
        "--set",
        "llm.reviewer_model=critic",
        "--set",
        &format!("llm.cassette={cassette}"),
        "--set",
        "llm.prices=[\"test=1/4\",\"critic=2/8\"]",
        "--set",
        "llm.budget_usd=5",
    ];
    let said = std::thread::scope(|scope| {
        let watch = scope.spawn(|| children_with_the_key(&place, &done));
        let output = search(&place, &server.url(), "troubled", &settings).output().expect("the binary runs");
        done.store(true, Ordering::SeqCst);
        assert_eq!(
            watch.join().expect("no panic"),
            Vec::<String>::new(),
            "the key is in a child's environment"
        );
        Said::of(&output).expect(0)
    });
    let json = said.json();
    assert!(json["champion"]["ci_low"].as_f64().is_some_and(|low| low > 1.0), "{json}");
    let entries = entries(&place, "troubled");
    assert!(
        json["models"]["cost_usd_per_gain"].as_f64().is_some_and(|price| price > 0.0),
        "{}",
        json["models"]
    );
    every_failure_has_its_class(&entries);
    the_servers_count_is_ours(&server, &entries);
    prompts_hold_no_secret(&server, &place);
    the_key_is_nowhere(&place, &said);
    a_brief_is_what_was_sent(&place, &server, &entries);
    place.run(&["log", "verify", "troubled"]).expect(0);
    drop(server);
    the_cassette_replays_without_a_network(&place, &cassette);
}

fn every_failure_has_its_class(entries: &[Value]) {
    let calls = calls(entries);
    let mut classes: BTreeSet<&str> = calls.iter().map(|call| model::text(call, "class")).collect();
    let tries = calls.iter().flat_map(|call| call["tries"].as_array().into_iter().flatten());
    classes.extend(tries.map(|tried| model::text(tried, "class")));
    for class in [
        "answered",
        "rate_limited",
        "server_error",
        "reset",
        "unreadable",
        "copies_base",
        "refused",
        "empty",
        "truncated",
        "bad_plan",
    ] {
        assert!(classes.contains(class), "no {class} in {classes:?}");
    }
    let verdicts: BTreeSet<String> = entries
        .iter()
        .filter(|entry| entry["event"]["type"] == "judged")
        .filter_map(|entry| entry["event"]["evidence"]["failure"]["class"].as_str().map(str::to_owned))
        .collect();
    assert!(verdicts.contains("compile_error") && verdicts.contains("wrong_result"), "{verdicts:?}");
}

pub(crate) fn the_servers_count_is_ours(server: &Server, entries: &[Value]) {
    let sum = |field: &str| -> u64 {
        calls(entries).iter().map(|call| call["usage"][field].as_u64().expect("a count")).sum()
    };
    assert_eq!((sum("prompt_tokens"), sum("completion_tokens")), server.tokens());
    let cost: f64 = calls(entries).iter().map(|call| call["cost_usd"].as_f64().expect("a cost")).sum();
    let priced = entries.iter().any(|entry| {
        entry["event"]["config"]["llm"]["prices"].as_array().is_some_and(|rows| !rows.is_empty())
    });
    assert_eq!(cost > 0.0, priced);
}

pub(crate) fn prompts_hold_no_secret(server: &Server, place: &Place) {
    let roots = kernsmith_op_contract::default_roots();
    let contract =
        kernsmith_op_contract::Library::open(roots).expect("a library").find("rmsnorm_f32").expect("it");
    let oracle = std::fs::read_to_string(contract.directory.join(&contract.oracle.file)).unwrap_or_default();
    // Loop heads are everybody's; what gives the oracle away is its arithmetic in double precision.
    let telling: Vec<&str> = oracle.lines().map(str::trim).filter(|line| line.contains("double")).collect();
    assert!(telling.len() > 3, "the oracle was read");
    let folder = place.folder.path().display().to_string();
    for seen in server.seen() {
        assert!(!seen.text.contains(KEY) && !seen.text.contains("7319") && !seen.text.contains(&folder));
        for workload in contract.workloads(Role::HeldOut) {
            assert!(!seen.text.contains(&workload.name), "{}", workload.name);
            for (axis, value) in &workload.axes {
                for form in
                    [format!("{axis}={value}"), format!("{axis} {value},"), format!("{axis} = {value}")]
                {
                    let bench =
                        contract.workloads(Role::Bench).any(|known| known.axes.get(axis) == Some(value));
                    let verify =
                        contract.workloads(Role::Verify).any(|known| known.axes.get(axis) == Some(value));
                    assert!(bench || verify || !seen.text.contains(&form), "{form}");
                }
            }
        }
        let told = telling.iter().find(|line| seen.text.contains(*line));
        assert_eq!(told, None, "a line of the oracle is in a prompt");
    }
}

/// Processes that work for this place and have the key in their environment; the command itself has, its children must not.
fn children_with_the_key(place: &Place, done: &AtomicBool) -> Vec<String> {
    let mine = place.folder.path().display().to_string();
    let mut guilty = BTreeSet::new();
    while !done.load(Ordering::SeqCst) {
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let read = |name: &str| {
                let bytes = std::fs::read(process.path().join(name)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let line = read("cmdline");
            let is_child =
                line.contains("__worker") || line.contains("__confine") || line.contains("cc1plus");
            if is_child && read("environ").contains(KEY) {
                guilty.insert(format!("{mine}: {line}"));
            }
        }
        std::thread::sleep(Duration::from_millis(15));
    }
    guilty.into_iter().collect()
}

/// The run's folder, everything that was printed, and every blob of every call.
pub(crate) fn the_key_is_nowhere(place: &Place, said: &Said) {
    assert!(!said.stdout.contains(KEY) && !said.stderr.contains(KEY));
    let mut folders = vec![place.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let bytes = std::fs::read(entry.path()).expect("a file");
            let found = bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes());
            assert!(!found, "the key is in {}", entry.path().display());
        }
    }
}

fn a_brief_is_what_was_sent(place: &Place, server: &Server, entries: &[Value]) {
    let mut latest = entries.iter().rev();
    let proposed = latest.find(|entry| entry["event"]["type"] == "proposed").expect("one");
    let name = format!("troubled#{}", proposed["seq"]);
    let shown = place.run(&["brief", &name, "--format", "json"]).expect(0).json();
    let text = model::text(&shown, "request_text");
    assert!(!text.contains(KEY));
    assert!(server.seen().iter().any(|seen| seen.text == text), "byte for byte");
    let sections = shown["call"]["sections"].as_array().expect("sections");
    assert!(sections.iter().all(|section| section["tokens"].is_u64()) && sections.len() > 6);
    let human = place.run(&["brief", &name]).expect(0).stdout;
    assert!(human.contains("tokens (estimated)") && human.contains("# Timed shapes"), "{human}");
    assert!(place.run(&["brief", &name, "--reply"]).expect(0).stdout.contains("rationale"));
    place.run(&["brief", "troubled#0"]).expect(2).complains(&["opened"]);
}

fn the_cassette_replays_without_a_network(place: &Place, cassette: &str) {
    let settings = [
        "--candidates",
        "3",
        "--format",
        "json",
        "--set",
        "llm.reviewer_model=critic",
        "--set",
        &format!("llm.cassette={cassette}"),
        "--set",
        "llm.cassette_mode=replay",
    ];
    let output = search(place, "http://127.0.0.1:9/v1", "replayed", &settings).output().expect("it runs");
    let said = Said::of(&output);
    assert!(matches!(said.code, 0 | 1), "{said:?}");
    let entries = entries(place, "replayed");
    let proposed = entries.iter().filter(|entry| entry["event"]["type"] == "proposed").count();
    assert!(proposed >= 2 && calls(&entries).len() > 3, "{proposed}");
    assert!(calls(&entries).iter().all(|call| call["class"] != "unreachable"));
}

#[test]
fn a_killed_run_pays_for_no_answer_twice() {
    let place = Place::new();
    let server = Server::with(vec![], model::decent());
    let _machine = machine();
    let mut command = search(&place, &server.url(), "killed", &["--candidates", "5", "--format", "jsonl"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let mut recorded = Vec::new();
    for line in lines.map_while(Result::ok) {
        let Ok(entry) = serde_json::from_str::<Value>(&line) else { break };
        if entry["event"]["type"] == "model_called" {
            recorded.push(entry);
        }
        // An answer has just become durable, and nothing has been made of it yet.
        if recorded.len() == 2 {
            break;
        }
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert_eq!(recorded.len(), 2);
    let mut resume = place.command();
    resume.env("OPENAI_API_KEY", KEY).args(["resume", "killed", "--wall-seconds", "45"]);
    let resumed = Said::of(&resume.output().expect("the binary runs"));
    assert!(matches!(resumed.code, 0 | 1), "{resumed:?}");
    let entries = entries(&place, "killed");
    for before in &recorded {
        let name = format!("killed#{}", before["seq"]);
        let shown = place.run(&["brief", &name, "--format", "json"]).expect(0).json();
        let text = model::text(&shown, "request_text");
        let asked = server.seen().iter().filter(|seen| seen.text == text).count();
        assert_eq!(asked, 1, "{} was asked again", before["event"]["place"]);
    }
    let places: Vec<&str> = calls(&entries).iter().map(|call| model::text(call, "place")).collect();
    let distinct: BTreeSet<&str> = places.iter().copied().collect();
    assert_eq!(places.len(), distinct.len(), "a place has one answer: {places:?}");
    assert!(entries.iter().filter(|entry| entry["event"]["type"] == "proposed").count() >= 3);
    place.run(&["log", "verify", "killed"]).expect(0);
}

#[test]
fn settings_that_cannot_work_are_refused_before_anything_is_measured() {
    let place = Place::new();
    let refuse = |settings: &[&str], words: &[&str]| {
        let mut command = place.command();
        command.env("OPENAI_API_KEY", KEY);
        command.args(["search", "rmsnorm_f32", "--proposer", "llm"]).args(settings);
        Said::of(&command.output().expect("the binary runs")).expect(3).complains(words);
    };
    refuse(&[], &["llm.models", "--model"]);
    refuse(&["--model", "m", "--set", "llm.budget_usd=1"], &["llm.prices", "m=INPUT/OUTPUT"]);
    let poor = ["--model", "m", "--set", "llm.prices=[\"m=10/30\"]", "--set", "llm.budget_usd=0.01"];
    refuse(&poor, &["llm.budget_usd", "may not pay for 3 candidates"]);
    refuse(&["--model", "m", "--set", "llm.budget_tokens=5000"], &["llm.budget_tokens", "give at least"]);
    refuse(&["--model", "m", "--base-url", "https://me:secret@host/v1"], &["llm.base_url"]);
    assert!(
        place.run(&["log", "list"]).stdout.trim().is_empty() || !place.path("experiment-log/runs").exists()
    );
}
