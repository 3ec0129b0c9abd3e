//! The container on both ways: what it holds, and its files laid into a folder.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use kernsmith_experiment_log::{Archive, Content, Part, write_archive};
use serde::{Deserialize, Serialize};

use crate::error::BatchError;
use crate::manifest::BATCH_FORMAT;

/// Names of many candidates.
const HEAD_BYTES_MAX: u64 = 64 << 20;
const NAME_BYTES_MAX: usize = 300;

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holds {
    /// Candidates to be judged.
    Candidates,
    /// What came of it.
    Evidence,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    kernsmith_batch: u32,
    holds: Holds,
    files: Vec<Part>,
}

/// Writes files under their names.
pub(crate) fn pack(output: &Path, holds: Holds, contents: Vec<(String, Content)>) -> Result<u64, BatchError> {
    let mut parts = Vec::with_capacity(contents.len());
    for (name, content) in contents {
        parts.push((content.part(&name)?, content));
    }
    let files = parts.iter().map(|(part, _)| part.clone()).collect();
    Ok(write_archive(output, &Head { kernsmith_batch: BATCH_FORMAT, holds, files }, &parts)?)
}

/// What a file is for.
pub fn holds(path: &Path) -> Result<Holds, BatchError> {
    Ok(head(&mut Archive::open(path)?, path)?.holds)
}

fn head(archive: &mut Archive, path: &Path) -> Result<Head, BatchError> {
    let head: Head = archive.head(HEAD_BYTES_MAX)?;
    if head.kernsmith_batch > BATCH_FORMAT {
        let problem = format!("its format {} is newer than {BATCH_FORMAT}", head.kernsmith_batch);
        return Err(BatchError::refused(path, problem));
    }
    Ok(head)
}

/// Lays all files below a folder, each checked against its digest. Names lead nowhere else.
pub(crate) fn unpack(path: &Path, wanted: Holds, into: &Path) -> Result<BTreeSet<String>, BatchError> {
    let mut archive = Archive::open(path)?;
    let head = head(&mut archive, path)?;
    if head.holds != wanted {
        let problem = match head.holds {
            Holds::Candidates => "it holds candidates; `kernsmith batch run` makes evidence of them",
            Holds::Evidence => "it holds evidence, not candidates; `kernsmith batch import` takes it in",
        };
        return Err(BatchError::refused(path, problem));
    }
    let mut names = BTreeSet::new();
    for part in &head.files {
        let place = inside(&part.name).filter(|_| names.insert(part.name.clone()));
        let Some(place) = place else {
            let problem = format!("a file cannot be called `{}`", part.name.escape_debug());
            return Err(BatchError::refused(path, problem));
        };
        let place = into.join(place);
        if let Some(folder) = place.parent() {
            std::fs::create_dir_all(folder).map_err(BatchError::io("create", folder))?;
        }
        let mut file = File::create(&place).map_err(BatchError::io("create", &place))?;
        archive.copy(part, &mut file)?;
    }
    archive.finish()?;
    Ok(names)
}

/// A name as a path below a folder, where it is one: words of plain letters with `/` between them.
fn inside(name: &str) -> Option<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let word = |word: &str| !word.is_empty() && !word.starts_with('.') && word.chars().all(plain);
    (name.len() <= NAME_BYTES_MAX && name.split('/').all(word)).then(|| PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_below_its_folder() {
        for good in ["manifest.json", "contracts/ab12/rmsnorm_f32/contract.toml", "runs/a-b_c/blobs.pack"] {
            assert_eq!(inside(good), Some(PathBuf::from(good)));
        }
        for bad in ["", "/etc/passwd", "a/../../b", "..", "a//b", "a/", ".hidden", "a\\b", "a b", "c:d"] {
            assert_eq!(inside(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_packed_comes_out_and_nothing_follows() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        let contents = vec![("a/b".to_owned(), Content::Bytes(b"one".to_vec()))];
        pack(&file, Holds::Candidates, contents).unwrap();
        assert_eq!(holds(&file).unwrap(), Holds::Candidates);
        let into = folder.path().join("out");
        assert!(unpack(&file, Holds::Evidence, &into).unwrap_err().to_string().contains("batch run"));
        assert_eq!(unpack(&file, Holds::Candidates, &into).unwrap().len(), 1);
        assert_eq!(std::fs::read(into.join("a/b")).unwrap(), b"one");
        let whole = std::fs::read(&file).unwrap();
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            std::fs::write(&file, &changed).unwrap();
            let outcome = unpack(&file, Holds::Candidates, &into);
            // Some bits of a zstd frame's header mean nothing for what comes out.
            assert!(outcome.is_err() || std::fs::read(into.join("a/b")).unwrap() == b"one", "byte {place}");
            std::fs::write(&file, &whole[..place]).unwrap();
            assert!(unpack(&file, Holds::Candidates, &into).is_err(), "cut at {place}");
        }
    }
}
