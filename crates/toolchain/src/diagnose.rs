//! Reading a compiler's log: whose fault it was, and the first error.

use kernsmith_core::FailureClass;

/// What is kept of a log.
pub(crate) const LOG_CAP_BYTES: usize = 16 * 1024;

/// What a failed build means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Diagnosis {
    /// The source is to blame.
    Source {
        /// The name from the catalogue.
        class: FailureClass,
        /// The first error.
        detail: String,
    },
    /// A library to link, or its header, is not installed.
    LibraryNotFound(String),
    /// The log speaks of a full disk. Source can make it say so; the caller looks at the disk.
    PerhapsDiskFull(String),
}

/// The first error of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FirstError {
    /// `file:line:column`, as far as the compiler knows it.
    pub(crate) place: String,
    /// What is wrong.
    pub(crate) message: String,
    /// The source line.
    pub(crate) source_line: Option<String>,
}

impl std::fmt::Display for FirstError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        write!(f, "{}", self.message)?;
        self.source_line.as_ref().map_or(Ok(()), |line| write!(f, "\n    {line}"))
    }
}

/// Explains the log of a build that did not succeed. `link` are the libraries that were asked for.
pub(crate) fn explain(log: &str, link: &[String]) -> Diagnosis {
    let says = |words: &[&str]| words.iter().any(|word| log.contains(word));
    if let Some(library) = missing_library(log, link) {
        return Diagnosis::LibraryNotFound(library);
    }
    let first = first_error(log);
    let detail = first.as_ref().map_or_else(|| first_line(log), ToString::to_string);
    if says(&["No space left on device"]) {
        return Diagnosis::PerhapsDiskFull(detail);
    }
    let class = if says(&["CPU time limit exceeded"]) {
        FailureClass::CompileTimeout
    } else if says(&[
        "out of memory",
        "failed to map segment",
        "virtual memory exhausted",
        "Cannot allocate memory",
        "std::bad_alloc",
        "Killed signal terminated",
    ]) {
        FailureClass::CompileMemory
    } else {
        FailureClass::CompileError
    };
    Diagnosis::Source { class, detail }
}

fn missing_library(log: &str, link: &[String]) -> Option<String> {
    let unfound = link.iter().find(|library| {
        let (gnu, lld) = (format!("cannot find -l{library}"), format!("unable to find library -l{library}"));
        log.contains(&gnu) || log.contains(&lld)
    });
    // A library whose run-time part is there and whose header is not cannot be built against either.
    let headless = || link.first().filter(|_| log.contains("fatal error:") && says_not_found(log));
    unfound.or_else(headless).cloned()
}

/// GCC and clang have different words for it.
fn says_not_found(log: &str) -> bool {
    log.contains("No such file or directory") || log.contains("file not found")
}

/// The first line that is an error. Clang and GCC write `file:line:column: error: …` and then the source line, assemblers
/// write `Error`.
pub(crate) fn first_error(log: &str) -> Option<FirstError> {
    let mut lines = log.lines();
    while let Some(line) = lines.next() {
        let found =
            [": fatal error: ", ": error: ", ": internal compiler error: ", ": Error: ", ": Fatal error: "]
                .iter()
                .find_map(|mark| line.split_once(mark));
        if let Some((place, message)) = found {
            let next = lines.next().filter(|next| next.starts_with(' '));
            return Some(FirstError {
                place: place.to_owned(),
                message: message.to_owned(),
                source_line: next.map(strip_gutter),
            });
        }
        if let Some((place, symbol)) = line.split_once("undefined reference to ") {
            let place = place.trim_end_matches(": ").rsplit(' ').next().unwrap_or_default();
            let message = format!("undefined reference to {symbol}");
            return Some(FirstError { place: place.to_owned(), message, source_line: None });
        }
    }
    None
}

/// `   12 | code` becomes `code`.
fn strip_gutter(line: &str) -> String {
    let code = match line.split_once(" | ") {
        Some((number, code)) if number.trim().chars().all(|c| c.is_ascii_digit()) => code,
        _ => line,
    };
    code.trim().to_owned()
}

fn first_line(log: &str) -> String {
    let line = log.lines().find(|line| !line.trim().is_empty());
    line.map_or_else(|| "the compiler failed without a word".to_owned(), str::to_owned)
}

/// The beginning of a log, with a note where it was longer.
pub(crate) fn cap(log: &str) -> String {
    if log.len() <= LOG_CAP_BYTES {
        return log.to_owned();
    }
    let end = log.floor_char_boundary(LOG_CAP_BYTES);
    format!("{}\n[… {} more bytes]\n", &log[..end], log.len() - end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "kernel.cpp: In function 'void kernel()':\nkernel.cpp:3:5: error: 'foo' was not declared in this scope\n    3 |     foo(x);\n      |     ^~~\nkernel.cpp:9:1: error: later\n";

    #[test]
    fn the_first_error_has_its_place_and_its_source_line() {
        let error = first_error(LOG).unwrap();
        assert_eq!(error.place, "kernel.cpp:3:5");
        assert_eq!(error.source_line.as_deref(), Some("foo(x);"));
        assert!(error.to_string().starts_with("kernel.cpp:3:5: 'foo' was not"), "{error}");
    }

    #[test]
    fn an_undefined_reference_is_an_error_of_the_source() {
        let log = "/usr/bin/ld: x.o: in function `kernel':\nkernel.cpp:(.text+0x9): undefined reference to `helper'\n";
        let error = first_error(log).unwrap();
        assert_eq!(error.message, "undefined reference to `helper'");
        assert!(matches!(explain(log, &[]), Diagnosis::Source { class: FailureClass::CompileError, .. }));
    }

    #[test]
    fn memory_time_disk_and_libraries_are_told_apart() {
        let class = |log: &str| match explain(log, &[]) {
            Diagnosis::Source { class, .. } => Some(class),
            _ => None,
        };
        let memory = "cc1plus: out of memory allocating 65536 bytes after a total of 9 bytes";
        assert_eq!(class(memory), Some(FailureClass::CompileMemory));
        let time = "g++: fatal error: CPU time limit exceeded signal terminated program cc1plus";
        assert_eq!(class(time), Some(FailureClass::CompileTimeout));
        let disk = "kernel.cpp:1:1: fatal error: error writing to /x.s: No space left on device";
        assert!(matches!(explain(disk, &[]), Diagnosis::PerhapsDiskFull(_)));
        let link = ["blas".to_owned()];
        let missing = "/usr/bin/ld: cannot find -lblas: No such file or directory";
        assert_eq!(explain(missing, &link), Diagnosis::LibraryNotFound("blas".into()));
        assert!(matches!(explain(missing, &[]), Diagnosis::Source { .. }));
    }

    #[test]
    fn a_long_log_keeps_its_beginning() {
        let capped = cap(&"ä".repeat(LOG_CAP_BYTES));
        assert!(capped.len() < LOG_CAP_BYTES + 64 && capped.ends_with("more bytes]\n"));
    }
}
