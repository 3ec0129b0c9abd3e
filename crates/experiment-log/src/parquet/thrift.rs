//! Structures in Thrift's compact protocol, as far as Parquet's footer needs them.

const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// One structure; fields are added in order of their ids.
#[derive(Debug, Clone, Default)]
pub(crate) struct Struct {
    bytes: Vec<u8>,
    last: u8,
}

impl Struct {
    /// The bytes, with the stop behind the last field.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }

    /// A field of 32 bits.
    pub(crate) fn int(self, id: u8, value: i64) -> Self {
        self.field(id, I32).with(|bytes| zigzag(bytes, value))
    }

    /// A field of 64 bits.
    pub(crate) fn long(self, id: u8, value: i64) -> Self {
        self.field(id, I64).with(|bytes| zigzag(bytes, value))
    }

    pub(crate) fn text(self, id: u8, text: &str) -> Self {
        self.field(id, BINARY).with(|bytes| binary(bytes, text))
    }

    pub(crate) fn structure(self, id: u8, inner: &Self) -> Self {
        self.field(id, STRUCT).with(|bytes| bytes.extend(inner.clone().finish()))
    }

    /// A list of numbers of 32 bits.
    pub(crate) fn ints(self, id: u8, values: &[i64]) -> Self {
        self.list(id, I32, values, |bytes, value| zigzag(bytes, *value))
    }

    pub(crate) fn texts(self, id: u8, texts: &[&String]) -> Self {
        self.list(id, BINARY, texts, |bytes, text| binary(bytes, text))
    }

    pub(crate) fn structures(self, id: u8, inner: &[Self]) -> Self {
        self.list(id, STRUCT, inner, |bytes, inner| bytes.extend(inner.clone().finish()))
    }

    fn list<T>(self, id: u8, kind: u8, items: &[T], each: impl Fn(&mut Vec<u8>, &T)) -> Self {
        self.field(id, LIST).with(|bytes| {
            match items.len() {
                count @ 0..15 => bytes.push((count as u8) << 4 | kind),
                count => {
                    bytes.push(0xF0 | kind);
                    varint(bytes, count as u64);
                }
            }
            for item in items {
                each(bytes, item);
            }
        })
    }

    /// A field's head: the distance to the id before it, and its type. Parquet's ids are never more than 15 apart.
    fn field(mut self, id: u8, kind: u8) -> Self {
        self.bytes.push((id - self.last) << 4 | kind);
        self.last = id;
        self
    }

    fn with(mut self, add: impl FnOnce(&mut Vec<u8>)) -> Self {
        add(&mut self.bytes);
        self
    }
}

fn binary(bytes: &mut Vec<u8>, text: &str) {
    varint(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

fn zigzag(bytes: &mut Vec<u8>, value: i64) {
    varint(bytes, ((value << 1) ^ (value >> 63)) as u64);
}

/// Seven bits a byte, the lowest first; the high bit says that more follow.
pub(crate) fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out by hand from the protocol's description.
    #[test]
    fn fields_lists_and_numbers_have_their_bytes() {
        let inner = Struct::default().long(2, 300);
        let bytes = Struct::default()
            .int(1, -1)
            .text(4, "ab")
            .ints(5, &[0, 3])
            .structures(6, std::slice::from_ref(&inner))
            .structure(10, &inner)
            .finish();
        let expected = [
            &[0x15, 0x01][..],
            &[0x38, 2, b'a', b'b'],
            &[0x19, 0x25, 0x00, 0x06],
            &[0x19, 0x1C, 0x26, 0xD8, 0x04, 0x00],
            &[0x4C, 0x26, 0xD8, 0x04, 0x00],
            &[0x00],
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn a_long_list_says_its_length_apart() {
        let bytes = Struct::default().ints(1, &[0; 20]).finish();
        assert_eq!(bytes[..3], [0x19, 0xF5, 20]);
        assert_eq!(bytes.len(), 3 + 20 + 1);
    }
}
