//! Whole searches with a model behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kernsmith_op_contract::Role;
use serde_json::{Value, json};

use super::model;
use super::server::{Act, Counted, KEY, Seen, Server};
use crate::support::{Place, Said, machine};

/// The seed of searches here: long enough that no measured number holds it by chance.
pub(crate) const SEED: &str = "731948265017293";

/// A short search of that server's model.
pub(crate) fn search(place: &Place, url: &str, name: &str, more: &[&str]) -> Command {
    let mut command = place.command();
    command.env("OPENAI_API_KEY", KEY);
    command.args(["search", "rmsnorm_f32", "--proposer", "llm", "--base-url", url, "--model", "test"]);
    command.args(["--run-id", name, "--wall-seconds", "60", "--seed", SEED, "--set", "llm.idle_seconds=2"]);
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

/// Right and so slow that any other kernel is faster, however busy the machine is: each sum is taken four times.
fn slow() -> String {
    crate::support::RMSNORM.replace(
        "float sum = 0.0f;",
        "volatile float sum = 0.0f;\n        for (int again = 0; again < 3; ++again) {\n            \
         for (int64_t c = 0; c < cols; ++c) sum += x[r * cols + c];\n            sum = 0.0f;\n        }",
    )
}

#[test]
fn a_model_with_bad_days_still_finds_a_confirmed_champion() {
    let place = Place::new();
    let server = Server::with(vec![], model::troubled());
    let _machine = machine();
    let done = AtomicBool::new(false);
    let cassette = place.path("calls.jsonl").display().to_string();
    let slow = place.write("slow.cpp", &slow()).display().to_string();
    let settings = [
        "--seed-kernel",
        &slow,
        "--candidates",
        "10",
        "--format",
        "json",
        "--set",
        "llm.reviewer_model=critic",
        "--set",
        &format!("llm.cassette={cassette}"),
        "--set",
        "llm.prices=[\"test=1/0.25/4\",\"critic=2/8\"]",
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
    let (models, counted) = (&json["models"], server.tokens());
    assert_eq!(
        (models["prompt_tokens"].as_u64(), models["completion_tokens"].as_u64()),
        (Some(counted.prompt), Some(counted.completion)),
        "the summary tells the same"
    );
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

/// What a run meets and outlives.
const ON_BAD_DAYS: [&str; 14] = [
    "answered",
    "rate_limited",
    "server_error",
    "reset",
    "slow_stream",
    "protocol_violation",
    "unreadable",
    "bad_edits",
    "bad_patch",
    "bad_plan",
    "copies_base",
    "refused",
    "empty",
    "truncated",
];

fn every_failure_has_its_class(entries: &[Value]) {
    let calls = calls(entries);
    let mut classes: BTreeSet<&str> = calls.iter().map(|call| model::text(call, "class")).collect();
    let tries = calls.iter().flat_map(|call| call["tries"].as_array().into_iter().flatten());
    classes.extend(tries.map(|tried| model::text(tried, "class")));
    for class in ON_BAD_DAYS {
        assert!(classes.contains(class), "no {class} in {classes:?}");
    }
    let verdicts: BTreeSet<String> = entries
        .iter()
        .filter(|entry| entry["event"]["type"] == "judged")
        .filter_map(|entry| entry["event"]["evidence"]["failure"]["class"].as_str().map(str::to_owned))
        .collect();
    assert!(verdicts.contains("compile_error") && verdicts.contains("wrong_result"), "{verdicts:?}");
}

/// Tokens and money to the last one, model by model, as the server has counted them.
pub(crate) fn the_servers_count_is_ours(server: &Server, entries: &[Value]) {
    let mut ours: BTreeMap<String, Counted> = BTreeMap::new();
    let mut usd = 0.0;
    for call in calls(entries) {
        let count = |field: &str| call["usage"][field].as_u64().unwrap_or_default();
        let counted = Counted {
            prompt: count("prompt_tokens"),
            cached: count("cached_tokens"),
            completion: count("completion_tokens"),
            reasoning: count("reasoning_tokens"),
        };
        let sum = ours.entry(model::text(call, "model").to_owned()).or_default();
        *sum = sum.plus(counted);
        usd += call["cost_usd"].as_f64().expect("a cost");
    }
    // A model that was asked in vain alone has a row of its own here and none there.
    ours.retain(|_, counted| *counted != Counted::default());
    assert_eq!(ours, server.counted());
    let unreported = |call: &&Value| call["usage"]["unreported_tokens"].as_u64().unwrap_or_default() > 0;
    // Broken tries are charged as answers, as an estimate: only without them is the bill exact.
    if !calls(entries).iter().any(unreported) {
        let bill: f64 = ours.iter().map(|(model, counted)| price(entries, model, *counted)).sum();
        assert!((usd - bill).abs() <= 1e-9 * bill.max(1e-6), "{usd} {bill}");
    }
}

/// What that many tokens cost by the table of the run's own configuration.
fn price(entries: &[Value], model: &str, counted: Counted) -> f64 {
    let rows = entries[0]["event"]["config"]["llm"]["prices"].as_array().into_iter().flatten();
    let mut rows = rows.filter_map(|row| row.as_str()?.strip_prefix(&format!("{model}=")));
    let Some(row) = rows.next() else { return 0.0 };
    let dollars: Vec<f64> = row.split('/').map(|number| number.parse().expect("a price")).collect();
    let (input, cached, output) = match dollars[..] {
        [input, cached, output] => (input, cached, output),
        [input, output] => (input, input, output),
        _ => panic!("{row}"),
    };
    let fresh = (counted.prompt - counted.cached) as f64;
    (fresh * input + counted.cached as f64 * cached + counted.completion as f64 * output) / 1e6
}

pub(crate) fn prompts_hold_no_secret(server: &Server, place: &Place) {
    let asked = server.seen();
    assert!(!asked.is_empty());
    texts_hold_no_secret(asked.iter().map(|seen| seen.text.as_str()), place);
}

/// No key, seed, path, held-out shape or line of the oracle is in what a model or a program was told.
pub(crate) fn texts_hold_no_secret<'a>(texts: impl Iterator<Item = &'a str>, place: &Place) {
    let roots = kernsmith_op_contract::default_roots();
    let contract =
        kernsmith_op_contract::Library::open(roots).expect("a library").find("rmsnorm_f32").expect("it");
    let oracle = std::fs::read_to_string(contract.directory.join(&contract.oracle.file)).unwrap_or_default();
    // Loop heads are everybody's; what gives the oracle away is its arithmetic in double precision.
    let telling: Vec<&str> = oracle.lines().map(str::trim).filter(|line| line.contains("double")).collect();
    assert!(telling.len() > 3, "the oracle was read");
    let folder = place.folder.path().display().to_string();
    for text in texts {
        assert!(!text.contains(KEY) && !text.contains(SEED) && !text.contains(&folder), "{text}");
        for workload in contract.workloads(Role::HeldOut) {
            assert!(!text.contains(&workload.name), "{}", workload.name);
            for (axis, value) in &workload.axes {
                let forms = [
                    format!("{axis}={value}"),
                    format!("{axis} {value},"),
                    format!("{axis} = {value}"),
                    format!("\"{axis}\":{value}"),
                ];
                let bench = contract.workloads(Role::Bench).any(|known| known.axes.get(axis) == Some(value));
                let verify =
                    contract.workloads(Role::Verify).any(|known| known.axes.get(axis) == Some(value));
                let told = forms.iter().find(|form| text.contains(*form));
                assert!(bench || verify || told.is_none(), "{told:?}");
            }
        }
        let told = telling.iter().find(|line| text.contains(*line));
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

/// Runs `start`, and `resume` after each kill -9, until it ends by itself: every question is interrupted once, when all
/// before it are answered. Returns what the last session said, and how many were killed.
pub(crate) fn killed_at_every_question(
    server: &Server,
    mut start: Command,
    resume: impl Fn() -> Command,
) -> (Said, u64) {
    for killed in 0_u64.. {
        let spawned = start.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.expect("the binary starts");
        while server.held() == killed && child.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        if server.held() == killed {
            return (Said::of(&child.wait_with_output().expect("it ended")), killed);
        }
        assert!(killed < 40, "it goes on for ever: {:?}", server.seen().last());
        child.kill().expect("killed");
        child.wait().expect("gone");
        start = resume();
    }
    unreachable!("it ends by itself")
}

/// What `resume` is called with.
pub(crate) fn resume(place: &Place, run: &str, more: &[&str]) -> Command {
    let mut command = place.command();
    command.env("OPENAI_API_KEY", KEY).args(["resume", run]).args(more);
    command
}

/// Every question was answered once, however often the run was killed.
pub(crate) fn nothing_was_paid_twice(server: &Server, entries: &[Value], killed: u64) {
    the_servers_count_is_ours(server, entries);
    let places: Vec<&str> = calls(entries).iter().map(|call| model::text(call, "place")).collect();
    let distinct: BTreeSet<&str> = places.iter().copied().collect();
    assert_eq!(places.len(), distinct.len(), "a place has one answer: {places:?}");
    assert_eq!(places.len() as u64, killed, "each question was interrupted once");
    assert_eq!(server.seen().len() as u64, 2 * killed, "and asked once more, word for word the same");
}

/// Looks at evidence twice, answers in broken JSON, mends it, has it reviewed, and revises it.
fn circumspect() -> impl FnMut(&Seen) -> Act + Send + 'static {
    let mut plain = model::decent();
    let (mut written, mut reviewed) = (0, 0);
    let look = |words: &str| ("isa_topic", json!({"words": words}).to_string());
    move |seen| match (model::role(seen), model::evidence(seen).len()) {
        ("coder", 0) => Act::Call(vec![look("avx512"), look("streaming stores")]),
        ("coder", 2) => {
            Act::Call(vec![("log_query", json!({"sql": "SELECT title FROM v_strategies"}).to_string())])
        }
        ("coder", _) => {
            written += 1;
            Act::Say(if written == 1 {
                "{\"rationale\": \"cut".to_owned()
            } else {
                model::code(&model::good(8 * written), 3.0)
            })
        }
        ("planner", _) if model::question(seen).contains("The tree is empty") => {
            Act::Say(model::one_family())
        }
        ("reviewer", _) => {
            reviewed += 1;
            let verdict = if reviewed == 1 { "revise" } else { "build" };
            Act::Say(json!({"verdict": verdict, "problems": ["line 8: the tail is slow"]}).to_string())
        }
        _ => plain(seen),
    }
}

#[test]
fn a_run_that_is_killed_at_every_question_pays_for_no_answer_twice() {
    let place = Place::new();
    let server = Server::holding(circumspect());
    let _machine = machine();
    let more = [
        "--candidates",
        "2",
        "--set",
        "search.width=1",
        "--set",
        "llm.reviewer_model=critic",
        "--set",
        "llm.idle_seconds=600",
        "--set",
        "llm.prices=[\"test=1/0.25/4\",\"critic=2/8\"]",
    ];
    let start = search(&place, &server.url(), "killed", &more);
    let (said, killed) =
        killed_at_every_question(&server, start, || resume(&place, "killed", &["--wall-seconds", "60"]));
    assert!(matches!(said.code, 0 | 1), "{said:?}");
    let entries = entries(&place, "killed");
    nothing_was_paid_twice(&server, &entries, killed);
    let stages: Vec<(&str, &str)> = calls(&entries)
        .into_iter()
        .filter(|call| model::text(call, "place").starts_with("code/"))
        .map(|call| {
            (model::text(call, "place").rsplit('/').next().unwrap_or_default(), model::text(call, "class"))
        })
        .collect();
    let first = [
        ("0", "inspects"),
        ("0+1", "inspects"),
        ("0+2", "unreadable"),
        ("repair", "answered"),
        ("review", "answered"),
        ("revise", "answered"),
    ];
    let second = [("0", "inspects"), ("0+1", "inspects"), ("0+2", "answered"), ("review", "answered")];
    assert_eq!(stages, [first.as_slice(), &second].concat());
    let read = calls(&entries).into_iter().filter(|call| model::text(call, "place").starts_with("read/"));
    assert_eq!(read.count(), 1, "the evidence of the first is read once, before the second is written");
    let advised = |seen: &Seen| {
        seen.text.contains("A reviewer who read this evidence says: the sum's dependency limits it")
    };
    assert!(server.seen().iter().any(advised));
    assert_eq!(entries.iter().filter(|entry| entry["event"]["type"] == "proposed").count(), 2);
    prompts_hold_no_secret(&server, &place);
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

/// A run that its server brings to an end: how the server behaves, what is set, and the class in the log.
fn ended(act: Act, url: Option<&str>, key: &str, settings: &[&str], class: &str) {
    let place = Place::new();
    let server = Server::with(vec![], move |_| act.clone());
    let own = server.url();
    let mut command = place.command();
    command.env("OPENAI_API_KEY", key).args([
        "search",
        "rmsnorm_f32",
        "--proposer",
        "llm",
        "--model",
        "test",
    ]);
    command.args(["--base-url", url.unwrap_or(&own), "--run-id", "ended", "--set", "llm.give_up_calls=1"]);
    let said = Said::of(&command.args(settings).output().expect("the binary runs")).expect(5);
    assert!(!said.stdout.contains(key) && !said.stderr.contains(key), "{said:?}");
    let entries = entries(&place, "ended");
    let classes: Vec<&str> = calls(&entries).into_iter().map(|call| model::text(call, "class")).collect();
    assert_eq!(classes, [class], "{said:?}");
    assert_eq!(entries.last().map(|entry| model::text(&entry["event"], "type")), Some("closed"));
}

/// Ctrl-C while the model thinks.
fn given_up_by_the_user() {
    let place = Place::new();
    let server = Server::with(vec![], |_| Act::Hold);
    let mut command = search(
        &place,
        &server.url(),
        "ended",
        &["--set", "llm.deadline_seconds=3600", "--set", "llm.idle_seconds=3600"],
    );
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    while server.held() == 0 && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
    let said = Said::of(&child.wait_with_output().expect("it ends"));
    assert_eq!(said.code, 130, "{said:?}");
    let entries = entries(&place, "ended");
    let classes: Vec<&str> = calls(&entries).into_iter().map(|call| model::text(call, "class")).collect();
    assert_eq!(classes, ["abandoned"], "{said:?}");
}

#[test]
fn what_ends_a_run_stands_in_the_log_under_its_own_class() {
    let _machine = machine();
    let nobody = { Server::with(vec![], |_| Act::Hold).url() };
    let soon = ["--set", "llm.deadline_seconds=1"];
    let status = |status: u16, words: &str| Act::Status(status, words.to_owned());
    ended(Act::Hold, None, KEY, &soon, "deadline_passed");
    ended(Act::Hold, Some(&nobody), KEY, &soon, "unreachable");
    ended(Act::Hold, None, "sk-wrong-99887766554433", &[], "unauthorized");
    ended(status(404, "no such model"), None, KEY, &[], "not_found");
    ended(status(400, "your request is odd"), None, KEY, &[], "bad_request");
    given_up_by_the_user();
    // With a prompt that is too long and one that wants evidence (`whole`, `evidence`), that is every class that there is.
    let mut shown: BTreeSet<&str> = ON_BAD_DAYS.into_iter().collect();
    shown.extend(["deadline_passed", "unreachable", "abandoned", "unauthorized", "not_found", "bad_request"]);
    shown.extend(["context_overflow", "inspects"]);
    let all: BTreeSet<&str> = kernsmith_core::CallClass::ALL.iter().map(|class| class.as_str()).collect();
    assert_eq!(shown, all);
}
