//! Reading what the run-time compiler and its assembler say.

use std::collections::BTreeMap;

use kernsmith_core::FailureClass;

use crate::diagnose::FirstError;

/// What the assembler says about one function under `-v`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_field_names, reason = "all three are bytes")]
pub(super) struct Usage {
    pub(super) stack_bytes: u64,
    pub(super) spill_store_bytes: u64,
    pub(super) spill_load_bytes: u64,
}

/// Stack and spills by function. NVRTC and nvcc begin the lines differently and write the same words.
pub(super) fn usage(log: &str) -> BTreeMap<&str, Usage> {
    let mut found = BTreeMap::new();
    let mut function = None;
    for line in log.lines() {
        if let Some((_, name)) = line.split_once("Function properties for ") {
            function = Some(name.trim());
        } else if let (Some(name), Some(usage)) = (function, usage_line(line)) {
            // The first mention counts: a source can only add later ones.
            found.entry(name).or_insert(usage);
            function = None;
        }
    }
    found
}

/// `… 40 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads`
fn usage_line(line: &str) -> Option<Usage> {
    let number = |before: &str| -> Option<u64> {
        let text = &line[..line.find(before)?];
        text.split_whitespace().next_back()?.parse().ok()
    };
    Some(Usage {
        stack_bytes: number(" bytes stack frame")?,
        spill_store_bytes: number(" bytes spill stores")?,
        spill_load_bytes: number(" bytes spill loads")?,
    })
}

/// What a failed compilation means, and its first error.
pub(super) fn explain(log: &str, message: &str) -> (FailureClass, String) {
    let first = first_error(log);
    let detail = first.map_or_else(|| without_error(log, message), |error| error.to_string());
    let out_of_memory = ["out of memory", "Memory allocation failure", "std::bad_alloc"];
    let class = if out_of_memory.iter().any(|words| log.contains(words) || message.contains(words)) {
        FailureClass::CompileMemory
    } else {
        FailureClass::CompileError
    };
    (class, detail)
}

/// NVRTC's assembler says nothing at all where a kernel declares more shared memory than a block can have.
fn without_error(log: &str, message: &str) -> String {
    let shared = |line: &str| -> Option<u64> {
        let before = line.split(" bytes smem").next().filter(|before| before.len() < line.len())?;
        before.split_whitespace().next_back()?.parse().ok()
    };
    match log.lines().filter_map(shared).max() {
        Some(bytes) => {
            format!("{message}, without a reason; a kernel declares {bytes} bytes of shared memory")
        }
        None => log.lines().find(|line| !line.trim().is_empty()).unwrap_or(message).trim().to_owned(),
    }
}

/// The first error: `kernel.cu(3): error: …` with the source line below it, or a line of the assembler's.
fn first_error(log: &str) -> Option<FirstError> {
    let mut lines = log.lines();
    while let Some(line) = lines.next() {
        let front_end = [": error: ", ": catastrophic error: ", ": internal error: "];
        if let Some((place, message)) = front_end.iter().find_map(|mark| line.split_once(mark)) {
            // Some messages go on for several lines; the source line is the first one that is indented.
            let source_line =
                lines.by_ref().take(4).find(|next| next.starts_with(' ')).map(|next| next.trim().to_owned());
            return Some(FirstError { place: place.to_owned(), message: message.to_owned(), source_line });
        }
        if let Some(rest) = line.strip_prefix("ptxas ") {
            let error = rest.contains("error   :") || rest.contains("; error") || rest.starts_with("fatal");
            if error {
                let message = rest.trim().to_owned();
                return Some(FirstError { place: "ptxas".to_owned(), message, source_line: None });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_compilers_ways_of_writing_usage_are_read() {
        let nvcc = "ptxas info    : Function properties for alpha\n    40 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads\nptxas info    : Used 24 registers, used 0 barriers\n";
        let nvrtc = "ptxas info    : Function properties for alpha\nptxas         .     40 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads\n";
        let expected = Usage { stack_bytes: 40, spill_store_bytes: 8, spill_load_bytes: 12 };
        assert_eq!(usage(nvcc), BTreeMap::from([("alpha", expected)]));
        assert_eq!(usage(nvrtc), BTreeMap::from([("alpha", expected)]));
    }

    #[test]
    fn the_first_error_has_its_place_and_its_source_line() {
        let log = "kernel.cu(2): warning #177-D: variable \"a\" was declared but never referenced\n    int a;\n        ^\n\nkernel.cu(3): error: identifier \"foo\" is undefined\n      foo(x);\n      ^\n\n1 error detected in the compilation of \"kernel.cu\".\n";
        let (class, detail) = explain(log, "NVRTC_ERROR_COMPILATION");
        assert_eq!(class, FailureClass::CompileError);
        assert_eq!(detail, "kernel.cu(3): identifier \"foo\" is undefined\n    foo(x);");
    }

    #[test]
    fn the_assemblers_errors_are_found() {
        let log = "ptxas info    : (C7510) Potential Performance Loss\nptxas error   : Entry function 'alpha' uses too much shared data (0x10000 bytes, 0xc000 max)\n";
        let (_, detail) = explain(log, "");
        assert!(detail.starts_with("ptxas: error") && detail.contains("too much shared data"), "{detail}");
        let log = "ptxas application ptx input, line 22; error   : Arguments mismatch for instruction 'mma'\nptxas fatal   : Ptx assembly aborted due to errors\n";
        assert!(explain(log, "").1.contains("line 22; error   : Arguments mismatch"));
    }

    #[test]
    fn a_failure_without_a_word_names_the_shared_memory() {
        let log = "ptxas info    : Function properties for k\nptxas info    : Used 10 registers, used 1 barriers, 400000 bytes smem, 360 bytes cmem[0]\n";
        let (_, detail) = explain(log, "NVRTC_ERROR_COMPILATION");
        assert!(detail.contains("400000 bytes of shared memory"), "{detail}");
    }

    #[test]
    fn memory_is_told_from_errors() {
        assert_eq!(explain("", "NVRTC_ERROR_OUT_OF_MEMORY: out of memory").0, FailureClass::CompileMemory);
        assert_eq!(
            explain("", "NVRTC_ERROR_COMPILATION"),
            (FailureClass::CompileError, "NVRTC_ERROR_COMPILATION".into())
        );
    }
}
