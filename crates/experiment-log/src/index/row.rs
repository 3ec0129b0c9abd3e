//! Writing one row by column names.

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, ToSql, params_from_iter};

/// A row that is being put together; the statement is built once a table and found again by its text.
pub(super) struct Row<'a> {
    table: &'static str,
    names: Vec<&'static str>,
    values: Vec<ToSqlOutput<'a>>,
}

impl<'a> Row<'a> {
    pub(super) fn new(table: &'static str) -> Self {
        Self { table, names: Vec::with_capacity(40), values: Vec::with_capacity(40) }
    }

    /// Adds a column. Numbers that are not finite become null, as SQL has no word for them.
    pub(super) fn set(mut self, name: &'static str, value: &'a (impl ToSql + ?Sized)) -> Self {
        self.names.push(name);
        self.values.push(value.to_sql().unwrap_or(ToSqlOutput::Owned(rusqlite::types::Value::Null)));
        self
    }

    pub(super) fn insert(self, database: &Connection) -> rusqlite::Result<()> {
        let marks = vec!["?"; self.names.len()].join(",");
        let sql =
            format!("INSERT OR REPLACE INTO {} ({}) VALUES ({marks})", self.table, self.names.join(","));
        database.prepare_cached(&sql)?.execute(params_from_iter(self.values)).map(drop)
    }

    /// Changes the row whose `key` columns have the given values.
    pub(super) fn update(self, database: &Connection, key: &[(&str, i64)]) -> rusqlite::Result<()> {
        let sets: Vec<String> = self.names.iter().map(|name| format!("{name}=?")).collect();
        let keys: Vec<String> = key.iter().map(|(name, _)| format!("{name}=?")).collect();
        let sql = format!("UPDATE {} SET {} WHERE {}", self.table, sets.join(","), keys.join(" AND "));
        let keys = key.iter().map(|(_, value)| ToSqlOutput::Owned((*value).into()));
        database
            .prepare_cached(&sql)?
            .execute(params_from_iter(self.values.into_iter().chain(keys)))
            .map(drop)
    }
}
