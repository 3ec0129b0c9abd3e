//! An OpenAI-compatible server with a scripted but realistic model behind it: it listens on the loopback, counts tokens, keeps
//! every prompt that it saw, and misbehaves on command.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The key that the server wants.
pub(crate) const KEY: &str = "sk-test-5e0c7a1fdeadbeef42";

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// The model says this.
    Say(String),
    /// The model calls tools: name and arguments as JSON text.
    Call(Vec<(&'static str, String)>),
    /// The model will not.
    Refuse,
    /// The model says this, cut off at the token limit.
    Truncate(String),
    /// The model says nothing.
    Empty,
    /// 429, to come back after so many milliseconds.
    TooMany(u64),
    /// A status with a message.
    Status(u16, String),
    /// The connection breaks in the middle of the answer.
    Reset,
    /// Nothing comes for so long.
    Silence(Duration),
    /// A body that is no answer.
    Garbage,
}

/// One request that was seen.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) body: Value,
    pub(crate) text: String,
    pub(crate) authorization: String,
    pub(crate) path: String,
}

/// Decides what is done with the n-th request (from 0).
pub(crate) type Script = Box<dyn FnMut(usize, &Seen) -> Act + Send>;

#[derive(Default)]
struct Ledger {
    seen: Vec<Seen>,
    prompt_tokens: u64,
    completion_tokens: u64,
    /// Connections and requests that a dead server let fall.
    knocks: u64,
}

/// The server; it stops when it is dropped.
pub(crate) struct Server {
    port: u16,
    ledger: Arc<Mutex<Ledger>>,
    dead: Arc<AtomicBool>,
    gone: Arc<AtomicBool>,
}

impl Server {
    /// Starts it on a free port.
    pub(crate) fn start(script: impl FnMut(usize, &Seen) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let (dead, gone) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(script)));
        let shared = (ledger.clone(), dead.clone(), gone.clone());
        std::thread::spawn(move || {
            let (ledger, dead, gone) = shared;
            for stream in listener.incoming() {
                if gone.load(Ordering::SeqCst) {
                    return;
                }
                // A dead server drops whoever knocks.
                let Ok(stream) = stream else { continue };
                if dead.load(Ordering::SeqCst) {
                    ledger.lock().unwrap_or_else(PoisonError::into_inner).knocks += 1;
                    continue;
                }
                let (ledger, script, dead) = (ledger.clone(), script.clone(), dead.clone());
                std::thread::spawn(move || serve(stream, &ledger, &script, &dead));
            }
        });
        Self { port, ledger, dead, gone }
    }

    /// A server whose requests meet these acts, in order, and then what `rest` says.
    pub(crate) fn with(acts: Vec<Act>, mut rest: impl FnMut(&Seen) -> Act + Send + 'static) -> Self {
        let mut acts: VecDeque<Act> = acts.into();
        Self::start(move |_, seen| acts.pop_front().unwrap_or_else(|| rest(seen)))
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// Everything that was asked.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// Tokens of prompts and answers that went out whole.
    pub(crate) fn tokens(&self) -> (u64, u64) {
        let ledger = self.lock();
        (ledger.prompt_tokens, ledger.completion_tokens)
    }

    /// What a dead server let fall.
    pub(crate) fn knocks(&self) -> u64 {
        self.lock().knocks
    }

    /// Kills or revives it.
    pub(crate) fn set_dead(&self, dead: bool) {
        self.dead.store(dead, Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
        // The listener wakes up once more and ends.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: TcpStream, ledger: &Mutex<Ledger>, script: &Mutex<Script>, dead: &AtomicBool) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut stream = stream;
    while let Some(seen) = read_request(&mut reader) {
        if dead.load(Ordering::SeqCst) {
            ledger.lock().unwrap_or_else(PoisonError::into_inner).knocks += 1;
            return;
        }
        let act = {
            let number = {
                let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
                ledger.seen.push(seen.clone());
                ledger.seen.len() - 1
            };
            let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.authorization == format!("Bearer {KEY}") {
                script(number, &seen)
            } else {
                let echo = format!("Incorrect API key provided: {}", seen.authorization);
                Act::Status(401, echo)
            }
        };
        if !perform(&mut stream, &seen, act, ledger) {
            return;
        }
    }
}

/// Does it; `false` when the connection is to be closed.
fn perform(stream: &mut TcpStream, seen: &Seen, act: Act, ledger: &Mutex<Ledger>) -> bool {
    let error = |message: &str| json!({"error": {"message": message, "type": "test"}}).to_string();
    match act {
        Act::Say(text) => answer(stream, seen, &text, "stop", ledger),
        Act::Call(calls) => call_tools(stream, seen, &calls, ledger),
        Act::Truncate(text) => answer(stream, seen, &text, "length", ledger),
        Act::Empty => answer(stream, seen, "", "stop", ledger),
        Act::Refuse => answer(stream, seen, "\u{0}refuse", "stop", ledger),
        Act::TooMany(ms) => {
            let extra = format!("retry-after-ms: {ms}\r\n");
            respond(stream, 429, "application/json", &extra, &error("slow down"))
        }
        Act::Status(status, message) => respond(stream, status, "application/json", "", &error(&message)),
        Act::Garbage => respond(stream, 200, "application/json", "", "<html>busy</html>"),
        Act::Reset => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100000\r\n\r\n";
            let piece = "data: {\"choices\":[{\"delta\":{\"content\":\"half an ans\"}}]}\n\n";
            let _ = stream.write_all(format!("{head}{piece}").as_bytes());
            false
        }
        Act::Silence(time) => {
            let end = Instant::now() + time;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100000\r\n\r\n";
            let _ = stream.write_all(head.as_bytes());
            while Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20));
            }
            false
        }
    }
}

/// Roughly what a tokenizer does; only the server knows it.
fn count(text: &str) -> u64 {
    text.split_whitespace().map(|word| 1 + word.len() as u64 / 5).sum()
}

fn answer(stream: &mut TcpStream, seen: &Seen, text: &str, finish: &str, ledger: &Mutex<Ledger>) -> bool {
    let refusal = text == "\u{0}refuse";
    let text = if refusal { "" } else { text };
    let (prompt, completion) = (count(&seen.text), count(text).max(1));
    let streamed = seen.body["stream"] == true;
    // Counted first: the client may look at the count as soon as it has the answer.
    charge(ledger, prompt, completion, u64::wrapping_add);
    let sent = if seen.path.ends_with("/responses") {
        let body = responses_body(text, refusal, finish, prompt, completion);
        if streamed {
            let event = json!({"type": "response.completed", "response": body});
            let delta = json!({"type": "response.output_text.delta", "delta": text});
            respond(stream, 200, "text/event-stream", "", &format!("data: {delta}\n\ndata: {event}\n\n"))
        } else {
            respond(stream, 200, "application/json", "", &body.to_string())
        }
    } else if streamed {
        respond(stream, 200, "text/event-stream", "", &chat_stream(text, refusal, finish, prompt, completion))
    } else {
        let message = if refusal { json!({"refusal": "I will not."}) } else { json!({"content": text}) };
        let body = json!({
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": completion},
        });
        respond(stream, 200, "application/json", "", &body.to_string())
    };
    if !sent {
        charge(ledger, prompt, completion, u64::wrapping_sub);
    }
    sent
}

/// Tool calls, in the shape of the interface and of the stream that was asked for.
fn call_tools(
    stream: &mut TcpStream,
    seen: &Seen,
    calls: &[(&'static str, String)],
    ledger: &Mutex<Ledger>,
) -> bool {
    let (prompt, completion) =
        (count(&seen.text), calls.iter().map(|(_, said)| count(said)).sum::<u64>().max(1));
    charge(ledger, prompt, completion, u64::wrapping_add);
    let usage = json!({"prompt_tokens": prompt, "completion_tokens": completion});
    let numbered = || calls.iter().enumerate();
    if seen.path.ends_with("/responses") {
        let item = |(number, (name, arguments)): (usize, &(&str, String))| json!({"type": "function_call", "call_id": format!("c{number}"), "name": name, "arguments": arguments});
        let body = json!({
            "status": "completed", "output": numbered().map(item).collect::<Vec<_>>(),
            "usage": {"input_tokens": prompt, "output_tokens": completion},
        });
        if seen.body["stream"] == true {
            let event = json!({"type": "response.completed", "response": body});
            return respond(stream, 200, "text/event-stream", "", &format!("data: {event}\n\n"));
        }
        return respond(stream, 200, "application/json", "", &body.to_string());
    }
    let call = |(number, (name, arguments)): (usize, &(&str, String))| {
        json!({"index": number, "id": format!("c{number}"), "type": "function",
               "function": {"name": name, "arguments": arguments}})
    };
    let calls: Vec<Value> = numbered().map(call).collect();
    if seen.body["stream"] == true {
        let events = [
            json!({"choices": [{"delta": {"tool_calls": calls}}]}),
            json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}),
            json!({"choices": [], "usage": usage}),
        ];
        let said: Vec<String> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        return respond(stream, 200, "text/event-stream", "", &(said.concat() + "data: [DONE]\n\n"));
    }
    let choice = json!({"message": {"content": null, "tool_calls": calls}, "finish_reason": "tool_calls"});
    respond(stream, 200, "application/json", "", &json!({"choices": [choice], "usage": usage}).to_string())
}

fn charge(ledger: &Mutex<Ledger>, prompt: u64, completion: u64, how: fn(u64, u64) -> u64) {
    let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    ledger.prompt_tokens = how(ledger.prompt_tokens, prompt);
    ledger.completion_tokens = how(ledger.completion_tokens, completion);
}

fn chat_stream(text: &str, refusal: bool, finish: &str, prompt: u64, completion: u64) -> String {
    use std::fmt::Write as _;
    let mut stream = String::new();
    let characters: Vec<char> = text.chars().collect();
    for piece in characters.chunks(97) {
        let piece: String = piece.iter().collect();
        let event = json!({"choices": [{"delta": {"content": piece}}]});
        let _ = write!(stream, "data: {event}\n\n");
    }
    let last = if refusal { json!({"refusal": "I will not."}) } else { json!({}) };
    let events = [
        json!({"choices": [{"delta": last, "finish_reason": finish}]}),
        json!({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}}),
    ];
    for event in events {
        let _ = write!(stream, "data: {event}\n\n");
    }
    stream + "data: [DONE]\n\n"
}

fn responses_body(text: &str, refusal: bool, finish: &str, prompt: u64, completion: u64) -> Value {
    let content = if refusal {
        json!({"type": "refusal", "refusal": "I will not."})
    } else {
        json!({"type": "output_text", "text": text})
    };
    let cut = finish == "length";
    json!({
        "status": if cut { "incomplete" } else { "completed" },
        "incomplete_details": if cut { json!({"reason": "max_output_tokens"}) } else { Value::Null },
        "output": [{"type": "message", "role": "assistant", "content": [content]}],
        "usage": {"input_tokens": prompt, "output_tokens": completion},
    })
}

fn respond(stream: &mut TcpStream, status: u16, kind: &str, extra: &str, body: &str) -> bool {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{extra}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).is_ok()
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|bytes| *bytes > 0)?;
    let path = first.split(' ').nth(1)?.to_owned();
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        match name.to_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "authorization" => value.trim().clone_into(&mut authorization),
            _ => {}
        }
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    Some(Seen { body: serde_json::from_str(&text).ok()?, text, authorization, path })
}
