//! Taking a run to another machine: one file out, one run in.
//!
//! A bundle is one zstd stream: a line of JSON with the run's name and the sizes and digests of its files, then the files'
//! bytes one after the other. `experiment-log/README.md` describes it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use kernsmith_core::{Digest, RunId};
use serde::{Deserialize, Serialize};

use crate::fork::refuse_damaged;
use crate::staging::Staging;
use crate::{
    HISTORY_FILE, LogError, PACK_FILE, RUNS_FOLDER, RunReader, SEAL_FILE, catalog, run_directory, verify,
};

/// The newest bundle format.
pub const BUNDLE_FORMAT: u32 = 1;
/// Where a run came from that another machine wrote.
pub const PROVENANCE_FILE: &str = "imported.json";
const ZSTD_LEVEL: i32 = 3;
const MAX_HEADER_BYTES: u64 = 1 << 16;
/// The pack comes after the history: a line on disk never names a blob that is not, also while a run is being written.
const FILES: [&str; 4] = [HISTORY_FILE, PACK_FILE, SEAL_FILE, PROVENANCE_FILE];

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    kernsmith_bundle: u32,
    run: RunId,
    files: Vec<Part>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Part {
    name: String,
    bytes: u64,
    digest: Digest,
}

/// A run that was taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The run.
    pub run: RunId,
    /// Where it was taken from, as it was typed.
    pub from: String,
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// Entries that it had then.
    pub entries: u64,
    /// Digest of the last line then: proof of what came.
    pub last: Digest,
    /// Where it had been taken from before, where it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<Provenance>>,
}

/// Writes a run as one file. A damaged run is refused.
pub fn write_bundle(directory: &Path, output: &Path) -> Result<u64, LogError> {
    refuse_damaged(directory)?;
    let run = RunReader::open(directory)?.opened().run_id.clone();
    let mut files = Vec::new();
    for name in FILES {
        let path = directory.join(name);
        if path.exists() {
            let (digest, bytes) = crate::seal::digest_file(&path)?;
            files.push(Part { name: name.to_owned(), bytes, digest });
        }
    }
    let failed = |error| LogError::io("write", output)(error);
    let file = File::create(output).map_err(LogError::io("create", output))?;
    let mut stream = zstd::Encoder::new(file, ZSTD_LEVEL).map_err(failed)?;
    let header = Header { kernsmith_bundle: BUNDLE_FORMAT, run, files };
    serde_json::to_writer(&mut stream, &header).map_err(|error| failed(error.into()))?;
    stream.write_all(b"\n").map_err(failed)?;
    for part in &header.files {
        let path = directory.join(&part.name);
        let mut file = File::open(&path).map_err(LogError::io("open", &path))?.take(part.bytes);
        copy_checked(&mut file, &mut stream, part, output)?;
    }
    let file = stream.finish().map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(file.metadata().map_err(failed)?.len())
}

/// The runs in `from`: a bundle, the folder of a run, or a log folder with all its runs.
pub fn importable(from: &Path) -> Result<Vec<PathBuf>, LogError> {
    if from.is_file() || from.join(HISTORY_FILE).is_file() {
        return Ok(vec![from.to_owned()]);
    }
    let found = catalog::directories(from)?;
    if found.is_empty() {
        let problem = format!(
            "{} is no bundle, no run (it has no `{HISTORY_FILE}`) and no log folder with runs (it has no `{RUNS_FOLDER}/`)",
            from.display()
        );
        return Err(LogError::NotFound { problem });
    }
    Ok(found)
}

/// Takes one run in, a bundle or a folder, and verifies every byte before it appears among the others. A damaged run and a
/// name that is taken are refused.
pub fn import(root: &Path, from: &Path) -> Result<Provenance, LogError> {
    let staging;
    let run;
    if from.is_file() {
        let mut stream = open_bundle(from)?;
        let header = read_header(&mut stream, from)?;
        staging = stage(root, &header.run)?;
        run = header.run;
        for part in &header.files {
            let path = run_directory(staging.root(), &run).join(&part.name);
            let mut file = File::create_new(&path).map_err(LogError::io("create", &path))?;
            copy_checked(&mut (&mut stream).take(part.bytes), &mut file, part, from)?;
        }
    } else {
        run = RunReader::open(from)?.opened().run_id.clone();
        staging = stage(root, &run)?;
        for name in FILES.iter().filter(|name| from.join(name).exists()) {
            let path = run_directory(staging.root(), &run).join(name);
            std::fs::copy(from.join(name), &path).map_err(LogError::io("copy", &from.join(name)))?;
        }
    }
    let provenance = examine(&run_directory(staging.root(), &run), &run, from)?;
    staging.publish(&run)?;
    Ok(provenance)
}

fn stage(root: &Path, run: &RunId) -> Result<Staging, LogError> {
    let staging = Staging::create(root, run)?;
    let directory = run_directory(staging.root(), run);
    std::fs::create_dir(&directory).map_err(LogError::io("create", &directory))?;
    Ok(staging)
}

/// Verifies a staged run and writes down where it came from.
fn examine(directory: &Path, run: &RunId, from: &Path) -> Result<Provenance, LogError> {
    refuse_damaged(directory)?;
    let report = verify(directory)?;
    let path = directory.join(PROVENANCE_FILE);
    let before = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let time = jiff::Timestamp::now();
    let provenance = Provenance {
        run: run.clone(),
        from: from.display().to_string(),
        time: time.round(jiff::Unit::Second).unwrap_or(time).to_string(),
        entries: report.entries,
        last: report.last,
        before,
    };
    let text =
        serde_json::to_vec_pretty(&provenance).map_err(|error| LogError::io("write", &path)(error.into()))?;
    std::fs::write(&path, text).map_err(LogError::io("write", &path))?;
    Ok(provenance)
}

type Bundle = BufReader<zstd::Decoder<'static, BufReader<File>>>;

fn open_bundle(path: &Path) -> Result<Bundle, LogError> {
    let file = File::open(path).map_err(LogError::io("open", path))?;
    zstd::Decoder::new(file).map(BufReader::new).map_err(LogError::io("read", path))
}

fn read_header(stream: &mut Bundle, path: &Path) -> Result<Header, LogError> {
    let refuse = |problem: String| LogError::BadBundle { path: path.to_owned(), problem };
    let mut line = Vec::new();
    let read = stream.take(MAX_HEADER_BYTES).read_until(b'\n', &mut line);
    read.map_err(|error| refuse(format!("it does not begin with a header ({error})")))?;
    let header: Header = serde_json::from_slice(&line)
        .map_err(|error| refuse(format!("it does not begin with a header ({error})")))?;
    if header.kernsmith_bundle > BUNDLE_FORMAT {
        return Err(refuse(format!("its format {} is newer than {BUNDLE_FORMAT}", header.kernsmith_bundle)));
    }
    let mut seen = Vec::new();
    for part in &header.files {
        if !FILES.contains(&part.name.as_str()) || seen.contains(&&part.name) {
            return Err(refuse(format!("a file `{}` has no place in a run", part.name.escape_debug())));
        }
        seen.push(&part.name);
    }
    Ok(header)
}

/// Copies exactly the bytes of one part and compares their digest.
fn copy_checked(
    source: &mut impl Read,
    sink: &mut impl Write,
    part: &Part,
    bundle: &Path,
) -> Result<(), LogError> {
    let refuse = |problem: String| LogError::BadBundle { path: bundle.to_owned(), problem };
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        let count = source.read(&mut buffer).map_err(|error| refuse(format!("it ends early ({error})")))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        sink.write_all(&buffer[..count]).map_err(LogError::io("copy", bundle))?;
        bytes += count as u64;
    }
    if bytes != part.bytes || Digest::from_bytes(*hasher.finalize().as_bytes()) != part.digest {
        return Err(refuse(format!("`{}` is not what its header says; was it cut or changed?", part.name)));
    }
    Ok(())
}
