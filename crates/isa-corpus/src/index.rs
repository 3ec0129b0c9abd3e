//! Full-text search over sections, facts and rules: `SQLite`'s FTS5 in memory, ranked by BM25.
//!
//! The database is filled when it is opened and never written again, so equal corpora give equal answers.

use std::sync::{Arc, Mutex, PoisonError};

use kernsmith_core::Target;
use rusqlite::{Connection, params};

use crate::corpus::Corpus;
use crate::error::CorpusError;
use crate::import::Imported;

/// Weights of the columns `name`, `synonyms`, `body`: a word of a heading tells more than one of the text.
const RANK: &str = "bm25(words, 8.0, 5.0, 1.0)";
const MAX_HITS: usize = 200;

/// What a row of the index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// `(chapter, section)`.
    Section,
    /// `(chapter, fact)`.
    Fact,
    /// `(rule, 0)`.
    Rule,
    /// `(import, instruction)`.
    Instruction,
}

/// One hit; a larger score is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Hit {
    pub(crate) kind: Kind,
    pub(crate) first: usize,
    pub(crate) second: usize,
    pub(crate) score: f64,
}

/// A corpus with its index.
#[derive(Debug)]
pub struct Search {
    pub(crate) corpus: Arc<Corpus>,
    pub(crate) imported: Vec<Imported>,
    connection: Mutex<Connection>,
}

impl Search {
    /// Fills the index with a corpus and with imported instruction sets.
    pub fn new(corpus: Arc<Corpus>, imported: Vec<Imported>) -> Result<Self, CorpusError> {
        let mut connection = Connection::open_in_memory()?;
        connection.execute_batch(
            "CREATE TABLE item (id INTEGER PRIMARY KEY, kind INTEGER, first INTEGER, second INTEGER);
             CREATE VIRTUAL TABLE words USING fts5(name, synonyms, body, content='',
                 tokenize=\"porter unicode61 remove_diacritics 2\", prefix='3 4');",
        )?;
        let transaction = connection.transaction()?;
        for row in rows(&corpus, &imported) {
            let place = params![row.kind as i64, row.first as i64, row.second as i64];
            transaction.execute("INSERT INTO item (kind, first, second) VALUES (?1, ?2, ?3)", place)?;
            let id = transaction.last_insert_rowid();
            transaction.execute(
                "INSERT INTO words (rowid, name, synonyms, body) VALUES (?1, ?2, ?3, ?4)",
                params![id, spread(&row.name), spread(&row.synonyms), spread(&row.body)],
            )?;
        }
        transaction.commit()?;
        Ok(Self { corpus, imported, connection: Mutex::new(connection) })
    }

    /// The corpus that is searched.
    pub fn corpus(&self) -> &Arc<Corpus> {
        &self.corpus
    }

    /// What was imported.
    pub fn imported(&self) -> &[Imported] {
        &self.imported
    }

    /// The best hits for some words, best first, equal ones in the corpus's order.
    pub(crate) fn hits(&self, words: &str, target: Option<&Target>) -> Result<Vec<Hit>, CorpusError> {
        let Some(query) = query_of(words) else { return Ok(Vec::new()) };
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let sql = format!(
            "SELECT item.kind, item.first, item.second, {RANK} FROM words JOIN item ON item.id = words.rowid
             WHERE words MATCH ?1 ORDER BY {RANK}, item.id"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let found = statement.query_map(params![query], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, row.get::<_, f64>(3)?))
        })?;
        let mut hits = Vec::new();
        for row in found {
            let (kind, first, second, rank) = row?;
            let kind = [Kind::Section, Kind::Fact, Kind::Rule, Kind::Instruction][kind as usize];
            let hit = Hit { kind, first: first as usize, second: second as usize, score: -rank };
            if self.holds_for(hit, target) {
                hits.push(hit);
            }
            if hits.len() == MAX_HITS {
                break;
            }
        }
        Ok(hits)
    }

    fn holds_for(&self, hit: Hit, target: Option<&Target>) -> bool {
        let Some(target) = target else { return true };
        match hit.kind {
            Kind::Section => self.corpus.chapters[hit.first].targets.contains(target),
            Kind::Fact => self.corpus.chapters[hit.first].facts[hit.second].holds_for(target),
            Kind::Rule => self.corpus.rules.rules[hit.first].targets.contains(target),
            Kind::Instruction => self.imported[hit.first].target == *target,
        }
    }
}

struct Row {
    kind: Kind,
    first: usize,
    second: usize,
    name: String,
    synonyms: String,
    body: String,
}

fn rows(corpus: &Corpus, imported: &[Imported]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (first, chapter) in corpus.chapters.iter().enumerate() {
        let targets: Vec<String> = chapter.targets.iter().map(ToString::to_string).collect();
        for (second, section) in chapter.sections.iter().enumerate() {
            let name = format!("{}#{}", chapter.id, section.anchor);
            let topics = corpus.topics.iter().filter(|topic| topic.sections.contains(&name));
            let synonyms: Vec<String> = topics
                .map(|topic| format!("{} {} {}", topic.id, topic.title, topic.synonyms.join(" ")))
                .collect();
            let facts: Vec<String> = chapter
                .facts_of(&section.anchor)
                .map(|fact| format!("{} {}", fact.key, fact.statement))
                .collect();
            let body = format!("{} {} {}", section.prose, facts.join(" "), targets.join(" "));
            let (name, synonyms) = (section.title.clone(), synonyms.join(" "));
            rows.push(Row { kind: Kind::Section, first, second, name, synonyms, body });
        }
        for (second, fact) in chapter.facts.iter().enumerate() {
            let (name, body) = (fact.key.clone(), format!("{} {}", fact.statement, fact.quantity()));
            rows.push(Row { kind: Kind::Fact, first, second, name, synonyms: String::new(), body });
        }
    }
    for (first, rule) in corpus.rules.iter().enumerate() {
        let body = format!("{} {}", rule.message, rule.remedy);
        let (name, synonyms) = (rule.id.clone(), String::new());
        rows.push(Row { kind: Kind::Rule, first, second: 0, name, synonyms, body });
    }
    for (first, import) in imported.iter().enumerate() {
        for (second, instruction) in import.instructions.iter().enumerate() {
            let (name, body) = (instruction.name.clone(), instruction.description.clone());
            let synonyms = instruction.group.clone();
            rows.push(Row { kind: Kind::Instruction, first, second, name, synonyms, body });
        }
    }
    rows
}

/// Joins the parts of names by blanks, and keeps the names too, so that `shared_memory.block_max`, `shared` and `v_mfma_f32` are found.
fn spread(text: &str) -> String {
    let parts = text.replace(['_', '.', '-', '/', '#', ':', '`'], " ");
    let names = text.split_whitespace().filter(|word| word.contains('_'));
    let joined: Vec<String> =
        names.map(|name| name.replace(|c: char| !c.is_ascii_alphanumeric(), "")).collect();
    format!("{parts} {}", joined.join(" "))
}

/// Words that tell nothing.
const EMPTY_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "at", "be", "by", "can", "do", "does", "for", "from", "how", "i", "in", "is",
    "it", "many", "much", "my", "of", "on", "or", "per", "than", "that", "the", "to", "use", "what", "when",
    "which", "with",
];

/// The words of a question as an FTS5 query: any of them, longer ones also as the beginning of a word.
fn query_of(words: &str) -> Option<String> {
    let mut terms: Vec<String> = Vec::new();
    for word in words.to_lowercase().split(|c: char| !c.is_alphanumeric() && c != '_') {
        let parts = word.split('_').filter(|part| !part.is_empty());
        let whole = word.replace('_', "");
        for part in parts.map(str::to_owned).chain(word.contains('_').then_some(whole)) {
            if EMPTY_WORDS.contains(&part.as_str()) {
                continue;
            }
            let term = if part.len() >= 4 { format!("\"{part}\"*") } else { format!("\"{part}\"") };
            if !terms.contains(&term) {
                terms.push(term);
            }
        }
    }
    (!terms.is_empty()).then(|| terms.join(" OR "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_becomes_terms_that_cannot_break_the_query() {
        assert_eq!(query_of("How many registers per lane?").unwrap(), "\"registers\"* OR \"lane\"*");
        assert_eq!(
            query_of("v_mfma \"x\" OR NEAR(").unwrap(),
            "\"v\" OR \"mfma\"* OR \"vmfma\"* OR \"x\" OR \"near\"*"
        );
        assert_eq!(query_of("of the *"), None);
    }
}
