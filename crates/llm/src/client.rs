//! One logical call: all its tries under one deadline.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kernsmith_core::CallClass;
use kernsmith_core::model::{CallTry, Usage};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::ask::{Api, Ask, Dialect};
use crate::error::LlmError;
use crate::key::ApiKey;
use crate::reply::{Events, MAX_BODY_BYTES, Reply, refusal_class};

/// A server that answers in one piece and broke off after so long may have written, and sold, an answer; one that streams
/// says something first.
const WORKED: Duration = Duration::from_secs(2);
/// Tries that may bring an empty answer; a server that was never an outage does not get better by asking.
const MAX_EMPTY: usize = 2;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(20);
const MAX_DETAIL_BYTES: usize = 600;

/// Where and how to ask.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Up to and including the version, without a slash at the end.
    pub base_url: String,
    /// Which interface.
    pub api: Api,
    /// The key, or none.
    pub key: ApiKey,
    /// Whether answers are streamed.
    pub stream: bool,
    /// Time of one call, tries and pauses together.
    pub deadline: Duration,
    /// Silence after which a try is given up.
    pub idle: Duration,
    /// Requests at the same time.
    pub concurrency: usize,
    /// The first pause after a failed try, and the longest.
    pub pauses: (Duration, Duration),
    /// Certificates (PEM) that are trusted beside the system's.
    pub authorities: Vec<u8>,
}

/// How a call went.
#[derive(Debug, Clone, PartialEq)]
pub struct Called {
    /// How it ended.
    pub class: CallClass,
    /// What was wrong, where something was.
    pub detail: String,
    /// The answer's text, whole or cut off.
    pub reply: Option<String>,
    /// The body of the last request.
    pub body: Vec<u8>,
    /// Every request.
    pub tries: Vec<CallTry>,
    /// Tokens of all tries.
    pub usage: Usage,
    /// Time of everything.
    pub wall_ms: f64,
}

/// Asks one server; clones share connections, slots and what was learned about the server's dialect.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Arc<Endpoint>,
    slots: Arc<Semaphore>,
    dialect: Arc<Mutex<Dialect>>,
}

/// One try.
struct Tried {
    class: CallClass,
    status: Option<u16>,
    detail: String,
    reply: Option<Reply>,
    retry_after: Option<Duration>,
    /// Whether the server began to answer, so that it may charge for it.
    began: bool,
    received_bytes: usize,
}

impl Client {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// An address that is not http(s), or that would carry a secret into the log.
    pub fn new(endpoint: Endpoint) -> Result<Self, LlmError> {
        check_address(&endpoint.base_url)?;
        // A second call finds the provider installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authorities = reqwest::Certificate::from_pem_bundle(&endpoint.authorities)
            .map_err(|error| LlmError::setting("llm.ca_file", causes(&error)))?;
        let http = reqwest::Client::builder()
            .tls_certs_merge(authorities)
            .connect_timeout(CONNECT.min(endpoint.deadline))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("kernsmith/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| LlmError::Setup(endpoint.key.scrub(&causes(&error))))?;
        let slots = Arc::new(Semaphore::new(endpoint.concurrency.max(1)));
        Ok(Self { http, endpoint: Arc::new(endpoint), slots, dialect: Arc::default() })
    }

    /// What the server has been found not to understand so far.
    pub fn dialect(&self) -> Dialect {
        *self.dialect.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it asks.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks until there is an answer, a final refusal, or the deadline passes.
    pub async fn call(&self, ask: &Ask) -> Called {
        let _slot = self.slots.acquire().await;
        let started = Instant::now();
        let deadline = started + self.endpoint.deadline;
        let mut called = Called {
            class: CallClass::Abandoned,
            detail: String::new(),
            reply: None,
            body: Vec::new(),
            tries: Vec::new(),
            usage: Usage::default(),
            wall_ms: 0.0,
        };
        loop {
            let pause = self.once(ask, deadline, &mut called).await;
            match pause {
                Some(pause) if Instant::now() + pause < deadline => {
                    if let Some(last) = called.tries.last_mut() {
                        last.pause_ms = milliseconds(pause);
                    }
                    tokio::time::sleep(pause).await;
                }
                _ => break,
            }
        }
        called.wall_ms = milliseconds(started.elapsed());
        called
    }

    /// One try; returns the pause before the next one where there should be one.
    async fn once(&self, ask: &Ask, deadline: Instant, called: &mut Called) -> Option<Duration> {
        let dialect = self.dialect();
        let body = ask.body(self.endpoint.api, self.endpoint.stream, dialect);
        called.body = body.to_string().into_bytes();
        let began = Instant::now();
        let mut tried = match timeout_at(deadline, self.send(&called.body, ask)).await {
            Ok(tried) => tried,
            Err(_) => Tried::failed(CallClass::DeadlinePassed, "the call's deadline passed", true),
        };
        tried.detail = shorten(&self.endpoint.key.scrub(&tried.detail));
        charge(&tried, ask, &mut called.usage);
        called.class = tried.class;
        called.detail.clone_from(&tried.detail);
        called.reply =
            tried.reply.map(|reply| self.endpoint.key.scrub(&reply.words())).filter(|text| !text.is_empty());
        called.tries.push(CallTry {
            class: tried.class,
            status: tried.status,
            wall_ms: milliseconds(began.elapsed()),
            pause_ms: 0.0,
            detail: tried.detail.clone(),
        });
        match tried.class {
            CallClass::BadRequest => {
                let mut known = self.dialect.lock().unwrap_or_else(PoisonError::into_inner);
                // Another call may have taught us meanwhile what this one was refused for.
                (*known != dialect || known.give_up(&tried.detail)).then_some(Duration::ZERO)
            }
            CallClass::Empty => {
                let empty = called.tries.iter().filter(|tried| tried.class == CallClass::Empty).count();
                (empty < MAX_EMPTY).then_some(self.endpoint.pauses.0)
            }
            CallClass::DeadlinePassed => None,
            // A certificate that is not trusted will not be trusted later.
            CallClass::Unreachable if tried.detail.contains("certificate") => None,
            class if class.is_outage() => {
                Some(tried.retry_after.unwrap_or_else(|| back_off(called.tries.len(), self.endpoint.pauses)))
            }
            _ => None,
        }
    }

    async fn send(&self, body: &[u8], ask: &Ask) -> Tried {
        let path = match self.endpoint.api {
            Api::Chat => "chat/completions",
            Api::Responses => "responses",
        };
        let mut request = self
            .http
            .post(format!("{}/{path}", self.endpoint.base_url))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(body.to_vec());
        if let Some(key) = self.endpoint.key.secret() {
            request = request.bearer_auth(key);
        }
        let began = Instant::now();
        let waited = tokio::time::timeout(self.endpoint.idle, request.send());
        let response = match waited.await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let worked = !self.endpoint.stream && began.elapsed() >= WORKED;
                return Tried::broken(&error, worked);
            }
            Err(_) => return Tried::failed(CallClass::SlowStream, &self.silence(), true),
        };
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let streamed = response
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .is_some_and(|kind| kind.contains("event-stream"));
        let mut tried = if !(200..300).contains(&status) {
            self.refused(status, response).await
        } else if streamed {
            self.streamed(response).await
        } else {
            self.whole(response).await
        };
        tried.status = Some(status);
        tried.retry_after = retry_after;
        if tried.class == CallClass::NotFound && tried.detail.is_empty() {
            tried.detail =
                format!("{}/{path} or the model `{}` is not there", self.endpoint.base_url, ask.model);
        }
        tried
    }

    async fn refused(&self, status: u16, response: reqwest::Response) -> Tried {
        let body = self.body(response).await.unwrap_or_else(|tried| tried.detail.into_bytes());
        let body = String::from_utf8_lossy(&body).into_owned();
        let message = serde_json::from_str::<Value>(&body)
            .ok()
            .and_then(|value| value["error"]["message"].as_str().map(str::to_owned));
        Tried::failed(refusal_class(status, &body), &message.unwrap_or(body), false)
    }

    async fn whole(&self, response: reqwest::Response) -> Tried {
        match self.body(response).await {
            Err(tried) => tried,
            Ok(body) => match Reply::whole(self.endpoint.api, &body) {
                Ok(reply) => Tried::answered(reply, body.len()),
                Err(problem) => Tried::failed(CallClass::ProtocolViolation, &problem, true),
            },
        }
    }

    async fn streamed(&self, mut response: reqwest::Response) -> Tried {
        let (mut events, mut reply, mut received) = (Events::default(), Reply::default(), 0);
        loop {
            let piece = match tokio::time::timeout(self.endpoint.idle, response.chunk()).await {
                Err(_) => return Tried::cut(CallClass::SlowStream, &self.silence(), received),
                Ok(Err(error)) => return Tried::cut(CallClass::Reset, &causes(&error), received),
                Ok(Ok(piece)) => piece,
            };
            let Some(piece) = piece else { break };
            received += piece.len();
            if received > MAX_BODY_BYTES {
                return Tried::cut(CallClass::ProtocolViolation, "the answer never ends", received);
            }
            for data in events.take(&piece) {
                if data == "[DONE]" {
                    continue;
                }
                if let Err(problem) = reply.event(self.endpoint.api, &data) {
                    return Tried::cut(CallClass::ProtocolViolation, &problem, received);
                }
            }
        }
        if reply.is_finished() {
            Tried::answered(reply, received)
        } else {
            Tried::cut(CallClass::Reset, "the stream ended in the middle", received)
        }
    }

    /// The whole body; an error is the try's end.
    async fn body(&self, mut response: reqwest::Response) -> Result<Vec<u8>, Tried> {
        let mut body = Vec::new();
        loop {
            match tokio::time::timeout(self.endpoint.idle, response.chunk()).await {
                Err(_) => return Err(Tried::cut(CallClass::SlowStream, &self.silence(), body.len())),
                Ok(Err(error)) => return Err(Tried::cut(CallClass::Reset, &causes(&error), body.len())),
                Ok(Ok(None)) => return Ok(body),
                Ok(Ok(Some(piece))) => body.extend_from_slice(&piece),
            }
            if body.len() > MAX_BODY_BYTES {
                let detail = "the answer never ends";
                return Err(Tried::cut(CallClass::ProtocolViolation, detail, body.len()));
            }
        }
    }

    fn silence(&self) -> String {
        format!("nothing came for {:.0} s", self.endpoint.idle.as_secs_f64())
    }
}

impl Called {
    /// An answer that a function gave; tokens are estimated on both sides.
    pub(crate) fn scripted(ask: &Ask, text: String) -> Self {
        let usage = Usage {
            prompt_tokens: ask.tokens(),
            completion_tokens: kernsmith_core::prompt::tokens(&text),
            ..Usage::default()
        };
        let body = ask.body(Api::Chat, false, Dialect::default()).to_string().into_bytes();
        let class = CallClass::Answered;
        Self { class, detail: String::new(), reply: Some(text), body, tries: Vec::new(), usage, wall_ms: 0.0 }
    }
}

impl Tried {
    fn failed(class: CallClass, detail: &str, began: bool) -> Self {
        Self {
            class,
            status: None,
            detail: detail.to_owned(),
            reply: None,
            retry_after: None,
            began,
            received_bytes: 0,
        }
    }

    fn cut(class: CallClass, detail: &str, received_bytes: usize) -> Self {
        Self { received_bytes, ..Self::failed(class, detail, true) }
    }

    /// A connection that broke before a word came back: a dead server has sold nothing, unless it had `worked` on it.
    fn broken(error: &reqwest::Error, worked: bool) -> Self {
        let class = if error.is_connect() { CallClass::Unreachable } else { CallClass::Reset };
        Self::failed(class, &causes(error), worked && class == CallClass::Reset)
    }

    fn answered(reply: Reply, received_bytes: usize) -> Self {
        let (class, detail) = reply.class();
        Self { reply: Some(reply), received_bytes, ..Self::failed(class, &detail, true) }
    }
}

/// Adds what a try cost: what the server counted, else an estimate that stands apart.
fn charge(tried: &Tried, ask: &Ask, usage: &mut Usage) {
    match tried.reply.as_ref().and_then(|reply| reply.usage) {
        Some(counted) => usage.add(&counted),
        None if tried.began && !matches!(tried.class, CallClass::ServerError) => {
            usage.unreported_tokens += ask.tokens() + tried.received_bytes as u64 / 4;
        }
        None => {}
    }
}

/// An address that may stand in a log: http or https, no user, no password, no query.
fn check_address(url: &str) -> Result<(), LlmError> {
    let refuse = |problem: &str| Err(LlmError::setting("llm.base_url", format!("`{url}` {problem}")));
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return refuse("does not begin with http:// or https://");
    };
    if rest.contains('@') || rest.contains('?') || rest.contains('#') {
        return Err(LlmError::setting(
            "llm.base_url",
            "a user name, password or query in the address would stand in the log; put the key into llm.key_env",
        ));
    }
    if rest.is_empty() || rest.starts_with('/') { refuse("names no server") } else { Ok(()) }
}

fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms").map(|ms| ms / 1e3).or_else(|| number("retry-after"))?;
    (0.0..86_400.0).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// Twice as long every time up to the longest, spread a little so that parallel calls do not come back together.
fn back_off(tries: usize, (first, longest): (Duration, Duration)) -> Duration {
    let doubled = first * 2_u32.saturating_pow((tries.saturating_sub(1)).min(10) as u32);
    let spread = 0.8 + 0.4 * f64::from((tries as u32 * 7919) % 97) / 97.0;
    doubled.min(longest).mul_f64(spread)
}

/// An error with its causes, without the address, which may be long.
fn causes(error: &reqwest::Error) -> String {
    let mut words = Vec::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        words.push(error.to_string());
        cause = error.source();
    }
    words.join(": ")
}

fn shorten(text: &str) -> String {
    let mut end = text.len().min(MAX_DETAIL_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_a_secret_is_refused() {
        assert!(check_address("http://127.0.0.1:8000/v1").is_ok());
        for bad in ["ftp://x", "https://user:pw@host/v1", "https://host/v1?key=1", "https:///v1", "host/v1"] {
            let error = check_address(bad).unwrap_err().to_string();
            assert!(error.contains("llm.base_url") && !error.contains("pw@"), "{error}");
        }
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let pauses = (Duration::from_millis(250), Duration::from_secs(30));
        assert!(back_off(1, pauses) < back_off(3, pauses));
        assert!(back_off(50, pauses) <= pauses.1.mul_f64(1.2));
    }
}
