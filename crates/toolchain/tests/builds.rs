//! Real builds with the machine's own compiler.
#![expect(clippy::unwrap_used, reason = "a whole file of tests")]

use std::path::{Path, PathBuf};

use kernsmith_core::FailureClass;
use kernsmith_toolchain::{
    BuildOutcome, BuildRequest, BuildRole, CodeObject, CompilerKind, Runtime, Toolchain, ToolchainError,
    ToolchainOptions,
};

const ADD: &str = r#"#include <cstdint>
static void helper(float* y) { *y += 1; }
extern "C" void other(float* y) { helper(y); }
extern "C" void kernel(const float* x, float* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * x[i] + y[i];
    other(y);
}
"#;

struct Bench {
    toolchain: Toolchain,
    cache: tempfile::TempDir,
}

fn options(cache: &Path) -> ToolchainOptions {
    ToolchainOptions {
        compiler: None,
        cache_dir: cache.to_owned(),
        timeout_seconds: 60.0,
        memory_bytes: 4 << 30,
        self_exe: Some(PathBuf::from(env!("CARGO_BIN_EXE_build-helper"))),
    }
}

fn bench(change: impl FnOnce(&mut ToolchainOptions)) -> Bench {
    let cache = tempfile::tempdir().unwrap();
    let mut options = options(cache.path());
    change(&mut options);
    Bench { toolchain: Toolchain::discover(&options).unwrap(), cache }
}

/// A candidate without a precompiled header is a trusted build in all that these tests look at, and much faster.
fn request(source: &str) -> BuildRequest<'_> {
    BuildRequest {
        source,
        role: BuildRole::Trusted,
        flags: &[],
        symbols: &["kernel"],
        link: &[],
        fresh: false,
    }
}

fn built(outcome: BuildOutcome) -> CodeObject {
    match outcome {
        BuildOutcome::Built(object) => *object,
        BuildOutcome::Refused { class, detail, log } => panic!("{class:?}: {detail}\n{log}"),
    }
}

fn refused(outcome: BuildOutcome) -> (FailureClass, String) {
    match outcome {
        BuildOutcome::Refused { class, detail, .. } => (class, detail),
        BuildOutcome::Built(_) => panic!("it was built"),
    }
}

#[test]
fn a_kernel_exports_its_symbols_alone_and_tells_what_it_is_made_of() {
    let bench = bench(|_| {});
    let object = built(bench.toolchain.build(&request(ADD)).unwrap());
    let facts = &object.facts;
    assert_eq!(facts.exports, ["kernel"]);
    assert_eq!((facts.constructors, facts.raw_syscalls, facts.writable_code), (0, 0, false));
    // Clang's start files want `__cxa_finalize`.
    assert!(facts.libraries.iter().all(|library| library == "libc.so.6"), "{:?}", facts.libraries);
    assert!(facts.text_bytes > 0 && !facts.families.is_empty(), "{facts:?}");
    #[cfg(target_arch = "x86_64")]
    assert!(facts.families.keys().any(|family| family.ends_with("load")), "{facts:?}");
}

#[test]
fn the_second_build_comes_from_the_cache_and_a_fresh_one_does_not() {
    let bench = bench(|_| {});
    let first = built(bench.toolchain.build(&request(ADD)).unwrap());
    let second = built(bench.toolchain.build(&request(ADD)).unwrap());
    assert!(!first.cached && second.cached);
    assert_eq!((first.digest, &first.facts), (second.digest, &second.facts));
    let fresh = built(bench.toolchain.build(&BuildRequest { fresh: true, ..request(ADD) }).unwrap());
    assert!(!fresh.cached);
    assert_eq!(fresh.digest, first.digest, "equal sources give equal objects");
    std::fs::write(&first.path, "damaged").unwrap();
    let again = built(bench.toolchain.build(&request(ADD)).unwrap());
    assert!(!again.cached && again.digest == first.digest);
    assert_eq!(std::fs::read_dir(bench.cache.path().join("builds")).unwrap().count(), 0);
}

#[test]
fn a_candidate_uses_a_precompiled_header_and_an_error_still_has_its_line() {
    let bench = bench(|_| {});
    let candidate = BuildRequest { role: BuildRole::Kernel, ..request(ADD) };
    let object = built(bench.toolchain.build(&candidate).unwrap());
    assert_eq!(object.facts.exports, ["kernel"]);
    let headers: Vec<_> = std::fs::read_dir(bench.cache.path().join("headers")).unwrap().flatten().collect();
    assert_eq!(headers.len(), 1);
    let wrong = ADD.replace("other(y);\n}", "missing(y);\n}");
    let (class, detail) =
        refused(bench.toolchain.build(&BuildRequest { source: &wrong, ..candidate }).unwrap());
    assert_eq!(class, FailureClass::CompileError);
    assert!(detail.starts_with("kernel.cpp:6:5: ") && detail.contains("missing(y);"), "{detail}");
}

#[test]
fn every_illegal_request_is_named() {
    let bench = bench(|_| {});
    let flags = ["-fplugin=evil.so".to_owned()];
    let link = ["openblas".to_owned()];
    let cases = [
        (BuildRequest { flags: &flags, ..request(ADD) }, "-fplugin=evil.so"),
        (BuildRequest { symbols: &["kernel; };"], ..request(ADD) }, "kernel; };"),
        (BuildRequest { role: BuildRole::Kernel, link: &link, ..request(ADD) }, "openblas"),
    ];
    for (request, word) in cases {
        let (class, detail) = refused(bench.toolchain.build(&request).unwrap());
        assert_eq!(class, FailureClass::PlanInvalid);
        assert!(detail.contains(word), "{detail}");
    }
}

#[test]
fn other_files_of_the_machine_cannot_be_included() {
    let bench = bench(|_| {});
    let secret = bench.cache.path().join("secret.h");
    std::fs::write(&secret, "constexpr int secret = 1;\n").unwrap();
    let lines = [
        "#include \"/etc/passwd\"".to_owned(),
        "#include \"/proc/self/environ\"".to_owned(),
        format!("#include \"{}\"", secret.display()),
        format!("asm(\".incbin \\\"{}\\\"\");", secret.display()),
    ];
    for line in lines {
        let (class, detail) = refused(bench.toolchain.build(&request(&format!("{line}\n{ADD}"))).unwrap());
        assert_eq!(class, FailureClass::CompileError, "{line}");
        let words = ["Permission denied", "No such file", "not found", "not find"];
        assert!(words.iter().any(|word| detail.contains(word)), "{detail}");
    }
}

#[test]
fn without_a_sandbox_a_foreign_header_is_found_and_the_toolchain_says_so() {
    let bench = bench(|options| options.self_exe = None);
    assert_eq!(bench.toolchain.confinement().summary(), "none");
    assert!(!bench.toolchain.confinement().missing.is_empty());
    built(bench.toolchain.build(&request(ADD)).unwrap());
    let secret = bench.cache.path().join("secret.h");
    std::fs::write(&secret, "constexpr int secret = 1;\n").unwrap();
    let source = format!("#include \"{}\"\n{ADD}", secret.display());
    let (class, detail) = refused(bench.toolchain.build(&request(&source)).unwrap());
    assert_eq!(class, FailureClass::ForbiddenSource);
    assert!(detail.contains("secret.h"), "{detail}");
}

const ENDLESS: &str = r#"template <int N> struct Tree { using A = typename Tree<N - 1>::A; int x[N]; };
template <> struct Tree<0> { using A = int; };
constexpr long spin(long n) { long s = 0; for (long i = 0; i < n; ++i) for (long j = 0; j < n; ++j) s += i ^ j; return s; }
#pragma GCC optimize("O3")
static_assert(spin(200) > 0);
#define A(x) x x x x x x x x
#define B(x) A(A(A(x)))
extern "C" void kernel(double* y) { B(B(y[0] = y[0] * y[1] + y[2] / y[3];)) B(B(y[1] = y[0] * y[1] + y[2] / y[3];)) }
"#;

#[test]
fn a_compilation_without_end_is_stopped() {
    let bench = bench(|options| options.timeout_seconds = 0.8);
    let (class, detail) = refused(bench.toolchain.build(&request(ENDLESS)).unwrap());
    assert_eq!(class, FailureClass::CompileTimeout, "{detail}");
}

#[test]
fn a_compilation_that_takes_all_memory_is_stopped() {
    let bench = bench(|options| options.memory_bytes = 120 << 20);
    let (class, detail) = refused(bench.toolchain.build(&request(ENDLESS)).unwrap());
    assert_eq!(class, FailureClass::CompileMemory, "{detail}");
}

#[test]
fn a_library_that_is_missing_is_named() {
    let bench = bench(|_| {});
    let link = ["nosuchlibrary".to_owned()];
    let error = bench.toolchain.build(&BuildRequest { link: &link, ..request(ADD) }).unwrap_err();
    assert_eq!(error.to_string(), "libnosuchlibrary not found");
    let headless = format!("#include <nosuch/blas.h>\n{ADD}");
    let link = ["m".to_owned()];
    let error = bench.toolchain.build(&BuildRequest { link: &link, ..request(&headless) }).unwrap_err();
    assert!(matches!(error, ToolchainError::LibraryNotFound { .. }), "{error}");
}

#[test]
fn an_installed_library_is_linked() {
    let bench = bench(|_| {});
    let source = "extern \"C\" double cbrt(double);\nextern \"C\" void kernel(double* y) { *y = cbrt(*y); }";
    let link = ["m".to_owned()];
    let object = built(bench.toolchain.build(&BuildRequest { link: &link, ..request(source) }).unwrap());
    assert!(object.facts.imports.contains(&"cbrt".to_owned()), "{:?}", object.facts.imports);
    assert!(
        object.facts.libraries.iter().any(|library| library.starts_with("libm.so")),
        "{:?}",
        object.facts.libraries
    );
}

#[test]
fn openblas_is_linked_or_named_as_missing() {
    let bench = bench(|_| {});
    let source = "#include <cblas.h>
        extern \"C\" void kernel(const float* a, float* c, int n) {
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a, n, a, n, 0, c, n);
        }";
    let link = ["openblas".to_owned()];
    match bench.toolchain.build(&BuildRequest { link: &link, ..request(source) }) {
        Ok(outcome) => {
            let libraries = built(outcome).facts.libraries;
            assert!(libraries.iter().any(|library| library.contains("openblas")), "{libraries:?}");
        }
        Err(error) => assert_eq!(error.to_string(), "libopenblas not found"),
    }
}

#[test]
fn what_runs_at_load_time_and_what_enters_the_kernel_is_counted() {
    let bench = bench(|_| {});
    let facts = |body: &str| built(bench.toolchain.build(&request(&format!("{body}\n{ADD}"))).unwrap()).facts;
    assert_eq!(facts("__attribute__((constructor)) void early() { asm volatile(\"nop\"); }").constructors, 1);
    assert_eq!(
        facts("struct S { S() { asm volatile(\"nop\"); } ~S() { asm volatile(\"nop\"); } } s;").constructors,
        1
    );
    assert_eq!(facts("__attribute__((destructor)) void late() { asm volatile(\"nop\"); }").constructors, 1);
    let resolver = "extern \"C\" void (*pick(void))(float*) { return 0; }
        void chosen(float*) __attribute__((ifunc(\"pick\")));
        void use(float* y) { chosen(y); } void (*keep)(float*) = use; __attribute__((used)) void* p = (void*)&keep;";
    assert!(facts(resolver).constructors >= 1);
    let call = "__attribute__((used)) void raw() { asm volatile(\"syscall\" ::: \"rcx\", \"r11\"); }";
    assert_eq!(facts(call).raw_syscalls, 1);
    let writable = "asm(\".section .patched, \\\"awx\\\", @progbits\\n.byte 0xc3\\n.text\");";
    assert!(facts(writable).writable_code);
    let stack = "asm(\".section .note.GNU-stack,\\\"x\\\",@progbits\\n.text\");";
    assert!(!facts(stack).writable_code, "the link step refuses an executable stack");
}

#[test]
fn fast_math_adds_no_constructor_and_a_constructor_cannot_hide_behind_the_compilers_name() {
    let bench = bench(|_| ());
    let fast = ["-ffast-math".to_owned()];
    let object = built(bench.toolchain.build(&BuildRequest { flags: &fast, ..request(ADD) }).unwrap());
    assert_eq!(object.facts.constructors, 0, "{object:?}");
    let begin = "static volatile int begun;\nextern \"C\" {\n__attribute__((constructor)) static void frame_dummy() { begun = 1; }\n}";
    let disguised = format!("{begin}\n{ADD}");
    let object = built(bench.toolchain.build(&request(&disguised)).unwrap());
    assert_eq!(object.facts.constructors, 1, "{object:?}");
}

#[test]
fn threads_need_no_constructor() {
    let bench = bench(|_| {});
    let source = "#include <thread>\n#include <vector>\n#include <mutex>\n#include <condition_variable>\n#include <atomic>
        struct Pool { std::mutex m; std::condition_variable c; std::vector<std::thread> t; };
        static Pool& pool() { static Pool* pool = new Pool; return *pool; }
        extern \"C\" void kernel(float* y) { std::thread t([=] { *y = 1; }); t.join(); pool().c.notify_all(); }";
    let facts = built(bench.toolchain.build(&request(source)).unwrap()).facts;
    assert_eq!(facts.constructors, 0);
    assert!(facts.libraries.iter().any(|library| library.starts_with("libstdc++")), "{:?}", facts.libraries);
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error_of_the_apparatus() {
    let mut options = options(Path::new("/proc/nowhere"));
    options.self_exe = None;
    let error = Toolchain::discover(&options).unwrap_err();
    assert!(matches!(error, ToolchainError::CacheNotWritable { .. }), "{error}");
}

#[test]
fn source_that_speaks_of_a_full_disk_is_still_only_wrong_source() {
    let bench = bench(|_| {});
    let (class, _) = refused(bench.toolchain.build(&request("#error No space left on device")).unwrap());
    assert_eq!(class, FailureClass::CompileError);
}

/// Runs itself once more in a mount namespace where the cache lies on a disk with no room for an object.
#[test]
fn a_full_disk_is_an_error_of_the_apparatus() {
    let directory = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=16k tmpfs \"$1\" && KERNSMITH_TEST_FULL_DISK=\"$1\" exec \"$0\" --exact --ignored on_a_full_disk";
    let output = std::process::Command::new("/usr/bin/unshare")
        .args(["--user", "--map-root-user", "--mount", "/bin/sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(directory.path())
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if text.contains("unshare failed") || text.contains("mount:") {
        println!("skipped: no mount namespaces here: {text}");
        return;
    }
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by the test above, on a disk of its own"]
fn on_a_full_disk() {
    let directory = PathBuf::from(std::env::var_os("KERNSMITH_TEST_FULL_DISK").unwrap());
    let toolchain = Toolchain::discover(&options(&directory)).unwrap();
    let error = toolchain.build(&request(ADD)).unwrap_err();
    assert!(matches!(error, ToolchainError::DiskFull { .. }), "{error:?}");
}

/// A compiler that was moved away from its libraries: the link that it finds leads nowhere, and its archive is beside it.
fn moved_compiler(place: &Path) -> Option<PathBuf> {
    let own = bench(|_| ()).toolchain.compiler().clone();
    let told = std::process::Command::new(&own.path).arg("-print-file-name=libstdc++.a").output().unwrap();
    let archive = PathBuf::from(String::from_utf8_lossy(&told.stdout).trim());
    let parts = archive.parent().filter(|_| own.kind == CompilerKind::Gcc && archive.is_file())?;
    let moved = place.join(parts.strip_prefix("/usr").ok()?);
    std::fs::create_dir_all(&moved).unwrap();
    for part in std::fs::read_dir(parts).unwrap() {
        let part = part.unwrap();
        if part.file_name() != "libstdc++.so" {
            std::os::unix::fs::symlink(part.path(), moved.join(part.file_name())).unwrap();
        }
    }
    std::os::unix::fs::symlink("nowhere/libstdc++.so.6", moved.join("libstdc++.so")).unwrap();
    std::os::unix::fs::symlink("/usr/include", place.join("include")).unwrap();
    std::fs::create_dir_all(place.join("bin")).unwrap();
    std::fs::copy(&own.path, place.join("bin/g++")).unwrap();
    Some(place.join("bin/g++"))
}

#[test]
fn a_compiler_that_would_link_its_archive_links_the_shared_runtime() {
    let place = tempfile::tempdir().unwrap();
    let Some(compiler) = moved_compiler(place.path()) else {
        eprintln!("skipped: the compiler is no gcc below /usr with an archive of the C++ library");
        return;
    };
    let bench = bench(|options| options.compiler = Some(compiler));
    let runtime = &bench.toolchain.compiler().runtime;
    assert!(matches!(runtime, Runtime::Named(library) if library.ends_with("libstdc++.so.6")), "{runtime:?}");
    let source = "#include <vector>\n#include <stdexcept>\nextern \"C\" void kernel(float* y, long n) {\n\
                  std::vector<float> copy(n);\nif (n > 5) throw std::domain_error(\"n\");\ny[0] = copy[0];\n}\n";
    let object = built(bench.toolchain.build(&request(source)).unwrap());
    assert!(
        object.facts.libraries.iter().any(|name| name == "libstdc++.so.6"),
        "{:?}",
        object.facts.libraries
    );
    assert!(!object.facts.imports.iter().any(|name| name.contains("getenv")), "{:?}", object.facts.imports);
}
