//! The test server as a program: a rehearsal of a night with a model, without one.
//!
//! `cargo run --example model-server -- [--port N] [--model NAME] [--dead-after CALLS --dead-seconds SECONDS]`; docs/llm.md says
//! what to do with it. It listens on the loopback only.
#![expect(clippy::print_stdout, reason = "this program talks to the person who called it")]

#[expect(dead_code, reason = "the tests use the rest")]
mod model;
#[expect(dead_code, reason = "the tests use the rest")]
mod server;

use std::time::{Duration, Instant};

use server::{Act, KEY, Seen, Server};

type Script = Box<dyn FnMut(&Seen) -> Act + Send>;

const USAGE: &str = "\
usage: model-server [--port N] [--model NAME] [--dead-after CALLS --dead-seconds SECONDS]

  --port          where it listens on the loopback [default: 8017]
  --model         decent: plans, and writes right kernels
                  troubled: good, mediocre, lying, copying, cheating, broken JSON, refusals, on a server with bad days [default]
                  curious: looks at evidence before it writes
  --dead-after    after so many calls it lets everybody fall for a while
  --dead-seconds  for so long [default: 60]";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let number = |flag: &str, default: u64| value(flag).map_or(Some(default), |text| text.parse().ok());
    let script: Option<Script> = match value("--model").unwrap_or("troubled") {
        "decent" => Some(Box::new(model::decent())),
        "troubled" => Some(Box::new(model::troubled())),
        "curious" => Some(Box::new(model::curious())),
        _ => None,
    };
    let numbers = (number("--port", 8017), number("--dead-after", u64::MAX), number("--dead-seconds", 60));
    let (Some(mut script), (Some(port), Some(dead_after), Some(dead_seconds))) = (script, numbers) else {
        println!("{USAGE}");
        std::process::exit(2);
    };
    let mut calls = 0;
    let server = Server::on(port as u16, move |_, seen| {
        calls += 1;
        println!("{calls:3} {} {}", model::role(seen), model::text(&seen.body, "model"));
        script(seen)
    });
    println!("export OPENAI_API_KEY={KEY}\n--base-url {}", server.url());
    let mut told = server.tokens();
    let mut revives: Option<Instant> = None;
    let mut died = false;
    loop {
        std::thread::sleep(Duration::from_millis(20));
        if !died && server.seen().len() as u64 >= dead_after {
            died = true;
            revives = Some(Instant::now() + Duration::from_secs(dead_seconds));
            server.set_dead(true);
            println!("    dead for {dead_seconds} s");
        }
        if revives.is_some_and(|when| when <= Instant::now()) {
            revives = None;
            server.set_dead(false);
            println!("    alive again, after {} knocks", server.knocks());
        }
        let counted = server.tokens();
        if counted != told {
            told = counted;
            println!(
                "    so far {} prompt ({} cached) and {} answer ({} reasoning) tokens",
                counted.prompt, counted.cached, counted.completion, counted.reasoning
            );
        }
    }
}
