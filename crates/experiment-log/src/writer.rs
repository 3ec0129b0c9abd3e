//! Writing a run: one group, two syncs, then the acknowledgement.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use kernsmith_core::event::LOG_FORMAT;
use kernsmith_core::{Digest, Entry, Event, Record, RunId, Seq};

use crate::history::{Chain, Marks, bad_event};
use crate::lock::Lock;
use crate::pack::{self, Index, MAX_BLOB_BYTES, Slot};
use crate::seal::{Seal, digest_file, sync_directory};
use crate::{HISTORY_FILE, LogError, PACK_FILE, RUNS_FOLDER, line, run_directory};

mod open;

/// A good balance for source text: level 3 stores 12 kB of C++ in about a quarter, in some 50 microseconds.
const ZSTD_LEVEL: i32 = 3;
/// Kept blobs wait in memory up to this size before they are written, still unsynced.
const PENDING_BYTES: usize = 1 << 20;

/// The one writer of a run.
///
/// [`Record::append`] writes the kept blobs, syncs the pack, writes the lines, syncs the history, and only then returns.
/// After any failed write the writer refuses all further work, and the files are cut back to what was acknowledged.
pub struct RunWriter {
    directory: PathBuf,
    run: RunId,
    history: File,
    pack: File,
    chain: Chain,
    marks: Marks,
    history_bytes: u64,
    /// Size of the pack on disk, unsynced frames included.
    pack_bytes: u64,
    /// Size of the pack when the last group was acknowledged.
    pack_synced_bytes: u64,
    pending: Vec<u8>,
    index: Index,
    compressor: zstd::bulk::Compressor<'static>,
    poison: Option<String>,
    sealed: bool,
    recovered: Option<Entry>,
    _lock: Lock,
}

impl std::fmt::Debug for RunWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("RunWriter");
        debug.field("directory", &self.directory).field("next", &self.chain.next).finish_non_exhaustive()
    }
}

impl RunWriter {
    /// Begins a run below `root`; folders are created and made durable.
    pub fn create(root: &Path, run: &RunId) -> Result<Self, LogError> {
        let runs = root.join(RUNS_FOLDER);
        std::fs::create_dir_all(&runs).map_err(LogError::io("create", &runs))?;
        let directory = run_directory(root, run);
        std::fs::create_dir(&directory).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                LogError::Exists { directory: directory.clone(), run: run.to_string() }
            }
            _ => LogError::io("create", &directory)(error),
        })?;
        let lock = Lock::take(&directory)?;
        let history = append_to(&directory.join(HISTORY_FILE), true)?;
        let pack = append_to(&directory.join(PACK_FILE), true)?;
        sync_directory(&directory)?;
        sync_directory(&runs)?;
        sync_directory(root)?;
        Self::assemble(directory, run.clone(), history, pack, lock)
    }

    fn assemble(
        directory: PathBuf,
        run: RunId,
        history: File,
        pack: File,
        lock: Lock,
    ) -> Result<Self, LogError> {
        let compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)
            .map_err(LogError::io("compress for", &directory.join(PACK_FILE)))?;
        Ok(Self {
            directory,
            run,
            history,
            pack,
            chain: Chain::start(),
            marks: Marks::default(),
            history_bytes: 0,
            pack_bytes: 0,
            pack_synced_bytes: 0,
            pending: Vec::new(),
            index: Index::new(),
            compressor,
            poison: None,
            sealed: false,
            recovered: None,
            _lock: lock,
        })
    }

    /// The run's folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The run's name.
    pub const fn run(&self) -> &RunId {
        &self.run
    }

    /// The place that the next entry gets; also the number of durable entries.
    pub const fn next_seq(&self) -> Seq {
        self.chain.next
    }

    /// The `recovered` entry, where opening the run cut off a torn tail.
    pub const fn recovered(&self) -> Option<&Entry> {
        self.recovered.as_ref()
    }

    fn ready(&self) -> Result<(), LogError> {
        if let Some(cause) = &self.poison {
            return Err(LogError::Poisoned { cause: cause.clone() });
        }
        if self.sealed {
            let (directory, reason) = (self.directory.clone(), "sealed by this writer".to_owned());
            return Err(LogError::Sealed { directory, reason });
        }
        Ok(())
    }

    /// Refuses all further work and cuts the files back to what was acknowledged, as far as the disk lets us.
    fn poison<T>(&mut self, error: LogError) -> Result<T, LogError> {
        self.poison = Some(error.to_string());
        let _ = self.history.set_len(self.history_bytes);
        let _ = self.pack.set_len(self.pack_synced_bytes);
        Err(error)
    }

    /// Keeps bytes under their digest; durable with the next group.
    fn keep_blob(&mut self, bytes: &[u8]) -> Result<Digest, LogError> {
        self.ready()?;
        if bytes.len() > MAX_BLOB_BYTES {
            return Err(LogError::BlobTooLarge { bytes: bytes.len() });
        }
        let digest = Digest::of(bytes);
        if let Some(slot) = self.index.get(&digest).copied()
            && (slot.referenced || self.stored(&digest, &slot).is_ok())
        {
            return Ok(digest);
        }
        let stored = match self.compressor.compress(bytes) {
            Ok(stored) => stored,
            Err(error) => return self.poison(LogError::io("compress for", &self.path(PACK_FILE))(error)),
        };
        let offset = self.pack_bytes + self.pending.len() as u64;
        let slot = pack::encode(&mut self.pending, &digest, bytes.len() as u32, &stored, offset);
        // From here on the frame is ours: it is synced before any entry that is written later.
        self.index.insert(digest, Slot { referenced: true, ..slot });
        if self.pending.len() >= PENDING_BYTES {
            self.write_pending()?;
        }
        Ok(digest)
    }

    fn write_pending(&mut self) -> Result<(), LogError> {
        if let Err(error) = self.pack.write_all(&self.pending) {
            return self.poison(LogError::io("write", &self.path(PACK_FILE))(error));
        }
        self.pack_bytes += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    fn sync_pack(&mut self) -> Result<(), LogError> {
        self.write_pending()?;
        if self.pack_bytes == self.pack_synced_bytes {
            return Ok(());
        }
        if let Err(error) = self.pack.sync_data() {
            return self.poison(LogError::io("sync", &self.path(PACK_FILE))(error));
        }
        self.pack_synced_bytes = self.pack_bytes;
        Ok(())
    }

    /// Appends events as one group; when it returns, all of them are durable.
    ///
    /// An event that could not be read back is refused before a byte is written, and the writer stays usable.
    pub fn append_group(&mut self, events: Vec<Event>) -> Result<Vec<Entry>, LogError> {
        self.ready()?;
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let time = now();
        let mut lines = Vec::new();
        let mut chain = self.chain;
        let mut entries = Vec::with_capacity(events.len());
        let mut begins = Vec::with_capacity(events.len());
        for event in events {
            self.check(&event, chain.next)?;
            let start = lines.len();
            let digest = line::encode(&mut lines, chain.next, &time, &chain.last, &event)
                .map_err(|error| unrecordable(&event, error.to_string()))?;
            check_readable(&lines[start..lines.len() - 1], &event)?;
            begins.push((chain.next, self.history_bytes + start as u64));
            entries.push(Entry { seq: chain.next, time: time.clone(), prev: chain.last, event });
            chain = Chain { next: Seq(chain.next.0 + 1), last: digest };
        }
        self.sync_pack()?;
        let written = self.history.write_all(&lines).map_err(LogError::io("write", &self.path(HISTORY_FILE)));
        let synced = written
            .and_then(|()| self.history.sync_data().map_err(LogError::io("sync", &self.path(HISTORY_FILE))));
        if let Err(error) = synced {
            return self.poison(error);
        }
        for (seq, offset) in begins {
            self.marks.note(seq, offset);
        }
        self.history_bytes += lines.len() as u64;
        self.chain = chain;
        Ok(entries)
    }

    /// What must hold for an event at a place: the first entry opens the run, and blobs come before their entries.
    fn check(&self, event: &Event, seq: Seq) -> Result<(), LogError> {
        match event {
            Event::Opened(_) if seq.0 > 0 => Err(unrecordable(event, "it is always entry 0".to_owned())),
            Event::Opened(opened) if opened.format != LOG_FORMAT => {
                Err(unrecordable(event, format!("format {} is not {LOG_FORMAT}", opened.format)))
            }
            Event::Opened(opened) if opened.run_id != self.run => Err(unrecordable(
                event,
                format!("it names run `{}`, the folder is `{}`", opened.run_id, self.run),
            )),
            Event::Opened(_) => self.check_blobs(event),
            _ if seq.0 == 0 => Err(unrecordable(event, "a run begins with `opened`".to_owned())),
            _ => self.check_blobs(event),
        }
    }

    fn check_blobs(&self, event: &Event) -> Result<(), LogError> {
        event.blobs().iter().try_for_each(|digest| self.check_kept(event, digest))
    }

    fn check_kept(&self, event: &Event, digest: &Digest) -> Result<(), LogError> {
        if self.index.contains_key(digest) {
            return Ok(());
        }
        Err(unrecordable(event, format!("its blob {digest} was not kept before")))
    }

    fn stored(&self, digest: &Digest, slot: &Slot) -> Result<Vec<u8>, LogError> {
        let path = self.path(PACK_FILE);
        let checked = if slot.offset >= self.pack_bytes {
            let start = (slot.offset - self.pack_bytes) as usize;
            pack::unpack(&self.pending[start..start + slot.frame_bytes()], digest)
        } else {
            pack::read(&self.pack, digest, slot).map_err(LogError::io("read", &path))?
        };
        checked.map_err(|problem| {
            let kind = crate::DamageKind::CorruptBlob;
            LogError::damaged(&self.directory, crate::Damage::in_pack(slot.offset, kind, problem))
        })
    }

    /// Reads one acknowledged entry back and checks its sum.
    fn read_entry(&self, seq: Seq) -> Result<Entry, LogError> {
        let path = self.path(HISTORY_FILE);
        let found = if seq < self.chain.next {
            self.marks.line(&self.history, seq).map_err(LogError::io("read", &path))?
        } else {
            None
        };
        let Some(bytes) = found else {
            let problem = format!("run {} has {} entries: there is no {seq}", self.run, self.chain.next.0);
            return Err(LogError::NotFound { problem });
        };
        let read = line::decode(&bytes).1.and_then(|line| line.entry().map_err(|error| bad_event(&error)));
        read.map_err(|flaw| {
            let damage = crate::Damage::at_line(seq.0 + 1, 0, flaw);
            LogError::damaged(&self.directory, crate::Damage { offset: None, ..damage })
        })
    }

    /// Seals the run: nothing more is written until it is opened again.
    pub fn seal(&mut self) -> Result<Seal, LogError> {
        self.ready()?;
        if self.chain.next.0 == 0 {
            return Err(LogError::Empty { directory: self.directory.clone() });
        }
        self.sync_pack()?;
        let (pack, pack_bytes) = digest_file(&self.path(PACK_FILE))?;
        let seal = Seal {
            format: LOG_FORMAT,
            entries: self.chain.next.0,
            last: self.chain.last,
            history_bytes: self.history_bytes,
            pack_bytes,
            pack,
            time: now(),
        };
        seal.write(&self.directory)?;
        self.sealed = true;
        Ok(seal)
    }

    /// Replaces the file that lines go to, so that a test can make the disk full.
    #[cfg(test)]
    pub(crate) fn redirect_history(&mut self, file: File) {
        self.history = file;
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }
}

impl Record for RunWriter {
    type Error = LogError;

    fn keep(&mut self, bytes: &[u8]) -> Result<Digest, LogError> {
        self.keep_blob(bytes)
    }

    fn kept(&self, digest: &Digest) -> Result<Vec<u8>, LogError> {
        let slot = self
            .index
            .get(digest)
            .ok_or_else(|| LogError::NoBlob { path: self.path(PACK_FILE), digest: *digest })?;
        self.stored(digest, slot)
    }

    fn entry(&self, seq: Seq) -> Result<Entry, LogError> {
        self.read_entry(seq)
    }

    // Two syncs in place: a group is short, and nothing else may happen before it is durable.
    async fn append(&mut self, events: Vec<Event>) -> Result<Vec<Entry>, LogError> {
        self.append_group(events)
    }
}

/// A number that JSON cannot hold (NaN becomes null) would make an acknowledged entry unreadable: it is refused here.
fn check_readable(bytes: &[u8], event: &Event) -> Result<(), LogError> {
    let line = line::decode(bytes).1.map_err(|(_, problem)| unrecordable(event, problem))?;
    match line.event() {
        Ok(read) if read == *event => Ok(()),
        Ok(_) => {
            Err(unrecordable(event, "it reads back as something else; is a number not finite?".to_owned()))
        }
        Err(error) => Err(unrecordable(event, format!("it does not read back: {error}"))),
    }
}

fn unrecordable(event: &Event, problem: String) -> LogError {
    LogError::Unrecordable { event: event.name(), problem }
}

/// Always with three digits of a second, so that times sort as text.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn append_to(path: &Path, new: bool) -> Result<File, LogError> {
    let mut options = File::options();
    options.read(true).append(true).create_new(new);
    options.open(path).map_err(LogError::io(if new { "create" } else { "open" }, path))
}
