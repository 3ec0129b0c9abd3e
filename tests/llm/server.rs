//! An OpenAI-compatible server with a scripted but realistic model behind it: it listens on the loopback, counts tokens, keeps
//! every prompt that it saw, and misbehaves on command.

use std::collections::{BTreeMap, HashSet, VecDeque};
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
    /// Nothing comes, and nothing is counted, until the client is gone.
    Hold,
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

/// Tokens as the server counts them; what was cached and what was thought is a part of prompt and completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counted {
    pub(crate) prompt: u64,
    pub(crate) cached: u64,
    pub(crate) completion: u64,
    pub(crate) reasoning: u64,
}

#[derive(Default)]
struct Ledger {
    seen: Vec<Seen>,
    /// What went out whole, by model.
    counted: BTreeMap<String, Counted>,
    /// Requests that are held, or were.
    held: u64,
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
        Self::on(0, script)
    }

    /// Starts it on that port; 0 is a free one.
    pub(crate) fn on(port: u16, script: impl FnMut(usize, &Seen) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
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

    /// A server that holds every question when it is asked for the first time, and answers it when it is asked again.
    pub(crate) fn holding(mut script: impl FnMut(&Seen) -> Act + Send + 'static) -> Self {
        let mut asked = HashSet::new();
        Self::start(move |_, seen| if asked.insert(seen.text.clone()) { Act::Hold } else { script(seen) })
    }

    /// Tokens of prompts and answers that went out whole, by model.
    pub(crate) fn counted(&self) -> BTreeMap<String, Counted> {
        self.lock().counted.clone()
    }

    /// The same of all models together.
    pub(crate) fn tokens(&self) -> Counted {
        self.lock().counted.values().fold(Counted::default(), |sum, next| sum.plus(*next))
    }

    /// Requests that were held so far.
    pub(crate) fn held(&self) -> u64 {
        self.lock().held
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

impl Counted {
    /// Roughly what a tokenizer does; only the server knows it. A part of every prompt was cached, and every answer was thought
    /// about.
    fn of(seen: &Seen, said: &str) -> Self {
        let (prompt, said) = (count(&seen.text), count(said).max(1));
        let reasoning = 7 + said / 3;
        Self { prompt, cached: prompt / 4, completion: said + reasoning, reasoning }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            prompt: self.prompt + other.prompt,
            cached: self.cached + other.cached,
            completion: self.completion + other.completion,
            reasoning: self.reasoning + other.reasoning,
        }
    }

    /// As the interface says it.
    fn usage(self, seen: &Seen) -> Value {
        let (input, output) = if seen.path.ends_with("/responses") {
            ("input_tokens", "output_tokens")
        } else {
            ("prompt_tokens", "completion_tokens")
        };
        json!({
            input: self.prompt, format!("{input}_details"): {"cached_tokens": self.cached},
            output: self.completion, format!("{output}_details"): {"reasoning_tokens": self.reasoning},
        })
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
        Act::Hold => {
            ledger.lock().unwrap_or_else(PoisonError::into_inner).held += 1;
            // A client that is gone, killed or not, ends its side of the connection.
            let _ = stream.read(&mut [0]);
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

fn count(text: &str) -> u64 {
    text.split_whitespace().map(|word| 1 + word.len() as u64 / 5).sum()
}

fn answer(stream: &mut TcpStream, seen: &Seen, text: &str, finish: &str, ledger: &Mutex<Ledger>) -> bool {
    let refusal = text == "\u{0}refuse";
    let text = if refusal { "" } else { text };
    let counted = Counted::of(seen, text);
    let usage = counted.usage(seen);
    let streamed = seen.body["stream"] == true;
    let body = if seen.path.ends_with("/responses") {
        let body = responses_body(text, refusal, finish, &usage);
        let event = json!({"type": "response.completed", "response": body});
        let delta = json!({"type": "response.output_text.delta", "delta": text});
        if streamed { format!("data: {delta}\n\ndata: {event}\n\n") } else { body.to_string() }
    } else if streamed {
        chat_stream(text, refusal, finish, &usage)
    } else {
        let message = if refusal { json!({"refusal": "I will not."}) } else { json!({"content": text}) };
        let choice = json!({"index": 0, "message": message, "finish_reason": finish});
        json!({"choices": [choice], "usage": usage}).to_string()
    };
    deliver(stream, seen, &body, counted, ledger)
}

/// Counts an answer and sends it; what could not be sent was not sold.
fn deliver(
    stream: &mut TcpStream,
    seen: &Seen,
    body: &str,
    counted: Counted,
    ledger: &Mutex<Ledger>,
) -> bool {
    let kind = if seen.body["stream"] == true { "text/event-stream" } else { "application/json" };
    let model = seen.body["model"].as_str().unwrap_or_default().to_owned();
    let entry = |change: &dyn Fn(&mut Counted)| {
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        change(ledger.counted.entry(model.clone()).or_default());
    };
    // Counted first: the client may look at the count as soon as it has the answer.
    entry(&|sum| *sum = sum.plus(counted));
    let sent = respond(stream, 200, kind, "", body);
    if !sent {
        entry(&|sum| {
            *sum = Counted {
                prompt: sum.prompt - counted.prompt,
                cached: sum.cached - counted.cached,
                completion: sum.completion - counted.completion,
                reasoning: sum.reasoning - counted.reasoning,
            };
        });
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
    let said: Vec<&str> = calls.iter().map(|(_, said)| said.as_str()).collect();
    let counted = Counted::of(seen, &said.join(" "));
    let usage = counted.usage(seen);
    let streamed = seen.body["stream"] == true;
    let numbered = || calls.iter().enumerate();
    let body = if seen.path.ends_with("/responses") {
        let item = |(number, (name, arguments)): (usize, &(&str, String))| json!({"type": "function_call", "call_id": format!("c{number}"), "name": name, "arguments": arguments});
        let body = json!({"status": "completed", "output": numbered().map(item).collect::<Vec<_>>(), "usage": usage});
        let event = json!({"type": "response.completed", "response": body});
        if streamed { format!("data: {event}\n\n") } else { body.to_string() }
    } else {
        let call = |(number, (name, arguments)): (usize, &(&str, String))| {
            json!({"index": number, "id": format!("c{number}"), "type": "function",
                   "function": {"name": name, "arguments": arguments}})
        };
        let calls: Vec<Value> = numbered().map(call).collect();
        if streamed {
            let events = [
                json!({"choices": [{"delta": {"tool_calls": calls}}]}),
                json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}),
                json!({"choices": [], "usage": usage}),
            ];
            let said: Vec<String> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
            said.concat() + "data: [DONE]\n\n"
        } else {
            let message = json!({"content": null, "tool_calls": calls});
            let choice = json!({"message": message, "finish_reason": "tool_calls"});
            json!({"choices": [choice], "usage": usage}).to_string()
        }
    };
    deliver(stream, seen, &body, counted, ledger)
}

fn chat_stream(text: &str, refusal: bool, finish: &str, usage: &Value) -> String {
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
        json!({"choices": [], "usage": usage}),
    ];
    for event in events {
        let _ = write!(stream, "data: {event}\n\n");
    }
    stream + "data: [DONE]\n\n"
}

fn responses_body(text: &str, refusal: bool, finish: &str, usage: &Value) -> Value {
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
        "usage": usage,
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
