//! One file that carries others: a zstd stream of one line of JSON that names them, and their bytes in that order.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use kernsmith_core::Digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::LogError;
use crate::seal::{digest_file, sync_directory};

const ZSTD_LEVEL: i32 = 3;
/// How the other kind of archive begins.
const BATCH_HEAD: &[u8] = b"{\"kernsmith_batch\":";

/// One file in an archive, as the header names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// blake3 of its content.
    pub digest: Digest,
}

/// Where the bytes of a part come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file.
    File(PathBuf),
    /// Here they are.
    Bytes(Vec<u8>),
}

impl Content {
    /// The part that these bytes are under a name.
    pub fn part(&self, name: &str) -> Result<Part, LogError> {
        let (digest, bytes) = match self {
            Self::File(path) => digest_file(path)?,
            Self::Bytes(bytes) => (Digest::of(bytes), bytes.len() as u64),
        };
        Ok(Part { name: name.to_owned(), bytes, digest })
    }
}

/// Writes an archive beside its place and moves it there when it is whole and on disk. `head` is the line that names the parts.
pub fn write_archive(
    output: &Path,
    head: &impl Serialize,
    parts: &[(Part, Content)],
) -> Result<u64, LogError> {
    let failed = |error| LogError::io("write", output)(error);
    let mut name = output.as_os_str().to_owned();
    name.push(format!(".unfinished-{}", std::process::id()));
    let place = PathBuf::from(name);
    let written = write_to(&place, output, head, parts).and_then(|bytes| {
        std::fs::rename(&place, output).map_err(failed)?;
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
        sync_directory(folder.unwrap_or(Path::new(".")))?;
        Ok(bytes)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&place);
    }
    written
}

fn write_to(
    place: &Path,
    output: &Path,
    head: &impl Serialize,
    parts: &[(Part, Content)],
) -> Result<u64, LogError> {
    let failed = |error| LogError::io("write", output)(error);
    let file = File::create(place).map_err(LogError::io("create", output))?;
    let mut stream = zstd::Encoder::new(file, ZSTD_LEVEL).map_err(failed)?;
    serde_json::to_writer(&mut stream, head).map_err(|error| failed(error.into()))?;
    stream.write_all(b"\n").map_err(failed)?;
    for (part, content) in parts {
        match content {
            Content::File(path) => {
                let mut file = File::open(path).map_err(LogError::io("open", path))?.take(part.bytes);
                copy_checked(&mut file, &mut stream, part, output)?;
            }
            Content::Bytes(bytes) => copy_checked(&mut bytes.as_slice(), &mut stream, part, output)?,
        }
    }
    let file = stream.finish().map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(file.metadata().map_err(failed)?.len())
}

/// An archive that is read from front to back.
pub struct Archive {
    path: PathBuf,
    stream: BufReader<zstd::Decoder<'static, BufReader<File>>>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Archive {}", self.path.display())
    }
}

impl Archive {
    /// Opens one.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let file = File::open(path).map_err(LogError::io("open", path))?;
        let stream = zstd::Decoder::new(file).map_err(LogError::io("read", path))?;
        Ok(Self { path: path.to_owned(), stream: BufReader::new(stream) })
    }

    /// Reads the line that names the parts; a line longer than that is refused.
    pub fn head<T: DeserializeOwned>(&mut self, bytes_max: u64) -> Result<T, LogError> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(bytes_max).read_until(b'\n', &mut line);
        read.map_err(|error| self.refused(format!("it does not begin with a header ({error})")))?;
        let batch = if line.starts_with(BATCH_HEAD) {
            "; it is of a batch: `kernsmith batch import` takes evidence in"
        } else {
            ""
        };
        serde_json::from_slice(&line)
            .map_err(|error| self.refused(format!("it does not begin with a header ({error}){batch}")))
    }

    /// Copies the next part, and compares size and digest.
    pub fn copy(&mut self, part: &Part, sink: &mut impl Write) -> Result<(), LogError> {
        copy_checked(&mut (&mut self.stream).take(part.bytes), sink, part, &self.path)
    }

    /// Nothing may follow the last part.
    pub fn finish(mut self) -> Result<(), LogError> {
        let mut rest = [0];
        match self.stream.read(&mut rest) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.refused("more follows than its header names".to_owned())),
            Err(error) => Err(self.refused(format!("it does not end as it should ({error})"))),
        }
    }

    /// The refusal of this archive.
    pub fn refused(&self, problem: String) -> LogError {
        LogError::BadBundle { path: self.path.clone(), problem }
    }
}

/// Copies exactly the bytes of one part and compares their digest.
fn copy_checked(
    source: &mut impl Read,
    sink: &mut impl Write,
    part: &Part,
    archive: &Path,
) -> Result<(), LogError> {
    let refuse = |problem: String| LogError::BadBundle { path: archive.to_owned(), problem };
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        let count = source.read(&mut buffer).map_err(|error| refuse(format!("it ends early ({error})")))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        sink.write_all(&buffer[..count]).map_err(LogError::io("copy", archive))?;
        bytes += count as u64;
    }
    if bytes != part.bytes || Digest::from_bytes(*hasher.finalize().as_bytes()) != part.digest {
        return Err(refuse(format!("`{}` is not what its header says; was it cut or changed?", part.name)));
    }
    Ok(())
}
