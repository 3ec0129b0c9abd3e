//! `kernsmith config`: the effective configuration, and where each value comes from.

use clap::Subcommand;
use serde_json::json;

use crate::args::{Format, Global};
use crate::console::data;
use crate::error::Answer;
use crate::exit::Exit;
use crate::session;

/// What to show.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Every value in force.
    Show {
        /// Also say which layer each value comes from.
        #[arg(long)]
        origin: bool,
    },
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, verb: &Verb) -> Answer {
    let Verb::Show { origin } = verb;
    let loaded = session::config(global, &[])?;
    if global.format == Format::Human {
        for row in loaded.rows() {
            let source = if *origin { format!("   # {}", row.origin) } else { String::new() };
            data(&format!("{} = {}{source}", row.key, row.value));
        }
        return Ok(Exit::Done);
    }
    let rows: Vec<_> = loaded
        .rows()
        .iter()
        .map(|row| json!({"key": row.key, "value": row.value, "origin": row.origin.to_string()}))
        .collect();
    let (values, digest) = (loaded.config.effective(), loaded.config.digest());
    data(&json!({"schema_version": 1, "digest": digest, "config": values, "origins": rows}).to_string());
    Ok(Exit::Done)
}
