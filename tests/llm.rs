//! The model proposer from outside, against a server of ours that counts tokens, keeps prompts and misbehaves.

mod client;
mod exec;
mod model;
mod run;
mod server;
