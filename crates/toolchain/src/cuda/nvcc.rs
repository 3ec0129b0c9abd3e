//! The off-line compiler, for cross-checks: the same source, another front end, a process of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kernsmith_core::{Digest, FailureClass};
use kernsmith_sandbox::{Exit, Limits, Output, Policy, Profile, Spawn};

use super::job::{CudaBuild, CudaJob, CudaObject};
use super::log;
use super::toolchain::read_facts;
use super::toolkit::CudaToolkit;
use crate::diagnose;
use crate::error::ToolchainError;
use crate::run::{SYSTEM_FILES, SYSTEM_ROOTS};

const SOURCE: &str = "kernel.cu";
const CUBIN: &str = "kernel.cubin";
const OUTPUT_CAP_BYTES: usize = 1 << 20;
/// No cubin is this large; a source that makes one is stopped before it fills the disk.
const LARGEST_FILE_BYTES: u64 = 512 << 20;

/// One compilation with nvcc in `directory`, the only place that it may write to. `options` are those of NVRTC, which nvcc
/// understands as well.
pub(super) fn compile(
    nvcc: &Path,
    toolkit: &CudaToolkit,
    self_exe: &Path,
    memory_bytes: u64,
    directory: &Path,
    job: &CudaJob<'_>,
    (options, time): (Vec<String>, Duration),
) -> Result<CudaBuild, ToolchainError> {
    let file = |action: &'static str, name: &str| {
        let path = directory.join(name);
        move |source| ToolchainError::File { action, path, source }
    };
    std::fs::write(directory.join(SOURCE), job.source).map_err(file("write", SOURCE))?;
    let capture = Output::Capture { cap_bytes: OUTPUT_CAP_BYTES };
    let begin = Instant::now();
    let child = Spawn::confined(self_exe, &policy(toolkit, directory, memory_bytes, time), nvcc)
        .args(&options)
        .args(["--cubin", SOURCE, "--output-file", CUBIN])
        .directory(directory)
        .stdout(capture)
        .stderr(capture)
        .start()?;
    let ended = child.wait(time)?;
    let build_ms = begin.elapsed().as_secs_f64() * 1e3;
    let log = format!("{}{}", ended.stdout.text(), ended.stderr.text());
    let refused = |class, detail| {
        let log = diagnose::cap(&log);
        Ok(CudaBuild::Refused { class, detail, log })
    };
    match ended.exit {
        Exit::Code(0) => {}
        Exit::Timeout | Exit::Signal(24) => {
            let detail = format!("nvcc had no result after {:.1} s", build_ms / 1e3);
            return refused(FailureClass::CompileTimeout, detail);
        }
        Exit::Signal(9) => {
            return refused(
                FailureClass::CompileMemory,
                "nvcc was killed, as when memory runs out".to_owned(),
            );
        }
        exit => {
            let (class, detail) = log::explain(&log, &format!("nvcc ended with {exit:?}"));
            return refused(class, detail);
        }
    }
    let cubin = std::fs::read(directory.join(CUBIN)).map_err(file("read", CUBIN))?;
    Ok(CudaBuild::Built(Box::new(CudaObject {
        digest: Digest::of(&cubin),
        facts: read_facts(&cubin, &log).map_err(ToolchainError::BadObject)?,
        cubin,
        log: diagnose::cap(&log),
        build_ms,
        options,
        cached: false,
    })))
}

/// It starts a host compiler and its own parts, so it sees the system and the toolkit.
fn policy(toolkit: &CudaToolkit, directory: &Path, memory_bytes: u64, time: Duration) -> Policy {
    let mut execute: Vec<PathBuf> = SYSTEM_ROOTS.iter().map(PathBuf::from).collect();
    execute.push(toolkit.root.clone());
    let temporary = directory.display().to_string();
    let environment =
        [("PATH", "/usr/bin:/bin".to_owned()), ("LC_ALL", "C".to_owned()), ("TMPDIR", temporary)];
    Policy {
        read: SYSTEM_FILES.iter().map(PathBuf::from).collect(),
        execute,
        write: vec![directory.to_owned(), "/dev/null".into()],
        environment: environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        limits: Limits {
            address_space_bytes: Some(memory_bytes),
            cpu_seconds: Some(time.as_secs().saturating_add(1)),
            file_bytes: Some(LARGEST_FILE_BYTES),
            processes: Some(64),
            open_files: None,
        },
        syscalls: Some(Profile::Tool),
        ..Policy::default()
    }
}
