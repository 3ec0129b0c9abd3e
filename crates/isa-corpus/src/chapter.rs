//! A chapter: Markdown with a title, sections, and tables of facts.
//!
//! A table whose first column is called `id` is a table of facts. Everything else is prose for readers.

use std::collections::BTreeMap;
use std::ops::Range;

use kernsmith_core::Target;
use kernsmith_place::{Text, line_of};

use crate::error::CorpusError;
use crate::fact::{Confidence, Fact, Value};
use crate::manifest::ChapterEntry;
use crate::sources::Source;

const COLUMNS: [&str; 8] = ["id", "key", "targets", "value", "unit", "fact", "confidence", "source"];
const NEEDED: [&str; 5] = ["id", "value", "fact", "confidence", "source"];

/// One chapter.
#[derive(Debug, Clone)]
pub struct Chapter {
    /// Its name.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What it is about.
    pub targets: Vec<Target>,
    /// Its path below the folder.
    pub file: String,
    /// Its sections, in order.
    pub sections: Vec<Section>,
    /// Its facts, in order.
    pub facts: Vec<Fact>,
    pub(crate) text: String,
}

/// One section of a chapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// The heading in lower case with `-` between words.
    pub anchor: String,
    /// The text without the tables of facts.
    pub prose: String,
    /// The line of the heading, from 1.
    pub line: usize,
}

struct Table {
    /// Name and place of each column.
    columns: Vec<String>,
}

struct Reader<'a> {
    file: Text<'a>,
    entry: &'a ChapterEntry,
    sources: &'a BTreeMap<String, Source>,
    sections: Vec<Section>,
    facts: Vec<Fact>,
    table: Option<Table>,
}

impl Chapter {
    /// Reads a chapter; every fact's source must be among `sources`.
    pub(crate) fn parse(
        file: Text<'_>,
        entry: &ChapterEntry,
        sources: &BTreeMap<String, Source>,
    ) -> Result<Self, CorpusError> {
        let (sections, facts) = (Vec::new(), Vec::new());
        let mut reader = Reader { file, entry, sources, sections, facts, table: None };
        let mut offset = 0;
        for line in file.text.split_inclusive('\n') {
            reader.line(line.trim_end(), offset..offset + line.trim_end().len())?;
            offset += line.len();
        }
        if reader.sections.is_empty() {
            let help = "give it `## …` headings: a packet is made of sections".to_owned();
            return Err(file.problem(Some(0..0), "", "the chapter has no section", help));
        }
        let Reader { mut sections, facts, .. } = reader;
        for section in &mut sections {
            section.prose = section.prose.trim().to_owned();
        }
        Ok(Self {
            id: entry.id.clone(),
            title: entry.title.clone(),
            targets: entry.targets.clone(),
            file: entry.file.clone(),
            sections,
            facts,
            text: file.text.to_owned(),
        })
    }

    /// The facts of one section.
    pub fn facts_of(&self, anchor: &str) -> impl Iterator<Item = &Fact> {
        self.facts.iter().filter(move |fact| fact.anchor == anchor)
    }
}

impl Reader<'_> {
    fn line(&mut self, line: &str, span: Range<usize>) -> Result<(), CorpusError> {
        if let Some(title) = line.strip_prefix("## ") {
            return self.heading(title.trim(), span);
        }
        if !line.starts_with('|') {
            self.table = None;
            self.prose(line);
            return Ok(());
        }
        let cells = cells(line);
        if self.table.is_some() {
            return if is_rule(&cells) { Ok(()) } else { self.fact(&cells, span) };
        }
        if cells.first().is_some_and(|first| first == "id") {
            return self.table_head(cells, span);
        }
        self.prose(line);
        Ok(())
    }

    fn prose(&mut self, line: &str) {
        if let Some(section) = self.sections.last_mut() {
            section.prose.push_str(line);
            section.prose.push('\n');
        }
    }

    fn heading(&mut self, title: &str, span: Range<usize>) -> Result<(), CorpusError> {
        self.table = None;
        let anchor = anchor_of(title);
        if self.sections.iter().any(|section| section.anchor == anchor) {
            let help = "name each section of a chapter once".to_owned();
            return Err(self.file.problem(Some(span), "", format!("two sections are `#{anchor}`"), help));
        }
        let line = line_of(self.file.text, span.start);
        self.sections.push(Section { title: title.to_owned(), anchor, prose: String::new(), line });
        Ok(())
    }

    fn table_head(&mut self, columns: Vec<String>, span: Range<usize>) -> Result<(), CorpusError> {
        let unknown = columns.iter().find(|column| !COLUMNS.contains(&column.as_str()));
        let missing = NEEDED.iter().find(|needed| !columns.iter().any(|column| column == *needed));
        let problem = match (unknown, missing) {
            (Some(unknown), _) => format!("a table of facts has no column `{unknown}`"),
            (None, Some(missing)) => format!("the table of facts lacks the column `{missing}`"),
            (None, None) if self.sections.is_empty() => "facts before the first section".to_owned(),
            (None, None) => {
                self.table = Some(Table { columns });
                return Ok(());
            }
        };
        let help = format!("the columns are {}", COLUMNS.join(", "));
        Err(self.file.problem(Some(span), "", problem, help))
    }

    fn fact(&mut self, cells: &[String], span: Range<usize>) -> Result<(), CorpusError> {
        let columns = self.table.as_ref().map(|table| table.columns.clone()).unwrap_or_default();
        if columns.len() != cells.len() {
            let problem = format!("{} cells, {} columns", cells.len(), columns.len());
            let help = "write `\\|` for a bar inside a cell".to_owned();
            return Err(self.file.problem(Some(span), "", problem, help));
        }
        let cell = |name: &str| {
            let index = columns.iter().position(|column| column == name);
            index.map(|index| cells[index].as_str()).unwrap_or_default()
        };
        let wrong = |field: &str, problem: String, help: &str| {
            let field = format!("fact `{}`, {field}", cell("id"));
            self.file.problem(Some(span.clone()), &field, problem, help.to_owned())
        };
        let id = cell("id");
        if !is_id(id) {
            let help = "use lower-case words joined by `.`, at least two: `<chapter>.<what>`";
            return Err(wrong("id", format!("`{id}` is not an id"), help));
        }
        if self.facts.iter().any(|fact| fact.id == id) {
            return Err(wrong("id", "two facts have it".to_owned(), "choose another id"));
        }
        for name in ["value", "fact"] {
            if cell(name).is_empty() {
                return Err(wrong(name, "it is empty".to_owned(), "a fact has a value and a sentence"));
            }
        }
        let confidence = Confidence::parse(cell("confidence")).ok_or_else(|| {
            let problem = format!("`{}` is no confidence", cell("confidence"));
            wrong("confidence", problem, "write verified, reported or unverified")
        })?;
        let (source, section) = split_source(cell("source"));
        if let Err((problem, help)) = self.check_source(source, confidence) {
            return Err(wrong("source", problem, help));
        }
        let targets = match cell("targets") {
            "" => self.entry.targets.clone(),
            list => parse_targets(list).map_err(|word| {
                wrong("targets", format!("`{word}` is no target"), "for example hip-gfx950")
            })?,
        };
        let anchor = self.sections.last().map(|section| section.anchor.clone()).unwrap_or_default();
        let own_key = id.split_once('.').map(|(_, key)| key).unwrap_or_default();
        let fact = Fact {
            id: id.to_owned(),
            key: if cell("key").is_empty() { own_key } else { cell("key") }.to_owned(),
            targets,
            value: Value::parse(cell("value")),
            unit: cell("unit").to_owned(),
            statement: cell("fact").to_owned(),
            confidence,
            source: source.to_owned(),
            section: section.to_owned(),
            chapter: self.entry.id.clone(),
            anchor,
            line: line_of(self.file.text, span.start),
            span,
        };
        self.facts.push(fact);
        Ok(())
    }

    fn check_source(&self, source: &str, confidence: Confidence) -> Result<(), (String, &'static str)> {
        if source.is_empty() {
            return match confidence {
                Confidence::Unverified => Ok(()),
                other => Err((
                    format!("a fact that is {} needs a source", other.as_str()),
                    "name one of sources.toml, or write unverified",
                )),
            };
        }
        match self.sources.get(source) {
            None => {
                Err((format!("there is no source `{source}`"), "add it to sources.toml, or correct the name"))
            }
            Some(found) if confidence == Confidence::Verified && !found.kind.verifies() => Err((
                format!("`{source}` is a secondary source, which verifies nothing"),
                "write reported, or name a primary source",
            )),
            Some(_) => Ok(()),
        }
    }
}

/// The cells of a table's line, backticks and outer bars aside.
fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|');
    let inner = inner.strip_suffix('|').unwrap_or(inner);
    let mut cells = vec![String::new()];
    let mut escaped = false;
    for c in inner.chars() {
        match (c, escaped) {
            ('\\', false) => {
                escaped = true;
                continue;
            }
            ('|', false) => cells.push(String::new()),
            (c, was_escaped) => {
                let last = cells.len() - 1;
                if was_escaped && c != '|' {
                    cells[last].push('\\');
                }
                cells[last].push(c);
            }
        }
        escaped = false;
    }
    cells.iter().map(|cell| strip_code(cell.trim()).to_owned()).collect()
}

/// Drops backticks around a whole cell.
fn strip_code(cell: &str) -> &str {
    let inner = cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`'));
    inner.filter(|inner| !inner.contains('`')).unwrap_or(cell)
}

fn is_rule(cells: &[String]) -> bool {
    cells.iter().all(|cell| !cell.is_empty() && cell.chars().all(|c| matches!(c, '-' | ':')))
}

fn is_id(text: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    text.contains('.') && text.split('.').all(word)
}

/// `<source> <where in it>`; `-` is none.
fn split_source(text: &str) -> (&str, &str) {
    let text = if text == "-" { "" } else { text };
    text.split_once(' ').map_or((text, ""), |(source, section)| (source, section.trim()))
}

fn parse_targets(list: &str) -> Result<Vec<Target>, String> {
    let words = list.split([',', ' ']).filter(|word| !word.is_empty());
    words.map(|word| word.parse().map_err(|_| word.to_owned())).collect()
}

/// A heading as it is named behind `#`.
pub(crate) fn anchor_of(title: &str) -> String {
    let mut anchor = String::new();
    for c in title.to_lowercase().chars() {
        if c.is_alphanumeric() || c == '_' {
            anchor.push(c);
        } else if !anchor.ends_with('-') && !anchor.is_empty() {
            anchor.push('-');
        }
    }
    anchor.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sources::SourceKind;

    const GOOD: &str = "# Chapter\n\n## Shared memory & banks\n\nProse.\n\n\
| id | value | unit | fact | confidence | source |\n|---|---|---|---|---|---|\n\
| x.smem.max | `232448` | bytes | most of a block | verified | spec 5.1 |\n\
| x.banks | 32 | | banks of 4 bytes | unverified | - |\n\nMore prose.\n";

    fn read(text: &str) -> Result<Chapter, CorpusError> {
        let entry = ChapterEntry {
            id: "x".into(),
            file: "chapters/x.md".into(),
            title: "X".into(),
            targets: vec!["cuda-sm_90a".parse().unwrap()],
        };
        let source = |kind| Source {
            kind,
            title: "t".into(),
            url: "https://example.org".into(),
            revision: String::new(),
            checked: "2026-11-21".into(),
            note: String::new(),
        };
        let sources = BTreeMap::from([
            ("spec".to_owned(), source(SourceKind::Vendor)),
            ("blog".to_owned(), source(SourceKind::Secondary)),
        ]);
        Chapter::parse(Text { path: Path::new("chapters/x.md"), text }, &entry, &sources)
    }

    #[test]
    fn prose_and_facts_are_told_apart() {
        let chapter = read(GOOD).unwrap();
        assert_eq!(chapter.sections[0].anchor, "shared-memory-banks");
        assert_eq!(chapter.sections[0].prose, "Prose.\n\n\nMore prose.");
        let fact = &chapter.facts[0];
        assert_eq!((fact.key.as_str(), fact.integer(), fact.line), ("smem.max", Some(232_448), 9));
        assert_eq!((fact.source.as_str(), fact.section.as_str()), ("spec", "5.1"));
        assert_eq!(chapter.facts[1].confidence, Confidence::Unverified);
    }

    #[test]
    fn mistakes_are_named_with_file_line_field_and_remedy() {
        let cases = [
            ("verified | spec 5.1", "sure | spec 5.1", "chapters/x.md:9: fact `x.smem.max`, confidence"),
            ("verified | spec 5.1", "verified | spek 5.1", "there is no source `spek`"),
            ("verified | spec 5.1", "verified | blog", "secondary source"),
            ("verified | spec 5.1", "reported | -", "needs a source"),
            ("x.banks", "x.smem.max", "chapters/x.md:10: fact `x.smem.max`, id: two facts have it"),
            ("x.banks", "Banks", "`Banks` is not an id"),
            ("| 32 |", "| |", "value: it is empty"),
            ("| 32 |", "| 32 | 4 |", "chapters/x.md:10: 7 cells, 6 columns"),
            ("| unit |", "| units |", "chapters/x.md:7: a table of facts has no column `units`"),
            ("## Shared", "# Shared", "chapters/x.md:7"),
        ];
        for (from, to, expected) in cases {
            assert!(GOOD.contains(from), "{from}");
            let error = read(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    #[test]
    fn a_bar_can_be_written_in_a_cell() {
        assert_eq!(cells(r"| a \| b | `c` | \d |"), ["a | b", "c", r"\d"]);
    }
}
