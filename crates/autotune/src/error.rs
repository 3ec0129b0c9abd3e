//! What can go wrong with the proposer itself.

use kernsmith_skill::SkillError;

/// What can go wrong with the proposer itself; a bad kernel is not among it.
#[derive(Debug, thiserror::Error)]
pub enum AutotuneError {
    /// A template could not be rendered for a genome that it calls legal.
    #[error("a template cannot be rendered; `kernsmith skill check` finds templates that cannot")]
    Render(#[source] Box<SkillError>),
}
