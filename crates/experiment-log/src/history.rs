//! Walking over the lines of a history, whole or torn.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kernsmith_core::{Digest, Seq};

use crate::line::{self, Flaw, Line};
use crate::verify::{Damage, DamageKind};
use crate::{HISTORY_FILE, LogError};

/// The history of a run, with its path.
pub(crate) fn open_history(directory: &Path) -> Result<(PathBuf, File), LogError> {
    let path = directory.join(HISTORY_FILE);
    match File::open(&path) {
        Ok(file) => Ok((path, file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(LogError::NotARun { directory: directory.to_owned() })
        }
        Err(error) => Err(LogError::io("open", &path)(error)),
    }
}

/// The lines of a history, read one after the other into one buffer.
#[derive(Debug)]
pub(crate) struct Lines {
    reader: BufReader<File>,
    path: PathBuf,
    buffer: Vec<u8>,
    number: u64,
    offset: u64,
    next_offset: u64,
    torn_bytes: u64,
}

impl Lines {
    /// Opens the history of a run.
    pub(crate) fn open(directory: &Path) -> Result<Self, LogError> {
        let (path, file) = open_history(directory)?;
        let reader = BufReader::with_capacity(1 << 18, file);
        Ok(Self { reader, path, buffer: Vec::new(), number: 0, offset: 0, next_offset: 0, torn_bytes: 0 })
    }

    /// The same, from the line on that begins at `offset` and has that number, from 0.
    pub(crate) fn open_at(directory: &Path, offset: u64, number: u64) -> Result<Self, LogError> {
        let mut lines = Self::open(directory)?;
        lines.reader.seek(SeekFrom::Start(offset)).map_err(LogError::io("read", &lines.path))?;
        Ok(Self { number, offset, next_offset: offset, ..lines })
    }

    /// Moves to the next whole line; `false` at the end, which a torn tail is too.
    pub(crate) fn advance(&mut self) -> Result<bool, LogError> {
        self.buffer.clear();
        let count =
            self.reader.read_until(b'\n', &mut self.buffer).map_err(LogError::io("read", &self.path))?;
        if self.buffer.pop_if(|byte| *byte == b'\n').is_none() {
            self.torn_bytes = count as u64;
            return Ok(false);
        }
        self.number += 1;
        self.offset = self.next_offset;
        self.next_offset += count as u64;
        Ok(true)
    }

    /// The line that [`Lines::advance`] moved to, without its newline.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Where the line begins that [`Lines::advance`] moved to.
    pub(crate) const fn begin(&self) -> u64 {
        self.offset
    }

    /// End of the last whole line.
    pub(crate) const fn end(&self) -> u64 {
        self.next_offset
    }

    /// Bytes after the last newline, once the end is reached.
    pub(crate) const fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// A damage at the current line.
    pub(crate) fn damage(&self, flaw: Flaw) -> Damage {
        Damage::at_line(self.number, self.offset, flaw)
    }
}

/// Lines between two marks.
const MARK_EVERY: u64 = 16;
/// Bytes that are read at once on the way from a mark to a line.
const STRIDE_BYTES: usize = 1 << 15;

/// Where every sixteenth line begins, so that any line is found again without reading the history from its start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks(Vec<u64>);

impl Marks {
    /// Notes where a line begins; lines come in order.
    pub(crate) fn note(&mut self, seq: Seq, offset: u64) {
        if seq.0 == self.0.len() as u64 * MARK_EVERY {
            self.0.push(offset);
        }
    }

    /// Reads one line without its newline; `None` where the history ends before it.
    pub(crate) fn line(&self, history: &File, seq: Seq) -> std::io::Result<Option<Vec<u8>>> {
        let Some(&start) = self.0.get((seq.0 / MARK_EVERY) as usize) else { return Ok(None) };
        let (mut at, mut skip) = (start, seq.0 % MARK_EVERY);
        let (mut line, mut stride) = (Vec::new(), vec![0; STRIDE_BYTES]);
        loop {
            let count = history.read_at(&mut stride, at)?;
            if count == 0 {
                return Ok(None);
            }
            at += count as u64;
            let mut rest = &stride[..count];
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                if skip == 0 {
                    line.extend_from_slice(&rest[..end]);
                    return Ok(Some(line));
                }
                (skip, rest) = (skip - 1, &rest[end + 1..]);
            }
            if skip == 0 {
                line.extend_from_slice(rest);
            }
        }
    }
}

/// What the next line must say about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The next place.
    pub(crate) next: Seq,
    /// Digest of the last line.
    pub(crate) last: Digest,
}

impl Chain {
    /// The chain before the first line.
    pub(crate) const fn start() -> Self {
        Self { next: Seq(0), last: Digest::ZERO }
    }

    /// Checks a line against the one before it, and moves on to it whatever the outcome.
    pub(crate) fn check<'a>(&mut self, bytes: &'a [u8]) -> Result<Line<'a>, Vec<Flaw>> {
        let (digest, decoded) = line::decode(bytes);
        self.link(digest, decoded, |line| (line.seq, line.prev))
    }

    /// [`Chain::check`] for a line that was looked at on its own before; `place` says what it names as its place and as the
    /// digest of the line before it.
    pub(crate) fn link<T>(
        &mut self,
        digest: Digest,
        line: Result<T, Flaw>,
        place: impl Fn(&T) -> (Seq, Digest),
    ) -> Result<T, Vec<Flaw>> {
        let expected = *self;
        *self = Self { next: Seq(expected.next.0 + 1), last: digest };
        let line = line.map_err(|flaw| vec![flaw])?;
        let (seq, prev) = place(&line);
        let mut flaws = Vec::new();
        if prev != expected.last {
            let problem =
                format!("`prev` is {}, the line before has {}", prev.short(), expected.last.short());
            flaws.push((DamageKind::BrokenChain, problem));
        }
        if seq != expected.next {
            flaws.push((DamageKind::SeqGap, format!("`seq` is {}, expected {}", seq.0, expected.next.0)));
            self.next = Seq(seq.0.saturating_add(1));
        }
        if flaws.is_empty() { Ok(line) } else { Err(flaws) }
    }
}

/// The first of the flaws of a line.
pub(crate) fn first_flaw(flaws: Vec<Flaw>) -> Flaw {
    flaws.into_iter().next().unwrap_or((DamageKind::BadJson, String::new()))
}

/// The flaw of a line whose event does not parse.
pub(crate) fn bad_event(error: &serde_json::Error) -> Flaw {
    (DamageKind::BadJson, error.to_string())
}
