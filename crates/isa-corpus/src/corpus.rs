//! The whole corpus, read and held together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kernsmith_core::{Digest, Target};
use kernsmith_place::Text;

use crate::chapter::{Chapter, Section};
use crate::error::{CorpusError, read};
use crate::fact::Fact;
use crate::manifest::{Manifest, TargetInfo, digest_of};
use crate::roots::default_root;
use crate::rules::{self, Rule, Rules};
use crate::sources::{self, Source};
use crate::topics::{self, Topic};

/// The whole corpus.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// Its folder.
    pub root: PathBuf,
    /// Version of the content; a date.
    pub version: String,
    /// The targets that it knows.
    pub targets: Vec<TargetInfo>,
    /// Chapters, in the manifest's order.
    pub chapters: Vec<Chapter>,
    /// Topics, in the file's order.
    pub topics: Vec<Topic>,
    /// Sources by id.
    pub sources: BTreeMap<String, Source>,
    /// Hard rules.
    pub rules: Rules,
    pub(crate) manifest: Manifest,
    /// Digest of every file that was read, by its path below the folder.
    pub(crate) digests: BTreeMap<String, Digest>,
}

/// What an id names.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// A fact.
    Fact(&'a Fact),
    /// A rule.
    Rule(&'a Rule),
    /// A topic.
    Topic(&'a Topic),
    /// A section of a chapter.
    Section(&'a Chapter, &'a Section),
    /// A whole chapter.
    Chapter(&'a Chapter),
    /// A source with its id.
    Source(&'a str, &'a Source),
}

impl Corpus {
    /// Reads everything below a folder. What does not parse, contradicts itself or leads nowhere is an error with its
    /// place; stale digests and broken examples are findings of [`Corpus::check`].
    pub fn open(root: &Path) -> Result<Self, CorpusError> {
        let mut digests = BTreeMap::new();
        let mut text_of = |name: &str| -> Result<(PathBuf, String), CorpusError> {
            let path = root.join(name);
            let text = read(&path)?;
            if name != "manifest.json" {
                digests.insert(name.to_owned(), digest_of(&text));
            }
            Ok((path, text))
        };
        let (path, text) = text_of("manifest.json")?;
        let manifest = Manifest::parse(&path, &text)?;
        let (path, text) = text_of("sources.toml")?;
        let sources = sources::parse(&path, &text)?;
        let mut chapters = Vec::new();
        for entry in &manifest.chapters {
            let (path, text) = text_of(&entry.file)?;
            chapters.push(Chapter::parse(Text { path: &path, text: &text }, entry, &sources)?);
        }
        check_facts(root, &chapters)?;
        let (path, text) = text_of("topics.toml")?;
        let exists = |name: &str| section_of(&chapters, name).is_some();
        let topics = topics::parse(&path, &text, exists)?;
        let facts: BTreeMap<&str, &Fact> =
            chapters.iter().flat_map(|chapter| &chapter.facts).map(|fact| (fact.id.as_str(), fact)).collect();
        let mut all: Vec<Rule> = Vec::new();
        for entry in &manifest.rules {
            let (path, text) = text_of(&entry.file)?;
            let known = rules::Known { sources: &sources, facts: &facts };
            let read = rules::parse(&path, &text, &entry.targets, known, &all)?;
            all.extend(read);
        }
        let rules = Rules { rules: all };
        let (version, targets) = (manifest.version.clone(), manifest.targets.clone());
        Ok(Self {
            root: root.to_owned(),
            version,
            targets,
            chapters,
            topics,
            sources,
            rules,
            manifest,
            digests,
        })
    }

    /// The corpus that is found first; see [`default_root`].
    pub fn open_default() -> Result<Self, CorpusError> {
        Self::open(&default_root().ok_or(CorpusError::Missing)?)
    }

    /// All facts, in the chapters' order.
    pub fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.chapters.iter().flat_map(|chapter| &chapter.facts)
    }

    /// The fact of that id.
    pub fn fact(&self, id: &str) -> Option<&Fact> {
        self.facts().find(|fact| fact.id == id)
    }

    /// The value that a key has for a target.
    pub fn value(&self, target: &Target, key: &str) -> Option<&Fact> {
        self.facts().find(|fact| fact.key == key && fact.holds_for(target))
    }

    /// The chapter and section of a `<chapter>#<section>`.
    pub fn section(&self, name: &str) -> Option<(&Chapter, &Section)> {
        section_of(&self.chapters, name)
    }

    /// What an id names: a fact, a rule, a topic, a `<chapter>#<section>`, a chapter or a source, in this order.
    pub fn find(&self, id: &str) -> Option<Item<'_>> {
        let fact = self.fact(id).map(Item::Fact);
        fact.or_else(|| self.rules.find(id).map(Item::Rule))
            .or_else(|| self.topics.iter().find(|topic| topic.id == id).map(Item::Topic))
            .or_else(|| self.section(id).map(|(chapter, section)| Item::Section(chapter, section)))
            .or_else(|| self.chapters.iter().find(|chapter| chapter.id == id).map(Item::Chapter))
            .or_else(|| self.sources.get_key_value(id).map(|(name, source)| Item::Source(name, source)))
    }

    /// Every id that [`Corpus::find`] knows, for suggestions.
    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.facts().map(|fact| fact.id.clone()).collect();
        ids.extend(self.rules.iter().map(|rule| rule.id.clone()));
        ids.extend(self.topics.iter().map(|topic| topic.id.clone()));
        for chapter in &self.chapters {
            ids.push(chapter.id.clone());
            ids.extend(chapter.sections.iter().map(|section| format!("{}#{}", chapter.id, section.anchor)));
        }
        ids.extend(self.sources.keys().cloned());
        ids
    }
}

fn section_of<'a>(chapters: &'a [Chapter], name: &str) -> Option<(&'a Chapter, &'a Section)> {
    let (chapter, anchor) = name.split_once('#')?;
    let chapter = chapters.iter().find(|found| found.id == chapter)?;
    let section = chapter.sections.iter().find(|section| section.anchor == anchor)?;
    Some((chapter, section))
}

/// Ids are unique over chapters, and one key of one target has one value.
fn check_facts(root: &Path, chapters: &[Chapter]) -> Result<(), CorpusError> {
    let mut seen: BTreeMap<(&Target, &str), (&Chapter, &Fact)> = BTreeMap::new();
    let mut ids: BTreeMap<&str, &Chapter> = BTreeMap::new();
    for chapter in chapters {
        let path = root.join(&chapter.file);
        let file = Text { path: &path, text: &chapter.text };
        for fact in &chapter.facts {
            let field = format!("fact `{}`", fact.id);
            if let Some(other) = ids.insert(&fact.id, chapter) {
                let problem = format!("{} has a fact of that id too", other.file);
                return Err(file.problem(Some(fact.span.clone()), &field, problem, None));
            }
            for target in &fact.targets {
                let Some((there, other)) = seen.insert((target, &fact.key), (chapter, fact)) else {
                    continue;
                };
                if !fact.agrees_with(other) {
                    let problem = format!(
                        "conflict: `{}` of {target} is {} here and {} in {}:{} (`{}`)",
                        fact.key,
                        fact.quantity(),
                        other.quantity(),
                        there.file,
                        other.line,
                        other.id
                    );
                    let help = "check both against their sources and keep the one that is right".to_owned();
                    return Err(file.problem(Some(fact.span.clone()), &field, problem, help));
                }
            }
        }
    }
    Ok(())
}
