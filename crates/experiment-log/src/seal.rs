//! The seal of a run that is done: what its files were when the last entry was written.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use kernsmith_core::Digest;
use serde::{Deserialize, Serialize};

use crate::{LogError, SEAL_FILE};

/// What the files of a run were when it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The log's format, [`kernsmith_core::event::LOG_FORMAT`].
    pub format: u32,
    /// Number of entries.
    pub entries: u64,
    /// Digest of the last line without its newline; through the chain it stands for all lines.
    pub last: Digest,
    /// Size of the history.
    pub history_bytes: u64,
    /// Size of the pack.
    pub pack_bytes: u64,
    /// Digest of the whole pack.
    pub pack: Digest,
    /// When it was sealed, RFC 3339 in UTC.
    pub time: String,
}

impl Seal {
    /// The seal of a run; `None` where it is open. The inner error says what is wrong with an unreadable seal.
    pub(crate) fn read(directory: &Path) -> Result<Option<Result<Self, String>>, LogError> {
        let path = directory.join(SEAL_FILE);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).map_err(|error| error.to_string()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LogError::io("read", &path)(error)),
        }
    }

    /// Writes the seal so that it is either there in full or not at all.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), LogError> {
        let path = directory.join(SEAL_FILE);
        let draft = directory.join("seal.json.new");
        let mut text =
            serde_json::to_vec_pretty(self).map_err(|error| LogError::io("write", &path)(error.into()))?;
        text.push(b'\n');
        let mut file = File::create(&draft).map_err(LogError::io("create", &draft))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(LogError::io("write", &draft))?;
        std::fs::rename(&draft, &path).map_err(LogError::io("rename", &draft))?;
        sync_directory(directory)
    }

    /// Takes the seal away, durably.
    pub(crate) fn remove(directory: &Path) -> Result<(), LogError> {
        let path = directory.join(SEAL_FILE);
        std::fs::remove_file(&path).map_err(LogError::io("remove", &path))?;
        sync_directory(directory)
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), LogError> {
    File::open(directory).and_then(|folder| folder.sync_all()).map_err(LogError::io("sync", directory))
}

/// Digest and size of a whole file, read in pieces.
pub(crate) fn digest_file(path: &Path) -> Result<(Digest, u64), LogError> {
    let mut file = File::open(path).map_err(LogError::io("open", path))?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        let count = file.read(&mut buffer).map_err(LogError::io("read", path))?;
        if count == 0 {
            return Ok((Digest::from_bytes(*hasher.finalize().as_bytes()), bytes));
        }
        hasher.update(&buffer[..count]);
        bytes += count as u64;
    }
}
