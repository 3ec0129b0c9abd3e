//! What can be wrong with a contract, in words that say what to do.

use std::path::PathBuf;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceSpan};

/// Why a contract could not be loaded, found or written.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ContractError {
    /// A file could not be read or written.
    #[error("cannot {action} `{}`: {cause}", path.display())]
    File {
        /// What was tried: `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The contract was read and has mistakes.
    #[error("`{}` has {}: {}", path.display(), count(problems.len()), list(problems))]
    Invalid {
        /// The `contract.toml`.
        path: PathBuf,
        /// Every independent mistake, in file order.
        #[related]
        problems: Vec<Problem>,
    },
    /// No contract of that name is in any root.
    #[error("no contract is named `{name}`")]
    #[diagnostic(help("{help}"))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The nearest or all known names.
        help: String,
    },
    /// A new contract may not be written there.
    #[error("`{}` exists already; nothing was written", path.display())]
    #[diagnostic(help("choose another name, or remove the directory first"))]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The name of a new contract is not usable.
    #[error("`{name}` is not a contract name")]
    #[diagnostic(help(
        "use a C identifier of lower-case letters, digits and `_`, at most 64 bytes, such as `gelu_f32`"
    ))]
    BadName {
        /// The name.
        name: String,
    },
}

/// One mistake in a `contract.toml`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}:{line}: {field}: {message}{}", file.name(), fix.as_ref().map(|fix| format!("; {fix}")).unwrap_or_default())]
pub struct Problem {
    /// The file with its text.
    pub file: NamedSource<Arc<str>>,
    /// The line, counted from 1.
    pub line: usize,
    /// The path of the field, such as `input[1].dtype`.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub fix: Option<String>,
    /// The bytes of the text that are wrong.
    pub span: SourceSpan,
}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.fix.as_ref().map(|fix| Box::new(fix) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.file)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some(self.field.clone()), self.span))))
    }
}

fn count(problems: usize) -> String {
    if problems == 1 { "1 mistake".to_owned() } else { format!("{problems} mistakes") }
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    lines.concat()
}
