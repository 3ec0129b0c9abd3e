//! Exit codes: documented, stable, one place.

use std::process::{ExitCode, Termination};

/// What the process tells its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The goal was met, or the command did what it says.
    Done = 0,
    /// The command worked, and the answer is no: nothing better found, candidate rejected, log damaged not.
    No = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// A configuration, contract, skill or plan is wrong.
    BadInput = 3,
    /// The apparatus failed: toolchain, device, sandbox.
    Apparatus = 4,
    /// A budget ran out before there was an answer, or a model could not be reached.
    Budget = 5,
    /// The log is damaged or cannot be written.
    Log = 6,
    /// A defect of this program.
    Internal = 70,
    /// Stopped by the user.
    Interrupted = 130,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// The table that `--help` prints.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    goal met, or the command did what it says
  1    the answer is no: nothing better found, candidate rejected
  2    the command line makes no sense
  3    a configuration, contract, skill or plan is wrong
  4    the apparatus failed: toolchain, device, sandbox
  5    a budget ran out before there was an answer
  6    the log is damaged or cannot be written
  70   a defect of this program
  130  stopped by the user";
