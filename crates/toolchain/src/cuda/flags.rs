//! Options of the CUDA compiler: those that are always there, and those that a plan may add.

use crate::flags::AllowedFlag;

const fn flag(flag: &'static str, meaning: &'static str) -> AllowedFlag {
    AllowedFlag { flag, meaning }
}

/// A flag that ends in `=` takes a number of the range beside it.
const ALLOWED: &[AllowedFlag] = &[
    flag("--use_fast_math", "all of the next four together, and less exact functions"),
    flag("--ftz=true", "small numbers count as zero"),
    flag("--prec-sqrt=false", "an approximate square root"),
    flag("--prec-div=false", "an approximate division and reciprocal"),
    flag("--fmad=true", "multiply and add may fuse; the default"),
    flag("--fmad=false", "no fused multiply-add unless written"),
    flag("--extra-device-vectorization", "vectorises more in the optimiser"),
    flag("--restrict", "pointer parameters do not alias"),
    flag("--std=c++17", "the language of 2017"),
    flag("--std=c++20", "the language of 2020; the default"),
    flag("--maxrregcount=", "registers of one thread, 16 to 255"),
    flag("--ptxas-options=-O1", "the assembler optimises less"),
    flag("--ptxas-options=-O2", "the assembler optimises less"),
    flag("--ptxas-options=-O3", "the assembler's default"),
    flag("--ptxas-options=--allow-expensive-optimizations=true", "the assembler may take more time"),
    flag("--generate-line-info", "keeps line numbers for profilers; the code stays the same"),
];

const REGISTERS: std::ops::RangeInclusive<u32> = 16..=255;

/// Every flag that a plan may add.
pub fn allowed_cuda_flags() -> &'static [AllowedFlag] {
    ALLOWED
}

/// The first flag that is not allowed, as a sentence that names it and the list.
pub fn check_cuda_flags(flags: &[String]) -> Result<(), String> {
    let Some(unknown) = flags.iter().find(|flag| !is_allowed(flag)) else { return Ok(()) };
    let list: Vec<_> = ALLOWED.iter().map(|allowed| allowed.flag).collect();
    Err(format!("the flag `{unknown}` is not allowed; the allowed ones are {}", list.join(", ")))
}

fn is_allowed(flag: &str) -> bool {
    ALLOWED.iter().any(|allowed| {
        if allowed.flag.ends_with('=') {
            let number = flag.strip_prefix(allowed.flag).and_then(|text| text.parse().ok());
            number.is_some_and(|number: u32| REGISTERS.contains(&number))
        } else {
            allowed.flag == flag
        }
    })
}

/// An architecture is `sm_`, two or three digits, and perhaps `a` or `f`.
pub(crate) fn check_arch(arch: &str) -> Result<(), String> {
    let legal = arch.strip_prefix("sm_").is_some_and(|rest| {
        let digits = rest.trim_end_matches(['a', 'f']);
        rest.len() - digits.len() <= 1
            && (2..=3).contains(&digits.len())
            && digits.chars().all(|c| c.is_ascii_digit())
    });
    if legal {
        return Ok(());
    }
    Err(format!("`{arch}` is not an architecture: expected `sm_` and a number, such as `sm_90a`"))
}

/// A macro is a C identifier, and its value stays on its line.
pub(crate) fn check_define(name: &str, value: &str) -> Result<(), String> {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !first || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("`{name}` is not the name of a macro"));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("the value of the macro `{name}` holds a control character"));
    }
    Ok(())
}

/// Only the run-time compiler knows it.
pub(super) const DEVICE_BY_DEFAULT: &str = "--device-as-default-execution-space";

/// All options without include paths: they are part of what identifies a build.
pub(crate) fn options(arch: &str, flags: &[String], defines: &[(String, String)]) -> Vec<String> {
    let mut options = vec![format!("--gpu-architecture={arch}")];
    if !flags.iter().any(|flag| flag.starts_with("--std=")) {
        options.push("--std=c++20".to_owned());
    }
    for flag in flags {
        if !options.contains(flag) {
            options.push(flag.clone());
        }
    }
    // There is no host code, so functions without a word about it are device code.
    options.push(DEVICE_BY_DEFAULT.to_owned());
    // Registers, spills and stack are said nowhere else.
    options.push("--ptxas-options=-v".to_owned());
    options.extend(defines.iter().map(|(name, value)| format!("--define-macro={name}={value}")));
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_outside_the_list_is_named_with_the_list() {
        let problem = check_cuda_flags(&["--ftz=true".into(), "--include-path=/etc".into()]).unwrap_err();
        assert!(
            problem.contains("`--include-path=/etc`") && problem.contains("--use_fast_math"),
            "{problem}"
        );
        assert!(check_cuda_flags(&["--maxrregcount=64".into()]).is_ok());
        assert!(check_cuda_flags(&["--maxrregcount=8".into()]).is_err());
        assert!(check_cuda_flags(&["--maxrregcount=64 -I/etc".into()]).is_err());
    }

    #[test]
    fn architectures_and_macros_are_checked_by_form() {
        for good in ["sm_80", "sm_90a", "sm_100a", "sm_103f", "sm_120"] {
            assert!(check_arch(good).is_ok(), "{good}");
        }
        for bad in ["", "sm_", "90a", "sm_9", "sm_90b", "sm_90aa", "compute_90", "sm_90 -G"] {
            assert!(check_arch(bad).is_err(), "{bad}");
        }
        assert!(check_define("TILE", "64").is_ok());
        assert!(check_define("TILE=1 -I", "64").is_err() && check_define("A", "1\n#include").is_err());
    }

    #[test]
    fn the_page_lists_every_flag_and_every_family() {
        let page = include_str!("../../../../docs/cuda.md");
        let flags = allowed_cuda_flags().iter().map(|allowed| (allowed.flag, allowed.meaning));
        for (name, meaning) in flags.chain(crate::cuda::cuda_instruction_families().iter().copied()) {
            assert!(page.contains(&format!("| `{name}` | {meaning} |")), "{name}");
        }
    }

    #[test]
    fn a_plans_language_replaces_the_default() {
        let options = options("sm_90a", &["--std=c++17".into()], &[("N".into(), "4".into())]);
        let expected = [
            "--gpu-architecture=sm_90a",
            "--std=c++17",
            DEVICE_BY_DEFAULT,
            "--ptxas-options=-v",
            "--define-macro=N=4",
        ];
        assert_eq!(options, expected);
    }
}
