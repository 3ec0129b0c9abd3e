//! Questions in SQL, answered read-only.

use std::path::Path;

use rusqlite::hooks::{AuthAction, Authorization};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde::{Serialize, Serializer};

use super::{INDEX_FILE, Index, PATIENCE};
use crate::LogError;

/// One value of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// No value.
    Null,
    /// A whole number; truth values are 0 and 1.
    Int(i64),
    /// A number.
    Real(f64),
    /// A text, which may hold JSON.
    Text(String),
}

/// An answer: rows under named columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
}

impl Index {
    /// Answers one `SELECT` from the file as it stands; nothing can be changed through it.
    pub fn query(&self, sql: &str) -> Result<Table, LogError> {
        let mut table = Table::default();
        self.query_each(sql, |columns, cells| {
            if table.columns.is_empty() {
                table.columns = columns.to_vec();
            }
            if let Some(cells) = cells {
                table.rows.push(cells);
            }
            true
        })?;
        Ok(table)
    }

    /// The same, row by row: `each` gets the names of the columns and a row, first of all once without a row, and says
    /// whether to go on.
    pub fn query_each(
        &self,
        sql: &str,
        mut each: impl FnMut(&[String], Option<Vec<Cell>>) -> bool,
    ) -> Result<(), LogError> {
        let connection = read_only(&self.root).map_err(self.failed())?;
        let mut statement = connection.prepare(sql).map_err(|error| problem(&error))?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        if columns.is_empty() {
            return Err(LogError::Query {
                problem: "this is no question: expected one `SELECT …`".to_owned(),
            });
        }
        let mut rows = statement.query([]).map_err(|error| problem(&error))?;
        let mut go_on = each(&columns, None);
        while go_on && let Some(row) = rows.next().map_err(|error| problem(&error))? {
            let cells = (0..columns.len()).map(|place| row.get_ref(place).map(Cell::from));
            let cells = cells.collect::<Result<_, _>>().map_err(|error| problem(&error))?;
            go_on = each(&columns, Some(cells));
        }
        Ok(())
    }
}

fn read_only(root: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(root.join(INDEX_FILE), flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "query_only", true)?;
    allow_questions_only(&mut connection)?;
    Ok(connection)
}

/// Nothing but reading: no writing, no attaching, no settings.
pub(super) fn allow_questions_only(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.authorizer(Some(|context: rusqlite::hooks::AuthContext<'_>| match context.action {
        AuthAction::Function { function_name } if function_name != "load_extension" => Authorization::Allow,
        // The full-text table asks for its data version to see whether it has changed.
        AuthAction::Select
        | AuthAction::Read { .. }
        | AuthAction::Recursive
        | AuthAction::Pragma { pragma_name: "data_version", pragma_value: None } => Authorization::Allow,
        _ => Authorization::Deny,
    }))
}

pub(super) fn problem(error: &rusqlite::Error) -> LogError {
    let text = match error {
        rusqlite::Error::MultipleStatement => "one statement at a time".to_owned(),
        rusqlite::Error::SqlInputError { msg, sql, offset, .. } => {
            let offset = usize::try_from(*offset).unwrap_or(0);
            let near: String = sql.get(offset..).unwrap_or_default().chars().take(30).collect();
            let near = near.trim();
            if near.is_empty() { msg.clone() } else { format!("{msg}, at `{near}`") }
        }
        other => other.to_string(),
    };
    let refused = error.sqlite_error_code() == Some(rusqlite::ErrorCode::AuthorizationForStatementDenied);
    let problem = if refused { format!("only SELECT is answered ({text})") } else { text };
    LogError::Query { problem }
}

impl From<ValueRef<'_>> for Cell {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(value) => Self::Int(value),
            ValueRef::Real(value) => Self::Real(value),
            ValueRef::Text(text) => Self::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Self::Text(format!("{} bytes", bytes.len())),
        }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Int(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// One row as a JSON object, columns in their order.
#[derive(Debug, Clone, Copy)]
pub struct RowObject<'a> {
    /// Names of the columns.
    pub columns: &'a [String],
    /// The values.
    pub cells: &'a [Cell],
}

impl Serialize for RowObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.columns.iter().zip(self.cells))
    }
}

impl Table {
    /// The rows as JSON objects.
    pub fn objects(&self) -> impl Iterator<Item = RowObject<'_>> {
        self.rows.iter().map(|cells| RowObject { columns: &self.columns, cells })
    }
}
