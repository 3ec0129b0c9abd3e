//! Whole runs of every mixture: a model with the autotuner, a program, several models, outages, budgets, long prompts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::model;
use super::run::{
    SEED, calls, entries, prompts_hold_no_secret, search, texts_hold_no_secret, the_servers_count_is_ours,
};
use super::server::{Act, KEY, Server};
use crate::support::{Place, Said, machine};

fn events<'a>(entries: &'a [Value], kind: &str) -> Vec<&'a Value> {
    entries.iter().map(|entry| &entry["event"]).filter(|event| event["type"] == kind).collect()
}

fn finished(output: &std::process::Output) -> Said {
    let said = Said::of(output);
    assert!(matches!(said.code, 0 | 1), "{said:?}");
    said
}

#[test]
fn a_model_marks_numbers_and_the_autotuner_turns_them() {
    let place = Place::new();
    let mut plain = model::decent();
    let mut written = 0;
    let server = Server::with(vec![], move |seen| match model::role(seen) {
        "coder" => {
            // Each call another width, so that no two candidates are the same code.
            written += 1;
            let width = 8 * written;
            let marked = format!("lanes = {width};  //@tune lanes in [4, 12, 20, 28, {width}]");
            let source = model::good(width).replace(&format!("lanes = {width};"), &marked);
            Act::Say(model::code(&source, 3.0))
        }
        _ => plain(seen),
    });
    let _machine = machine();
    let mut command = place.command();
    command.env("OPENAI_API_KEY", KEY).args(["search", "rmsnorm_f32", "--proposer", "llm,autotune"]);
    command.args(["--base-url", &server.url(), "--model", "test", "--run-id", "mixed", "--candidates", "8"]);
    command.args(["--wall-seconds", "60", "--seed", SEED, "--set", "search.width=1"]);
    finished(&command.output().expect("it runs"));
    let entries = entries(&place, "mixed");
    let mut by: BTreeMap<&str, u32> = BTreeMap::new();
    for proposed in events(&entries, "proposed") {
        *by.entry(model::text(&proposed["origin"], "operator")).or_default() += 1;
    }
    assert!(by.get("tune").is_some_and(|tuned| *tuned >= 2), "{by:?}");
    assert!(by.keys().any(|operator| ["fresh", "improve"].contains(operator)), "{by:?}");
    the_servers_count_is_ours(&server, &entries);
}

#[test]
fn a_program_runs_a_whole_search() {
    let place = Place::new();
    let folder = place.folder.path().display().to_string();
    place.write("plan.json", &model::plan());
    for number in 1..=4_u32 {
        let code = json!({"source": model::good(8 * number), "rationale": "mine", "operator": "mine"});
        place.write(&format!("code-{number}.json"), &code.to_string());
    }
    let script = format!(
        "#!/bin/sh\nread -r question\ncase \"$question\" in\n*'\"question\":\"plan\"'*) \
         printf '%s\\n' \"$question\" >> {folder}/asked; if [ -e {folder}/planned ]; then echo '{{\"edits\": []}}'; else touch {folder}/planned; cat {folder}/plan.json; fi;;\n\
         *) echo x >> {folder}/count; number=$(wc -l < {folder}/count); printf '%s\\n' \"$question\" >> {folder}/asked; \
         if [ -e {folder}/code-$number.json ]; then cat {folder}/code-$number.json; else echo '{{\"nothing\": true}}'; fi;;\nesac\n"
    );
    let path = place.write("propose.sh", &script);
    let _machine = machine();
    let command = format!("exec.command=[\"/bin/sh\", \"{}\"]", path.display());
    let output = place
        .command()
        .args(["search", "rmsnorm_f32", "--proposer", "exec", "--candidates", "4", "--run-id", "program"])
        .args(["--wall-seconds", "60", "--seed", SEED, "--set", "search.width=1", "--set", &command])
        .output()
        .expect("it runs");
    finished(&output);
    let entries = entries(&place, "program");
    let proposed = events(&entries, "proposed");
    assert_eq!(proposed.len(), 4);
    let mine =
        |event: &&Value| event["origin"]["proposer"] == "exec" && event["origin"]["operator"] == "mine";
    assert!(proposed.iter().all(mine));
    let passed = |event: &&&Value| event["evidence"]["verdict"] == "accepted";
    assert!(events(&entries, "judged").iter().filter(passed).count() >= 1);
    let asked = std::fs::read_to_string(place.path("asked")).expect("questions");
    texts_hold_no_secret(asked.lines(), &place);
    assert!(asked.contains("isa-corpus") && asked.contains("skill cpu-row-kernels"), "a program is told too");
}

#[test]
fn a_budget_ends_a_run_in_the_middle_and_is_kept() {
    let place = Place::new();
    let server = Server::with(vec![], model::decent());
    let _machine = machine();
    let more = [
        "--candidates",
        "30",
        "--set",
        "search.width=1",
        "--set",
        "llm.prompt_tokens=6000",
        "--set",
        "llm.reply_tokens=1000",
        "--set",
        "llm.budget_tokens=29000",
        "--set",
        "llm.inspect_calls=0",
    ];
    finished(&search(&place, &server.url(), "spent", &more).output().expect("it runs"));
    let entries = entries(&place, "spent");
    let closed = events(&entries, "closed");
    assert_eq!(model::text(closed[0], "reason"), "budget");
    let proposed = events(&entries, "proposed").len();
    assert!((1..30).contains(&proposed), "{proposed}");
    let counted = server.tokens();
    assert!(counted.prompt + counted.completion <= 29_000, "{counted:?}");
    the_servers_count_is_ours(&server, &entries);
}

#[test]
fn of_two_models_the_one_that_is_worth_it_is_asked_more_often() {
    let place = Place::new();
    let mut written = 0;
    let server =
        Server::with(vec![], move |seen| match (model::role(seen), model::text(&seen.body, "model")) {
            ("planner", _) if model::question(seen).contains("The tree is empty") => Act::Say(model::plan()),
            ("planner", _) => Act::Say(model::no_edits()),
            (_, "poor") => Act::Refuse,
            _ => {
                written += 1;
                Act::Say(model::code(&model::good(8 * written), 3.0))
            }
        });
    let _machine = machine();
    let more = [
        "--candidates",
        "7",
        "--set",
        "search.width=1",
        "--set",
        "llm.models=[\"poor\",\"good\"]",
        "--set",
        "llm.inspect_calls=0",
    ];
    let mut command = place.command();
    command.env("OPENAI_API_KEY", KEY).args([
        "search",
        "rmsnorm_f32",
        "--proposer",
        "llm",
        "--run-id",
        "two",
    ]);
    command.args(["--base-url", &server.url(), "--wall-seconds", "60", "--seed", SEED]).args(more);
    finished(&command.output().expect("it runs"));
    let entries = entries(&place, "two");
    let mut asked: BTreeMap<&str, u32> = BTreeMap::new();
    for call in calls(&entries).iter().filter(|call| call["role"] == "coder") {
        *asked.entry(model::text(call, "model")).or_default() += 1;
    }
    assert!(asked["good"] > asked["poor"] && asked["poor"] >= 1, "{asked:?}");
    assert_eq!(events(&entries, "proposed").len(), 7, "a model that never answers does not end the run");
    the_servers_count_is_ours(&server, &entries);
}

#[test]
fn a_server_that_dies_in_the_middle_costs_only_time() {
    let place = Place::new();
    let server = Server::with(vec![], model::decent());
    let _machine = machine();
    let more = [
        "--candidates",
        "4",
        "--set",
        "search.width=1",
        "--set",
        "llm.retry_pause_seconds=0.05",
        "--set",
        "llm.retry_pause_max_seconds=0.3",
    ];
    let mut command = search(&place, &server.url(), "outage", &more);
    let output = std::thread::scope(|scope| {
        let running = scope.spawn(move || command.output().expect("it runs"));
        while server.seen().len() < 2 && !running.is_finished() {
            std::thread::sleep(Duration::from_millis(10));
        }
        server.set_dead(true);
        // Dead until the client has knocked in vain, however long that takes.
        while server.knocks() < 3 && !running.is_finished() {
            std::thread::sleep(Duration::from_millis(10));
        }
        server.set_dead(false);
        running.join().expect("no panic")
    });
    finished(&output);
    let entries = entries(&place, "outage");
    assert_eq!(events(&entries, "proposed").len(), 4);
    let calls = calls(&entries);
    assert!(calls.iter().all(|call| call["class"] == "answered"), "no answer was lost");
    let outage = |tried: &&Value| ["unreachable", "reset"].contains(&model::text(tried, "class"));
    let tries = calls.iter().flat_map(|call| call["tries"].as_array().into_iter().flatten());
    assert!(tries.filter(outage).count() >= 1, "the outage was met");
    let guessed = |call: &&&Value| call["usage"]["unreported_tokens"].as_u64().unwrap_or_default() > 0;
    assert_eq!(calls.iter().filter(guessed).count(), 0, "it has cost nothing but time");
    the_servers_count_is_ours(&server, &entries);
}

#[test]
fn a_prompt_that_is_too_long_is_asked_again_with_less() {
    let place = Place::new();
    let mut plain = model::decent();
    let mut long = 0;
    let server = Server::with(vec![], move |seen| {
        // The first coder's prompt sets the measure: whatever is as long does not fit.
        if model::role(seen) == "coder" {
            if long == 0 {
                long = seen.text.len();
            }
            if seen.text.len() >= long {
                let message =
                    "This model's maximum context length is 1024 tokens. However, you requested more";
                return Act::Status(400, message.to_owned());
            }
        }
        plain(seen)
    });
    let _machine = machine();
    let more = ["--candidates", "1", "--set", "search.width=1", "--set", "llm.prompt_tokens=5000"];
    finished(&search(&place, &server.url(), "long", &more).output().expect("it runs"));
    let entries = entries(&place, "long");
    let coder: Vec<&Value> = calls(&entries).into_iter().filter(|call| call["role"] == "coder").collect();
    let told: Vec<(&str, &str)> =
        coder.iter().map(|call| (model::text(call, "purpose"), model::text(call, "class"))).collect();
    assert_eq!(told, [("fresh", "context_overflow"), ("shrink", "answered")]);
    let cut = |call: &Value| -> u64 {
        call["sections"].as_array().expect("sections").iter().filter_map(|part| part["cut"].as_u64()).sum()
    };
    assert!(cut(coder[1]) > cut(coder[0]), "{} {}", cut(coder[1]), cut(coder[0]));
    prompts_hold_no_secret(&server, &place);
}
