//! Tables as Apache Parquet, for data frames and columnar databases.
//!
//! A table is flat and its columns are whole numbers, numbers or texts, each of which may be absent: the least that the format
//! needs for that is little. Written are one page a column and row group, values in plain encoding behind their definition
//! levels, compressed with zstd, and the footer in Thrift's compact protocol. Sources: the format's own description
//! (parquet-format 2.10, `README.md`, `Encodings.md`, `parquet.thrift`) and Thrift's (`thrift-compact-protocol.md`).

mod page;
mod thrift;

use std::io::{self, Write};

use crate::{Cell, Table};
use page::Chunk;
use thrift::Struct;

const MAGIC: &[u8; 4] = b"PAR1";
/// Rows of one row group: a page of the widest view stays far below the two GiB that its header can name.
const GROUP_ROWS: usize = 20_000;
/// The version of the file's metadata.
const VERSION: i64 = 1;

/// What a column holds, by the format's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int = 2,
    Real = 5,
    Text = 6,
}

impl Kind {
    /// The narrowest kind that holds all cells of a column; SQL does not say it beforehand.
    fn of<'a>(cells: impl Iterator<Item = &'a Cell>) -> Self {
        let mut kind = None;
        for cell in cells {
            kind = match (kind, cell) {
                (kind, Cell::Null) => kind,
                (None | Some(Self::Int), Cell::Int(_)) => Some(Self::Int),
                (None | Some(Self::Int | Self::Real), Cell::Int(_) | Cell::Real(_)) => Some(Self::Real),
                _ => return Self::Text,
            };
        }
        kind.unwrap_or(Self::Text)
    }
}

/// Writes a table as one Parquet file.
pub fn write_parquet(table: &Table, out: &mut impl Write) -> io::Result<()> {
    let column = |place: usize| table.rows.iter().map(move |row| &row[place]);
    let kinds: Vec<Kind> = (0..table.columns.len()).map(|place| Kind::of(column(place))).collect();
    out.write_all(MAGIC)?;
    let mut offset = MAGIC.len() as u64;
    let mut groups = Vec::new();
    for rows in table.rows.chunks(GROUP_ROWS) {
        let mut chunks = Vec::with_capacity(kinds.len());
        for (place, kind) in kinds.iter().enumerate() {
            let chunk = Chunk::of(*kind, &rows.iter().map(|row| &row[place]))?;
            out.write_all(&chunk.bytes)?;
            chunks.push((offset, chunk));
            offset += chunks.last().map_or(0, |(_, chunk)| chunk.bytes.len() as u64);
        }
        groups.push(group(table, &kinds, rows.len(), &chunks));
    }
    let footer = footer(table, &kinds, &groups);
    out.write_all(&footer)?;
    out.write_all(&(footer.len() as u32).to_le_bytes())?;
    out.write_all(MAGIC)
}

fn footer(table: &Table, kinds: &[Kind], groups: &[Struct]) -> Vec<u8> {
    const UTF8: i64 = 0;
    const OPTIONAL: i64 = 1;
    let root = Struct::default().text(4, "table").int(5, kinds.len() as i64);
    let columns = table.columns.iter().zip(kinds).map(|(name, kind)| {
        let column = Struct::default().int(1, *kind as i64).int(3, OPTIONAL).text(4, name);
        match kind {
            // A text is so by the old word and by the new one, the first member of the union of logical types.
            Kind::Text => {
                column.int(6, UTF8).structure(10, &Struct::default().structure(1, &Struct::default()))
            }
            Kind::Int | Kind::Real => column,
        }
    });
    let schema: Vec<Struct> = std::iter::once(root).chain(columns).collect();
    Struct::default()
        .int(1, VERSION)
        .structures(2, &schema)
        .long(3, table.rows.len() as i64)
        .structures(4, groups)
        .text(6, concat!("kernsmith version ", env!("CARGO_PKG_VERSION")))
        .finish()
}

fn group(table: &Table, kinds: &[Kind], rows: usize, chunks: &[(u64, Chunk)]) -> Struct {
    let columns: Vec<Struct> = chunks
        .iter()
        .zip(kinds.iter().zip(&table.columns))
        .map(|((offset, chunk), (kind, name))| {
            let metadata = Struct::default()
                .int(1, *kind as i64)
                .ints(2, &[page::PLAIN, page::RLE])
                .texts(3, &[name])
                .int(4, page::ZSTD)
                .long(5, rows as i64)
                .long(6, chunk.plain_bytes as i64)
                .long(7, chunk.bytes.len() as i64)
                .long(9, *offset as i64);
            Struct::default().long(2, *offset as i64).structure(3, &metadata)
        })
        .collect();
    let bytes: usize = chunks.iter().map(|(_, chunk)| chunk.plain_bytes).sum();
    Struct::default().structures(1, &columns).long(2, bytes as i64).long(3, rows as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row = |number: i64, real: Option<f64>, text: Option<&str>| {
            let real = real.map_or(Cell::Null, Cell::Real);
            vec![Cell::Int(number), real, text.map_or(Cell::Null, |text| Cell::Text(text.to_owned()))]
        };
        let rows = vec![row(-1, Some(0.5), Some("é\"\n")), row(2, None, None), row(3, Some(-2.0), Some(""))];
        Table { columns: ["number", "real", "text"].map(str::to_owned).to_vec(), rows }
    }

    #[test]
    fn a_column_gets_the_narrowest_kind_that_holds_it() {
        let text = Cell::Text("a".to_owned());
        let kind = |cells: &[Cell]| Kind::of(cells.iter());
        assert_eq!(kind(&[Cell::Null, Cell::Int(1)]), Kind::Int);
        assert_eq!(kind(&[Cell::Int(1), Cell::Real(0.5), Cell::Int(2)]), Kind::Real);
        assert_eq!(kind(&[Cell::Int(1), text, Cell::Int(2)]), Kind::Text);
        assert_eq!(kind(&[Cell::Null]), Kind::Text);
    }

    #[test]
    fn the_file_begins_and_ends_with_its_magic_and_names_the_size_of_its_footer() {
        for rows in [0, 3] {
            let mut table = table();
            table.rows.truncate(rows);
            let mut bytes = Vec::new();
            write_parquet(&table, &mut bytes).unwrap();
            let end = bytes.len();
            assert_eq!((&bytes[..4], &bytes[end - 4..]), (&MAGIC[..], &MAGIC[..]));
            let size = u32::from_le_bytes(bytes[end - 8..end - 4].try_into().unwrap()) as usize;
            assert!(size > 0 && size + 12 <= end);
            let footer = &bytes[end - 8 - size..end - 8];
            // Field 1 is the version, an i32: zigzag of 1.
            assert_eq!(footer[..2], [0x15, 0x02]);
            assert_eq!(footer.last(), Some(&0), "a struct ends with a stop");
        }
    }

    /// Read back by the reference implementation, where this machine has it.
    #[test]
    fn pyarrow_reads_what_was_written() {
        const SCRIPT: &str = "import sys, json, pyarrow.parquet as p\n\
            t = p.read_table(sys.argv[1])\n\
            print(json.dumps([t.schema.names, [str(f.type) for f in t.schema], t.to_pydict()]))";
        let python = std::process::Command::new("python3").args(["-c", "import pyarrow.parquet"]).output();
        if !python.is_ok_and(|output| output.status.success()) {
            let _ = writeln!(io::stderr(), "skipped: python3 has no pyarrow");
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut long = table();
        long.rows = long.rows.iter().cycle().take(3 * GROUP_ROWS / 2).cloned().collect();
        for table in [table(), long, Table { rows: Vec::new(), ..table() }] {
            let mut bytes = Vec::new();
            write_parquet(&table, &mut bytes).unwrap();
            std::fs::write(file.path(), &bytes).unwrap();
            let output =
                std::process::Command::new("python3").args(["-c", SCRIPT]).arg(file.path()).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let types = if table.rows.is_empty() {
                serde_json::json!(["string", "string", "string"])
            } else {
                serde_json::json!(["int64", "double", "string"])
            };
            assert_eq!((&read[0], &read[1]), (&serde_json::json!(table.columns), &types));
            for (place, name) in table.columns.iter().enumerate() {
                let cells: Vec<&Cell> = table.rows.iter().map(|row| &row[place]).collect();
                assert_eq!(read[2][name], serde_json::to_value(cells).unwrap(), "{name}");
            }
        }
    }
}
