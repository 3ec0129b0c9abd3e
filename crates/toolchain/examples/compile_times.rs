//! Measures compile times: `cargo run --release -p kernsmith-toolchain --example compile_times`.
#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use std::process::ExitCode;

use kernsmith_toolchain::{
    BuildOutcome, BuildRequest, BuildRole, Toolchain, ToolchainError, ToolchainOptions,
};

const SCALAR: &str = r#"#include <cstdint>
#include <cmath>
extern "C" void kernel(const float* x, const float* w, float* y, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; ++r) {
        float s = 0;
        for (int64_t c = 0; c < cols; ++c) s += x[r * cols + c] * x[r * cols + c];
        float k = 1.0f / std::sqrt(s / static_cast<float>(cols) + 1e-6f);
        for (int64_t c = 0; c < cols; ++c) y[r * cols + c] = x[r * cols + c] * k * w[c];
    }
}
"#;

const REPETITIONS: usize = 11;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|verb| verb == kernsmith_sandbox::hidden::VERB) {
        return kernsmith_sandbox::hidden::run_confine(arguments);
    }
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), ToolchainError> {
    let vector = SCALAR.replace("#include <cmath>", "#include <cmath>\n#include <immintrin.h>");
    let threads = vector.replace(
        "#include <cmath>",
        "#include <cmath>\n#include <thread>\n#include <vector>\n#include <atomic>",
    );
    let sources = [("scalar", SCALAR), ("immintrin", &vector), ("immintrin + thread", &threads)];
    println!("| includes | precompiled | sandbox | median ms | min | max |\n|---|---|---|---|---|---|");
    for sandboxed in [false, true] {
        let directory = std::env::temp_dir().join(format!("kernsmith-compile-times-{}", std::process::id()));
        let toolchain = Toolchain::discover(&ToolchainOptions {
            compiler: None,
            cache_dir: directory.clone(),
            timeout_seconds: 60.0,
            memory_bytes: 4 << 30,
            self_exe: sandboxed.then(std::env::current_exe).and_then(Result::ok),
        })?;
        for (name, source) in sources {
            for (role, precompiled) in [(BuildRole::Trusted, "no"), (BuildRole::Kernel, "yes")] {
                let times = times(&toolchain, source, role)?;
                let (median, low, high) = (times[REPETITIONS / 2], times[0], times[REPETITIONS - 1]);
                let sandbox = if sandboxed { "yes" } else { "no" };
                println!("| {name} | {precompiled} | {sandbox} | {median:.0} | {low:.0} | {high:.0} |");
            }
        }
        println!("confinement: {}, compiler: {}", toolchain.confinement().summary(), toolchain.compiler());
        let _ = std::fs::remove_dir_all(directory);
    }
    Ok(())
}

/// Sorted times; the first build, which may make the precompiled header, is not among them.
fn times(toolchain: &Toolchain, source: &str, role: BuildRole) -> Result<Vec<f64>, ToolchainError> {
    let request = BuildRequest { source, role, flags: &[], symbols: &["kernel"], link: &[], fresh: true };
    let mut times = Vec::new();
    for repetition in 0..=REPETITIONS {
        let start = std::time::Instant::now();
        if let BuildOutcome::Refused { detail, .. } = toolchain.build(&request)? {
            println!("{detail}");
        }
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        if repetition > 0 {
            times.push(milliseconds);
        } else if role == BuildRole::Kernel {
            println!("first build, with its precompiled header: {milliseconds:.0} ms");
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
