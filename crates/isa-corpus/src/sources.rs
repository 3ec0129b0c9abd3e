//! `sources.toml`: where facts come from.

use std::collections::BTreeMap;
use std::path::Path;

use kernsmith_place::Text;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::error::{CorpusError, parse_toml};

/// What a source is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// The vendor's own documentation.
    Vendor,
    /// Source code of a compiler, assembler or library that has to be right about it.
    Code,
    /// A run of ours: its command and machine are in the note.
    Run,
    /// Somebody else's account.
    Secondary,
    /// Arithmetic over other facts of the corpus.
    Derived,
}

impl SourceKind {
    /// Whether a fact that was read there may be called verified.
    pub const fn verifies(self) -> bool {
        !matches!(self, Self::Secondary)
    }
}

/// One source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What it is worth.
    pub kind: SourceKind,
    /// Its title.
    pub title: String,
    /// Where it is; empty for runs of ours.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Version, commit or date of what was read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// The day on which it was read, as `2026-11-21`.
    pub checked: String,
    /// For runs: the command and the machine.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourcesFile {
    format: Spanned<u32>,
    source: BTreeMap<String, Spanned<Source>>,
}

pub(crate) fn parse(path: &Path, text: &str) -> Result<BTreeMap<String, Source>, CorpusError> {
    let file = Text { path, text };
    let read: SourcesFile = parse_toml(file)?;
    if *read.format.as_ref() != 1 {
        let problem = format!("format {} is not known", read.format.as_ref());
        return Err(file.problem(
            Some(read.format.span()),
            "format",
            problem,
            "this program reads 1".to_owned(),
        ));
    }
    for (name, entry) in &read.source {
        let source = entry.as_ref();
        let problem = match source.kind {
            SourceKind::Run if source.note.is_empty() => "a run without `note`: command and machine",
            SourceKind::Vendor | SourceKind::Code | SourceKind::Secondary if source.url.is_empty() => {
                "a source without `url`"
            }
            _ => continue,
        };
        let help = "say where it can be read again".to_owned();
        return Err(file.problem(Some(entry.span()), &format!("source.{name}"), problem, help));
    }
    Ok(read.source.into_iter().map(|(name, entry)| (name, entry.into_inner())).collect())
}
