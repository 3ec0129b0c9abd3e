//! Printing a table: columns for people, JSON, JSON lines, or CSV.

use kernsmith_experiment_log::{Cell, RowObject, Table};
use serde::Serialize;
use serde_json::json;

use crate::args::{Format, Global};
use crate::console::data;
use crate::error::{Answer, CliError};
use crate::exit::Exit;

/// A cell for people is cut at this many characters.
const WIDEST: usize = 60;

/// Prints a table as it is.
pub(super) fn print(global: &Global, table: &Table) -> Answer {
    match global.format {
        Format::Human => human(table),
        Format::Json => {
            let rows: Vec<RowObject<'_>> = table.objects().collect();
            data(&text(&json!({"schema_version": 1, "columns": table.columns, "rows": rows}))?);
        }
        Format::Jsonl => lines(table.objects())?,
        Format::Csv => {
            data(&csv_line(table.columns.iter().map(String::as_str)));
            table.rows.iter().for_each(|row| data(&csv_row(row)));
        }
        Format::Parquet => return Err(no_parquet()),
    }
    Ok(Exit::Done)
}

/// Prints rows that JSON can hold in full, and a flat table of them otherwise.
pub(super) fn print_rows<T: Serialize>(global: &Global, rows: &[T], flat: &Table) -> Answer {
    match global.format {
        Format::Json => data(&text(&json!({"schema_version": 1, "rows": rows}))?),
        Format::Jsonl => lines(rows.iter())?,
        _ => return print(global, flat),
    }
    Ok(Exit::Done)
}

fn lines<T: Serialize>(rows: impl Iterator<Item = T>) -> Result<(), CliError> {
    for row in rows {
        data(&text(&row)?);
    }
    Ok(())
}

/// One row as CSV (RFC 4180).
pub(super) fn csv_row(row: &[Cell]) -> String {
    let cells: Vec<String> = row.iter().map(ToString::to_string).collect();
    csv_line(cells.iter().map(String::as_str))
}

/// One line of CSV.
pub(super) fn csv_line<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let quoted = |cell: &str| {
        if cell.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.to_owned()
        }
    };
    cells.map(quoted).collect::<Vec<_>>().join(",")
}

/// A Parquet file is no text.
fn no_parquet() -> CliError {
    CliError::usage("a Parquet file is written by `kernsmith log export --format parquet --output FILE`")
}

/// JSON on one line.
pub(super) fn text<T: Serialize>(value: &T) -> Result<String, CliError> {
    serde_json::to_string(value).map_err(CliError::internal)
}

fn human(table: &Table) {
    let rows: Vec<Vec<String>> = table.rows.iter().map(|row| row.iter().map(shown).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([table.columns[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();
    let line = |cells: &[String], row: Option<&Vec<Cell>>| {
        let aligned = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            match row.map(|row| &row[column]) {
                Some(Cell::Int(_) | Cell::Real(_)) => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            }
        });
        aligned.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    data(&line(&table.columns, None));
    rows.iter().zip(&table.rows).for_each(|(cells, row)| data(&line(cells, Some(row))));
}

fn shown(cell: &Cell) -> String {
    let text = match cell {
        Cell::Null => "-".to_owned(),
        Cell::Real(value) if value.fract() == 0.0 && value.abs() < 1e15 => format!("{value}"),
        Cell::Real(value) if (1e-3..1e6).contains(&value.abs()) => format!("{value:.4}"),
        Cell::Real(value) => format!("{value:.3e}"),
        other => other.to_string().replace(['\n', '\r'], " "),
    };
    if text.chars().count() <= WIDEST {
        return text;
    }
    text.chars().take(WIDEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_would_break_a_line() {
        let row = [Cell::Text("a,\"b\"\n".to_owned()), Cell::Null, Cell::Int(3), Cell::Real(0.5)];
        assert_eq!(csv_row(&row), "\"a,\"\"b\"\"\n\",,3,0.5");
    }

    #[test]
    fn a_long_cell_is_cut_for_people_only() {
        let cell = Cell::Text("é".repeat(100));
        assert_eq!(shown(&cell).chars().count(), WIDEST);
        assert_eq!(cell.to_string().chars().count(), 100);
    }
}
