//! House chores: tests, checks, sizes.
//!
//! `cargo xtask test` is the test command of the README, `cargo xtask validate` holds the house style, `cargo xtask size`
//! prints how large everything is. `.ci/run` calls the first two and nothing else.
#![expect(clippy::print_stdout, reason = "this program talks to the person who called it")]

mod fuzz;
mod needs;
mod shell;
mod size;
mod test;
mod validate;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <chore>

  test      fetch what the tests need, then run all tests; further arguments go to `cargo test`
  validate  formatting, lints, documentation, sizes
  size      lines of each crate, longest files and functions
  fuzz      one fuzz target for some time: `fuzz <contract|plan|frames|log> [seconds]`, see docs/fuzzing.md";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first().map(|(chore, rest)| (chore.as_str(), rest)) {
        Some(("test", rest)) => test::run(rest),
        Some(("validate", [])) => validate::run(),
        Some(("size", [])) => size::run(),
        Some(("fuzz", rest)) => fuzz::run_target(rest),
        _ => {
            println!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
