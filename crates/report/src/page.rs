//! Filling the two pages and writing them down.

use std::io::Write;
use std::path::{Path, PathBuf};

use tera::{Context, Tera};

use crate::story::{Leader, Story};
use crate::summary::{Summary, summary_of};
use crate::view::{self, Report};
use crate::{CHAMPION_FILE, CHAMPION_PLAN_FILE, HTML_FILE, MARKDOWN_FILE, Options, ReportError};

/// The files that a report consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportPaths {
    /// The page for a browser.
    pub html: PathBuf,
    /// The same in Markdown.
    pub markdown: PathBuf,
    /// The champion's source, where a champion was confirmed.
    pub champion_source: Option<PathBuf>,
    /// The champion's plan.
    pub champion_plan: Option<PathBuf>,
}

/// Reads a run once, sums it up, and where `report` says so writes both pages and the champion's source and plan.
pub fn conclude(
    directory: &Path,
    options: &Options,
    report: bool,
) -> Result<(Summary, Option<ReportPaths>), ReportError> {
    let story = view::read(directory, &options.planner)?;
    let paths = report.then(|| write_story(&story, directory, options)).transpose()?;
    Ok((summary_of(&story, directory, options), paths))
}

fn write_story(story: &Story, directory: &Path, options: &Options) -> Result<ReportPaths, ReportError> {
    let report = view::view(story)?;
    let output = options.output.as_deref().unwrap_or(directory);
    std::fs::create_dir_all(output).map_err(refused(output))?;
    let mut paths = ReportPaths {
        html: output.join(HTML_FILE),
        markdown: output.join(MARKDOWN_FILE),
        champion_source: None,
        champion_plan: None,
    };
    replace(&paths.html, &html(&report)?)?;
    replace(&paths.markdown, &markdown(&report)?)?;
    if let Some(leader) = story.leader.as_ref().filter(|leader| leader.confirmed) {
        let source = champion_path(output, leader);
        replace(&source, &leader.source)?;
        let plan = output.join(CHAMPION_PLAN_FILE);
        replace(&plan, &toml::to_string(&leader.proposed.plan)?)?;
        (paths.champion_source, paths.champion_plan) = (Some(source), Some(plan));
    }
    Ok(paths)
}

/// Where the champion's source goes.
pub(crate) fn champion_path(output: &Path, leader: &Leader) -> PathBuf {
    output.join(format!("{CHAMPION_FILE}.{}", leader.proposed.language.extension()))
}

/// The page for a browser; Tera escapes every value but the plots, which are ours.
pub(crate) fn html(report: &Report) -> Result<String, ReportError> {
    const NAME: &str = HTML_FILE;
    let mut tera = Tera::default();
    tera.add_raw_template(NAME, include_str!("../templates/report.html.tera")).map_err(broken(NAME))?;
    fill(&tera, NAME, report)
}

/// The same in Markdown; what comes from a log cannot become a table, a tag or a link.
pub(crate) fn markdown(report: &Report) -> Result<String, ReportError> {
    const NAME: &str = MARKDOWN_FILE;
    let mut tera = Tera::default();
    tera.autoescape_on([".md"]);
    tera.set_escape_fn(escape_markdown);
    tera.add_raw_template(NAME, include_str!("../templates/report.md.tera")).map_err(broken(NAME))?;
    fill(&tera, NAME, report)
}

fn fill(tera: &Tera, name: &'static str, report: &Report) -> Result<String, ReportError> {
    let context = Context::from_serialize(report).map_err(broken(name))?;
    tera.render(name, &context).map_err(broken(name))
}

fn broken(template: &'static str) -> impl FnOnce(tera::Error) -> ReportError {
    move |source| ReportError::Template { template, source }
}

fn escape_markdown(input: &str, output: &mut dyn Write) -> std::io::Result<()> {
    for character in input.chars() {
        match character {
            '\n' | '\r' => output.write_all(b" ")?,
            '<' => output.write_all(b"&lt;")?,
            '>' => output.write_all(b"&gt;")?,
            '&' => output.write_all(b"&amp;")?,
            '|' | '[' | ']' | '*' | '\\' => write!(output, "\\{character}")?,
            other => write!(output, "{other}")?,
        }
    }
    Ok(())
}

/// Writes a file so that a reader sees the old one or the new one, never a half.
fn replace(path: &Path, text: &str) -> Result<(), ReportError> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    std::fs::write(&draft, text).map_err(refused(&draft))?;
    std::fs::rename(&draft, path).map_err(refused(path))
}

fn refused(path: &Path) -> impl FnOnce(std::io::Error) -> ReportError {
    move |source| ReportError::Write { path: path.to_owned(), source }
}
