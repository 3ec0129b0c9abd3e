//! The network part: every failure under its own class, and no call outlives its deadline.

use std::time::{Duration, Instant};

use kernsmith_core::CallClass;
use kernsmith_llm::{Api, ApiKey, Ask, Called, Client, Endpoint, OnRequest, Turn};

use super::model;
use super::server::{Act, Counted, KEY, Server};
use crate::support::Place;

fn endpoint(server: &Server, deadline: Duration) -> Endpoint {
    Endpoint {
        base_url: server.url(),
        api: Api::Chat,
        key: ApiKey::new(KEY),
        stream: true,
        deadline,
        idle: Duration::from_millis(300),
        concurrency: 2,
        pauses: (Duration::from_millis(250), Duration::from_secs(30)),
        authorities: Vec::new(),
    }
}

fn ask() -> Ask {
    Ask {
        model: "test".to_owned(),
        temperature: -1.0,
        effort: "default".to_owned(),
        system: "Be brief.".to_owned(),
        turns: vec![Turn::User("What is 6 times 7?".to_owned())],
        schema: None,
        reply_tokens: 64,
        evidence: OnRequest::No,
    }
}

fn call(endpoint: Endpoint) -> Called {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(Client::new(endpoint).expect("a client").call(&ask()))
}

fn counted(called: &Called) -> Counted {
    let usage = &called.usage;
    Counted {
        prompt: usage.prompt_tokens,
        cached: usage.cached_tokens,
        completion: usage.completion_tokens,
        reasoning: usage.reasoning_tokens,
    }
}

fn say() -> Act {
    Act::Say("42".to_owned())
}

#[test]
fn what_passes_is_tried_again_and_each_try_keeps_its_class() {
    let acts = vec![
        Act::TooMany(20),
        Act::Status(503, "overloaded".to_owned()),
        Act::Reset,
        Act::Garbage,
        Act::Silence(Duration::from_secs(2)),
    ];
    let server = Server::with(acts, |_| say());
    let called = call(endpoint(&server, Duration::from_secs(30)));
    let classes: Vec<CallClass> = called.tries.iter().map(|tried| tried.class).collect();
    let expected = [
        CallClass::RateLimited,
        CallClass::ServerError,
        CallClass::Reset,
        CallClass::ProtocolViolation,
        CallClass::SlowStream,
        CallClass::Answered,
    ];
    assert_eq!(classes, expected, "{called:?}");
    assert_eq!(called.reply.as_deref(), Some("42"));
    assert_eq!(called.tries[0].pause_ms.round() as u64, 20, "the server's own word counts");
    assert_eq!(counted(&called), server.tokens());
    assert!(called.usage.unreported_tokens > 0, "tries whose count never came are estimated apart");
}

#[test]
fn what_does_not_pass_is_final_and_has_its_class() {
    let cases = [
        (Act::Refuse, CallClass::Refused),
        (Act::Truncate("4".to_owned()), CallClass::Truncated),
        (Act::Empty, CallClass::Empty),
        (Act::Status(404, "no such model".to_owned()), CallClass::NotFound),
        (
            Act::Status(400, "this model's maximum context length is 10".to_owned()),
            CallClass::ContextOverflow,
        ),
        (Act::Status(400, "your request is odd".to_owned()), CallClass::BadRequest),
    ];
    for (act, class) in cases {
        let again = act.clone();
        let server = Server::with(vec![act], move |_| again.clone());
        let called = call(endpoint(&server, Duration::from_secs(5)));
        assert_eq!(called.class, class, "{called:?}");
    }
}

#[test]
fn no_call_outlives_its_deadline() {
    let deadline = Duration::from_millis(700);
    let acts = [
        Act::Silence(Duration::from_secs(30)),
        Act::TooMany(400),
        Act::Status(500, "always".to_owned()),
        Act::Reset,
    ];
    for act in acts {
        let again = act.clone();
        let server = Server::with(vec![], move |_| again.clone());
        let started = Instant::now();
        let called = call(Endpoint { idle: Duration::from_secs(20), ..endpoint(&server, deadline) });
        let took = started.elapsed();
        assert!(took < deadline + Duration::from_millis(400), "{act:?} took {took:?}");
        assert!(called.class.is_outage(), "{called:?}");
    }
}

#[test]
fn a_server_that_is_dead_for_a_while_costs_only_time() {
    let server = Server::with(vec![], |_| say());
    server.set_dead(true);
    let started = Instant::now();
    let called = std::thread::scope(|scope| {
        let asked = scope.spawn(|| call(endpoint(&server, Duration::from_secs(30))));
        std::thread::sleep(Duration::from_millis(1200));
        server.set_dead(false);
        asked.join().expect("no panic")
    });
    assert_eq!(called.class, CallClass::Answered, "{called:?}");
    assert!(called.tries.len() > 2 && started.elapsed() < Duration::from_secs(8), "{called:?}");
    assert_eq!(counted(&called), server.tokens());
    assert_eq!(server.seen().len(), 1, "it was asked, and paid, once");
    assert_eq!(called.usage.unreported_tokens, 0, "who lets everybody fall has sold nothing");
}

#[test]
fn no_more_questions_are_under_way_than_configured() {
    let server = Server::with(vec![], |_| Act::Hold);
    let deadline = Duration::from_mins(10);
    let client = Client::new(Endpoint { idle: deadline, ..endpoint(&server, deadline) }).expect("a client");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for _ in 0..5 {
        let client = client.clone();
        runtime.spawn(async move { client.call(&ask()).await });
    }
    while server.held() < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Whoever is too many would have come by now; a slow machine can only hide one, not make one up.
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(server.seen().len(), 2);
    runtime.shutdown_background();
}

#[test]
fn nothing_listens_and_a_wrong_key_are_told_apart_and_the_key_is_never_shown() {
    let gone = Server::with(vec![], |_| say()).url();
    let server = Server::with(vec![], |_| say());
    let nobody = Endpoint { base_url: gone, ..endpoint(&server, Duration::from_secs(1)) };
    assert!(matches!(call(nobody).class, CallClass::Unreachable | CallClass::Reset));
    let wrong = "sk-wrong-99887766554433";
    let called = call(Endpoint { key: ApiKey::new(wrong), ..endpoint(&server, Duration::from_secs(5)) });
    assert_eq!(called.class, CallClass::Unauthorized);
    let shown = format!("{called:?}");
    assert!(shown.contains("[key]") && !shown.contains("99887766") && !shown.contains("sk-wrong"), "{shown}");
}

#[test]
fn both_interfaces_work_whole_and_streamed() {
    for api in [Api::Chat, Api::Responses] {
        for stream in [false, true] {
            let server = Server::with(vec![], |_| say());
            let called = call(Endpoint { api, stream, ..endpoint(&server, Duration::from_secs(5)) });
            assert_eq!(called.reply.as_deref(), Some("42"), "{api:?} {stream} {called:?}");
            assert_eq!(counted(&called), server.tokens());
        }
    }
}

#[test]
fn a_server_without_schemas_or_new_fields_is_spoken_to_in_its_dialect() {
    let server = Server::start(|_, seen| {
        if seen.body.get("stream_options").is_some() {
            return Act::Status(400, "Unknown parameter: 'stream_options'".to_owned());
        }
        if seen.body.get("max_completion_tokens").is_some() {
            return Act::Status(400, "Unsupported parameter: 'max_completion_tokens'".to_owned());
        }
        say()
    });
    let called = call(endpoint(&server, Duration::from_secs(5)));
    assert_eq!(called.class, CallClass::Answered, "{called:?}");
    assert_eq!(server.seen().last().expect("asked").body["max_tokens"], 64);
}

#[test]
fn the_check_command_says_what_an_endpoint_supports() {
    let server = Server::start(|_, seen| {
        if seen.path.ends_with("/responses") {
            return Act::Status(404, "no such route".to_owned());
        }
        if seen.body.get("response_format").is_some() {
            return Act::Status(400, "response_format is not supported".to_owned());
        }
        if seen.body.get("tools").is_some() {
            return Act::Call(vec![("isa_topic", "{\"words\": \"registers\"}".to_owned())]);
        }
        Act::Say("{\"answer\": 42}".to_owned())
    });
    let place = Place::new();
    let url = server.url();
    let mut command = place.command();
    command.env("OPENAI_API_KEY", KEY);
    command.args(["llm", "check", "--base-url", &url, "--model", "test", "--format", "json"]);
    let said = crate::support::Said::of(&command.output().expect("the binary runs")).expect(0).json();
    let works = |feature: &str| {
        let rows = said["features"].as_array().expect("features");
        rows.iter().find(|row| row["feature"] == feature).map(|row| row["works"] == true)
    };
    assert_eq!(works("chat"), Some(true), "{said}");
    assert_eq!(works("chat, streamed"), Some(true), "{said}");
    assert_eq!(works("chat, JSON schema"), Some(false), "{said}");
    assert_eq!(works("chat, tools"), Some(true), "{said}");
    assert_eq!((works("responses"), works("responses, tools")), (Some(false), None), "{said}");
    assert!(!said.to_string().contains(KEY));
    let without = place.run(&["llm", "check", "--base-url", "https://u:p@host/v1", "--model", "m"]).expect(3);
    without.complains(&["llm.base_url", "llm.key_env"]);
    place.run(&["llm", "check"]).expect(2).complains(&["--model"]);
    assert_eq!(model::text(&said, "model"), "test");
}
