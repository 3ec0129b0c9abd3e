//! Proposes kernels through a model.
//!
//! [`Llm`] implements [`kernsmith_core::Propose`] over any OpenAI-compatible server: a planner model edits the tree of
//! strategies, coder models write candidates, a reviewer may read them before they are built. [`Client`] is the network part:
//! one deadline for a call with all its tries, every failure under its own class, a key that is never shown. Every answer is in
//! the log before it is used, so that a killed run pays for nothing twice. `docs/llm.md` describes settings, costs and formats.
//!
//! **Invariant:** this is the only crate that connects outward, and the key leaves it only in a request's header.

mod answer;
mod ask;
mod bandit;
mod cassette;
mod check;
mod client;
mod course;
mod dialogue;
mod error;
mod evidence;
mod exec;
mod key;
mod memory;
mod options;
mod patch;
mod price;
mod proposer;
mod reply;

pub use ask::{Api, Ask, Dialect, OnRequest, Turn};
pub use cassette::CASSETTE_FORMAT;
pub use check::{Checked, check};
pub use client::{Called, Client, Endpoint};
pub use error::LlmError;
pub use evidence::Inspect;
pub use exec::Exec;
pub use key::ApiKey;
pub use options::{Script, endpoint};
pub use price::Prices;
pub use proposer::{Llm, Render};
