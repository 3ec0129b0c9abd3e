//! What can go wrong with a log, each with its file, its cause and a remedy.

use std::io;
use std::path::{Path, PathBuf};

use kernsmith_core::Digest;

use crate::verify::Damage;

/// What can go wrong with a log. It always ends the search; what was acknowledged stays on disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}{}", path.display(), remedy(source, path))]
    Io {
        /// What was tried, such as `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// An earlier write failed; nothing more is written through this writer.
    #[error(
        "the log stopped after an earlier failure ({cause}); everything acknowledged before it is on disk"
    )]
    Poisoned {
        /// The earlier failure, in words.
        cause: String,
    },
    /// Another writer has the run.
    #[error("{} is being written by process {holder}; wait for it or stop it, a run has one writer", directory.display())]
    Locked {
        /// The run's folder.
        directory: PathBuf,
        /// The process id of the holder as it stands in the lock file.
        holder: String,
    },
    /// A new run would overwrite an old one.
    #[error("run {} exists already; go on with `kernsmith resume {run}` or choose another name", directory.display())]
    Exists {
        /// The run's folder.
        directory: PathBuf,
        /// The run's name.
        run: String,
    },
    /// The folder holds no run.
    #[error("{} is not a run: it has no `history.jsonl`; `kernsmith log list` shows the runs", directory.display())]
    NotARun {
        /// The folder.
        directory: PathBuf,
    },
    /// The program ended before the first entry was durable.
    #[error("run {} never began: it holds no entry; delete the folder and start again", directory.display())]
    Empty {
        /// The run's folder.
        directory: PathBuf,
    },
    /// The run has come to its end.
    #[error("run {} is sealed and ended with `{reason}`: only runs that ended with `budget`, `interrupted` or `unreachable` go on; start a new one", directory.display())]
    Sealed {
        /// The run's folder.
        directory: PathBuf,
        /// Why it ended.
        reason: String,
    },
    /// The log was written by a newer program.
    #[error("{} has log format {found}, this program writes {supported}: it can be read but not continued; use the newer program", directory.display())]
    NewerFormat {
        /// The run's folder.
        directory: PathBuf,
        /// The log's format.
        found: u32,
        /// The format of this program.
        supported: u32,
    },
    /// Bytes on disk are not what was written.
    #[error("{damage}; `kernsmith log verify {run}` names every damage")]
    Damaged {
        /// The run's name.
        run: String,
        /// Where and what.
        damage: Box<Damage>,
    },
    /// No blob has this digest.
    #[error("{} holds no blob {digest}", path.display())]
    NoBlob {
        /// The pack.
        path: PathBuf,
        /// The address that was asked for.
        digest: Digest,
    },
    /// A blob is larger than a pack may hold.
    #[error("a blob of {bytes} bytes is too large: at most {} bytes", crate::pack::MAX_BLOB_BYTES)]
    BlobTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The event cannot stand where it would stand, or could not be read back.
    #[error("a `{event}` entry cannot be recorded: {problem}")]
    Unrecordable {
        /// Name of the event.
        event: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The index cannot be made or read.
    #[error("index {}: {source}; it is derived and may be deleted: `kernsmith log reindex` makes it again", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What the database says.
        source: rusqlite::Error,
    },
    /// A question to the index makes no sense.
    #[error("{problem}; the views are {}", crate::index::VIEWS.join(", "))]
    Query {
        /// What is wrong with it.
        problem: String,
    },
    /// A bundle is not what it should be.
    #[error("{} cannot be taken in: {problem}", path.display())]
    BadBundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No run, or more than one, fits a name.
    #[error("{problem}")]
    NotFound {
        /// What was looked for, and what there is.
        problem: String,
    },
}

impl LogError {
    /// Names file and action of a refusal.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// A damage in the run of `directory`.
    pub(crate) fn damaged(directory: &Path, damage: Damage) -> Self {
        Self::Damaged { run: run_name(directory), damage: Box::new(damage) }
    }

    /// Whether the disk, the quota or a size limit was full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_full(source))
    }
}

/// The last part of a run's path, which is its name.
pub(crate) fn run_name(directory: &Path) -> String {
    directory.file_name().map_or_else(|| "<run>".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn is_full(source: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// The remedy, where the cause has a known one.
fn remedy(source: &io::Error, path: &Path) -> String {
    use io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    if is_full(source) {
        let run = path.parent().map_or_else(|| "<run>".to_owned(), run_name);
        return format!("; free space and run `kernsmith resume {run}`");
    }
    match source.kind() {
        PermissionDenied | ReadOnlyFilesystem | NotADirectory => {
            "; make the folder writable or choose another one with `--log-dir`".to_owned()
        }
        _ => String::new(),
    }
}
