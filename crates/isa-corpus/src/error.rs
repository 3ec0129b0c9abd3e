//! Why the corpus cannot be used.

use std::path::{Path, PathBuf};

use miette::{Diagnostic, NamedSource, SourceSpan};

/// A corpus that cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum CorpusError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is wrong at a known place.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] Box<FileProblem>),
    /// There is no corpus.
    #[error("no `isa-corpus` folder with a manifest.json was found")]
    #[diagnostic(help(
        "run inside the source tree, or set KERNSMITH_HOME to a folder that holds `isa-corpus`"
    ))]
    Missing,
    /// The full-text index failed, which is a defect of this program.
    #[error("the full-text index failed")]
    Index(#[from] rusqlite::Error),
}

/// What is wrong in a file of the corpus, with the place and the remedy.
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

/// A file of the corpus, from which problems are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) path: &'a Path,
    pub(crate) text: &'a str,
}

impl Text<'_> {
    /// A problem at a span of bytes.
    pub(crate) fn problem(
        &self,
        span: Option<std::ops::Range<usize>>,
        field: &str,
        problem: impl Into<String>,
        help: impl Into<Option<String>>,
    ) -> CorpusError {
        let path = self.path.display().to_string();
        let line = span.as_ref().map(|span| line_of(self.text, span.start));
        let place = match (line, field.is_empty()) {
            (Some(line), true) => format!("{path}:{line}"),
            (Some(line), false) => format!("{path}:{line}: {field}"),
            (None, true) => path.clone(),
            (None, false) => format!("{path}: {field}"),
        };
        CorpusError::File(Box::new(FileProblem {
            place,
            problem: problem.into(),
            source_code: NamedSource::new(path, self.text.to_owned()),
            span: span.map(SourceSpan::from),
            help: help.into(),
        }))
    }
}

/// The number of the line that a byte stands in, from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

/// The whole text of a file.
pub(crate) fn read(path: &Path) -> Result<String, CorpusError> {
    std::fs::read_to_string(path).map_err(|source| CorpusError::Read { path: path.to_owned(), source })
}

/// Reads a TOML file, with the place of what does not fit.
pub(crate) fn parse_toml<T: serde::de::DeserializeOwned>(file: Text<'_>) -> Result<T, CorpusError> {
    toml::from_str(file.text).map_err(|error| {
        let help = "docs/isa-corpus-format.md lists the fields".to_owned();
        file.problem(error.span(), "", error.message(), help)
    })
}
