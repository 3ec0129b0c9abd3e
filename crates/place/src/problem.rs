//! What is wrong in a data file, with the place and the remedy.

use std::ops::Range;
use std::path::Path;

use miette::{Diagnostic, NamedSource, SourceSpan};

/// What is wrong in a data file, with the place and the remedy.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{place}: {problem}")]
pub struct FileProblem {
    /// `file:line: field`.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// The file's text.
    #[source_code]
    source_code: NamedSource<String>,
    /// The bytes in question.
    #[label("here")]
    span: Option<SourceSpan>,
    /// What to do about it.
    #[help]
    pub help: Option<String>,
}

/// A file that was read, from which problems are made.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// Where it was read.
    pub path: &'a Path,
    /// All of it.
    pub text: &'a str,
}

impl Text<'_> {
    /// A problem at a span of bytes, as the owner's error; an empty field is not named.
    pub fn problem<E: From<Box<FileProblem>>>(
        &self,
        span: Option<Range<usize>>,
        field: &str,
        problem: impl Into<String>,
        help: impl Into<Option<String>>,
    ) -> E {
        let path = self.path.display().to_string();
        let line = span.as_ref().map(|span| line_of(self.text, span.start));
        let place = match (line, field.is_empty()) {
            (Some(line), true) => format!("{path}:{line}"),
            (Some(line), false) => format!("{path}:{line}: {field}"),
            (None, true) => path.clone(),
            (None, false) => format!("{path}: {field}"),
        };
        E::from(Box::new(FileProblem {
            place,
            problem: problem.into(),
            source_code: NamedSource::new(path, self.text.to_owned()),
            span: span.map(SourceSpan::from),
            help: help.into(),
        }))
    }
}

/// The number of the line that a byte stands in, from 1.
pub fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_file_line_and_field() {
        let file = Text { path: Path::new("a.toml"), text: "x = 1\ny = 2\n" };
        let said = |span, field: &str| {
            let problem: Box<FileProblem> = file.problem(span, field, "it is wrong", None);
            problem.to_string()
        };
        assert_eq!(said(Some(6..7), "y"), "a.toml:2: y: it is wrong");
        assert_eq!(said(Some(0..1), ""), "a.toml:1: it is wrong");
        assert_eq!(said(None, ""), "a.toml: it is wrong");
    }
}
