//! Reading a run: entries as a stream, blobs by digest.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kernsmith_core::event::{LOG_FORMAT, Opened};
use kernsmith_core::{Digest, Entry, Event};

use crate::ahead::Ahead;
use crate::history::{Chain, Lines, bad_event, first_flaw};
use crate::seal::Seal;
use crate::verify::{Damage, DamageKind};
use crate::{LogError, PACK_FILE, pack};

/// Reads a run, also while it is being written.
#[derive(Debug)]
pub struct RunReader {
    directory: PathBuf,
    opened: Box<Opened>,
    pack: OnceLock<(File, pack::Index)>,
}

impl RunReader {
    /// Opens a run and reads its first entry. Nothing is locked and nothing is changed.
    pub fn open(directory: &Path) -> Result<Self, LogError> {
        let mut lines = Lines::open(directory)?;
        if !lines.advance()? {
            return Err(LogError::Empty { directory: directory.to_owned() });
        }
        let entry = Chain::start()
            .check(lines.bytes())
            .and_then(|line| line.entry().map_err(|error| vec![bad_event(&error)]))
            .map_err(|flaws| LogError::damaged(directory, lines.damage(first_flaw(flaws))))?;
        let Event::Opened(opened) = entry.event else {
            let flaw = (DamageKind::BadJson, "the first entry is not `opened`".to_owned());
            return Err(LogError::damaged(directory, lines.damage(flaw)));
        };
        Ok(Self { directory: directory.to_owned(), opened, pack: OnceLock::new() })
    }

    /// The run's folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How the run began.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The entries from the first on; the stream ends after the first error. A torn tail is not an error: it was never
    /// acknowledged, and [`Entries::torn_bytes`] tells of it.
    pub fn entries(&self) -> Result<Entries, LogError> {
        Ok(Entries {
            lines: Ahead::open(&self.directory)?,
            newer: self.opened.format > LOG_FORMAT,
            skipped: 0,
            done: false,
        })
    }

    /// Reads one blob and checks it against its digest.
    ///
    /// The pack is scanned at the first call: blobs that a writer added after that are found by a new reader.
    pub fn blob(&self, digest: &Digest) -> Result<Vec<u8>, LogError> {
        let path = self.directory.join(PACK_FILE);
        let (file, index) = self.pack(&path)?;
        let slot =
            index.get(digest).ok_or_else(|| LogError::NoBlob { path: path.clone(), digest: *digest })?;
        pack::read(file, digest, slot).map_err(LogError::io("read", &path))?.map_err(|problem| {
            LogError::damaged(&self.directory, Damage::in_pack(slot.offset, DamageKind::CorruptBlob, problem))
        })
    }

    fn pack(&self, path: &Path) -> Result<&(File, pack::Index), LogError> {
        if let Some(pack) = self.pack.get() {
            return Ok(pack);
        }
        let file = File::open(path).map_err(LogError::io("open", path))?;
        let index = pack::scan(&file, |_, _| {}).map_err(LogError::io("read", path))?.index;
        Ok(self.pack.get_or_init(|| (file, index)))
    }

    /// The run's seal, or `None` while it is open. Whether it fits the files is a matter for [`crate::verify`].
    pub fn sealed(&self) -> Result<Option<Seal>, LogError> {
        match Seal::read(&self.directory)? {
            None => Ok(None),
            Some(Ok(seal)) => Ok(Some(seal)),
            Some(Err(problem)) => Err(LogError::damaged(&self.directory, Damage::in_seal(problem))),
        }
    }
}

/// The entries of a run, one at a time, each checked against the chain.
#[derive(Debug)]
pub struct Entries {
    lines: Ahead,
    newer: bool,
    skipped: u64,
    done: bool,
}

impl Entries {
    /// Bytes after the last whole line, once the stream has ended.
    pub const fn torn_bytes(&self) -> u64 {
        self.lines.torn_bytes()
    }

    /// Entries of a newer log whose event this version does not know; they are passed over.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    fn step(&mut self) -> Result<Option<Entry>, LogError> {
        while let Some(line) = self.lines.advance()? {
            match line.entry {
                Ok(entry) => return Ok(Some(entry)),
                Err(_) if self.newer && !line.known => self.skipped += 1,
                Err(flaw) => return Err(self.lines.damage(flaw)),
            }
        }
        Ok(None)
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.step().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}
