//! Reads skills/: how a family of kernels is written.
//!
//! A skill is a folder with `SKILL.md` (guidance for people and models), `skill.toml` (its templates and genes) and Tera
//! templates. [`Skills::open`] reads and checks all of them; [`Skills::templates_for`] answers which templates fit an
//! operation on a machine, with genes already cut to what the machine can run; [`Template::render`] turns a genome
//! into one self-contained source and its launch plan. The written format is described in `docs/skill-format.md`.
//!
//! **Invariant:** this crate alone opens `skills/`, and a rendering depends on the genome and the context only.

mod context;
mod error;
mod front_matter;
mod gene;
mod lint;
mod machine;
mod manifest;
mod matching;
mod plan;
mod roots;
mod skills;
mod template;

pub use context::{RenderContext, ScalarArgument, TensorArgument};
pub use error::SkillError;
pub use front_matter::FrontMatter;
pub use gene::Gene;
pub use kernsmith_place::FileProblem;
pub use lint::LintReport;
pub use machine::Machine;
pub use matching::{Matched, TemplateSummary, Wanted};
pub use roots::default_roots;
pub use skills::{Skill, Skills};
pub use template::{Rendered, Template};
