//! Imported instruction sets on disk: `<folder>/<target>.jsonl`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use kernsmith_core::{Digest, Target};
use serde::{Deserialize, Serialize};

use super::{ImportError, Imported, Instruction};

const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    architecture: String,
    target: Target,
    schema_version: String,
    release_date: String,
    digest: Digest,
}

/// Reads every imported instruction set of a folder, by name. A folder that is not there holds none.
pub fn imported_in(folder: &Path) -> Result<Vec<Imported>, ImportError> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Imported, ImportError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| ImportError::File {
        action: "read",
        path: shown.clone(),
        source,
    })?;
    let wrong = |line: usize, problem: String| ImportError::Wrong {
        path: shown.clone(),
        line,
        problem,
        help: "remove the file and run `kernsmith isa import` again".to_owned(),
    };
    let mut lines = text.lines().enumerate();
    let (_, head) = lines.next().ok_or_else(|| wrong(1, "the file is empty".to_owned()))?;
    let head: Head = serde_json::from_str(head).map_err(|error| wrong(1, error.to_string()))?;
    if head.format != FORMAT {
        return Err(wrong(1, format!("format {} is not known", head.format)));
    }
    let mut instructions = Vec::new();
    for (index, line) in lines {
        let read: Instruction =
            serde_json::from_str(line).map_err(|error| wrong(index + 1, error.to_string()))?;
        instructions.push(read);
    }
    let Head { architecture, target, schema_version, release_date, digest, .. } = head;
    Ok(Imported { architecture, target, schema_version, release_date, digest, instructions })
}

/// Writes an imported instruction set into a folder, whole or not at all, and says where it is.
pub(super) fn write(folder: &Path, imported: &Imported) -> Result<PathBuf, ImportError> {
    let path = folder.join(format!("{}.jsonl", imported.target));
    let failed = |source| ImportError::File { action: "write", path: path.display().to_string(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let part = path.with_extension("part");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&part).map_err(failed)?);
    let head = Head {
        format: FORMAT,
        architecture: imported.architecture.clone(),
        target: imported.target.clone(),
        schema_version: imported.schema_version.clone(),
        release_date: imported.release_date.clone(),
        digest: imported.digest,
    };
    let json = |error: serde_json::Error| failed(error.into());
    writeln!(file, "{}", serde_json::to_string(&head).map_err(json)?).map_err(failed)?;
    for instruction in &imported.instructions {
        writeln!(file, "{}", serde_json::to_string(instruction).map_err(json)?).map_err(failed)?;
    }
    file.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
    std::fs::rename(&part, &path).map_err(failed)?;
    Ok(path)
}
