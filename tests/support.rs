//! Runs the real binary in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// Judging needs both cores for itself, so tests that measure take turns.
static MACHINE: Mutex<()> = Mutex::new(());

/// Waits for the machine.
pub(crate) fn machine() -> MutexGuard<'static, ()> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The contracts that come with the program.
pub(crate) const SHIPPED: [&str; 7] = [
    "rmsnorm_f32",
    "softmax_f32",
    "layernorm_f32",
    "transpose_f32",
    "gemm_f32",
    "cumsum_f32",
    "silu_mul_f32",
];

/// A folder with a log of its own; compiled baselines and ceilings are shared between tests.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kernsmith"));
        command.current_dir(self.folder.path());
        command.env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
        command.env("XDG_CONFIG_HOME", self.path("no-config"));
        command.env("NO_COLOR", "1");
        command.env_remove("KERNSMITH_CONFIG");
        command
    }

    /// Runs the command with these arguments to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        Said::of(&self.command().args(arguments).output().expect("the binary runs"))
    }
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The last line of stdout as JSON.
    pub(crate) fn json(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}\n{self:?}"))
    }

    /// Fails the test unless the exit code is this one.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless stderr holds all of these, white space aside.
    pub(crate) fn complains(self, words: &[&str]) -> Self {
        let flat = |text: &str| text.chars().filter(|c| !c.is_whitespace() && *c != '│').collect::<String>();
        for word in words {
            assert!(flat(&self.stderr).contains(&flat(word)), "no `{word}` in:\n{}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }
}

/// The straightforward kernel that anybody would write first.
pub(crate) const RMSNORM: &str = r#"
#include <cmath>
#include <cstdint>
extern "C" void kernel(const float* x, const float* w, float* y, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; ++r) {
        float sum = 0.0f;
        for (int64_t c = 0; c < cols; ++c) sum += x[r * cols + c] * x[r * cols + c];
        const float scale = 1.0f / std::sqrt(sum / static_cast<float>(cols) + 1e-6f);
        for (int64_t c = 0; c < cols; ++c) y[r * cols + c] = x[r * cols + c] * scale * w[c];
    }
}
"#;
