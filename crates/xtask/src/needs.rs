//! What the tests need beyond Rust: a C++ compiler, and OpenBLAS as a rival.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell::{command, output, root, run, succeeds};

/// The packages that hold OpenBLAS and what it is linked with, in Debian's names.
const OPENBLAS_PACKAGES: [&str; 3] = ["libopenblas0-pthread", "libgfortran5", "libquadmath0"];

/// Makes sure that there is a C++ compiler.
pub(crate) fn compiler() -> Result<()> {
    let named = ["KERNSMITH_CXX", "CXX"].into_iter().filter_map(|variable| std::env::var(variable).ok());
    let candidates: Vec<String> = named.chain(["g++".to_owned(), "clang++".to_owned()]).collect();
    let works = |compiler: &String| succeeds(compiler, &["--version"]);
    if let Some(compiler) = candidates.iter().find(|compiler| works(compiler)) {
        let version = output(compiler, &["--version"]).unwrap_or_default();
        println!("xtask: C++ compiler: {}", version.lines().next().unwrap_or(compiler));
        return Ok(());
    }
    if is_root() && succeeds("apt-get", &["--version"]) {
        println!("xtask: no C++ compiler; installing g++");
        run(command("apt-get", &["update", "-q"]))?;
        run(command("apt-get", &["install", "-q", "-y", "--no-install-recommends", "g++"]))?;
        if works(&"g++".to_owned()) {
            return Ok(());
        }
    }
    bail!("there is no C++ compiler: install g++ or clang++, or name one with KERNSMITH_CXX")
}

/// The folder of OpenBLAS where it had to be fetched; `None` where it is installed, or cannot be had.
///
/// Never an error: without it the tests that compare with OpenBLAS are skipped, and say so.
pub(crate) fn openblas() -> Option<PathBuf> {
    if is_linkable() {
        println!("xtask: OpenBLAS: installed");
        return None;
    }
    let folder = root().join("target").join("test-needs").join("openblas");
    if folder.join("libopenblas.so").exists() {
        println!("xtask: OpenBLAS: fetched earlier");
        return Some(folder);
    }
    match fetch_openblas(&folder) {
        Ok(()) => {
            println!("xtask: OpenBLAS: fetched");
            Some(folder)
        }
        Err(error) => {
            println!(
                "xtask: SKIPPED: comparison with OpenBLAS: {error:#}; install libopenblas-dev to have it"
            );
            None
        }
    }
}

/// Whether the linker finds the library by its plain name.
fn is_linkable() -> bool {
    ["g++", "clang++"].into_iter().any(|compiler| {
        output(compiler, &["-print-file-name=libopenblas.so"])
            .is_some_and(|path| Path::new(path.trim()).is_absolute())
    })
}

/// Downloads the packages as an ordinary user may, unpacks them, and puts their libraries side by side.
fn fetch_openblas(folder: &Path) -> Result<()> {
    let work = folder.with_extension("work");
    fs::create_dir_all(&work).with_context(|| format!("{} cannot be made", work.display()))?;
    if is_root() {
        // A fresh container image has no package lists yet.
        succeeds("apt-get", &["update", "-q"]);
    }
    for package in OPENBLAS_PACKAGES {
        let mut download = command("apt-get", &["download", "-q", package]);
        download.current_dir(&work);
        run(download)?;
    }
    let unpacked = work.join("unpacked");
    for archive in files_below(&work)?.iter().filter(|path| path.extension().is_some_and(|end| end == "deb"))
    {
        run(command("dpkg", &["-x", &archive.to_string_lossy(), &unpacked.to_string_lossy()]))?;
    }
    fs::create_dir_all(folder)?;
    for library in files_below(&unpacked)? {
        let name = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Libraries ask for one another by their short names, libname.so.N, which the packages hold as links.
        let is_short =
            name.split_once(".so.").is_some_and(|(_, n)| n.bytes().all(|byte| byte.is_ascii_digit()));
        if is_short {
            fs::copy(&library, folder.join(&name))?;
        }
    }
    let plain = folder.join("libopenblas.so");
    if plain.is_symlink() {
        fs::remove_file(&plain)?;
    }
    symlink("libopenblas.so.0", plain)?;
    fs::remove_dir_all(&work).context("the downloads cannot be removed")
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

fn is_root() -> bool {
    output("id", &["-u"]).is_some_and(|id| id.trim() == "0")
}
