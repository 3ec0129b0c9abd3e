//! Compiler flags: those that are always there, and those that a plan may add.

use crate::build::BuildRole;
use crate::compiler::CompilerKind;

/// A flag that a plan may add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowedFlag {
    /// The flag as it is written.
    pub flag: &'static str,
    /// What it changes, in one sentence.
    pub meaning: &'static str,
}

const fn flag(flag: &'static str, meaning: &'static str) -> AllowedFlag {
    AllowedFlag { flag, meaning }
}

const ALLOWED: &[AllowedFlag] = &[
    flag("-O1", "optimises less; sometimes the vectoriser is in the way"),
    flag("-O2", "optimises for speed without the costlier steps"),
    flag("-O3", "the default for kernels"),
    flag("-Ofast", "-O3 and -ffast-math"),
    flag("-ffast-math", "all of the relaxations of floating-point arithmetic below"),
    flag(
        "-fno-math-errno",
        "mathematical functions need not set errno, so that square roots are one instruction",
    ),
    flag("-fno-trapping-math", "no floating-point operation traps"),
    flag("-fno-signed-zeros", "the sign of zero does not matter"),
    flag("-fno-signaling-nans", "no signalling NaN occurs"),
    flag("-fassociative-math", "sums may be reordered, so that reductions vectorise"),
    flag("-freciprocal-math", "divisions may become multiplications by a reciprocal"),
    flag("-ffinite-math-only", "no NaN or infinity occurs"),
    flag("-fno-finite-math-only", "takes -ffinite-math-only back after -ffast-math"),
    flag("-funsafe-math-optimizations", "reordering and reciprocals, and less exact functions"),
    flag("-ffp-contract=off", "no fused multiply-add unless written"),
    flag("-ffp-contract=fast", "multiply and add may fuse anywhere"),
    flag("-fopenmp", "OpenMP, with its thread pool"),
    flag("-fopenmp-simd", "only the `simd` directives of OpenMP"),
    flag("-funroll-loops", "unrolls loops whose count is known on entry"),
    flag("-fno-unroll-loops", "does not"),
    flag("-fno-tree-vectorize", "leaves loops scalar unless written as vectors"),
    flag("-fno-tree-slp-vectorize", "leaves straight code scalar unless written as vectors"),
    flag("-fno-strict-aliasing", "pointers of different types may alias"),
    flag("-fno-exceptions", "no exceptions"),
    flag("-fno-rtti", "no run-time type information"),
    flag("-fomit-frame-pointer", "one more register"),
    flag("-fno-prefetch-loop-arrays", "no prefetches but the written ones"),
    flag("-mprefer-vector-width=128", "vectorises loops with 128-bit registers"),
    flag("-mprefer-vector-width=256", "vectorises loops with 256-bit registers"),
    flag("-mprefer-vector-width=512", "vectorises loops with 512-bit registers"),
];

/// Every flag that a plan may add.
pub fn allowed_flags() -> &'static [AllowedFlag] {
    ALLOWED
}

/// The first flag that is not allowed, as a sentence that names it and the list.
pub(crate) fn check(role: BuildRole, flags: &[String]) -> Result<(), String> {
    if role == BuildRole::Oracle && !flags.is_empty() {
        return Err(format!("a reference is built without extra flags, but `{}` was asked for", flags[0]));
    }
    let Some(unknown) = flags.iter().find(|flag| ALLOWED.iter().all(|allowed| allowed.flag != **flag)) else {
        return Ok(());
    };
    let list: Vec<_> = ALLOWED.iter().map(|allowed| allowed.flag).collect();
    Err(format!("the flag `{unknown}` is not allowed; the allowed ones are {}", list.join(", ")))
}

/// All flags of the compile step, without files: they also fix the precompiled header.
pub(crate) fn compile_flags(role: BuildRole, kind: CompilerKind, extra: &[String]) -> Vec<String> {
    let mut flags = Vec::new();
    if kind == CompilerKind::Clang {
        // With links resolved its executable is called `clang`, which compiles C++ and does not link it.
        flags.push("--driver-mode=g++");
    }
    flags.push("-std=c++20");
    match role {
        BuildRole::Kernel | BuildRole::Trusted => flags.push("-O3"),
        // An oracle must mean what it says: no fusing, no reordering.
        BuildRole::Oracle => flags.extend(["-O2", "-ffp-contract=off"]),
    }
    flags.extend(["-march=native", "-fPIC", "-g0"]);
    // Exported functions may be inlined into each other: nothing interposes them, for the link exports only the plan's symbols.
    flags.push("-fno-semantic-interposition");
    match kind {
        // A unique symbol would keep the object from being unloaded; a fixed seed makes equal sources equal objects.
        CompilerKind::Gcc => flags.extend(["-fno-gnu-unique", "-frandom-seed=kernsmith", "-fmax-errors=20"]),
        CompilerKind::Clang => flags.push("-ferror-limit=20"),
    }
    flags.push("-fdiagnostics-color=never");
    let mut flags: Vec<String> = flags.into_iter().map(str::to_owned).collect();
    for flag in extra {
        if !flags.contains(flag) {
            flags.push(flag.clone());
        }
    }
    flags
}

/// Flags of the link step. `-z defs` makes an undefined function an error of the build and not of the load.
pub(crate) const LINK_FLAGS: &[&str] = &[
    "-shared",
    "-Wl,-z,now",
    "-Wl,-z,relro",
    "-Wl,-z,noexecstack",
    "-Wl,-z,defs",
    "-Wl,--build-id=none",
    "-Wl,--as-needed",
];

/// What gcc shall put at the end of a link: what it puts there itself, but without the constructor that it adds under
/// fast-math flags. That one would flush small numbers to zero in the whole process.
/// Source: GCC manual, "x86 Options", `-mdaz-ftz`; gcc 13 no longer does it for shared objects.
pub(crate) const END_FILES: &str = "*endfile:\ncrtendS.o%s crtn.o%s\n";

/// Whether gcc would add that constructor.
pub(crate) fn needs_end_files(kind: CompilerKind, flags: &[String]) -> bool {
    let adding = ["-Ofast", "-ffast-math", "-funsafe-math-optimizations"];
    kind == CompilerKind::Gcc && flags.iter().any(|flag| adding.contains(&flag.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_outside_the_list_is_named_with_the_list() {
        let problem = check(BuildRole::Kernel, &["-O3".into(), "-fplugin=x.so".into()]).unwrap_err();
        assert!(problem.contains("`-fplugin=x.so`") && problem.contains("-ffast-math"), "{problem}");
        assert!(check(BuildRole::Oracle, &["-ffast-math".into()]).is_err());
    }

    #[test]
    fn the_page_lists_every_flag_and_every_family() {
        let page = include_str!("../../../docs/toolchain.md");
        let flags = allowed_flags().iter().map(|allowed| (allowed.flag, allowed.meaning));
        for (name, meaning) in flags.chain(crate::instruction_families().iter().copied()) {
            assert!(page.contains(&format!("| `{name}` | {meaning} |")), "{name}");
        }
    }

    #[test]
    fn an_oracle_is_built_without_fusing_or_fast_math() {
        let flags = compile_flags(BuildRole::Oracle, CompilerKind::Gcc, &[]);
        assert!(flags.contains(&"-ffp-contract=off".to_owned()));
        assert!(!flags.iter().any(|flag| flag.contains("fast")));
    }
}
