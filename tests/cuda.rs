//! The CUDA toolchain without a device: real compiler, real confinement, every architecture.
//!
//! `cargo xtask test` fetches the compiler. Where there is none the tests say `skipped: …`.
#![expect(clippy::print_stdout, reason = "what is skipped is said")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use kernsmith_core::FailureClass;
use kernsmith_toolchain::cuda::{
    CudaBuild, CudaFacts, CudaJob, CudaObject, CudaOptions, CudaToolchain, CudaToolkit,
};

use crate::support::{Place, Said};

/// Those that have a row in the issue: Ampere, Ada, Hopper, and two Blackwells.
const ARCHITECTURES: [&str; 5] = ["sm_80", "sm_89", "sm_90a", "sm_100a", "sm_120"];

/// The toolkit that xtask fetched, unless the environment names another one.
pub(crate) fn home() -> Option<PathBuf> {
    let fetched = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?.join("test-needs/cuda");
    (std::env::var_os("KERNSMITH_CUDA_HOME").is_none() && fetched.exists()).then_some(fetched)
}

fn options(cache: &Path) -> CudaOptions {
    CudaOptions {
        home: home(),
        cache_dir: cache.to_owned(),
        timeout_seconds: 120.0,
        memory_bytes: 4 << 30,
        helpers: 2,
        self_exe: env!("CARGO_BIN_EXE_kernsmith").into(),
    }
}

/// One toolchain for all tests; `None`, with a word about it, where there is no toolkit.
pub(crate) fn toolchain() -> Option<&'static CudaToolchain> {
    static ONE: OnceLock<Option<CudaToolchain>> = OnceLock::new();
    ONE.get_or_init(open_toolchain).as_ref()
}

/// A toolchain of one's own.
pub(crate) fn open_toolchain() -> Option<CudaToolchain> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda-cache");
    if let Err(error) = CudaToolkit::find(home().as_deref(), &CudaOptions::installed(&cache)) {
        println!("skipped: {error}");
        return None;
    }
    Some(CudaToolchain::open(&options(&cache)).expect("a toolkit that was found works"))
}

pub(crate) fn built(toolchain: &CudaToolchain, job: &CudaJob<'_>) -> CudaObject {
    match toolchain.build(job).expect("the apparatus works") {
        CudaBuild::Built(object) => *object,
        CudaBuild::Refused { class, detail, log } => panic!("{class}: {detail}\n{log}"),
    }
}

fn refused(toolchain: &CudaToolchain, job: &CudaJob<'_>) -> (FailureClass, String) {
    match toolchain.build(job).expect("the apparatus works") {
        CudaBuild::Built(object) => panic!("it compiled: {:?}", object.facts),
        CudaBuild::Refused { class, detail, .. } => (class, detail),
    }
}

/// One of everything that facts speak of.
const MIXED: &str = r#"
#include <cstdint>
#include <cuda_bf16.h>
__constant__ float scale[8];
__device__ int counter;
extern "C" __global__ void __launch_bounds__(256) rows(const float4* x, float4* y, int n, short s) {
    __shared__ float part[256];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float4 v = x[i];
    part[threadIdx.x] = v.x;
    __syncthreads();
    v.x += part[255 - threadIdx.x] + scale[n & 7] + s;
    if (i < n) y[i] = v;
    if (n == 77) atomicAdd(&counter, 1);
}
extern "C" __global__ void spilling(const float* x, float* y, int n) {
    float kept[64];
    for (int k = 0; k < 64; ++k) kept[k] = x[k * n];
    for (int k = 0; k < n; ++k) kept[k * 7 & 63] += kept[(k * 5 + n) & 63];
    y[n] = kept[n & 63];
    if (n < 0) __trap();
}
extern "C" __global__ void tensor_cores(const uint32_t* a, float* c) {
    float d[4] = {0};
    uint32_t x = a[threadIdx.x], y = a[threadIdx.x + 32];
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%4,%4,%4}, {%5,%5}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(x), "r"(y));
    c[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}
"#;

#[test]
fn every_architecture_compiles_without_a_device_and_says_what_its_kernels_take() {
    let Some(toolchain) = toolchain() else { return };
    for arch in ARCHITECTURES {
        let object = built(toolchain, &CudaJob::new(MIXED, arch));
        let facts = &object.facts;
        assert_eq!(facts.arch, arch.trim_end_matches('a'));
        // A newer toolkit may use operations that the table of families does not have yet.
        assert!(
            facts.missing.iter().all(|missing| missing.starts_with("families")),
            "{arch}: {:?}",
            facts.missing
        );
        let rows = facts.kernel("rows").expect("it is there");
        let parameters: Vec<_> = rows.parameters.iter().map(|p| (p.offset_bytes, p.bytes)).collect();
        assert_eq!(parameters, [(0, 8), (8, 8), (16, 4), (20, 2)], "{arch}");
        assert_eq!(
            (rows.static_shared_bytes, rows.barriers, rows.max_threads),
            (1024, 1, Some(256)),
            "{arch}"
        );
        assert_eq!(rows.local_instructions, 0, "{arch}");
        for family in ["LDG.E.128", "STG.E.128", "BAR", "LDS", "STS"] {
            assert!(rows.families.contains_key(family), "{arch}: no {family} in {:?}", rows.families);
        }
        assert!(facts.kernel("tensor_cores").expect("it is there").families.contains_key("HMMA"), "{arch}");
        let spilling = facts.kernel("spilling").expect("it is there");
        assert!(spilling.stack_bytes >= 256 && spilling.local_instructions >= 2, "{arch}: {spilling:?}");
        let globals: Vec<_> = facts.globals.iter().map(|g| (g.name.as_str(), g.bytes, g.writable)).collect();
        assert_eq!(globals, [("counter", 4, true), ("scale", 32, false)], "{arch}");
        assert_eq!(facts.undefined, Vec::<String>::new(), "{arch}");
    }
}

/// Registers, barriers and shared memory as the assembler's log has them.
fn logged(log: &str, kernel: &str) -> (u32, u32, u64) {
    let about = log.split("Function properties for ").find(|part| part.starts_with(kernel));
    let line = about.and_then(|part| part.lines().find(|line| line.contains("Used "))).expect("a line");
    let number = |after: &str| -> u64 {
        let words: Vec<&str> = line.split_whitespace().collect();
        let place = words.iter().position(|word| word.trim_end_matches(',') == after);
        place.and_then(|place| words[..place].iter().rev().find_map(|word| word.parse().ok())).unwrap_or(0)
    };
    (number("registers") as u32, number("barriers") as u32, number("smem"))
}

#[test]
fn what_the_object_says_is_what_the_assembler_says() {
    let Some(toolchain) = toolchain() else { return };
    for arch in ARCHITECTURES {
        let object = built(toolchain, &CudaJob::new(MIXED, arch));
        for kernel in &object.facts.kernels {
            let here = (kernel.registers, kernel.barriers, kernel.static_shared_bytes);
            let (registers, barriers, shared) = logged(&object.log, &kernel.symbol);
            assert_eq!(here, (registers, barriers, shared), "{arch} {}\n{}", kernel.symbol, object.log);
        }
    }
}

/// Instructions by their first word, as the disassembler prints them.
fn disassembled(tool: &Path, object: &CudaObject, folder: &Path) -> Vec<String> {
    let file = folder.join("object.cubin");
    std::fs::write(&file, &object.cubin).expect("a file");
    let output = Command::new(tool).arg("-c").arg(&file).output().expect("the disassembler starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let code = text.lines().filter_map(|line| line.split_once("*/").map(|(_, code)| code.trim()));
    let words = code.filter_map(|code| {
        code.trim_start_matches(['{', ' '])
            .split_whitespace()
            .find(|word| !word.starts_with('@'))
            .map(str::to_owned)
    });
    words.filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase())).collect()
}

#[test]
fn instruction_families_are_those_of_the_disassembler() {
    let Some(toolchain) = toolchain() else { return };
    let Some(tool) = &toolchain.toolkit().nvdisasm else {
        println!("skipped: the toolkit has no nvdisasm");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    for arch in ARCHITECTURES {
        let object = built(toolchain, &CudaJob::new(MIXED, arch));
        let words = disassembled(&tool.path, &object, folder.path());
        assert!(words.len() > 50, "{arch}: {words:?}");
        for family in ["LDG", "STG", "LDL", "STL", "LDS", "STS", "BAR", "HMMA", "MUFU", "FFMA", "BRA", "BPT"]
        {
            let there = words.iter().filter(|word| word.split('.').next() == Some(family)).count() as u64;
            let here = object.facts.families.get(family).copied().unwrap_or(0);
            assert_eq!(here, there, "{arch} {family}");
        }
        let wide =
            words.iter().filter(|word| word.starts_with("LDG.E") && word.contains(".128")).count() as u64;
        assert_eq!(object.facts.families["LDG.E.128"], wide, "{arch}");
    }
}

#[test]
fn a_source_that_does_not_compile_is_told_with_its_line() {
    let Some(toolchain) = toolchain() else { return };
    let source = "extern \"C\" __global__ void k(float* y) {\n    y[0] = undefined_thing(3);\n}\n";
    let (class, detail) = refused(toolchain, &CudaJob::new(source, "sm_90a"));
    assert_eq!(class, FailureClass::CompileError);
    assert!(detail.contains("kernel.cu(2)") && detail.contains("y[0] = undefined_thing(3);"), "{detail}");
    let source = "extern \"C\" __global__ void k(float* y) { __shared__ float s[100000]; s[threadIdx.x] = y[0]; __syncthreads(); y[1] = s[3]; }";
    let (_, detail) = refused(toolchain, &CudaJob::new(source, "sm_90a"));
    assert!(detail.contains("400000 bytes of shared memory"), "{detail}");
    let flags = ["--include-path=/etc".to_owned()];
    let job = CudaJob { flags: &flags, ..CudaJob::new(MIXED, "sm_90a") };
    assert_eq!(refused(toolchain, &job).0, FailureClass::PlanInvalid);
}

#[test]
fn a_source_sees_the_toolkits_headers_and_no_other_file() {
    let Some(toolchain) = toolchain() else { return };
    for file in ["/etc/passwd", "/etc/hostname", "/proc/self/status", "/usr/include/stdio.h"] {
        let source =
            format!("#include \"{file}\"\nextern \"C\" __global__ void k(float* y) {{ y[0] = 1; }}\n");
        let (class, detail) = refused(toolchain, &CudaJob::new(&source, "sm_90a"));
        assert_eq!(class, FailureClass::CompileError);
        assert!(detail.contains("cannot open source file"), "{file}: {detail}");
    }
    for header in ["cuda_fp16.h", "mma.h", "cooperative_groups.h", "cuda/barrier", "cmath", "type_traits"] {
        let source =
            format!("#include <{header}>\nextern \"C\" __global__ void k(float* y) {{ y[0] = 1; }}\n");
        built(toolchain, &CudaJob::new(&source, "sm_90a"));
    }
    let summary = toolchain.confinement().summary();
    println!("the compile helper is confined by {summary}");
}

/// Macros that double a text thirty times: seconds of time, and gigabytes.
fn bomb() -> String {
    let double = |level: u32| format!("#define A{level} A{0} A{0}\n", level - 1);
    let macros: Vec<String> = (1..30).map(double).collect();
    let first = "#define A0 x[0] += 1.5f; x[1] *= 2.5f;\n";
    let kernel = "extern \"C\" __global__ void k(float* x) { A29 }\n";
    format!("{first}{}{kernel}", macros.concat())
}

#[test]
fn a_source_that_takes_too_long_costs_its_own_time_and_one_helper() {
    let Some(toolchain) = toolchain() else { return };
    let deadline = Some(Duration::from_millis(50));
    let (class, detail) = refused(toolchain, &CudaJob { deadline, ..CudaJob::new(&bomb(), "sm_90a") });
    assert_eq!(class, FailureClass::CompileTimeout, "{detail}");
    built(toolchain, &CudaJob { fresh: true, ..CudaJob::new(MIXED, "sm_90a") });
}

#[test]
fn several_sources_compile_at_once_and_the_same_one_comes_from_the_cache() {
    let Some(toolchain) = toolchain() else { return };
    std::thread::scope(|scope| {
        for value in 0..6 {
            scope.spawn(move || {
                let defines = [("VALUE".to_owned(), value.to_string())];
                let source = "extern \"C\" __global__ void k(float* y) { y[threadIdx.x] = VALUE; }";
                let job = CudaJob { defines: &defines, fresh: true, ..CudaJob::new(source, "sm_90a") };
                let first = built(toolchain, &job);
                let again = built(toolchain, &CudaJob { fresh: false, ..job });
                assert!(!first.cached && again.cached);
                assert_eq!((first.digest, &first.facts), (again.digest, &again.facts));
            });
        }
    });
}

#[test]
fn what_an_object_needs_and_does_not_define_is_named() {
    let Some(toolchain) = toolchain() else { return };
    let source = r#"extern "C" __global__ void k(int* y) { printf("%d", y[0]); y[1] = *(int*)malloc(4); }"#;
    let object = built(toolchain, &CudaJob::new(source, "sm_90a"));
    let CudaFacts { undefined, families, .. } = &object.facts;
    assert_eq!(undefined, &["malloc", "vprintf"]);
    assert!(families.contains_key("CALL.ABS"), "{families:?}");
}

#[test]
fn the_off_line_compiler_gives_kernels_that_take_the_same() {
    let Some(toolchain) = toolchain() else { return };
    for arch in ["sm_80", "sm_90a"] {
        let job = CudaJob::new(MIXED, arch);
        let Some(outcome) = toolchain.cross_check(&job).expect("the apparatus works") else {
            println!("skipped: the toolkit has no nvcc");
            return;
        };
        let CudaBuild::Built(other) = outcome else { panic!("{outcome:?}") };
        let here = built(toolchain, &job);
        let shape = |object: &CudaObject| -> Vec<_> {
            let kernels = object.facts.kernels.iter();
            kernels
                .map(|k| (k.symbol.clone(), k.parameters.clone(), k.static_shared_bytes, k.barriers))
                .collect()
        };
        assert_eq!(shape(&here), shape(&other), "{arch}");
        let broken = CudaJob::new("extern \"C\" __global__ void k() { nothing(); }", arch);
        let refused = toolchain.cross_check(&broken).expect("the apparatus works");
        assert!(
            matches!(refused, Some(CudaBuild::Refused { class: FailureClass::CompileError, .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_source_that_wants_all_memory_costs_one_helper() {
    if toolchain().is_none() {
        return;
    }
    let cache = tempfile::tempdir().expect("a folder");
    let small = CudaOptions { memory_bytes: 400 << 20, helpers: 1, ..options(cache.path()) };
    let toolchain = CudaToolchain::open(&small).expect("the compiler starts in 400 MiB");
    let source = bomb();
    let job = CudaJob { deadline: Some(Duration::from_mins(10)), ..CudaJob::new(&source, "sm_90a") };
    let (class, detail) = refused(&toolchain, &job);
    assert!(matches!(class, FailureClass::CompileMemory | FailureClass::CompileError), "{class}: {detail}");
    built(&toolchain, &CudaJob::new("extern \"C\" __global__ void k(float* x) { x[0] = 1; }", "sm_90a"));
}

/// A contract's candidate, as a user would write it.
const RMSNORM: &str = r#"
extern "C" __global__ void rmsnorm(const float* x, const float* w, float* y, long long rows, long long cols) {
    const long long row = blockIdx.x;
    float sum = 0.0f;
    for (long long c = threadIdx.x; c < cols; c += 32) sum += x[row * cols + c] * x[row * cols + c];
    for (int lane = 16; lane > 0; lane /= 2) sum += __shfl_xor_sync(~0u, sum, lane);
    const float scale = rsqrtf(sum / cols + 1e-6f);
    for (long long c = threadIdx.x; c < cols; c += 32) y[row * cols + c] = x[row * cols + c] * scale * w[c];
}
"#;

const RMSNORM_PLAN: &str = r#"
expected_instructions = ["SHFL"]
[[launch]]
[[launch.kernel]]
symbol = "rmsnorm"
grid = ["rows"]
block = ["32"]
"#;

/// The command with the toolkit of these tests.
fn evaluate(place: &Place, source: &str, plan: &str, more: &[&str]) -> Said {
    place.write("kernel.cu", source);
    place.write("plan.toml", plan);
    let mut command = place.command();
    if let Some(home) = home() {
        command.env("KERNSMITH_CUDA_HOME", home);
    }
    command.args(["evaluate", "rmsnorm_f32", "kernel.cu", "--plan", "plan.toml", "--static-only"]);
    Said::of(&command.args(more).output().expect("the binary runs"))
}

#[test]
fn a_candidate_passes_the_gates_without_a_device_on_every_architecture() {
    if toolchain().is_none() {
        return;
    }
    let place = Place::new();
    for arch in ARCHITECTURES {
        let target = format!("cuda-{arch}");
        let said =
            evaluate(&place, RMSNORM, RMSNORM_PLAN, &["--target", &target, "--format", "json"]).expect(0);
        let report = said.json();
        assert_eq!(report["verdict"], "accepted", "{report}");
        assert_eq!(report["target"], target.as_str());
        let kernel = &report["facts"]["kernels"][0];
        assert!(kernel["registers"].as_u64().is_some_and(|registers| registers >= 8), "{kernel}");
        let gates: Vec<&str> = report["gates"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|gate| gate["gate"].as_str())
            .collect();
        assert_eq!(gates, ["admit", "build", "audit"]);
    }
    let said = evaluate(&place, RMSNORM, RMSNORM_PLAN, &["--target", "cuda"]).expect(0);
    assert!(said.stdout.contains("registers") && said.stdout.contains("nothing was run"), "{}", said.stdout);
}

#[test]
fn what_a_kernel_may_not_hold_is_refused_without_a_device() {
    if toolchain().is_none() {
        return;
    }
    let place = Place::new();
    let with = |line: &str| RMSNORM.replace("float sum = 0.0f;", &format!("float sum = 0.0f; {line}"));
    let before = |line: &str| format!("{line}\n{RMSNORM}");
    let plan = |from: &str, to: &str| RMSNORM_PLAN.replace(from, to);
    let cases = [
        (
            before("__device__ float cache[64];")
                .replace("sum = 0.0f;", "sum = cache[row & 63]; cache[row & 63] = 1;"),
            RMSNORM_PLAN.to_owned(),
            "persistent_state",
        ),
        (with("static int calls; atomicAdd(&calls, 1);"), RMSNORM_PLAN.to_owned(), "persistent_state"),
        (with("printf(\"%lld\", rows);"), RMSNORM_PLAN.to_owned(), "forbidden_import"),
        (with("sum += *(float*)malloc(4);"), RMSNORM_PLAN.to_owned(), "forbidden_import"),
        (with("sum += clock();"), RMSNORM_PLAN.to_owned(), "forbidden_source"),
        (
            with("unsigned t; asm volatile(\"mov.u32 %0, %global\" \"timer_lo;\" : \"=r\"(t)); sum += t;"),
            RMSNORM_PLAN.to_owned(),
            "forbidden_source",
        ),
        (before("#include <stdio.h>"), RMSNORM_PLAN.to_owned(), "forbidden_source"),
        (
            with(
                "float kept[64]; for (int k = 0; k < 64; ++k) kept[k] = x[k]; for (long long k = 0; k < rows; ++k) kept[k * 7 & 63] += kept[k & 63]; sum += kept[cols & 63];",
            ),
            RMSNORM_PLAN.to_owned(),
            "intent_mismatch",
        ),
        (RMSNORM.to_owned(), plan("SHFL", "HGMMA"), "intent_mismatch"),
        (RMSNORM.to_owned(), plan("\"rmsnorm\"", "\"other\""), "missing_symbol"),
        (RMSNORM.replace("extern \"C\"", ""), RMSNORM_PLAN.to_owned(), "missing_symbol"),
        (with("undefined_thing();"), RMSNORM_PLAN.to_owned(), "compile_error"),
    ];
    for (source, plan, class) in cases {
        let said =
            evaluate(&place, &source, &plan, &["--target", "cuda-sm_90a", "--format", "json"]).expect(1);
        let report = said.json();
        assert_eq!(report["failure"]["class"], class, "{report}\n{source}");
    }
    let declared = RMSNORM_PLAN.replace("[\"SHFL\"]", "[\"SHFL\", \"local-memory\"]");
    let local = with(
        "float kept[64]; for (int k = 0; k < 64; ++k) kept[k] = x[k]; for (long long k = 0; k < rows; ++k) kept[k * 7 & 63] += kept[k & 63]; sum += kept[cols & 63];",
    );
    evaluate(&place, &local, &declared, &["--target", "cuda-sm_90a"]).expect(0);
}

#[test]
fn without_a_toolkit_it_is_said_what_is_missing_and_how_to_get_it() {
    let place = Place::new();
    place.write("kernel.cu", RMSNORM);
    let mut command = place.command();
    command.env("KERNSMITH_CUDA_HOME", place.path("nowhere"));
    command.args(["evaluate", "rmsnorm_f32", "kernel.cu", "--static-only", "--target", "cuda"]);
    let said = Said::of(&command.output().expect("the binary runs")).expect(4);
    said.complains(&["nowhere", "kernsmith toolchain install cuda"]);
    place.run(&["evaluate", "rmsnorm_f32", "kernel.cu", "--static-only"]).expect(2).complains(&["CUDA"]);
}

#[test]
fn the_toolchain_is_shown_with_versions_and_digests() {
    if toolchain().is_none() {
        return;
    }
    let place = Place::new();
    let mut command = place.command();
    if let Some(home) = home() {
        command.env("KERNSMITH_CUDA_HOME", home);
    }
    let said = Said::of(&command.args(["toolchain", "show", "--format", "json"]).output().expect("it runs"));
    let shown = said.expect(0).json();
    assert!(shown["cuda"]["toolkit"]["nvrtc"]["digest"].as_str().is_some_and(|digest| digest.len() == 64));
    assert!(shown["cpp"]["version"].is_string(), "{shown}");
}
