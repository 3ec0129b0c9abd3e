//! `cargo xtask fuzz`: one fuzz target for some time.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::shell::{cargo, root, run, succeeds};

/// The targets of tests/fuzz.
const TARGETS: [&str; 4] = ["contract", "plan", "frames", "log"];
const SECONDS: u64 = 60;
/// Longer inputs find nothing new in these formats.
const INPUT_BYTES_MAX: u64 = 1 << 16;

pub(crate) fn run_target(arguments: &[String]) -> Result<()> {
    let (target, seconds) = match arguments {
        [target] => (target, SECONDS),
        [target, seconds] => {
            (target, seconds.parse().with_context(|| format!("`{seconds}` is no number of seconds"))?)
        }
        _ => bail!("usage: cargo xtask fuzz <{}> [seconds]", TARGETS.join("|")),
    };
    if !TARGETS.contains(&target.as_str()) {
        bail!("there is no fuzz target `{target}`; the targets are {}", TARGETS.join(", "));
    }
    if !succeeds("cargo", &["fuzz", "--version"]) {
        bail!("cargo-fuzz is not installed: `cargo install cargo-fuzz`");
    }
    let folder = root().join("tests/fuzz");
    // libFuzzer writes what it finds to the first corpus folder and only reads the others.
    let (corpus, seeds) = (folder.join("corpus").join(target), folder.join("seeds").join(target));
    fs::create_dir_all(&corpus).with_context(|| format!("{} cannot be made", corpus.display()))?;
    let mut command = cargo(&["fuzz", "run", "--fuzz-dir", "tests/fuzz", "--sanitizer", "none", target]);
    command.arg(corpus).arg(seeds).arg("--");
    command.args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={INPUT_BYTES_MAX}"),
        "-timeout=10".to_owned(),
    ]);
    // cargo-fuzz asks for flags that the stable compiler keeps for itself.
    command.env("RUSTC_BOOTSTRAP", "1");
    run(command)
}
