//! `cargo xtask validate`: what a reader may rely on, held by machines.

use anyhow::{Result, bail};

use crate::{shell, size};

pub(crate) fn run() -> Result<()> {
    let mut failed = Vec::new();
    let mut step = |name: &'static str, outcome: Result<()>| match outcome {
        Ok(()) => println!("xtask: {name}: fine"),
        Err(error) => {
            println!("xtask: {name}: FAILED: {error:#}");
            failed.push(name);
        }
    };
    if component("rustfmt", "fmt") {
        step("formatting", shell::run(shell::cargo(&["fmt", "--all", "--", "--check"])));
    }
    if component("clippy", "clippy") {
        let arguments = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
        step("lints", shell::run(shell::cargo(&arguments)));
    }
    let mut documentation = shell::cargo(&["doc", "--quiet", "--workspace", "--no-deps"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    step("documentation", shell::run(documentation));
    step("sizes", size::run());
    if failed.is_empty() { Ok(()) } else { bail!("not as it should be: {}", failed.join(", ")) }
}

/// Whether a component of the toolchain is there; where rustup is, it is installed when it is missing.
fn component(name: &str, verb: &str) -> bool {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let is_there = || shell::succeeds(&cargo, &[verb, "--version"]);
    let found = is_there() || (shell::succeeds("rustup", &["component", "add", name]) && is_there());
    if !found {
        println!("xtask: SKIPPED: {name} is not installed and rustup could not add it");
    }
    found
}
