//! Answers the hidden verb for this crate's tests, as the `kernsmith` binary does.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|verb| verb == kernsmith_sandbox::hidden::VERB) {
        return kernsmith_sandbox::hidden::run_confine(arguments);
    }
    ExitCode::from(2)
}
