//! Why a skill cannot be used.

use std::path::{Path, PathBuf};

use miette::{Diagnostic, NamedSource, SourceSpan};

/// A skill that cannot be used, or a template that cannot be rendered.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum SkillError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of a skill is wrong at a known place.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] Box<FileProblem>),
    /// A template does not parse, or does not render.
    #[error("template `{template}` does not render: {problem}")]
    Render {
        /// `<skill>/<template>`, or the name of the template file.
        template: String,
        /// The template engine's message with the place in the template.
        problem: String,
    },
    /// A genome is not one of the template's.
    #[error("template `{template}`: {problem}")]
    Genome {
        /// `<skill>/<template>`.
        template: String,
        /// The gene and what is wrong with it.
        problem: String,
    },
}

/// What is wrong in a file of a skill, with the place and the remedy.
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

/// A place in a user's file, from which problems are made.
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
    ) -> SkillError {
        let path = self.path.display().to_string();
        let line = span.as_ref().map(|span| line_of(self.text, span.start));
        let place = match (line, field.is_empty()) {
            (Some(line), true) => format!("{path}:{line}"),
            (Some(line), false) => format!("{path}:{line}: {field}"),
            (None, true) => path.clone(),
            (None, false) => format!("{path}: {field}"),
        };
        SkillError::File(Box::new(FileProblem {
            place,
            problem: problem.into(),
            source_code: NamedSource::new(path, self.text.to_owned()),
            span: span.map(SourceSpan::from),
            help: help.into(),
        }))
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}
