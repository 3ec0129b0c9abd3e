//! Which functions and libraries a kernel may use.
//!
//! C functions are allowed by list; the C++ runtime is allowed but for what reaches outside the process or the call. It must
//! be the shared one: its archive would bring along imports that are indistinguishable from the kernel's own, `open`, `read`,
//! `ioctl`, `syscall` and `secure_getenv` among them, so the toolchain links the shared library wherever there is one.

use kernsmith_core::FailureClass;
use kernsmith_core::evidence::ObjectFacts;

use crate::error::Stop;

const LIBRARIES: &[&str] = &[
    "libc.so",
    "libm.so",
    "libmvec.so",
    "libstdc++.so",
    "libc++.so",
    "libc++abi.so",
    "libgcc_s.so",
    "libunwind.so",
    "libgomp.so",
    "libomp.so",
    "libpthread.so",
    "ld-linux",
];

/// Prefixes of names that are denied, with what they would do.
const DENIED: &[(&str, &str)] = &[
    ("dlopen", "loads code"),
    ("dlsym", "looks up code"),
    ("dlmopen", "loads code"),
    ("dl_iterate_phdr", "looks into the process"),
    ("dl_find_object", "looks into the process"),
    ("getauxval", "looks into the process"),
    ("fork", "starts a process"),
    ("vfork", "starts a process"),
    ("clone", "starts a process"),
    ("exec", "starts a program"),
    ("posix_spawn", "starts a program"),
    ("system", "starts a program"),
    ("popen", "starts a program"),
    ("exit", "ends the process"),
    ("_exit", "ends the process"),
    ("_Exit", "ends the process"),
    ("quick_exit", "ends the process"),
    ("atexit", "runs code when the process ends"),
    ("kill", "sends signals"),
    ("raise", "sends signals"),
    ("ptrace", "looks into processes"),
    ("process_vm", "looks into processes"),
    (
        "syscall",
        "calls the kernel of the system directly; `std::jthread`, `std::latch`, `std::barrier` and the `wait` of \
         `std::atomic` come down to it: use `std::thread` with a mutex and a condition variable",
    ),
    ("mmap", "changes the address space"),
    ("munmap", "changes the address space"),
    ("mprotect", "changes the address space"),
    ("mremap", "changes the address space"),
    ("madvise", "changes the address space"),
    ("memfd", "changes the address space"),
    ("shm", "shares memory"),
    ("signal", "handles signals"),
    ("sigaction", "handles signals"),
    ("sigaltstack", "handles signals"),
    ("setjmp", "leaves the call"),
    ("_setjmp", "leaves the call"),
    ("__sigsetjmp", "leaves the call"),
    ("longjmp", "leaves the call"),
    ("open", "opens files"),
    ("fopen", "opens files"),
    ("creat", "opens files"),
    ("read", "reads files"),
    ("write", "writes files"),
    ("send", "speaks to others"),
    ("recv", "speaks to others"),
    ("socket", "speaks to others"),
    ("connect", "speaks to others"),
    ("printf", "prints"),
    ("puts", "prints"),
    ("getenv", "reads the environment"),
    ("secure_getenv", "reads the environment"),
    ("environ", "reads the environment"),
    ("arc4random", "draws from the system"),
    ("getrandom", "draws from the system"),
    ("getentropy", "draws from the system"),
    ("clock", "reads a clock"),
    ("gettimeofday", "reads a clock"),
    ("time", "reads a clock"),
    ("nanosleep", "sleeps"),
    ("usleep", "sleeps"),
    ("sleep", "sleeps"),
    ("sched_set", "changes scheduling"),
    ("pthread_setaffinity", "changes scheduling"),
    ("pthread_attr_setaffinity", "changes scheduling"),
    ("pthread_kill", "sends signals"),
    ("pthread_atfork", "starts a process"),
    ("setpriority", "changes scheduling"),
    ("nice", "changes scheduling"),
];

/// Names and prefixes (ending in `*`) of C functions that are allowed.
const ALLOWED: &[&str] = &[
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "memchr",
    "mempcpy",
    "strlen",
    "strcmp",
    "strncmp",
    "strtol",
    "strtoul",
    "strtoll",
    "strtoull",
    "strtod",
    "strtof",
    "bcmp",
    "__memcpy_chk",
    "__memmove_chk",
    "__memset_chk",
    "malloc",
    "calloc",
    "realloc",
    "free",
    "aligned_alloc",
    "posix_memalign",
    "memalign",
    "qsort",
    "bsearch",
    "abs",
    "labs",
    "llabs",
    "div",
    "ldiv",
    "lldiv",
    "abort",
    "__assert_fail",
    "__stack_chk_fail",
    "__cxa_*",
    "__dynamic_cast",
    "__gxx_personality_v0",
    "_Unwind_*",
    "__gcc_personality_v0",
    "__tls_get_addr",
    "__dso_handle",
    "__gmon_start__",
    "_ITM_*",
    "__errno_location",
    "__register_frame_info",
    "__deregister_frame_info",
    "pthread_*",
    "__pthread_key_create",
    "sem_*",
    "sched_yield",
    "sched_getaffinity",
    "sched_getcpu",
    "get_nprocs*",
    "sysconf",
    "__sched_cpu*",
    "GOMP_*",
    "omp_*",
    "__kmpc_*",
    "__cpu_model",
    "__cpu_indicator_init",
    "__cpu_features2",
    "__once_proxy",
    "fegetround",
    "fesetround",
    "fesetenv",
    "feenableexcept",
    "feclearexcept",
    "feraiseexcept",
    "fetestexcept",
    "__libc_single_threaded",
    "_ZGV*",
];

/// Stems of libm's functions; `f` and `l` may follow, and leading underscores and `_finite` are its own variants.
const MATH: &[&str] = &[
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cbrt",
    "ceil",
    "copysign",
    "cos",
    "cosh",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "exp10",
    "expm1",
    "fabs",
    "fdim",
    "floor",
    "fma",
    "fmax",
    "fmin",
    "fmod",
    "frexp",
    "hypot",
    "ilogb",
    "ldexp",
    "lgamma",
    "llrint",
    "llround",
    "log",
    "log10",
    "log1p",
    "log2",
    "logb",
    "lrint",
    "lround",
    "modf",
    "nan",
    "nearbyint",
    "nextafter",
    "pow",
    "remainder",
    "remquo",
    "rint",
    "round",
    "roundeven",
    "scalbln",
    "scalbn",
    "sin",
    "sincos",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "tgamma",
    "trunc",
];

/// Parts of mangled C++ names that reach outside the process or the call.
const DENIED_CPP: &[(&str, &str)] = &[
    ("basic_ostream", "prints"),
    ("basic_istream", "reads files"),
    ("basic_filebuf", "opens files"),
    ("basic_fstream", "opens files"),
    ("basic_ifstream", "opens files"),
    ("basic_ofstream", "opens files"),
    ("ios_base", "prints"),
    ("_ZSt4cout", "prints"),
    ("_ZSt4cerr", "prints"),
    ("_ZSt4clog", "prints"),
    ("NSt3__14coutE", "prints"),
    ("NSt3__14cerrE", "prints"),
    ("NSt3__14clogE", "prints"),
    ("filesystem", "opens files"),
    ("clock3nowEv", "reads a clock"),
    ("random_device", "draws from the system"),
    ("quick_exit", "ends the process"),
];

/// What `#include <iostream>` alone brings along: the library sets its streams up once more. Whoever prints needs more.
const STREAMS_SET_UP: [&str; 3] =
    ["_ZNSt8ios_base4InitC1Ev", "_ZNSt8ios_base4InitD1Ev", "_ZSt21ios_base_library_initv"];

/// Names the first function or library that a kernel may not use.
pub(crate) fn check(facts: &ObjectFacts) -> Result<(), Stop> {
    let refused = |detail: String| Err(Stop::rejected(FailureClass::ForbiddenImport, detail));
    if let Some(library) = facts.libraries.iter().find(|library| !allowed_library(library)) {
        return refused(format!("library `{library}` may not be used"));
    }
    for import in &facts.imports {
        if let Some(reason) = objection(import) {
            return refused(format!("`{import}` {reason}"));
        }
    }
    Ok(())
}

fn allowed_library(name: &str) -> bool {
    LIBRARIES.iter().any(|allowed| name.starts_with(allowed))
}

/// Beginnings under which glibc offers another standard's variant of a function: `__isoc23_strtoul` is `strtoul`.
/// Source: glibc 2.38, release notes.
const STANDARDS: [&str; 2] = ["__isoc99_", "__isoc23_"];

/// Why an imported function may not be used; `None` where it may.
fn objection(import: &str) -> Option<&'static str> {
    let name = import.split('@').next().unwrap_or(import);
    let name = STANDARDS.iter().find_map(|standard| name.strip_prefix(standard)).unwrap_or(name);
    if STREAMS_SET_UP.contains(&name) {
        return None;
    }
    if name.starts_with("_Z") && !name.starts_with("_ZGV") {
        let found = DENIED_CPP.iter().find(|(part, _)| name.contains(part));
        return found.map(|(_, reason)| *reason);
    }
    // Denied names are looked at first, so that an allowed prefix cannot let one through.
    let plain = name.trim_start_matches('_');
    let denied = DENIED.iter().find(|(stem, _)| denies(stem, name, plain));
    match denied {
        Some((_, reason)) => Some(reason),
        None if is_allowed(name, plain) => None,
        None => Some("is not among the functions that kernels may use"),
    }
}

/// Whether a denied stem means this name. Short stems would hit honest names by their beginning, so they must be the
/// whole name, up to the C library's own endings.
fn denies(stem: &str, name: &str, plain: &str) -> bool {
    let endings =
        ["", "64", "at", "at64", "_chk", "p", "v", "ve", "vp", "e", "l", "le", "lp", "_gettime", "f"];
    let exact = |base: &str| {
        base.strip_prefix(stem).is_some_and(
            |rest| {
                if stem.len() >= 8 { true } else { endings.contains(&rest) }
            },
        )
    };
    exact(name) || exact(plain)
}

fn is_allowed(name: &str, plain: &str) -> bool {
    let listed = ALLOWED.iter().any(|allowed| match allowed.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *allowed,
    });
    listed || is_math(plain)
}

fn is_math(plain: &str) -> bool {
    let base = plain.strip_suffix("_finite").unwrap_or(plain);
    let base = base.strip_suffix("_r").unwrap_or(base);
    let stem = |text: &str| MATH.contains(&text);
    stem(base)
        || base.strip_suffix(['f', 'l']).is_some_and(stem)
        || ["isnan", "isinf", "finite"].contains(&base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kernels_need_is_allowed() {
        let honest = [
            "memcpy@GLIBC_2.14",
            "expf",
            "__expf_finite",
            "sqrt",
            "sincosf",
            "_Znwm",
            "_ZdlPvm",
            "_ZSt20__throw_length_errorPKc",
            "pthread_create",
            "pthread_cond_wait",
            "pthread_detach",
            "pthread_attr_setstacksize",
            "GOMP_parallel",
            "omp_get_thread_num",
            "__cxa_finalize",
            "malloc",
            "posix_memalign",
            "_ZNSt6thread15_M_start_threadESt10unique_ptr",
            "__tls_get_addr",
            "log1pf",
            "_ZGVdN8v_expf",
            "expm1f",
            "_ZNSt6thread20hardware_concurrencyEv",
            "exp2f",
            "__stack_chk_fail",
            "__dynamic_cast@CXXABI_1.3",
            "__isoc23_strtol@GLIBC_2.38",
            "_ZNSt3__16thread4joinEv",
            "_ZNSt3__120__throw_system_errorEiPKc",
            "__kmpc_fork_call@VERSION",
            "__cxa_init_primary_exception@CXXABI_1.3.11",
            "__cxa_call_terminate@CXXABI_1.3.15",
            "_ZNSt8ios_base4InitC1Ev@GLIBCXX_3.4",
            "_ZNSt8ios_base4InitD1Ev@GLIBCXX_3.4",
        ];
        for name in honest {
            assert_eq!(objection(name), None, "{name}");
        }
    }

    #[test]
    fn what_reaches_out_is_named() {
        let hostile = [
            "fork",
            "execve",
            "dlopen",
            "mprotect",
            "mmap64",
            "syscall",
            "getenv",
            "fopen64",
            "open",
            "openat",
            "exit",
            "_exit",
            "clock_gettime",
            "kill",
            "sigaction",
            "__sigsetjmp",
            "_ZNSt6chrono3_V212steady_clock3nowEv",
            "_ZSt4cout",
            "_ZNSt8ios_base15sync_with_stdioEb",
            "pthread_setaffinity_np",
            "socket",
            "write",
            "cblas_sgemm",
            "printf",
            "__printf_chk",
            "sched_setaffinity",
            "quick_exit",
            "process_vm_readv",
            "time",
            "clone",
            "_dl_find_object@GLIBC_2.35",
            "arc4random",
            "getentropy",
            "getauxval",
            "__isoc23_fscanf",
            "_ZNSt3__14coutE",
            "_ZNSt3__16chrono12steady_clock3nowEv",
        ];
        for name in hostile {
            assert!(objection(name).is_some(), "{name}");
        }
        assert!(objection("cblas_sgemm").is_some_and(|reason| reason.contains("not among")));
        assert!(!allowed_library("libopenblas.so.0") && allowed_library("libm.so.6"));
    }
}
