//! Pages, tables and plots out of a run.
//!
//! Everything here is derived from the log alone and can be written again at any time: [`conclude`] makes `report.html` (one
//! self-contained file) and `report.md` next to the log, with the champion's source and plan as files of their own, and a
//! [`Summary`], the machine-readable answer of a search. Both pages are filled from one [`Report`], so that they cannot
//! disagree. `docs/report.md` describes what stands where.

mod curves;
mod number;
mod page;
mod plot;
mod spend;
mod story;
mod strategies;
mod summary;
mod tables;
mod view;

pub use curves::Curves;
pub use page::{ReportPaths, conclude};
pub use spend::ModelSpend;
pub use summary::{BaselineSummary, CandidateSummary, ChampionSummary, SUMMARY_SCHEMA, Summary};
pub use view::{Report, build};

use std::path::PathBuf;

use kernsmith_experiment_log::LogError;
use kernsmith_planner::PlannerOptions;

/// File name of the page for a browser.
pub const HTML_FILE: &str = "report.html";
/// File name of the same in Markdown.
pub const MARKDOWN_FILE: &str = "report.md";
/// File name of the champion's source, without its ending.
pub const CHAMPION_FILE: &str = "champion";
/// File name of the champion's plan.
pub const CHAMPION_PLAN_FILE: &str = "champion.plan.toml";

/// How a report is made.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the files go; the run's own folder where absent.
    pub output: Option<PathBuf>,
    /// The planner's options of the run, so that nodes are closed by the rules that the search went by.
    pub planner: PlannerOptions,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A file cannot be written.
    #[error("cannot write {}: {source}; make the folder writable or free space; the log itself is complete and the report can be written again", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The refusal.
        source: std::io::Error,
    },
    /// A template of this crate is wrong.
    #[error("cannot fill the template `{template}`")]
    Template {
        /// Its name.
        template: &'static str,
        /// What is wrong with it.
        source: tera::Error,
    },
    /// A plot could not be drawn.
    #[error("cannot draw the plot `{plot}`: {problem}")]
    Plot {
        /// Its name.
        plot: &'static str,
        /// What the plotting library says.
        problem: String,
    },
    /// A plan could not be written as TOML.
    #[error("cannot write the champion's plan as TOML")]
    Plan(#[from] toml::ser::Error),
}

#[cfg(test)]
mod tests;
