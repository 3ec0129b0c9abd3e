//! Naming every damage of a run, without changing a byte.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::path::Path;

use kernsmith_core::Digest;
use kernsmith_core::event::LOG_FORMAT;
use serde::{Deserialize, Serialize};

use crate::error::run_name;
use crate::history::{Chain, Lines, bad_event};
use crate::line::{Flaw, Line, is_known};
use crate::seal::{Seal, digest_file};
use crate::{HISTORY_FILE, LogError, PACK_FILE, SEAL_FILE, pack};

/// What kind of damage it is; the names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DamageKind {
    /// An unfinished line or frame at the end: never acknowledged, cut off when the run goes on.
    TornTail,
    /// A line that does not fit its own `sum`.
    BadSum,
    /// A line that is not an entry.
    BadJson,
    /// A line whose `prev` is not the digest of the line before.
    BrokenChain,
    /// A line whose `seq` does not follow.
    SeqGap,
    /// An entry refers to a blob that the pack does not hold.
    MissingBlob,
    /// A blob whose stored bytes are not what was written.
    CorruptBlob,
    /// Bytes in the pack where a frame should begin.
    BadFrame,
    /// The seal cannot be read, or does not fit the files.
    SealMismatch,
    /// A file of the run is gone.
    MissingFile,
}

/// One damage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// The line, from 1, in a file of lines.
    pub line: Option<u64>,
    /// Offset in bytes at which the line or frame begins.
    pub offset: Option<u64>,
    /// What kind it is.
    pub kind: DamageKind,
    /// What exactly is wrong.
    pub detail: String,
    /// Whether nothing acknowledged is lost and the run can go on.
    pub recoverable: bool,
}

impl Damage {
    pub(crate) fn at_line(line: u64, offset: u64, (kind, detail): Flaw) -> Self {
        let file = HISTORY_FILE.to_owned();
        Self { file, line: Some(line), offset: Some(offset), kind, detail, recoverable: false }
    }

    pub(crate) fn in_pack(offset: u64, kind: DamageKind, detail: String) -> Self {
        let file = PACK_FILE.to_owned();
        Self { file, line: None, offset: Some(offset), kind, detail, recoverable: false }
    }

    pub(crate) fn in_seal(detail: String) -> Self {
        let (file, kind) = (SEAL_FILE.to_owned(), DamageKind::SealMismatch);
        Self { file, line: None, offset: None, kind, detail, recoverable: false }
    }

    pub(crate) fn missing_blob(line: u64, offset: u64, digest: &Digest) -> Self {
        let detail = format!("blob {digest} is not in `{PACK_FILE}`");
        Self::at_line(line, offset, (DamageKind::MissingBlob, detail))
    }
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TornTail => "torn tail",
            Self::BadSum => "bad sum",
            Self::BadJson => "bad entry",
            Self::BrokenChain => "broken chain",
            Self::SeqGap => "gap in seq",
            Self::MissingBlob => "missing blob",
            Self::CorruptBlob => "corrupt blob",
            Self::BadFrame => "bad frame",
            Self::SealMismatch => "seal mismatch",
            Self::MissingFile => "missing file",
        })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, " (byte {offset})")?;
        }
        write!(f, ": {}: {}", self.kind, self.detail)
    }
}

/// Everything that is wrong with a run, or that nothing is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// The run's name.
    pub run: String,
    /// The log's format; 0 where no entry could be read.
    pub format: u32,
    /// Whether the run has a seal.
    pub sealed: bool,
    /// Whole lines.
    pub entries: u64,
    /// Digest of the last line: a copy kept elsewhere proves later that no entry was cut off.
    pub last: Digest,
    /// Frames in the pack.
    pub blobs: u64,
    /// Size of the history.
    pub history_bytes: u64,
    /// Size of the pack.
    pub pack_bytes: u64,
    /// Every damage, in order of file and place.
    pub damages: Vec<Damage>,
    /// Observations that are not damages.
    pub notes: Vec<String>,
}

impl VerifyReport {
    /// Whether every byte is as it was written.
    pub fn is_intact(&self) -> bool {
        self.damages.is_empty()
    }

    /// Whether everything acknowledged is there: a torn tail of an open run is all that may be wrong.
    pub fn passed(&self) -> bool {
        self.damages.iter().all(|damage| damage.recoverable)
    }
}

/// Checks everything: chain, sums, events, blobs, seal. `Err` only when a file cannot be read at all.
pub fn verify(directory: &Path) -> Result<VerifyReport, LogError> {
    let mut report = VerifyReport {
        run: run_name(directory),
        format: 0,
        sealed: false,
        entries: 0,
        last: Digest::ZERO,
        blobs: 0,
        history_bytes: 0,
        pack_bytes: 0,
        damages: Vec::new(),
        notes: Vec::new(),
    };
    let seal = Seal::read(directory)?;
    report.sealed = seal.is_some();
    let references = verify_history(directory, &mut report)?;
    verify_pack(directory, &references, &mut report)?;
    match seal {
        None => {}
        Some(Err(problem)) => report.damages.push(Damage::in_seal(problem)),
        Some(Ok(seal)) => verify_seal(directory, &seal, &mut report)?,
    }
    Ok(report)
}

/// Blobs that entries refer to, with line and offset of the first entry that does.
type References = HashMap<Digest, (u64, u64)>;

fn verify_history(directory: &Path, report: &mut VerifyReport) -> Result<References, LogError> {
    let mut references = References::new();
    let mut lines = Lines::open(directory)?;
    let mut chain = Chain::start();
    let mut unknown = 0_u64;
    while lines.advance()? {
        report.entries += 1;
        match chain.check(lines.bytes()) {
            Ok(line) => match read_event(&line, report) {
                Ok(digests) => {
                    unknown += u64::from(!is_known(&line.event_name()));
                    for digest in digests {
                        let damage = lines.damage((DamageKind::MissingBlob, String::new()));
                        let place = (damage.line.unwrap_or(0), damage.offset.unwrap_or(0));
                        references.entry(digest).or_insert(place);
                    }
                }
                Err(flaw) => report.damages.push(lines.damage(flaw)),
            },
            Err(flaws) => report.damages.extend(flaws.into_iter().map(|flaw| lines.damage(flaw))),
        }
    }
    report.last = chain.last;
    report.history_bytes = lines.end() + lines.torn_bytes();
    if lines.torn_bytes() > 0 {
        let detail = format!("{} bytes of an unfinished line", lines.torn_bytes());
        let mut damage = Damage::at_line(report.entries + 1, lines.end(), (DamageKind::TornTail, detail));
        damage.recoverable = !report.sealed;
        report.damages.push(damage);
    }
    if report.entries == 0 {
        report.notes.push("the run never began: it holds no entry".to_owned());
    }
    if unknown > 0 {
        report
            .notes
            .push(format!("{unknown} entries of a newer format hold events that this version does not know"));
    }
    Ok(references)
}

/// Parses the whole event, so that nothing unreadable passes, and returns the blobs that it refers to.
fn read_event(line: &Line<'_>, report: &mut VerifyReport) -> Result<Vec<Digest>, Flaw> {
    use kernsmith_core::Event;
    let newer = report.format > LOG_FORMAT;
    match line.event() {
        Ok(Event::Opened(opened)) => {
            if line.seq.0 == 0 {
                report.format = opened.format;
                if opened.run_id.as_str() != report.run {
                    report
                        .notes
                        .push(format!("the run calls itself `{}`; its folder was renamed", opened.run_id));
                }
            }
            Ok(opened.memory.into_iter().map(|memory| memory.digest).collect())
        }
        Ok(_) if line.seq.0 == 0 => Err((DamageKind::BadJson, "the first entry is not `opened`".to_owned())),
        Ok(event) => Ok(event.blobs()),
        Err(_) if newer && !is_known(&line.event_name()) => Ok(Vec::new()),
        Err(error) => Err(bad_event(&error)),
    }
}

fn verify_pack(directory: &Path, references: &References, report: &mut VerifyReport) -> Result<(), LogError> {
    let path = directory.join(PACK_FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && report.entries == 0 => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let (kind, detail) = (DamageKind::MissingFile, "the pack of blobs is gone".to_owned());
            let damage = Damage { offset: None, ..Damage::in_pack(0, kind, detail) };
            report.damages.push(damage);
            return Ok(());
        }
        Err(error) => return Err(LogError::io("open", &path)(error)),
    };
    let mut frames = Vec::new();
    let scan = pack::scan(&file, |digest, slot| frames.push((*digest, *slot)))
        .map_err(LogError::io("read", &path))?;
    report.blobs = scan.frames;
    report.pack_bytes = file.metadata().map_err(LogError::io("read", &path))?.len();
    let mut damages = gap_damages(&scan, report.sealed);
    let mut good = HashSet::new();
    let mut corrupt = Vec::new();
    for (digest, slot) in &frames {
        match pack::read(&file, digest, slot).map_err(LogError::io("read", &path))? {
            Ok(_) => drop(good.insert(*digest)),
            Err(problem) => corrupt.push((*digest, slot.offset, problem)),
        }
    }
    for (digest, offset, problem) in corrupt {
        let mut damage =
            Damage::in_pack(offset, DamageKind::CorruptBlob, format!("blob {digest}: {problem}"));
        // A frame that no entry needs was never acknowledged, or a later frame has replaced it.
        damage.recoverable = !report.sealed && (good.contains(&digest) || !references.contains_key(&digest));
        damages.insert(offset, damage);
    }
    report.damages.extend(damages.into_values());
    let missing: BTreeMap<u64, Damage> = references
        .iter()
        .filter(|(digest, _)| !scan.index.contains_key(*digest))
        .map(|(digest, &(line, offset))| (line, Damage::missing_blob(line, offset, digest)))
        .collect();
    report.damages.extend(missing.into_values());
    let orphans = good.iter().filter(|digest| !references.contains_key(*digest)).count();
    if orphans > 0 {
        report.notes.push(format!("{orphans} blobs that no entry names by its source"));
    }
    Ok(())
}

fn gap_damages(scan: &pack::Scan, sealed: bool) -> BTreeMap<u64, Damage> {
    let mut damages = BTreeMap::new();
    for &(offset, bytes) in &scan.gaps {
        let detail = format!("{bytes} bytes that are no frame");
        damages.insert(offset, Damage::in_pack(offset, DamageKind::BadFrame, detail));
    }
    if scan.torn_bytes > 0 {
        let detail = format!("{} bytes of an unfinished frame", scan.torn_bytes);
        let mut damage = Damage::in_pack(scan.end, DamageKind::TornTail, detail);
        damage.recoverable = !sealed;
        damages.insert(scan.end, damage);
    }
    damages
}

fn verify_seal(directory: &Path, seal: &Seal, report: &mut VerifyReport) -> Result<(), LogError> {
    let mut problems = Vec::new();
    if seal.entries != report.entries {
        problems.push(format!("sealed with {} entries, found {}", seal.entries, report.entries));
    }
    if seal.last != report.last {
        problems.push(format!("sealed with last line {}, found {}", seal.last.short(), report.last.short()));
    }
    if seal.history_bytes != report.history_bytes {
        let found = report.history_bytes;
        problems.push(format!("sealed with a history of {} bytes, found {found}", seal.history_bytes));
    }
    let path = directory.join(PACK_FILE);
    if path.exists() {
        let (digest, bytes) = digest_file(&path)?;
        if (seal.pack, seal.pack_bytes) != (digest, bytes) {
            problems.push(format!(
                "sealed with a pack of {} bytes, found {bytes} or other ones",
                seal.pack_bytes
            ));
        }
    }
    if seal.format != report.format {
        problems.push(format!("the seal has format {}, the log {}", seal.format, report.format));
    }
    report.damages.extend(problems.into_iter().map(Damage::in_seal));
    Ok(())
}
