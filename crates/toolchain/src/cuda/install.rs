//! `kernsmith toolchain install cuda`: a toolkit out of Python wheels, by the package manager that the user has.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::ToolchainError;

/// One package of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wheel {
    /// What it is for: `compiler`, `tools` or `nvcc`.
    pub group: &'static str,
    /// Its name.
    pub package: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// The packages that are installed, with exact versions.
pub fn wheels() -> impl Iterator<Item = Wheel> {
    let lines = include_str!("wheels.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        Some(Wheel { group: words.next()?, package: words.next()?, version: words.next()? })
    })
}

/// Installs a toolkit into `folder`, replacing what is there; `with_nvcc` adds the off-line compiler. Blocks for a download of
/// 95 to 195 MB. What was fetched before an interruption is in the package manager's own cache; nothing half done is left.
pub fn install(folder: &Path, with_nvcc: bool) -> Result<(), ToolchainError> {
    let parent = folder.parent().unwrap_or(Path::new("."));
    let file = |action: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| ToolchainError::File { action, path, source }
    };
    std::fs::create_dir_all(parent).map_err(file("create", parent))?;
    let work =
        tempfile::Builder::new().prefix(".cuda-").tempdir_in(parent).map_err(file("create", parent))?;
    let target = work.path().join("cuda");
    let list: Vec<String> = wheels()
        .filter(|wheel| with_nvcc || wheel.group != "nvcc")
        .map(|wheel| format!("{}=={}", wheel.package, wheel.version))
        .collect();
    let output = pip()?
        .args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"])
        .args(["--root-user-action=ignore", "--retries=5", "--target"])
        .arg(&target)
        .args(&list)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| ToolchainError::Install { problem: format!("pip cannot be started: {error}") })?;
    if !output.status.success() {
        return Err(ToolchainError::Install { problem: why(&String::from_utf8_lossy(&output.stderr)) });
    }
    remove_alternatives(&target);
    let old = work.path().join("old");
    match std::fs::rename(folder, &old) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(file("replace", folder)(error));
        }
        _ => {}
    }
    std::fs::rename(&target, folder).map_err(file("put in place", folder))
}

/// A Python that has pip.
fn pip() -> Result<Command, ToolchainError> {
    let works = |program: &str| {
        let mut command = Command::new(program);
        command.args(["-m", "pip", "--version"]).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let python = ["python3", "python"].into_iter().find(|python| works(python));
    let python = python.ok_or_else(|| ToolchainError::Install {
        problem: "there is no Python with pip; install one with `apt-get install python3-pip`, or a CUDA toolkit of your own"
            .to_owned(),
    })?;
    let mut command = Command::new(python);
    command.args(["-m", "pip"]);
    Ok(command)
}

/// The last line in which pip says what is wrong, and a remedy where it is known.
fn why(log: &str) -> String {
    let line = log.lines().rev().find(|line| line.contains("ERROR")).or_else(|| log.lines().last());
    let line = line.unwrap_or("it failed without a word").trim();
    let offline = ["Temporary failure in name resolution", "NewConnectionError", "Could not find a version"];
    if offline.iter().any(|words| log.contains(words)) {
        return format!(
            "{line}; is there a network? Without one, copy an installed toolkit here and name it with KERNSMITH_CUDA_HOME"
        );
    }
    line.to_owned()
}

/// A second build of the compiler, which nothing uses and which takes as much space as the first.
fn remove_alternatives(target: &Path) {
    let folders = ["nvidia/cu13/lib", "nvidia/cu14/lib"].map(|below| target.join(below));
    let files = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
    let alternatives: Vec<PathBuf> =
        files.map(|file| file.path()).filter(|path| path.to_string_lossy().contains(".alt.")).collect();
    for path in alternatives {
        // Leaving one behind costs space and nothing else.
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wheel_has_an_exact_version_and_a_group() {
        let list: Vec<Wheel> = wheels().collect();
        assert!(list.len() >= 8, "{list:?}");
        for wheel in list {
            assert!(["compiler", "tools", "nvcc"].contains(&wheel.group), "{wheel:?}");
            assert_eq!(wheel.version.split('.').count(), 3, "{wheel:?}");
            assert!(wheel.package.starts_with("nvidia-"), "{wheel:?}");
        }
    }

    #[test]
    fn a_network_that_is_not_there_is_told_with_a_remedy() {
        let log = "WARNING: Retrying after NewConnectionError\nERROR: No matching distribution found for nvidia-cuda-nvrtc==13.0.88\n";
        let why = why(log);
        assert!(why.contains("No matching distribution") && why.contains("KERNSMITH_CUDA_HOME"), "{why}");
    }
}
