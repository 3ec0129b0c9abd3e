//! The derived index: the entries of all runs as tables, for questions in SQL.
//!
//! `index.sqlite` lies beside the runs and is never the truth: it is a fold of their entries, may be deleted at any time and is
//! brought up to date before every question. For each run it remembers how far it has read and the digest of the last line,
//! so that only new entries are read; a run that was damaged, replaced or touched in any other way is read again from its
//! first entry.

mod fold;
mod follow;
mod question;
mod row;
mod run;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

pub use question::{Cell, RowObject, Table};
pub use run::RunIndex;

use crate::{LogError, catalog};

/// The index's file, below the log's root.
pub const INDEX_FILE: &str = "index.sqlite";
/// The documented views, in order of use.
pub const VIEWS: [&str; 10] = [
    "v_runs",
    "v_candidates",
    "v_judgements",
    "v_workloads",
    "v_gates",
    "v_strategies",
    "v_entries",
    "v_champions",
    "v_edits",
    "v_sources",
];

/// Raised with every change of the tables: an index of another version is made again.
const INDEX_VERSION: i64 = 2;
const TABLES: &str = include_str!("index/tables.sql");
const PUBLIC_VIEWS: &str = include_str!("index/views.sql");
const PATIENCE: Duration = Duration::from_mins(1);

/// The index of one log folder.
#[derive(Debug)]
pub struct Index {
    root: PathBuf,
    path: PathBuf,
    connection: Connection,
}

/// What an update did.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct IndexUpdate {
    /// Runs in the index now.
    pub runs: u64,
    /// Runs of which new entries were read.
    pub continued: u64,
    /// Runs that were read from their first entry: new, replaced or damaged ones.
    pub reread: u64,
    /// Runs that are gone and were taken out.
    pub removed: u64,
    /// Entries that were read.
    pub entries: u64,
    /// Damages that ended the reading of a run early, in words.
    pub damages: Vec<String>,
}

impl Index {
    /// Opens the index below `root`, or makes an empty one. One that cannot be used (another version, a broken file) is
    /// thrown away: [`Index::update`] fills it again.
    pub fn open(root: &Path) -> Result<Self, LogError> {
        let path = root.join(INDEX_FILE);
        match Self::connect(root, &path) {
            Ok(Some(index)) => Ok(index),
            Ok(None) => Self::anew(root, &path),
            Err(LogError::Index { source, .. }) if is_broken(&source) => Self::anew(root, &path),
            Err(error) => Err(error),
        }
    }

    /// Throws the index away, makes it again and reads every run from its first entry. `sources` says whether the texts of
    /// all candidates are searchable too, which takes some six times their size; later updates keep to it.
    pub fn rebuild(root: &Path, sources: bool) -> Result<(Self, IndexUpdate), LogError> {
        let mut index = Self::anew(root, &root.join(INDEX_FILE))?;
        index.set_sources(sources).map_err(index.failed())?;
        let update = index.update()?;
        Ok((index, update))
    }

    /// The index's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what is new in all runs.
    pub fn update(&mut self) -> Result<IndexUpdate, LogError> {
        let directories = catalog::directories(&self.root)?;
        let path = self.path.clone();
        let failed = |source| LogError::Index { path: path.clone(), source };
        let mut update = IndexUpdate::default();
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        follow::remove_others(&transaction, &directories, &mut update).map_err(failed)?;
        for directory in &directories {
            follow::follow(&transaction, directory, &mut update)
                .map_err(|problem| problem.into_log(&path))?;
        }
        transaction.commit().map_err(failed)?;
        update.runs = directories.len() as u64;
        Ok(update)
    }

    /// Whether the texts of candidates can be searched.
    pub fn has_sources(&self) -> Result<bool, LogError> {
        follow::has_sources(&self.connection).map_err(self.failed())
    }

    fn set_sources(&self, sources: bool) -> rusqlite::Result<()> {
        let value = if sources { "yes" } else { "no" };
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('sources', ?1)", [value]).map(drop)
    }

    fn failed(&self) -> impl FnOnce(rusqlite::Error) -> LogError {
        let path = self.path.clone();
        move |source| LogError::Index { path, source }
    }

    /// `None` where the file is of another version.
    fn connect(root: &Path, path: &Path) -> Result<Option<Self>, LogError> {
        let failed = |source| LogError::Index { path: path.to_owned(), source };
        std::fs::create_dir_all(root).map_err(LogError::io("create", root))?;
        let connection = Connection::open(path).map_err(failed)?;
        let index = Self { root: root.to_owned(), path: path.to_owned(), connection };
        index.prepare().map(|usable| usable.then_some(index)).map_err(failed)
    }

    fn prepare(&self) -> rusqlite::Result<bool> {
        self.connection.busy_timeout(PATIENCE)?;
        // Nothing is lost when the machine dies here: what is derived is derived again.
        self.connection.pragma_update(None, "synchronous", "OFF")?;
        self.connection.pragma_update(None, "journal_mode", "TRUNCATE")?;
        self.connection.set_prepared_statement_cache_capacity(64);
        let version: i64 = self.connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            // Two processes may come here at once: the second one finds the tables of the first.
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            let version: i64 = self.connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if version == 0 {
                self.connection.execute_batch(TABLES)?;
                self.connection.execute_batch(PUBLIC_VIEWS)?;
                self.connection.pragma_update(None, "user_version", INDEX_VERSION)?;
            }
            self.connection.execute_batch("COMMIT")?;
            return Ok(true);
        }
        Ok(version == INDEX_VERSION)
    }

    fn anew(root: &Path, path: &Path) -> Result<Self, LogError> {
        for name in [INDEX_FILE, "index.sqlite-journal", "index.sqlite-wal", "index.sqlite-shm"] {
            match std::fs::remove_file(root.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(LogError::io("remove", &root.join(name))(error));
                }
                _ => {}
            }
        }
        Self::connect(root, path)?
            .ok_or_else(|| LogError::Index { path: path.to_owned(), source: rusqlite::Error::InvalidQuery })
    }
}

fn is_broken(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
        || matches!(error, rusqlite::Error::SqliteFailure(failure, Some(text))
            if failure.code == rusqlite::ErrorCode::Unknown && text.contains("already exists"))
}
