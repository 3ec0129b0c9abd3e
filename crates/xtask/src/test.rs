//! `cargo xtask test`: everything that the tests need, then all tests, then the counts.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use crate::{needs, shell};

pub(crate) fn run(further: &[String]) -> Result<()> {
    needs::compiler()?;
    let openblas = needs::openblas();
    let command = |verb: &[&str], further: &[String]| {
        let mut command = shell::cargo(verb);
        command.args(further);
        if let Some(folder) = &openblas {
            for variable in ["LIBRARY_PATH", "LD_LIBRARY_PATH", "KERNSMITH_LIBRARY_PATH"] {
                command.env(variable, with_folder(variable, folder));
            }
        }
        command
    };
    // The download takes as long as the network pleases, and the tests are built meanwhile.
    let download = std::thread::spawn(needs::cuda);
    let of_cargo = further.split(|word| word == "--").next().unwrap_or_default();
    let built = shell::run(command(&["test", "--workspace", "--no-run", "--quiet"], of_cargo));
    let cuda = download.join().map_err(|_| anyhow!("fetching the CUDA compiler broke off"))??;
    built.context("the tests do not compile")?;
    let mut command = command(&["test", "--workspace", "--no-fail-fast"], further);
    if let Some(folder) = cuda {
        command.env("KERNSMITH_CUDA_HOME", folder);
    }
    let (counts, passed) = watch(command)?;
    println!(
        "\nxtask: tests: {} passed, {} failed, {} ignored in {} binaries",
        counts.passed, counts.failed, counts.ignored, counts.binaries
    );
    if !passed {
        bail!("the tests failed");
    }
    if counts.passed == 0 && further.is_empty() {
        bail!("no test ran at all");
    }
    Ok(())
}

/// A search path with one more folder in front.
fn with_folder(variable: &str, folder: &Path) -> OsString {
    let mut path = folder.as_os_str().to_owned();
    if let Some(rest) = std::env::var_os(variable).filter(|rest| !rest.is_empty()) {
        path.push(":");
        path.push(rest);
    }
    path
}

/// What the test binaries reported.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
    binaries: u64,
}

impl Counts {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let count = |word: &str| -> u64 {
            let before = result.split(word).next().unwrap_or_default();
            before.split_whitespace().next_back().and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        self.passed += count(" passed");
        self.failed += count(" failed");
        self.ignored += count(" ignored");
        self.binaries += 1;
    }
}

/// Runs the tests, lets every line through and counts.
fn watch(mut command: Command) -> Result<(Counts, bool)> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cargo cannot be started")?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            println!("{line}");
            counts.add(&line);
        }
    }
    Ok((counts, child.wait()?.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_result_lines_only() {
        let mut counts = Counts::default();
        counts.add(
            "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.1s",
        );
        counts.add("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        counts.add("test names ... ok");
        assert_eq!(counts, Counts { passed: 13, failed: 2, ignored: 3, binaries: 2 });
    }
}
