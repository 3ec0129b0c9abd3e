//! The model proposer from outside, against a server of ours that counts tokens, keeps prompts and misbehaves.

mod audit;
mod client;
mod evidence;
mod exec;
mod model;
mod run;
mod server;
mod tls;
mod whole;
