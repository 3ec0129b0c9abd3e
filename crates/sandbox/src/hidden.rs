//! The hidden verb: `kernsmith __confine <policy-json> -- program args…`.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use crate::confine::{Confinement, confine};
use crate::error::SandboxError;
use crate::policy::Policy;

/// The word on the command line.
pub const VERB: &str = "__confine";
/// Instead of `-- program`: write the [`Confinement`] as JSON to standard output and end.
pub const REPORT: &str = "--report";
/// Exit code when the process could not be confined, or the command line is wrong.
pub const EXIT_CONFINEMENT: u8 = 125;
/// Exit code when the program is there but cannot be executed.
pub const EXIT_NOT_EXECUTABLE: u8 = 126;
/// Exit code when there is no such program.
pub const EXIT_NOT_FOUND: u8 = 127;
/// How every line begins that this verb writes to standard error, so that it cannot be taken for the program's.
pub const ERROR_PREFIX: &str = "kernsmith __confine: ";

/// Confines this process and becomes the program; `arguments` are those after the verb.
///
/// Must be called before anything starts a thread. It returns only to hand over an exit code.
pub fn run_confine(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let job = match Job::parse(arguments) {
        Ok(job) => job,
        Err(problem) => return refuse(EXIT_CONFINEMENT, &problem),
    };
    let confinement = match confine(&job.policy) {
        Ok(confinement) => confinement,
        Err(error) => return refuse(EXIT_CONFINEMENT, &describe(&error)),
    };
    match job.program {
        None => report(&confinement),
        Some(program) => become_program(&program, &job.arguments),
    }
}

struct Job {
    policy: Policy,
    program: Option<OsString>,
    arguments: Vec<OsString>,
}

impl Job {
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let usage =
            || format!("expected `{VERB} <policy-json> -- program args…` or `{VERB} <policy-json> {REPORT}`");
        let policy = arguments.next().ok_or_else(usage)?;
        let policy = Policy::from_json(policy.to_str().ok_or_else(usage)?)?;
        let separator = arguments.next().ok_or_else(usage)?;
        if separator == REPORT {
            return Ok(Self { policy, program: None, arguments: Vec::new() });
        }
        if separator != "--" {
            return Err(usage());
        }
        let program = arguments.next().ok_or_else(usage)?;
        Ok(Self { policy, program: Some(program), arguments: arguments.collect() })
    }
}

fn become_program(program: &OsString, arguments: &[OsString]) -> ExitCode {
    let error = Command::new(program).args(arguments).exec();
    let code = if error.kind() == io::ErrorKind::NotFound { EXIT_NOT_FOUND } else { EXIT_NOT_EXECUTABLE };
    refuse(code, &format!("cannot start `{}`: {error}", program.display()))
}

fn report(confinement: &Confinement) -> ExitCode {
    match serde_json::to_writer(io::stdout(), confinement) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(EXIT_CONFINEMENT, &format!("cannot report: {error}")),
    }
}

fn describe(error: &SandboxError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

fn refuse(code: u8, problem: &str) -> ExitCode {
    // Nobody may be listening; the exit code says it too.
    let _ = writeln!(io::stderr(), "{ERROR_PREFIX}{problem}");
    ExitCode::from(code)
}
