//! The entries of a history, read once from front to end; those of a long one are checked and parsed on other threads.
//!
//! A line's sums and its JSON need nothing but the line, and they are most of the work: whole blocks of lines go out to a few
//! threads and come back in order. What links a line to the one before it is checked here, for each line.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use kernsmith_core::{Digest, Entry, Seq};

use crate::LogError;
use crate::history::{Chain, bad_event, first_flaw, open_history};
use crate::line::{self, Flaw, Line, is_known};
use crate::verify::Damage;

/// Bytes of whole lines that one thread takes at a time.
const BLOCK_BYTES: usize = 1 << 15;
/// A history shorter than this is not worth a thread.
const LONG_BYTES: u64 = 1 << 21;
/// Threads at most: the fold of the entries keeps no more of them busy.
const MAX_WORKERS: usize = 2;
/// Blocks that each thread may be ahead.
const BLOCKS_AHEAD: usize = 2;

/// A line whose own bytes are as they were written.
pub(crate) struct Parsed {
    pub(crate) seq: Seq,
    prev: Digest,
    /// Whether this version knows the event by name.
    pub(crate) known: bool,
    /// The entry, or why the event does not parse.
    pub(crate) entry: Result<Entry, Flaw>,
}

impl Parsed {
    fn of(line: &Line<'_>) -> Self {
        let known = is_known(&line.event_name());
        let entry = line.entry().map_err(|error| bad_event(&error));
        Self { seq: line.seq, prev: line.prev, known, entry }
    }
}

/// One line, looked at on its own.
struct Decoded {
    bytes: u64,
    digest: Digest,
    line: Result<Parsed, Flaw>,
}

/// The lines of a history, each checked against the one before it.
#[derive(Debug)]
pub(crate) struct Ahead {
    directory: PathBuf,
    path: PathBuf,
    file: File,
    /// The beginning of a line whose end has not been read.
    rest: Vec<u8>,
    ended: bool,
    workers: Vec<Worker>,
    /// Blocks that were sent out and not fetched yet, and the worker whose turn it is.
    out: usize,
    turn: usize,
    decoded: VecDeque<Decoded>,
    chain: Chain,
    number: u64,
    begin: u64,
    end: u64,
}

impl std::fmt::Debug for Decoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoded").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Ahead {
    /// Opens the history of a run.
    pub(crate) fn open(directory: &Path) -> Result<Self, LogError> {
        Self::open_long(directory, LONG_BYTES)
    }

    /// [`Ahead::open`] that counts a history of so many bytes as a long one.
    pub(crate) fn open_long(directory: &Path, long_bytes: u64) -> Result<Self, LogError> {
        let (path, file) = open_history(directory)?;
        let length = file.metadata().map_err(LogError::io("read", &path))?.len();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = if length < long_bytes { 0 } else { cores.min(MAX_WORKERS) };
        Ok(Self {
            directory: directory.to_owned(),
            path,
            file,
            rest: Vec::new(),
            ended: false,
            workers: (0..workers).map_while(|_| Worker::start().ok()).collect(),
            out: 0,
            turn: 0,
            decoded: VecDeque::new(),
            chain: Chain::start(),
            number: 0,
            begin: 0,
            end: 0,
        })
    }

    /// The next line; `None` at the end, which a torn tail is too. After an error nothing more is to be read.
    pub(crate) fn advance(&mut self) -> Result<Option<Parsed>, LogError> {
        let Some(Decoded { bytes, digest, line }) = self.next_decoded()? else { return Ok(None) };
        self.number += 1;
        self.begin = self.end;
        self.end += bytes;
        let linked = self.chain.link(digest, line, |parsed| (parsed.seq, parsed.prev));
        linked.map(Some).map_err(|flaws| self.damage(first_flaw(flaws)))
    }

    /// A damage at the current line.
    pub(crate) fn damage(&self, flaw: Flaw) -> LogError {
        LogError::damaged(&self.directory, Damage::at_line(self.number, self.begin, flaw))
    }

    /// Where the current line begins.
    pub(crate) const fn begin(&self) -> u64 {
        self.begin
    }

    /// End of the current line.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// Bytes after the last newline, once the end is reached.
    pub(crate) const fn torn_bytes(&self) -> u64 {
        self.rest.len() as u64
    }

    /// The chain after the current line.
    pub(crate) const fn chain(&self) -> Chain {
        self.chain
    }

    fn next_decoded(&mut self) -> Result<Option<Decoded>, LogError> {
        while self.decoded.is_empty() {
            while self.out < self.workers.len() * BLOCKS_AHEAD {
                let Some(block) = self.read_block()? else { break };
                let worker = (self.turn + self.out) % self.workers.len();
                self.workers[worker].blocks.send(block).map_err(|_| self.lost())?;
                self.out += 1;
            }
            if self.out > 0 {
                self.decoded = self.workers[self.turn].decoded.recv().map_err(|_| self.lost())?.into();
                self.turn = (self.turn + 1) % self.workers.len();
                self.out -= 1;
            } else {
                let Some(block) = self.read_block()? else { return Ok(None) };
                self.decoded = decode(&block).into();
            }
        }
        Ok(self.decoded.pop_front())
    }

    /// Whole lines, a block or a single longer one; `None` at the end.
    fn read_block(&mut self) -> Result<Option<Vec<u8>>, LogError> {
        let mut block = std::mem::take(&mut self.rest);
        while !self.ended {
            let have = block.len();
            block.reserve_exact(BLOCK_BYTES);
            let read = (&self.file).take(BLOCK_BYTES as u64).read_to_end(&mut block);
            self.ended = read.map_err(LogError::io("read", &self.path))? == 0;
            if let Some(newline) = block[have..].iter().rposition(|byte| *byte == b'\n') {
                self.rest = block.split_off(have + newline + 1);
                return Ok(Some(block));
            }
        }
        self.rest = block;
        Ok(None)
    }

    fn lost(&self) -> LogError {
        LogError::io("check", &self.path)(std::io::Error::other("a thread that checks lines has ended"))
    }
}

/// A thread that looks at blocks of lines until nobody sends one.
#[derive(Debug)]
struct Worker {
    blocks: SyncSender<Vec<u8>>,
    decoded: Receiver<Vec<Decoded>>,
}

impl Worker {
    fn start() -> std::io::Result<Self> {
        let (blocks, inbox) = sync_channel::<Vec<u8>>(BLOCKS_AHEAD);
        let (outbox, decoded) = sync_channel(BLOCKS_AHEAD);
        let work = move || {
            while let Ok(block) = inbox.recv() {
                if outbox.send(decode(&block)).is_err() {
                    break;
                }
            }
        };
        std::thread::Builder::new().name("log-check".to_owned()).spawn(work)?;
        Ok(Self { blocks, decoded })
    }
}

fn decode(block: &[u8]) -> Vec<Decoded> {
    let lines = block.split_inclusive(|byte| *byte == b'\n');
    let look = |whole: &[u8]| {
        let (digest, line) = line::decode(whole.strip_suffix(b"\n").unwrap_or(whole));
        Decoded { bytes: whole.len() as u64, digest, line: line.map(|line| Parsed::of(&line)) }
    };
    lines.map(look).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HISTORY_FILE;

    /// A line a few bytes longer than the one before, some of them longer than a block.
    fn history(directory: &Path, lines: u64) -> Vec<u8> {
        let (mut bytes, mut chain) = (Vec::new(), Chain::start());
        for seq in 0..lines {
            let size = if seq % 97 == 5 { BLOCK_BYTES + seq as usize } else { seq as usize };
            let event = kernsmith_core::Event::Recovered { dropped_bytes: seq, reason: "x".repeat(size) };
            let last = line::encode(&mut bytes, Seq(seq), "t", &chain.last, &event).unwrap();
            chain = Chain { next: Seq(seq + 1), last };
        }
        std::fs::write(directory.join(HISTORY_FILE), &bytes).unwrap();
        bytes
    }

    type Placed = (u64, u64, Entry);
    type End = Result<(Chain, u64), String>;

    /// All lines with their places, and how the reading ended.
    fn read(directory: &Path, long_bytes: u64) -> (Vec<Placed>, End) {
        let mut lines = Ahead::open_long(directory, long_bytes).unwrap();
        let mut read = Vec::new();
        let end = loop {
            match lines.advance() {
                Ok(Some(line)) => read.push((lines.begin(), lines.end(), line.entry.unwrap())),
                Ok(None) => break Ok((lines.chain(), lines.torn_bytes())),
                Err(error) => break Err(error.to_string()),
            }
        };
        (read, end)
    }

    #[test]
    fn several_threads_read_what_one_reads_whole_torn_or_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(HISTORY_FILE);
        let bytes = history(folder.path(), 700);
        let (alone, end) = read(folder.path(), u64::MAX);
        assert_eq!((alone.len(), alone[699].1), (700, bytes.len() as u64));
        assert_eq!(end.as_ref().unwrap().1, 0);
        assert_eq!(read(folder.path(), 0), (alone.clone(), end));
        for place in [bytes.len() / 3, bytes.len() / 2, bytes.len() - 40] {
            let mut damaged = bytes.clone();
            damaged[place] ^= 4;
            std::fs::write(&path, &damaged).unwrap();
            let (before, end) = read(folder.path(), 0);
            assert!(end.as_ref().is_err_and(|problem| problem.contains("line")), "{end:?}");
            assert!(before.len() < 700 && before[..] == alone[..before.len()]);
            assert_eq!(read(folder.path(), u64::MAX), (before, end));
            std::fs::write(&path, &bytes[..place]).unwrap();
            let (before, end) = read(folder.path(), 0);
            let whole = before.last().map_or(0, |line| line.1);
            assert_eq!(end.as_ref().map(|end| end.1), Ok(place as u64 - whole));
            assert_eq!(read(folder.path(), u64::MAX), (before, end));
        }
    }

    #[test]
    fn a_reader_that_stops_early_leaves_no_thread_waiting() {
        let folder = tempfile::tempdir().unwrap();
        history(folder.path(), 300);
        for _ in 0..20 {
            let mut lines = Ahead::open_long(folder.path(), 0).unwrap();
            assert!(lines.advance().unwrap().is_some());
        }
    }
}
