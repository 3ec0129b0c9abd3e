//! Taking a run to another machine: one file out, one run in.
//!
//! A bundle is one zstd stream: a line of JSON with the run's name and the sizes and digests of its files, then the files'
//! bytes one after the other. `experiment-log/README.md` describes it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use kernsmith_core::{Digest, RunId};
use serde::{Deserialize, Serialize};

use crate::archive::{Archive, Content, Part, write_archive};
use crate::fork::refuse_damaged;
use crate::staging::Staging;
use crate::{
    HISTORY_FILE, LogError, PACK_FILE, RUNS_FOLDER, RunReader, SEAL_FILE, catalog, run_directory, verify,
};

/// The newest bundle format.
pub const BUNDLE_FORMAT: u32 = 1;
/// Where a run came from that another machine wrote.
pub const PROVENANCE_FILE: &str = "imported.json";
const MAX_HEADER_BYTES: u64 = 1 << 16;
/// The pack comes after the history: a line on disk never names a blob that is not, also while a run is being written.
const FILES: [&str; 4] = [HISTORY_FILE, PACK_FILE, SEAL_FILE, PROVENANCE_FILE];

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    kernsmith_bundle: u32,
    run: RunId,
    files: Vec<Part>,
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
    /// What is known of the machine that wrote it, where that was told: `device`, `driver`, `program_digest` and so on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
    /// Where it had been taken from before, where it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<Provenance>>,
}

/// What a second import of a run finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It was not here before.
    New(Provenance),
    /// The same entries are here already: nothing was added.
    Known(RunId),
    /// Its beginning was here: the longer one took its place.
    Grown(Provenance),
}

impl Taken {
    /// The run.
    pub const fn run(&self) -> &RunId {
        match self {
            Self::New(provenance) | Self::Grown(provenance) => &provenance.run,
            Self::Known(run) => run,
        }
    }
}

/// The files of a run, as far as they are there: name and path.
pub fn run_files(directory: &Path) -> Vec<(&'static str, PathBuf)> {
    let path = |name| (name, directory.join(name));
    FILES.into_iter().map(path).filter(|(_, path)| path.exists()).collect()
}

/// Writes a run as one file. A damaged run is refused.
pub fn write_bundle(directory: &Path, output: &Path) -> Result<u64, LogError> {
    refuse_damaged(directory)?;
    let run = RunReader::open(directory)?.opened().run_id.clone();
    let mut parts = Vec::new();
    for (name, path) in run_files(directory) {
        let content = Content::File(path);
        parts.push((content.part(name)?, content));
    }
    let files = parts.iter().map(|(part, _)| part.clone()).collect();
    write_archive(output, &Header { kernsmith_bundle: BUNDLE_FORMAT, run, files }, &parts)
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
    if !from.is_file() {
        let run = RunReader::open(from)?.opened().run_id.clone();
        let staging = stage_folder(root, &run, from)?;
        let origin = from.display().to_string();
        let provenance = examine(&run_directory(staging.root(), &run), &run, origin, BTreeMap::new())?;
        staging.publish(&run)?;
        return Ok(provenance);
    }
    let mut archive = Archive::open(from)?;
    let header = read_header(&mut archive)?;
    let staging = stage(root, &header.run)?;
    for part in &header.files {
        let path = run_directory(staging.root(), &header.run).join(&part.name);
        let mut file = File::create_new(&path).map_err(LogError::io("create", &path))?;
        archive.copy(part, &mut file)?;
    }
    let (run, origin) = (header.run, from.display().to_string());
    let provenance = examine(&run_directory(staging.root(), &run), &run, origin, BTreeMap::new())?;
    staging.publish(&run)?;
    Ok(provenance)
}

/// Takes in the folder of a run that may be here already, with what is known of its machine. Where the entries that are here are the
/// beginning of those that come, the longer run takes the place of the shorter; a run that differs is refused.
pub fn import_again(
    root: &Path,
    from: &Path,
    origin: &str,
    facts: BTreeMap<String, String>,
) -> Result<Taken, LogError> {
    refuse_damaged(from)?;
    let run = RunReader::open(from)?.opened().run_id.clone();
    let here = run_directory(root, &run);
    let grown = match known_part(&here, from)? {
        Some(Known::All) => return Ok(Taken::Known(run)),
        Some(Known::Beginning) => true,
        None => false,
    };
    let staging = stage_over(root, &run, from, grown)?;
    let provenance = examine(&run_directory(staging.root(), &run), &run, origin.to_owned(), facts)?;
    if !grown {
        staging.publish(&run)?;
        return Ok(Taken::New(provenance));
    }
    staging.replace(&run)?;
    Ok(Taken::Grown(provenance))
}

/// How much of a run is here.
enum Known {
    All,
    Beginning,
}

/// Compares the history that is here with the one that comes; `None` where nothing is here.
fn known_part(here: &Path, from: &Path) -> Result<Option<Known>, LogError> {
    let (ours, theirs) = (here.join(HISTORY_FILE), from.join(HISTORY_FILE));
    if !ours.is_file() {
        return Ok(None);
    }
    let read = |path: &Path| std::fs::read(path).map_err(LogError::io("read", path));
    let (ours, theirs) = (read(&ours)?, read(&theirs)?);
    if ours == theirs || (ours.len() > theirs.len() && ours.starts_with(&theirs)) {
        return Ok(Some(Known::All));
    }
    if theirs.starts_with(&ours) {
        return Ok(Some(Known::Beginning));
    }
    let common = ours.split(|byte| *byte == b'\n').zip(theirs.split(|byte| *byte == b'\n'));
    let line = common.take_while(|(ours, theirs)| ours == theirs).count();
    let problem =
        format!("a run of that name is in {} already, and its entry {line} is another one", here.display());
    Err(LogError::BadBundle { path: from.to_owned(), problem })
}

fn stage_folder(root: &Path, run: &RunId, from: &Path) -> Result<Staging, LogError> {
    stage_over(root, run, from, false)
}

fn stage_over(root: &Path, run: &RunId, from: &Path, over: bool) -> Result<Staging, LogError> {
    let staging = if over { Staging::beside(root, run)? } else { Staging::create(root, run)? };
    let directory = make_run_folder(&staging, run)?;
    for (name, path) in run_files(from) {
        std::fs::copy(&path, directory.join(name)).map_err(LogError::io("copy", &path))?;
    }
    Ok(staging)
}

fn stage(root: &Path, run: &RunId) -> Result<Staging, LogError> {
    let staging = Staging::create(root, run)?;
    make_run_folder(&staging, run)?;
    Ok(staging)
}

fn make_run_folder(staging: &Staging, run: &RunId) -> Result<PathBuf, LogError> {
    let directory = run_directory(staging.root(), run);
    std::fs::create_dir(&directory).map_err(LogError::io("create", &directory))?;
    Ok(directory)
}

/// Verifies a staged run and writes down where it came from.
fn examine(
    directory: &Path,
    run: &RunId,
    from: String,
    facts: BTreeMap<String, String>,
) -> Result<Provenance, LogError> {
    refuse_damaged(directory)?;
    let report = verify(directory)?;
    let path = directory.join(PROVENANCE_FILE);
    let before = provenance(directory).map(Box::new);
    let time = jiff::Timestamp::now();
    let noted = Provenance {
        run: run.clone(),
        from,
        time: time.round(jiff::Unit::Second).unwrap_or(time).to_string(),
        entries: report.entries,
        last: report.last,
        facts,
        before,
    };
    let text =
        serde_json::to_vec_pretty(&noted).map_err(|error| LogError::io("write", &path)(error.into()))?;
    std::fs::write(&path, text).map_err(LogError::io("write", &path))?;
    Ok(noted)
}

fn read_header(archive: &mut Archive) -> Result<Header, LogError> {
    let header: Header = archive.head(MAX_HEADER_BYTES)?;
    if header.kernsmith_bundle > BUNDLE_FORMAT {
        let problem = format!("its format {} is newer than {BUNDLE_FORMAT}", header.kernsmith_bundle);
        return Err(archive.refused(problem));
    }
    let mut seen = Vec::new();
    for part in &header.files {
        if !FILES.contains(&part.name.as_str()) || seen.contains(&&part.name) {
            let problem = format!("a file `{}` has no place in a run", part.name.escape_debug());
            return Err(archive.refused(problem));
        }
        seen.push(&part.name);
    }
    Ok(header)
}

/// Where the run of a folder came from, where it was taken in.
pub fn provenance(directory: &Path) -> Option<Provenance> {
    serde_json::from_slice(&std::fs::read(directory.join(PROVENANCE_FILE)).ok()?).ok()
}
