//! `kernsmith isa`: what a target can do, by topic, by question and by name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use kernsmith_core::Target;
use kernsmith_isa_corpus::{
    BYTES_PER_TOKEN, Corpus, CorpusError, Imported, Item, Query, Search, Severity, default_root, import_xml,
    imported_in,
};
use serde_json::{Value, json};

use crate::args::{Format, Global};
use crate::console::data;
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session;

/// What to ask the corpus.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// The topics and the sections that answer them.
    Topics {
        /// Only what holds for this target, such as `cuda-sm_90a`.
        #[arg(long)]
        target: Option<Target>,
    },
    /// A packet of sections, facts and rules that answers some words.
    Search {
        /// The words.
        #[arg(required = true)]
        words: Vec<String>,
        /// Only what holds for this target.
        #[arg(long)]
        target: Option<Target>,
        /// Size of the packet in tokens, estimated at 4 bytes each.
        #[arg(long, default_value_t = 1500)]
        budget: usize,
    },
    /// A fact, rule, topic, `<chapter>#<section>`, chapter, source, or imported instruction.
    Show {
        /// Its id.
        id: String,
    },
    /// Reads the corpus, compares digests, and runs the examples of every rule.
    Check {
        /// A corpus folder [default: the one that is found first].
        folder: Option<PathBuf>,
        /// Writes the digests of the files as they are into manifest.json.
        #[arg(long)]
        write: bool,
    },
    /// Reads AMD's machine-readable ISA (an XML file that you download) into the cache, as a chapter of its own.
    Import {
        /// The XML file, such as `amdgpu_isa_cdna3.xml`.
        file: PathBuf,
        /// The target that it is for [default: by the architecture's name].
        #[arg(long)]
        target: Option<Target>,
    },
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, verb: Verb) -> Answer {
    match verb {
        Verb::Topics { target } => topics(global, target.as_ref()),
        Verb::Search { words, target, budget } => search(global, &words.join(" "), target.as_ref(), budget),
        Verb::Show { id } => show(global, &id),
        Verb::Check { folder, write } => check(global, folder, write),
        Verb::Import { file, target } => import(global, &file, target.as_ref()),
    }
}

fn corpus() -> Result<Corpus, CliError> {
    Corpus::open_default().map_err(CliError::bad_input)
}

fn imported(global: &Global) -> Result<Vec<Imported>, CliError> {
    imported_in(&session::isa_import_folder(global)?).map_err(CliError::bad_input)
}

fn topics(global: &Global, target: Option<&Target>) -> Answer {
    let corpus = corpus()?;
    let fits = |section: &String| {
        target.is_none_or(|target| {
            corpus.section(section).is_some_and(|(chapter, _)| chapter.targets.contains(target))
        })
    };
    let mut rows: Vec<Value> = Vec::new();
    for topic in &corpus.topics {
        let sections: Vec<&String> = topic.sections.iter().filter(|section| fits(section)).collect();
        if sections.is_empty() {
            continue;
        }
        if global.format == Format::Human {
            let sections: Vec<&str> = sections.iter().map(|section| section.as_str()).collect();
            data(&format!("{:20} {}", topic.id, topic.title));
            data(&format!("{:20} {}", "", sections.join("  ")));
        }
        rows.push(json!({
            "id": topic.id, "title": topic.title, "synonyms": topic.synonyms, "sections": sections,
        }));
    }
    if global.format != Format::Human {
        data(&json!({"schema_version": 1, "version": corpus.version, "topics": rows}).to_string());
    }
    Ok(if rows.is_empty() { Exit::No } else { Exit::Done })
}

fn search(global: &Global, words: &str, target: Option<&Target>, tokens: usize) -> Answer {
    let search = Search::new(Arc::new(corpus()?), imported(global)?).map_err(CliError::internal)?;
    let query = Query { words, target, budget_bytes: tokens.saturating_mul(BYTES_PER_TOKEN) };
    let packet = search.packet(&query).map_err(CliError::internal)?;
    if global.format == Format::Human {
        data(packet.to_text().trim_end());
        if !packet.left_out.is_empty() {
            crate::console::note(&format!("left out by the budget: {}", packet.left_out.join(", ")));
        }
    } else {
        let mut answer = json!({"schema_version": 1, "words": words, "target": target});
        if let (Some(answer), Ok(Value::Object(packet))) =
            (answer.as_object_mut(), serde_json::to_value(&packet))
        {
            answer.extend(packet);
        }
        data(&answer.to_string());
    }
    Ok(if packet.pieces.is_empty() { Exit::No } else { Exit::Done })
}

fn show(global: &Global, id: &str) -> Answer {
    let corpus = corpus()?;
    let imported = imported(global)?;
    let (text, value) = match corpus.find(id) {
        Some(item) => described(&corpus, item),
        None => instruction(&imported, id).ok_or_else(|| unknown(&corpus, id))?,
    };
    match global.format {
        Format::Human => data(text.trim_end()),
        _ => data(&value.to_string()),
    }
    Ok(Exit::Done)
}

fn unknown(corpus: &Corpus, id: &str) -> CliError {
    let shared = |known: &String| {
        id.split(['.', '#', '-']).filter(|part| part.len() > 3 && known.contains(part)).count()
    };
    let mut near: Vec<String> = corpus.ids();
    near.retain(|known| shared(known) > 0);
    near.sort_by_key(|known| std::cmp::Reverse(shared(known)));
    near.truncate(5);
    let near = if near.is_empty() {
        let chapters: Vec<&str> = corpus.chapters.iter().map(|chapter| chapter.id.as_str()).collect();
        format!("its chapters are {}, and `kernsmith isa topics` lists the topics", chapters.join(", "))
    } else {
        format!("near it are {}", near.join(", "))
    };
    CliError::bad_input_message(format!("nothing in the corpus is called `{id}`; {near}"))
}

fn instruction(imported: &[Imported], id: &str) -> Option<(String, Value)> {
    let mut found = imported.iter().flat_map(|import| {
        import
            .instructions
            .iter()
            .filter(|found| found.name.eq_ignore_ascii_case(id))
            .map(move |found| (import, found))
    });
    let (import, found) = found.next()?;
    let value = json!({
        "schema_version": 1, "kind": "instruction", "target": import.target, "source": import.source(),
        "instruction": found,
    });
    Some((format!("{}\n  {}", found.line(), import.source()), value))
}

/// An item for people and for programs.
fn described(corpus: &Corpus, item: Item<'_>) -> (String, Value) {
    match item {
        Item::Fact(fact) => {
            let source = corpus.sources.get(&fact.source);
            let origin = source.map_or_else(String::new, |source| {
                format!("\n  {} {} {} {}", source.title, fact.section, source.url, source.revision)
            });
            let text = format!("{}{origin}\n  {}#{}", fact.line(), fact.chapter, fact.anchor);
            (text, json!({"schema_version": 1, "kind": "fact", "fact": fact, "source": source}))
        }
        Item::Rule(rule) => {
            let text = format!(
                "{} ({})\n  {}\n  {}\n  source: {}",
                rule.id,
                rule.severity.as_str(),
                rule.message,
                rule.remedy,
                rule.source
            );
            let value = json!({
                "schema_version": 1, "kind": "rule", "id": rule.id, "severity": rule.severity, "targets": rule.targets,
                "message": rule.message, "remedy": rule.remedy, "source": rule.source, "facts": rule.facts,
                "leans_on_unverified": rule.leans_on_unverified,
            });
            (text, value)
        }
        Item::Topic(topic) => (
            format!("{}: {}\n  {}", topic.id, topic.title, topic.sections.join("\n  ")),
            json!({"schema_version": 1, "kind": "topic", "topic": topic}),
        ),
        Item::Section(chapter, section) => {
            let facts: Vec<_> = chapter.facts_of(&section.anchor).collect();
            let lines: Vec<String> = facts.iter().map(|fact| fact.line()).collect();
            let text = format!("## {}\n{}\n{}", section.title, section.prose, lines.join("\n"));
            let value = json!({
                "schema_version": 1, "kind": "section", "chapter": chapter.id, "title": section.title,
                "prose": section.prose, "facts": facts,
            });
            (text, value)
        }
        Item::Chapter(chapter) => {
            let sections: Vec<String> =
                chapter.sections.iter().map(|section| format!("{}#{}", chapter.id, section.anchor)).collect();
            let text =
                format!("{}, {} facts\n  {}", chapter.title, chapter.facts.len(), sections.join("\n  "));
            let value = json!({
                "schema_version": 1, "kind": "chapter", "id": chapter.id, "title": chapter.title,
                "targets": chapter.targets, "sections": sections, "facts": chapter.facts.len(),
            });
            (text, value)
        }
        Item::Source(id, source) => (
            format!("{id}: {}\n  {} {}\n  {}", source.title, source.url, source.revision, source.note),
            json!({"schema_version": 1, "kind": "source", "id": id, "source": source}),
        ),
    }
}

fn check(global: &Global, folder: Option<PathBuf>, write: bool) -> Answer {
    let root = folder.or_else(default_root).ok_or_else(|| CliError::bad_input(CorpusError::Missing))?;
    let mut corpus = Corpus::open(&root).map_err(CliError::bad_input)?;
    if write {
        std::fs::write(root.join("manifest.json"), corpus.fresh_manifest()).map_err(CliError::apparatus)?;
        corpus = Corpus::open(&root).map_err(CliError::bad_input)?;
    }
    let findings = corpus.check().map_err(CliError::bad_input)?;
    let broken = findings.iter().any(|finding| finding.severity == Severity::Error);
    let [verified, reported, unverified] = corpus.confidence_counts();
    let rules = corpus.rules.iter().count();
    if global.format == Format::Human {
        for finding in &findings {
            data(&format!("{}: {} [{}]", finding.severity.as_str(), finding.message, finding.about));
        }
        let facts = format!("{verified} verified, {reported} reported, {unverified} unverified facts");
        let end = if broken { "not in order" } else { "ok" };
        data(&format!("{} {}: {facts}, {rules} rules: {end}", root.display(), corpus.version));
    } else {
        let facts = json!({"verified": verified, "reported": reported, "unverified": unverified});
        let answer = json!({
            "schema_version": 1, "folder": root, "version": corpus.version, "usable": !broken, "facts": facts,
            "rules": rules, "findings": findings,
        });
        data(&answer.to_string());
    }
    Ok(if broken { Exit::BadInput } else { Exit::Done })
}

fn import(global: &Global, file: &Path, target: Option<&Target>) -> Answer {
    let (imported, kept) =
        import_xml(file, &session::isa_import_folder(global)?, target).map_err(CliError::bad_input)?;
    let count = imported.instructions.len();
    if global.format == Format::Human {
        data(&format!("{count} instructions of {} for {}", imported.architecture, imported.target));
        data(&format!("kept in {}; `kernsmith isa search` finds them now", kept.display()));
    } else {
        let answer = json!({
            "schema_version": 1, "architecture": imported.architecture, "target": imported.target,
            "instructions": count, "source": imported.source(), "file": kept,
        });
        data(&answer.to_string());
    }
    Ok(Exit::Done)
}
