//! What the tests need beyond Rust: a C++ compiler, OpenBLAS as a rival, and a CUDA compiler.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell::{command, output, root, run, succeeds};

/// The packages that hold OpenBLAS and what it is linked with, in Debian's names.
const OPENBLAS_PACKAGES: [&str; 3] = ["libopenblas0-pthread", "libgfortran5", "libquadmath0"];

/// The wheels that make a CUDA toolkit, one a line: group, package, version.
const WHEELS: &str = include_str!("../../toolchain/src/cuda/wheels.txt");
/// What the tests need of them; cross-checks with the off-line compiler would double the download.
const WHEEL_GROUPS: [&str; 2] = ["compiler", "tools"];
/// Set by who wants to test without the CUDA compiler; the tests that need it then say that they are skipped.
const WITHOUT_CUDA: &str = "KERNSMITH_TEST_WITHOUT_CUDA";

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

/// The folder of a CUDA toolkit that had to be fetched; `None` where the environment names one, or it is not wanted.
///
/// An error where it cannot be fetched: the tests of a whole target must not fall silent.
pub(crate) fn cuda() -> Result<Option<PathBuf>> {
    if std::env::var_os("KERNSMITH_CUDA_HOME").is_some() {
        println!("xtask: CUDA compiler: named by KERNSMITH_CUDA_HOME");
        return Ok(None);
    }
    if std::env::var_os(WITHOUT_CUDA).is_some() {
        println!("xtask: SKIPPED: tests of the CUDA compiler: {WITHOUT_CUDA} is set");
        return Ok(None);
    }
    let folder = root().join("target").join("test-needs").join("cuda");
    // The list is kept beside what it named, so that a new list is noticed.
    let list = folder.join("wheels.txt");
    if fs::read_to_string(&list).is_ok_and(|kept| kept == WHEELS) {
        println!("xtask: CUDA compiler: fetched earlier");
        return Ok(Some(folder));
    }
    fetch_cuda(&folder).with_context(|| {
        format!("the CUDA compiler cannot be fetched; set {WITHOUT_CUDA}=1 to test without it, or name one with KERNSMITH_CUDA_HOME")
    })?;
    fs::write(&list, WHEELS)?;
    println!("xtask: CUDA compiler: fetched");
    Ok(Some(folder))
}

/// Fetches the wheels beside the folder and puts them in place when all are there.
fn fetch_cuda(folder: &Path) -> Result<()> {
    let python = python()?;
    let work = folder.with_extension("work");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    let wheels = WHEELS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [group, package, version] = words.as_slice() else { return None };
        WHEEL_GROUPS.contains(group).then(|| format!("{package}=={version}"))
    });
    let mut install =
        command(&python, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    install.args(["--only-binary=:all:", "--root-user-action=ignore", "--retries=8", "--target"]);
    install.arg(&work).args(wheels);
    run(install)?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::rename(&work, folder).context("the CUDA compiler cannot be put in place")
}

/// A Python that has pip; installed where that is possible.
fn python() -> Result<String> {
    let works = |python: &&str| succeeds(python, &["-m", "pip", "--version"]);
    let find = || ["python3", "python"].into_iter().find(works).map(str::to_owned);
    if let Some(python) = find() {
        return Ok(python);
    }
    if is_root() && succeeds("apt-get", &["--version"]) {
        println!("xtask: no Python with pip; installing python3-pip");
        run(command("apt-get", &["update", "-q"]))?;
        run(command("apt-get", &["install", "-q", "-y", "--no-install-recommends", "python3-pip"]))?;
    }
    find().context("there is no Python with pip: install python3-pip")
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
