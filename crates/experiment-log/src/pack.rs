//! The pack of blobs: append-only frames, found again by scanning their headers.
//!
//! A frame is a header of 56 bytes and a zstd stream. The header holds, little-endian: the magic `KSB1`, the stored and the
//! original size, the start of the digest of the stored bytes, the blob's digest, and the start of the digest of all that.
//! So a scan can trust every size that it jumps by, and a changed byte anywhere is seen.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use kernsmith_core::Digest;

/// The largest blob that a pack takes.
pub(crate) const MAX_BLOB_BYTES: usize = 1 << 28;
const MAGIC: [u8; 4] = *b"KSB1";
/// Size of a frame's header.
pub(crate) const HEADER_BYTES: usize = 56;
const CHECKED_BYTES: usize = HEADER_BYTES - 4;

/// Where a blob is. A run has a hundred thousand of these: what else the header says is read again with the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Offset of its header.
    pub(crate) offset: u64,
    /// Size of its zstd stream.
    pub(crate) stored_bytes: u32,
    /// Whether an entry that is durable refers to it: only then has its frame been synced for certain.
    pub(crate) referenced: bool,
}

impl Slot {
    /// Offset of the first byte after the frame.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.frame_bytes() as u64
    }

    /// Size of the whole frame.
    pub(crate) const fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.stored_bytes as usize
    }
}

/// Blobs by digest.
pub(crate) type Index = HashMap<Digest, Slot>;

/// What a scan of a pack found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Every frame in order, replaced ones included.
    pub(crate) frames: u64,
    /// The latest frame of every digest.
    pub(crate) index: Index,
    /// End of the last whole frame.
    pub(crate) end: u64,
    /// Bytes of an unfinished frame after it.
    pub(crate) torn_bytes: u64,
    /// Offsets at which a header was expected and not found, with the bytes that were skipped.
    pub(crate) gaps: Vec<(u64, u64)>,
}

/// Builds the frame of a blob.
pub(crate) fn encode(
    buffer: &mut Vec<u8>,
    digest: &Digest,
    raw_bytes: u32,
    stored: &[u8],
    offset: u64,
) -> Slot {
    let start = buffer.len();
    let check = start_of::<8>(stored);
    buffer.extend_from_slice(&MAGIC);
    buffer.extend_from_slice(&(stored.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&raw_bytes.to_le_bytes());
    buffer.extend_from_slice(&check);
    buffer.extend_from_slice(digest.bytes());
    let header_check = start_of::<4>(&buffer[start..]);
    buffer.extend_from_slice(&header_check);
    buffer.extend_from_slice(stored);
    Slot { offset, stored_bytes: stored.len() as u32, referenced: false }
}

fn start_of<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let digest = blake3::hash(bytes);
    let mut start = [0; N];
    start.copy_from_slice(&digest.as_bytes()[..N]);
    start
}

fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&header[at..at + N]);
    value
}

/// What a header says of its frame.
struct Header {
    digest: Digest,
    stored_bytes: u32,
    raw_bytes: u32,
    /// Start of the digest of the zstd stream.
    check: [u8; 8],
}

fn decode_header(header: &[u8; HEADER_BYTES]) -> Option<Header> {
    if header[..4] != MAGIC || start_of::<4>(&header[..CHECKED_BYTES]) != field::<4>(header, CHECKED_BYTES) {
        return None;
    }
    Some(Header {
        stored_bytes: u32::from_le_bytes(field(header, 4)),
        raw_bytes: u32::from_le_bytes(field(header, 8)),
        check: field(header, 12),
        digest: Digest::from_bytes(field(header, 20)),
    })
}

/// Reads all headers; `each` sees every frame, also one that a later frame of the same digest replaces.
pub(crate) fn scan(file: &File, mut each: impl FnMut(&Digest, &Slot)) -> io::Result<Scan> {
    let length = file.metadata()?.len();
    let mut found = Scan::default();
    let mut offset = 0;
    while offset < length {
        let Some((digest, slot)) = header_at(file, offset, length)? else {
            let next = next_frame(file, offset + 1, length)?;
            if next == length && looks_unfinished(file, offset, length)? {
                found.torn_bytes = length - offset;
                break;
            }
            found.gaps.push((offset, next - offset));
            offset = next;
            continue;
        };
        if slot.end() > length {
            found.torn_bytes = length - offset;
            break;
        }
        each(&digest, &slot);
        found.frames += 1;
        found.index.insert(digest, slot);
        offset = slot.end();
        found.end = offset;
    }
    Ok(found)
}

fn header_at(file: &File, offset: u64, length: u64) -> io::Result<Option<(Digest, Slot)>> {
    if offset + HEADER_BYTES as u64 > length {
        return Ok(None);
    }
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, offset)?;
    Ok(decode_header(&header)
        .map(|header| (header.digest, Slot { offset, stored_bytes: header.stored_bytes, referenced: false })))
}

/// The next offset at which a whole header stands, or the end of the file.
fn next_frame(file: &File, from: u64, length: u64) -> io::Result<u64> {
    const WINDOW: usize = 1 << 16;
    let mut window = vec![0; WINDOW];
    let mut at = from;
    while at + (HEADER_BYTES as u64) <= length {
        let count = WINDOW.min((length - at) as usize);
        file.read_exact_at(&mut window[..count], at)?;
        for start in 0..count.saturating_sub(HEADER_BYTES - 1) {
            if window[start..start + 4] == MAGIC {
                let found = at + start as u64;
                if header_at(file, found, length)?.is_some() {
                    return Ok(found);
                }
            }
        }
        // Windows overlap so that a header on their border is seen whole once.
        at += (count.saturating_sub(HEADER_BYTES - 1)).max(1) as u64;
    }
    Ok(length)
}

/// A frame that was being written when the machine stopped: shorter than a header, or space that was never filled.
fn looks_unfinished(file: &File, offset: u64, length: u64) -> io::Result<bool> {
    if length - offset < HEADER_BYTES as u64 {
        return Ok(true);
    }
    let mut window = vec![0; 1 << 16];
    let mut at = offset;
    while at < length {
        let count = window.len().min((length - at) as usize);
        file.read_exact_at(&mut window[..count], at)?;
        if window[..count].iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        at += count as u64;
    }
    Ok(true)
}

/// Reads one blob and checks it against its address; the inner error says what is wrong with the stored bytes.
pub(crate) fn read(file: &File, digest: &Digest, slot: &Slot) -> io::Result<Result<Vec<u8>, String>> {
    let mut frame = vec![0; slot.frame_bytes()];
    file.read_exact_at(&mut frame, slot.offset)?;
    Ok(unpack(&frame, digest))
}

/// Checks and expands a whole frame.
pub(crate) fn unpack(frame: &[u8], digest: &Digest) -> Result<Vec<u8>, String> {
    let unfit = || "the stored bytes do not fit the frame's header".to_owned();
    let (header, stored) = frame.split_first_chunk::<HEADER_BYTES>().ok_or_else(unfit)?;
    let header = decode_header(header).ok_or_else(unfit)?;
    if start_of::<8>(stored) != header.check {
        return Err(unfit());
    }
    if header.raw_bytes as usize > MAX_BLOB_BYTES {
        return Err(format!("the frame claims {} bytes", header.raw_bytes));
    }
    let blob =
        zstd::bulk::decompress(stored, header.raw_bytes as usize).map_err(|error| error.to_string())?;
    if Digest::of(&blob) != *digest {
        return Err("the content does not fit its digest".to_owned());
    }
    Ok(blob)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn frame(blob: &[u8], offset: u64) -> Vec<u8> {
        let mut buffer = Vec::new();
        let stored = zstd::bulk::compress(blob, 3).unwrap();
        encode(&mut buffer, &Digest::of(blob), blob.len() as u32, &stored, offset);
        buffer
    }

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn frames_are_found_again_and_a_damaged_header_costs_one_frame() {
        let mut bytes = frame(b"first", 0);
        let second = bytes.len();
        bytes.extend(frame(b"second", second as u64));
        bytes.extend(frame(b"third", bytes.len() as u64));
        let whole = scan(&file_of(&bytes), |_, _| {}).unwrap();
        assert_eq!((whole.frames, whole.end, whole.torn_bytes), (3, bytes.len() as u64, 0));
        bytes[second + 5] ^= 1;
        let damaged = file_of(&bytes);
        let found = scan(&damaged, |_, _| {}).unwrap();
        assert_eq!((found.frames, found.gaps.len()), (2, 1));
        let third = Digest::of(b"third");
        assert_eq!(read(&damaged, &third, &found.index[&third]).unwrap().unwrap(), b"third");
    }

    #[test]
    fn a_frame_cut_anywhere_is_torn_and_the_one_before_it_stays() {
        let first = frame(b"first", 0);
        let second = frame(&[7; 500], first.len() as u64);
        for keep in 1..second.len() {
            let bytes = [&first, &second[..keep]].concat();
            let found = scan(&file_of(&bytes), |_, _| {}).unwrap();
            assert_eq!((found.frames, found.end), (1, first.len() as u64), "{keep}");
            assert_eq!((found.torn_bytes, found.gaps.len()), (keep as u64, 0), "{keep}");
        }
    }
}
