//! Why the corpus cannot be used.

use std::path::{Path, PathBuf};

use kernsmith_place::{FileProblem, Text};
use miette::Diagnostic;

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
