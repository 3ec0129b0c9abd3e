//! What this machine can give.

use std::path::Path;
use std::time::Duration;

use crate::child::Exit;
use crate::confine::Confinement;
use crate::error::SandboxError;
use crate::hidden;
use crate::policy::{Limits, Policy};
use crate::spawn::{Output, Spawn};
use crate::syscalls::Profile;

/// A confinement takes milliseconds; this is for a machine that is very busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// Confines a throw-away child of this program and says what it reached. For programs that answer the hidden verb.
pub fn probe() -> Result<Confinement, SandboxError> {
    let program = std::env::current_exe().map_err(SandboxError::io("find the running program"))?;
    probe_with(&program)
}

/// The same with another program that answers the hidden verb.
pub fn probe_with(helper: &Path) -> Result<Confinement, SandboxError> {
    let policy = Policy {
        limits: Limits { cpu_seconds: Some(5), ..Limits::default() },
        syscalls: Some(Profile::Tool),
        ..Policy::default()
    };
    let child = Spawn::new(helper)
        .arg(hidden::VERB)
        .arg(policy.to_json())
        .arg(hidden::REPORT)
        .stdout(Output::Capture { cap_bytes: 64 * 1024 })
        .stderr(Output::Capture { cap_bytes: 4 * 1024 })
        .start()?;
    let ended = child.wait(PATIENCE)?;
    let problem = |problem: String| SandboxError::Helper { program: helper.display().to_string(), problem };
    if ended.exit != Exit::Code(0) {
        return Err(problem(format!("it ended with {:?}: {}", ended.exit, ended.stderr.text().trim())));
    }
    serde_json::from_slice(&ended.stdout.bytes)
        .map_err(|error| problem(format!("it wrote no report: {error}")))
}
