//! What can be wrong with a configuration, with the place and the remedy.

use std::path::PathBuf;

use miette::{Diagnostic, NamedSource, SourceSpan};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("configuration `{}` cannot be read", path.display())]
    #[diagnostic(help("give a readable file, or one of the names {known}"))]
    Read {
        /// The file.
        path: PathBuf,
        /// Names of embedded configurations.
        known: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no configuration of that name.
    #[error("there is no configuration `{name}`")]
    #[diagnostic(help("the names are {known}; a file is given by its path, such as `./{name}.toml`"))]
    Unknown {
        /// The name.
        name: String,
        /// Names of embedded configurations.
        known: String,
    },
    /// A line is not legal.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Refused(#[from] Box<Refusal>),
    /// The configuration that a log kept is not one.
    #[error("the recorded configuration cannot be used")]
    Recorded(#[source] serde_json::Error),
    /// No layer has a value for a key: the embedded defaults are incomplete.
    #[error("`{0}` has no value in any layer")]
    Incomplete(&'static str),
}

/// A line of a configuration that is not legal.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{place}: {problem}")]
pub struct Refusal {
    /// File and line, variable, or flag.
    pub place: String,
    /// The key as `section.name`, as far as it could be told.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    #[help]
    pub remedy: String,
    /// The text that was read.
    #[source_code]
    pub text: NamedSource<String>,
    /// Where in it.
    #[label("here")]
    pub span: SourceSpan,
}
