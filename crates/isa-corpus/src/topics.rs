//! `topics.toml`: the words under which people look for things, and the sections that answer them.

use std::path::Path;

use kernsmith_place::Text;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::error::{CorpusError, parse_toml};

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topic {
    /// Its name: lower-case words joined by `-`.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// Other words for it.
    pub synonyms: Vec<String>,
    /// `<chapter>#<section>`, the most telling first.
    pub sections: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicsFile {
    format: u32,
    topic: Vec<TopicEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicEntry {
    id: Spanned<String>,
    title: String,
    #[serde(default)]
    synonyms: Vec<String>,
    sections: Vec<Spanned<String>>,
}

/// Reads the file; `known` says which sections exist.
pub(crate) fn parse(
    path: &Path,
    text: &str,
    known: impl Fn(&str) -> bool,
) -> Result<Vec<Topic>, CorpusError> {
    let file = Text { path, text };
    let read: TopicsFile = parse_toml(file)?;
    if read.format != 1 {
        let help = "this program reads 1".to_owned();
        return Err(file.problem(None, "format", format!("format {} is not known", read.format), help));
    }
    let mut topics: Vec<Topic> = Vec::new();
    for entry in read.topic {
        let id = entry.id.as_ref().clone();
        if topics.iter().any(|topic| topic.id == id) {
            let help = "join the two".to_owned();
            return Err(file.problem(Some(entry.id.span()), "topic.id", "two topics have it", help));
        }
        let field = format!("topic `{id}`, sections");
        if let Some(section) = entry.sections.iter().find(|section| !known(section.as_ref())) {
            let problem = format!("there is no section `{}`", section.as_ref());
            let help = "write `<chapter>#<heading in lower case, with - between words>`; `kernsmith isa topics` lists them";
            return Err(file.problem(Some(section.span()), &field, problem, help.to_owned()));
        }
        if entry.sections.is_empty() {
            let help = "name at least one section".to_owned();
            return Err(file.problem(Some(entry.id.span()), &field, "the topic leads nowhere", help));
        }
        let sections = entry.sections.into_iter().map(Spanned::into_inner).collect();
        topics.push(Topic { id, title: entry.title, synonyms: entry.synonyms, sections });
    }
    Ok(topics)
}
