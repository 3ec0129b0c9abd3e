//! Keeping up with the runs: what is new in each, and what must be read again.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use kernsmith_core::{Digest, Seq};
use rusqlite::{Connection, OptionalExtension, params};

use super::IndexUpdate;
use super::fold::Fold;
use crate::error::run_name;
use crate::history::{Chain, Lines, bad_event};
use crate::line::is_known;
use crate::{HISTORY_FILE, LogError, RunReader, SEAL_FILE, provenance};

/// Everything of a run, in the order in which it is taken out.
const TABLES_OF_A_RUN: [&str; 8] =
    ["entries", "proposals", "judgements", "workloads", "gates", "nodes", "edits", "champions"];

/// Why a run could not be followed.
pub(super) enum Problem {
    Log(LogError),
    Database(rusqlite::Error),
}

impl Problem {
    pub(super) fn into_log(self, path: &Path) -> LogError {
        match self {
            Self::Log(error) => error,
            Self::Database(source) => LogError::Index { path: path.to_owned(), source },
        }
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// How far a run has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bookmark {
    id: i64,
    last: Digest,
    last_offset: u64,
    end_offset: u64,
    entries: u64,
    file_bytes: u64,
    modified_ns: i64,
    damaged: bool,
}

/// Takes out runs that are no longer there.
pub(super) fn remove_others(
    database: &Connection,
    directories: &[PathBuf],
    update: &mut IndexUpdate,
) -> rusqlite::Result<()> {
    let names: Vec<String> = directories.iter().map(|directory| run_name(directory)).collect();
    let known: Vec<(i64, String)> = database
        .prepare("SELECT id, run FROM runs")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (id, _) in known.into_iter().filter(|(_, run)| !names.contains(run)) {
        forget(database, id)?;
        update.removed += 1;
    }
    Ok(())
}

/// Brings one run up to date.
pub(super) fn follow(
    database: &Connection,
    directory: &Path,
    update: &mut IndexUpdate,
) -> Result<(), Problem> {
    let path = directory.join(HISTORY_FILE);
    let metadata = std::fs::metadata(&path).map_err(LogError::io("read", &path))?;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified_ns = modified.map_or(0, |since| since.as_nanos() as i64);
    let known = bookmark(database, &run_name(directory))?;
    if let Some(known) = &known
        && (known.file_bytes, known.modified_ns) == (metadata.len(), modified_ns)
    {
        return Ok(note_state(database, known, directory)?);
    }
    let resumed = match known {
        Some(known) if still_begins_so(&path, &known, metadata.len())? => known,
        other => {
            if let Some(old) = other {
                forget(database, old.id)?;
            }
            begin(database, &run_name(directory))?
        }
    };
    let fresh = resumed.entries == 0;
    let read = read_on(database, directory, resumed, update)?;
    update.reread += u64::from(fresh);
    update.continued += u64::from(!fresh);
    let book = Bookmark { file_bytes: metadata.len().max(read.end_offset), modified_ns, ..read };
    Ok(turn_page(database, &book, directory)?)
}

fn bookmark(database: &Connection, run: &str) -> rusqlite::Result<Option<Bookmark>> {
    let sql = "SELECT id, last, last_offset, end_offset, entries, file_bytes, file_modified_ns, state FROM runs WHERE run = ?1";
    database
        .prepare_cached(sql)?
        .query_row([run], |row| {
            Ok(Bookmark {
                id: row.get(0)?,
                last: row.get::<_, String>(1)?.parse().unwrap_or(Digest::ZERO),
                last_offset: row.get(2)?,
                end_offset: row.get(3)?,
                entries: row.get(4)?,
                file_bytes: row.get(5)?,
                modified_ns: row.get(6)?,
                damaged: row.get::<_, String>(7)? == "damaged",
            })
        })
        .optional()
}

/// Whether the file has only grown: the last line that was read still stands where it stood, and through the chain it
/// speaks for all lines before it.
fn still_begins_so(path: &Path, known: &Bookmark, bytes: u64) -> Result<bool, LogError> {
    if known.damaged || known.entries == 0 || bytes <= known.file_bytes {
        return Ok(false);
    }
    let mut line = vec![0; (known.end_offset - known.last_offset) as usize];
    let mut file = File::open(path).map_err(LogError::io("open", path))?;
    file.seek(SeekFrom::Start(known.last_offset))
        .and_then(|_| file.read_exact(&mut line))
        .map_err(LogError::io("read", path))?;
    Ok(line.pop() == Some(b'\n') && Digest::of(&line) == known.last)
}

fn begin(database: &Connection, run: &str) -> rusqlite::Result<Bookmark> {
    let sql = "INSERT INTO runs (run, first, last, last_offset, end_offset, file_bytes, file_modified_ns, entries, state) \
               VALUES (?1, ?2, ?2, 0, 0, 0, 0, 0, 'open')";
    database.execute(sql, params![run, Digest::ZERO.to_string()])?;
    let id = database.last_insert_rowid();
    let (last, damaged) = (Digest::ZERO, false);
    Ok(Bookmark {
        id,
        last,
        last_offset: 0,
        end_offset: 0,
        entries: 0,
        file_bytes: 0,
        modified_ns: 0,
        damaged,
    })
}

/// Reads from the bookmark to the end, or to the first damage.
fn read_on(
    database: &Connection,
    directory: &Path,
    from: Bookmark,
    update: &mut IndexUpdate,
) -> Result<Bookmark, Problem> {
    let mut lines = Lines::open_at(directory, from.end_offset, from.entries)?;
    let mut chain = Chain { next: Seq(from.entries), last: from.last };
    let sources = if has_sources(database)? { RunReader::open(directory).ok() } else { None };
    let mut fold = Fold::new(database, from.id, sources)?;
    let mut book = from;
    while lines.advance()? {
        let checked = chain.check(lines.bytes()).map_err(|flaws| flaws.into_iter().next());
        let damage = match checked {
            Ok(line) => match line.entry() {
                Ok(entry) => fold.entry(&entry).map(|()| None)?,
                Err(_) if !is_known(&line.event_name()) => fold.unknown(&line).map(|()| None)?,
                Err(error) => Some(lines.damage(bad_event(&error))),
            },
            Err(flaw) => flaw.map(|flaw| lines.damage(flaw)),
        };
        if let Some(damage) = damage {
            update.damages.push(format!("{}: {damage}", run_name(directory)));
            database
                .execute("UPDATE runs SET damage = ?2 WHERE id = ?1", params![book.id, damage.to_string()])?;
            book.damaged = true;
            break;
        }
        (book.last, book.last_offset, book.end_offset) = (chain.last, lines.begin(), lines.end());
        if book.entries == 0 {
            database.execute(
                "UPDATE runs SET first = ?2 WHERE id = ?1",
                params![book.id, book.last.to_string()],
            )?;
        }
        book.entries += 1;
        update.entries += 1;
    }
    Ok(book)
}

fn turn_page(database: &Connection, book: &Bookmark, directory: &Path) -> rusqlite::Result<()> {
    let sql = "UPDATE runs SET last = ?2, last_offset = ?3, end_offset = ?4, entries = ?5, file_bytes = ?6, \
               file_modified_ns = ?7 WHERE id = ?1";
    database.execute(
        sql,
        params![
            book.id,
            book.last.to_string(),
            book.last_offset,
            book.end_offset,
            book.entries,
            book.file_bytes,
            book.modified_ns
        ],
    )?;
    note_state(database, book, directory)
}

/// The seal is a file of its own and comes and goes without the history; so is the note of where a run came from.
fn note_state(database: &Connection, book: &Bookmark, directory: &Path) -> rusqlite::Result<()> {
    let state = match (book.damaged, directory.join(SEAL_FILE).exists()) {
        (true, _) => "damaged",
        (false, true) => "sealed",
        (false, false) => "open",
    };
    let imported = provenance(directory).map(|provenance| provenance.from);
    let sql = "UPDATE runs SET state = ?2, imported_from = ?3 WHERE id = ?1 AND (state <> ?2 OR imported_from IS NOT ?3)";
    database.execute(sql, params![book.id, state, imported]).map(drop)
}

/// Takes a run out of the index.
fn forget(database: &Connection, id: i64) -> rusqlite::Result<()> {
    database.execute(
        "DELETE FROM source_words WHERE rowid IN (SELECT id FROM source_texts WHERE run_id = ?1)",
        [id],
    )?;
    database.execute("DELETE FROM source_texts WHERE run_id = ?1", [id])?;
    for table in TABLES_OF_A_RUN {
        database.execute(&format!("DELETE FROM {table} WHERE run_id = ?1"), [id])?;
    }
    database.execute("DELETE FROM runs WHERE id = ?1", [id]).map(drop)
}

/// Whether the texts of candidates are in the index too.
pub(super) fn has_sources(database: &Connection) -> rusqlite::Result<bool> {
    let value: Option<String> = database
        .query_row("SELECT value FROM meta WHERE name = 'sources'", [], |row| row.get(0))
        .optional()?;
    Ok(value.as_deref() == Some("yes"))
}
