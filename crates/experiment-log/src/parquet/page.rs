//! One column of one row group: a single page.

use std::io;

use super::Kind;
use super::thrift::{Struct, varint};
use crate::Cell;

/// Encodings and codec, by the format's numbers.
pub(crate) const PLAIN: i64 = 0;
pub(crate) const RLE: i64 = 3;
pub(crate) const ZSTD: i64 = 6;
const DATA_PAGE: i64 = 0;
const ZSTD_LEVEL: i32 = 3;

/// A page with its header.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    /// Its size without compression, header included.
    pub(crate) plain_bytes: usize,
}

impl Chunk {
    pub(crate) fn of<'a>(
        kind: Kind,
        cells: &(impl ExactSizeIterator<Item = &'a Cell> + Clone),
    ) -> io::Result<Self> {
        let content = content(kind, cells);
        let stored = zstd::bulk::compress(&content, ZSTD_LEVEL)?;
        let too_large = |_| io::Error::new(io::ErrorKind::FileTooLarge, "a page of more than 2 GiB");
        let size = i32::try_from(content.len()).map_err(too_large)?;
        let values = Struct::default().int(1, cells.len() as i64).int(2, PLAIN).int(3, RLE).int(4, RLE);
        let header = Struct::default()
            .int(1, DATA_PAGE)
            .int(2, i64::from(size))
            .int(3, stored.len() as i64)
            .structure(5, &values)
            .finish();
        let plain_bytes = header.len() + content.len();
        Ok(Self { bytes: [header, stored].concat(), plain_bytes })
    }
}

/// Definition levels, then the values that are there.
fn content<'a>(kind: Kind, cells: &(impl ExactSizeIterator<Item = &'a Cell> + Clone)) -> Vec<u8> {
    let mut bytes = levels(cells.clone());
    for cell in cells.clone() {
        match (kind, cell) {
            (_, Cell::Null) => {}
            (Kind::Int, Cell::Int(value)) => bytes.extend(value.to_le_bytes()),
            (Kind::Real, Cell::Real(value)) => bytes.extend(value.to_le_bytes()),
            (Kind::Real, Cell::Int(value)) => bytes.extend((*value as f64).to_le_bytes()),
            (_, other) => {
                let text = other.to_string();
                bytes.extend((text.len() as u32).to_le_bytes());
                bytes.extend(text.as_bytes());
            }
        }
    }
    bytes
}

/// One bit a cell, whether it has a value: a single bit-packed run of the hybrid encoding, behind its size.
fn levels<'a>(cells: impl ExactSizeIterator<Item = &'a Cell>) -> Vec<u8> {
    let groups = cells.len().div_ceil(8);
    let mut run = Vec::with_capacity(groups + 4);
    varint(&mut run, (groups as u64) << 1 | 1);
    let start = run.len();
    run.resize(start + groups, 0);
    for (place, cell) in cells.enumerate() {
        run[start + place / 8] |= u8::from(*cell != Cell::Null) << (place % 8);
    }
    let mut bytes = (run.len() as u32).to_le_bytes().to_vec();
    bytes.extend(run);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out by hand from the format's description.
    #[test]
    fn levels_and_values_have_their_bytes() {
        let cells = [Cell::Int(7), Cell::Null, Cell::Int(-1)];
        let bytes = content(Kind::Int, &cells.iter());
        let expected = [&[2, 0, 0, 0, 0x03, 0b101][..], &7_i64.to_le_bytes(), &[0xFF; 8]].concat();
        assert_eq!(bytes, expected);
        let texts = [Cell::Text("ab".to_owned()), Cell::Int(5)];
        assert_eq!(content(Kind::Text, &texts.iter())[6..], [2, 0, 0, 0, b'a', b'b', 1, 0, 0, 0, b'5']);
    }

    #[test]
    fn nine_levels_take_two_groups() {
        let cells = vec![Cell::Int(0); 9];
        assert_eq!(levels(cells.iter()), [3, 0, 0, 0, 0x05, 0xFF, 0x01]);
    }
}
