//! Going on with a run: check, cut the torn tail, take the seal away.

use std::path::Path;

use kernsmith_core::event::LOG_FORMAT;
use kernsmith_core::{Digest, Entry, Event, RunId};
use serde::Deserialize;

use super::{RunWriter, append_to};
use crate::ahead::Ahead;
use crate::history::{Chain, Lines, Marks, bad_event, first_flaw};
use crate::lock::Lock;
use crate::pack::{self, Index};
use crate::seal::Seal;
use crate::verify::{Damage, DamageKind};
use crate::{HISTORY_FILE, LogError, PACK_FILE};

/// What the history says, read once from front to end.
struct Past {
    chain: Chain,
    marks: Marks,
    end: u64,
    torn_bytes: u64,
    run: RunId,
    /// The reason of the last entry, where that is `closed`.
    closed: Option<String>,
}

#[derive(Deserialize)]
struct OpenedPart {
    format: u32,
    run_id: RunId,
}

impl RunWriter {
    /// Goes on with a run: takes the lock, checks the chain and that every source is there, cuts off a torn tail.
    ///
    /// A sealed run goes on only if it ended with `budget`, `interrupted` or `unreachable`; its seal is removed. Damage that is not a torn
    /// tail is named and nothing is changed.
    pub fn open(directory: &Path) -> Result<Self, LogError> {
        Self::open_run(directory, None)
    }

    /// [`RunWriter::open`] that hands over every durable entry on the way, so that a fold needs no second reading.
    ///
    /// The entry of a recovery is handed over too. When this fails, what was handed over is to be thrown away.
    pub fn open_with(directory: &Path, mut each: impl FnMut(Entry)) -> Result<Self, LogError> {
        Self::open_run(directory, Some(&mut each))
    }

    fn open_run(directory: &Path, mut each: Option<&mut dyn FnMut(Entry)>) -> Result<Self, LogError> {
        let lock = match Lines::open(directory) {
            Ok(_) => Lock::take(directory)?,
            Err(error) => return Err(error),
        };
        let pack_path = directory.join(PACK_FILE);
        let pack = append_to(&pack_path, false)?;
        let scan = pack::scan(&pack, |_, _| {}).map_err(LogError::io("read", &pack_path))?;
        if let Some(&(offset, bytes)) = scan.gaps.first() {
            let detail = format!("{bytes} bytes that are no frame");
            return Err(LogError::damaged(directory, Damage::in_pack(offset, DamageKind::BadFrame, detail)));
        }
        let mut index = scan.index;
        let past = read_past(directory, &mut index, &mut each)?;
        let sealed = check_seal(directory, &past, scan.end + scan.torn_bytes)?;
        let history = append_to(&directory.join(HISTORY_FILE), false)?;
        let mut writer = Self::assemble(directory.to_owned(), past.run, history, pack, lock)?;
        writer.chain = past.chain;
        writer.marks = past.marks;
        writer.history_bytes = past.end;
        writer.pack_bytes = scan.end;
        writer.pack_synced_bytes = scan.end;
        writer.index = index;
        if sealed {
            Seal::remove(directory)?;
        }
        if past.torn_bytes + scan.torn_bytes > 0 {
            let entry = writer.recover(past.torn_bytes, scan.torn_bytes)?;
            if let Some(each) = &mut each {
                each(entry);
            }
        }
        Ok(writer)
    }

    /// Cuts both files back to what is whole, and says so in the log.
    fn recover(&mut self, line_bytes: u64, frame_bytes: u64) -> Result<Entry, LogError> {
        let (history, pack) = (self.path(HISTORY_FILE), self.path(PACK_FILE));
        self.history.set_len(self.history_bytes).map_err(LogError::io("cut", &history))?;
        self.history.sync_all().map_err(LogError::io("sync", &history))?;
        self.pack.set_len(self.pack_bytes).map_err(LogError::io("cut", &pack))?;
        self.pack.sync_all().map_err(LogError::io("sync", &pack))?;
        let reason = match (line_bytes, frame_bytes) {
            (_, 0) => format!("an unfinished line in `{HISTORY_FILE}`"),
            (0, _) => format!("an unfinished frame in `{PACK_FILE}`"),
            _ => format!("an unfinished line in `{HISTORY_FILE}` and an unfinished frame in `{PACK_FILE}`"),
        };
        let event = Event::Recovered { dropped_bytes: line_bytes + frame_bytes, reason };
        let entries = self.append_group(vec![event])?;
        self.recovered = entries.into_iter().next();
        self.recovered.clone().ok_or_else(|| LogError::Empty { directory: self.directory.clone() })
    }
}

/// Reads the history once: chain, sums, events and their references. Everybody who wants the events gets them.
fn read_past(
    directory: &Path,
    index: &mut Index,
    each: &mut Option<&mut dyn FnMut(Entry)>,
) -> Result<Past, LogError> {
    let run = first_entry(directory)?;
    let (mut lines, mut marks) = (Ahead::open(directory)?, Marks::default());
    let mut closed = None;
    while let Some(line) = lines.advance()? {
        marks.note(line.seq, lines.begin());
        let entry = line.entry.map_err(|flaw| lines.damage(flaw))?;
        for digest in entry.event.blobs() {
            mark(index, &digest).ok_or_else(|| {
                let problem = format!("blob {digest} is not in `{PACK_FILE}`");
                lines.damage((DamageKind::MissingBlob, problem))
            })?;
        }
        closed = match &entry.event {
            Event::Closed { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        if let Some(each) = each {
            each(entry);
        }
    }
    let (chain, end, torn_bytes) = (lines.chain(), lines.end(), lines.torn_bytes());
    Ok(Past { chain, marks, end, torn_bytes, run, closed })
}

fn mark(index: &mut Index, digest: &Digest) -> Option<()> {
    index.get_mut(digest)?.referenced = true;
    Some(())
}

/// The run's name out of the first entry; a newer format ends here, before any of its events is looked at.
fn first_entry(directory: &Path) -> Result<RunId, LogError> {
    let mut lines = Lines::open(directory)?;
    if !lines.advance()? {
        return Err(LogError::Empty { directory: directory.to_owned() });
    }
    let damaged = |flaw| LogError::damaged(directory, lines.damage(flaw));
    let line = Chain::start().check(lines.bytes()).map_err(|flaws| damaged(first_flaw(flaws)))?;
    if line.event_name() != "opened" {
        return Err(damaged((DamageKind::BadJson, "the first entry is not `opened`".to_owned())));
    }
    let opened = line.part::<OpenedPart>().map_err(|error| damaged(bad_event(&error)))?;
    if opened.format > LOG_FORMAT {
        let (directory, found) = (directory.to_owned(), opened.format);
        return Err(LogError::NewerFormat { directory, found, supported: LOG_FORMAT });
    }
    Ok(opened.run_id)
}

/// Whether there is a seal to be taken away; refuses where the run is finished or the seal does not fit.
fn check_seal(directory: &Path, past: &Past, pack_bytes: u64) -> Result<bool, LogError> {
    let Some(seal) = Seal::read(directory)? else { return Ok(false) };
    let mismatch = |problem: String| LogError::damaged(directory, Damage::in_seal(problem));
    let seal = seal.map_err(mismatch)?;
    let found = (past.chain.next.0, past.chain.last, past.end + past.torn_bytes, pack_bytes);
    if found != (seal.entries, seal.last, seal.history_bytes, seal.pack_bytes) {
        return Err(mismatch("the files are not those that were sealed".to_owned()));
    }
    match past.closed.as_deref() {
        Some("budget" | "interrupted" | "unreachable") => Ok(true),
        reason => Err(LogError::Sealed {
            directory: directory.to_owned(),
            reason: reason.unwrap_or("no `closed` entry").to_owned(),
        }),
    }
}
