//! What a CUDA candidate's text may not say.
//!
//! The text is only the first look: macros can hide words, so whatever matters is looked for again in the cubin, and files are
//! kept from the compiler by its sandbox. What is refused here is refused early and with the line.

use kernsmith_core::FailureClass;
use kernsmith_core::candidate::normalise;
use kernsmith_toolchain::cuda::offered_headers;

use crate::error::Stop;

/// Headers of the toolkit that device code needs; a folder ends in `/`.
const HEADERS: &[&str] = &[
    "cuda_runtime.h",
    "cuda.h",
    "cuda_fp16.h",
    "cuda_bf16.h",
    "cuda_fp8.h",
    "cuda_fp6.h",
    "cuda_fp4.h",
    "cuComplex.h",
    "mma.h",
    "math_constants.h",
    "vector_types.h",
    "vector_functions.h",
    "device_launch_parameters.h",
    "cooperative_groups.h",
    "cooperative_groups/",
    "cuda_pipeline.h",
    "cuda_pipeline_primitives.h",
    "cuda_awbarrier.h",
    "cuda_awbarrier_primitives.h",
    "cuda/",
    "cub/",
    "nv/target",
];

/// Words that no kernel needs, and why.
const WORDS: &[(&str, &str)] = &[
    ("globaltimer", "the clock of the device tells checked calls from timed ones"),
    ("clock64", "the clock of a multiprocessor tells checked calls from timed ones"),
    ("cudaLaunchDevice", "launches stand in the plan"),
    ("cudaGraphLaunch", "launches stand in the plan"),
    ("__managed__", "memory stands in the plan"),
    ("__cudart_", "names of the compiler's own tables"),
];

/// Checks size, encoding, words and included headers. `forbidden` are the contract's words.
pub(crate) fn check(text: &str, forbidden: &[String], bytes_max: u64) -> Result<(), Stop> {
    let invalid = |detail: String| Err(Stop::rejected(FailureClass::SourceInvalid, detail));
    if text.trim().is_empty() {
        return invalid("the source is empty".to_owned());
    }
    if text.len() as u64 > bytes_max {
        return invalid(format!("{} bytes; {bytes_max} are allowed", text.len()));
    }
    if text.contains('\0') {
        return invalid("the source holds a zero byte".to_owned());
    }
    // Comments do not count: what is forbidden is the use, not the mention.
    let code = normalise(text);
    let refuse = |detail: String| Err(Stop::rejected(FailureClass::ForbiddenSource, detail));
    if let Some(word) = forbidden.iter().find(|word| code.contains(word.as_str())) {
        return refuse(format!("`{word}` is forbidden by the contract"));
    }
    if let Some((word, why)) = WORDS.iter().find(|(word, _)| code.contains(word)) {
        return refuse(format!("`{word}`: {why}"));
    }
    let offered = offered_headers();
    for line in code.lines() {
        let Some(what) = included(line) else { continue };
        let Some(header) = header(what) else {
            return refuse(format!("`{line}`: a header is named by its file, not by a macro"));
        };
        let known = HEADERS.iter().any(|allowed| {
            if allowed.ends_with('/') { header.starts_with(allowed) } else { header == *allowed }
        });
        if !known && !offered.iter().any(|offered| offered == header) {
            let detail = format!(
                "`{header}` is not among the headers for device code: {}, {}",
                HEADERS.join(", "),
                offered.join(", ")
            );
            return refuse(detail);
        }
    }
    Ok(())
}

/// What stands behind `#include` on a line.
fn included(line: &str) -> Option<&str> {
    let directive = line.trim_start().strip_prefix('#')?.trim_start();
    directive.strip_prefix("include_next").or_else(|| directive.strip_prefix("include")).map(str::trim)
}

/// The file between the quotes; `None` for anything else, and for a path that climbs.
fn header(what: &str) -> Option<&str> {
    let closing = if what.starts_with('<') { '>' } else { '"' };
    let inner = what.strip_prefix(['<', '"'])?;
    let (name, rest) = inner.split_once(closing)?;
    (rest.trim().is_empty() && !name.contains("..") && !name.starts_with('/')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Rejection;

    fn verdict(text: &str) -> Option<String> {
        match check(text, &["cublas".to_owned()], 1 << 20) {
            Ok(()) => None,
            Err(Stop::Rejected(Rejection { detail, .. })) => Some(detail),
            Err(Stop::Apparatus(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn headers_for_device_code_are_legal_and_others_are_named() {
        let good = "#include <cuda_bf16.h>\n# include \"cuda/barrier\"\n#include <cstdint>\nint x; // #include <stdio.h>\n";
        assert_eq!(verdict(good), None);
        for bad in ["stdio.h", "cudnn.h", "cuda/../../../etc/passwd", "/etc/passwd", "curand_kernel.h"] {
            let problem = verdict(&format!("int a;\n#include <{bad}>\n")).expect("it is refused");
            assert!(problem.contains(bad), "{problem}");
        }
        assert!(verdict("#define X <stdio.h>\n#include X\n").expect("refused").contains("macro"));
    }

    #[test]
    fn clocks_and_device_launches_are_refused_and_mentions_are_not() {
        let asm = "asm volatile(\"mov.u64 %0, %globaltimer;\" : \"=l\"(t));";
        for bad in [asm, "long t = clock64();", "cudaLaunchDeviceV2(p, s);", "cublasGemm();"] {
            assert!(verdict(bad).is_some(), "{bad}");
        }
        assert_eq!(verdict("int a; /* globaltimer, clock64 */"), None);
    }
}
