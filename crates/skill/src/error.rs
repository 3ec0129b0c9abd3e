//! Why a skill cannot be used.

use std::path::PathBuf;

use kernsmith_place::FileProblem;
use miette::Diagnostic;

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
