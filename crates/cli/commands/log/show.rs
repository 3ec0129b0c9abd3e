//! One run, or one entry of it.

use kernsmith_core::{Entry, Event, Seq};
use kernsmith_experiment_log::RunReader;
use kernsmith_planner::Tree;

use crate::args::{Format, Global};
use crate::console::{data, entry_line, note};
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session;

/// A run's entries, a line each.
pub(super) fn show_run(global: &Global, run: &str) -> Answer {
    let reader = session::reader(global, run)?;
    if let Some(provenance) = kernsmith_experiment_log::provenance(reader.directory()) {
        let device =
            provenance.facts.get("device").map(|device| format!(", on {device}")).unwrap_or_default();
        note(&format!(
            "written by another machine{device}; imported from {} at {}",
            provenance.from, provenance.time
        ));
    }
    let mut tree = Tree::default();
    for entry in reader.entries().map_err(CliError::log)? {
        let entry = entry.map_err(CliError::log)?;
        tree.apply(&entry);
        if global.format == Format::Human {
            let line = entry_line(&tree, &entry).unwrap_or_else(|| entry.event.name().to_owned());
            data(&format!("{} {} {line}", entry.seq, entry.time));
        } else {
            data(&serde_json::to_string(&entry).map_err(CliError::internal)?);
        }
    }
    Ok(Exit::Done)
}

/// One entry in full, or its source.
pub(super) fn show_entry(global: &Global, run: &str, seq: Seq, source: bool) -> Answer {
    let reader = session::reader(global, run)?;
    let entry = session::entry(&reader, seq)?;
    if source {
        return show_source(&reader, &entry);
    }
    let text = match global.format {
        Format::Human => serde_json::to_string_pretty(&entry),
        _ => serde_json::to_string(&entry),
    };
    data(&text.map_err(CliError::internal)?);
    Ok(Exit::Done)
}

fn show_source(reader: &RunReader, entry: &Entry) -> Answer {
    let digest = match &entry.event {
        Event::Proposed(proposed) => proposed.source,
        Event::BaselineFrozen(frozen) => frozen.source,
        Event::Judged { proposal, .. }
        | Event::Promoted { proposal, .. }
        | Event::Deduplicated { proposal, .. } => {
            return show_source(reader, &session::entry(reader, *proposal)?);
        }
        other => {
            return Err(CliError::usage(format!(
                "entry {} is `{}` and has no source",
                entry.seq,
                other.name()
            )));
        }
    };
    let bytes = reader.blob(&digest).map_err(CliError::log)?;
    data(String::from_utf8_lossy(&bytes).trim_end());
    Ok(Exit::Done)
}
