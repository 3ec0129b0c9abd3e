//! One run as tables in memory, for questions of somebody who may see neither other runs nor everything of this one.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::hooks::{AuthContext, Authorization};
use rusqlite::limits::Limit;

use super::question::{Cell, Table, allow_questions_only, problem};
use super::{IndexUpdate, PUBLIC_VIEWS, TABLES, follow};
use crate::LogError;

/// Columns whose words may tell of shapes.
const WORDS: [(&str, &str); 7] = [
    ("proposals", "detail"),
    ("proposals", "rationale"),
    ("judgements", "detail"),
    ("gates", "note"),
    ("edits", "rationale"),
    ("nodes", "rationale"),
    ("nodes", "pruned"),
];
/// Steps of one question between two looks at the count, and looks until it is given up: some seconds of work.
const STEPS: std::ffi::c_int = 1000;
const MAX_LOOKS: u32 = 50_000;
/// Longest single value; a question could make one of any length.
const MAX_VALUE_BYTES: i32 = 1 << 20;

/// The index of one run, without the seed and the configuration.
#[derive(Debug)]
pub struct RunIndex {
    directory: PathBuf,
    connection: Connection,
}

impl RunIndex {
    /// An empty index of the run in that folder; [`RunIndex::update`] fills it.
    pub fn new(directory: &Path) -> Result<Self, LogError> {
        let failed = |source| LogError::Index { path: directory.to_owned(), source };
        let connection = Connection::open_in_memory().map_err(failed)?;
        connection.execute_batch(TABLES).map_err(failed)?;
        connection.execute_batch(PUBLIC_VIEWS).map_err(failed)?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES).map_err(failed)?;
        Ok(Self { directory: directory.to_owned(), connection })
    }

    /// Reads what is new; `public` gives the words that may be shown in place of any others.
    pub fn update(&mut self, public: impl Fn(&str) -> String) -> Result<(), LogError> {
        let path = self.directory.clone();
        let failed = |source| LogError::Index { path: path.clone(), source };
        let transaction = self.connection.transaction().map_err(failed)?;
        let mut update = IndexUpdate::default();
        follow::follow(&transaction, &self.directory, &mut update)
            .map_err(|problem| problem.into_log(&path))?;
        for (table, column) in WORDS {
            publish(&transaction, table, column, &public).map_err(failed)?;
        }
        transaction
            .execute_batch("UPDATE runs SET seed = NULL, config = NULL, config_digest = NULL")
            .map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    /// Answers one `SELECT` with at most `max_rows` rows; the flag says whether there are more.
    pub fn query(&mut self, sql: &str, max_rows: usize) -> Result<(Table, bool), LogError> {
        let path = self.directory.clone();
        let failed = |source| LogError::Index { path: path.clone(), source };
        allow_questions_only(&mut self.connection).map_err(failed)?;
        let mut looks = 0;
        let patience = move || {
            looks += 1;
            looks > MAX_LOOKS
        };
        self.connection.progress_handler(STEPS, Some(patience)).map_err(failed)?;
        let answer = self.answer(sql, max_rows);
        self.connection.progress_handler(0, None::<fn() -> bool>).map_err(failed)?;
        self.connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>).map_err(failed)?;
        answer.map_err(|error| problem(&error))
    }

    fn answer(&self, sql: &str, max_rows: usize) -> rusqlite::Result<(Table, bool)> {
        let mut statement = self.connection.prepare(sql)?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let width = columns.len();
        let mut table = Table { columns, rows: Vec::new() };
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if table.rows.len() == max_rows {
                return Ok((table, true));
            }
            table.rows.push((0..width).map(|at| row.get_ref(at).map(Cell::from)).collect::<Result<_, _>>()?);
        }
        Ok((table, false))
    }
}

/// Puts public words in place of those that are not. What was put there before stays as it is.
fn publish(
    database: &Connection,
    table: &str,
    column: &str,
    public: &dyn Fn(&str) -> String,
) -> rusqlite::Result<()> {
    let mut words = database
        .prepare_cached(&format!("SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL"))?;
    let found: Vec<String> = words.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for text in found {
        let shown = public(&text);
        if shown != text {
            let sql = format!("UPDATE {table} SET {column} = ?2 WHERE {column} = ?1");
            database.prepare_cached(&sql)?.execute([&text, &shown])?;
        }
    }
    Ok(())
}
