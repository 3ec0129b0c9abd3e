//! `kernsmith skill`: list, show and check skills.

use std::path::PathBuf;

use clap::Subcommand;
use kernsmith_core::Target;
use kernsmith_skill::{Skills, Wanted};
use serde_json::{Value, json};

use crate::args::{Format, Global};
use crate::console::data;
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session;

/// What to do with skills.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// The skills that can be found, or those that fit, the closest first.
    List {
        /// Only those that serve this contract, or its family.
        #[arg(long)]
        contract: Option<String>,
        /// Only those that serve this family of contracts.
        #[arg(long)]
        family: Option<String>,
        /// Only those for this target, such as `cpu-x86_64`.
        #[arg(long)]
        target: Option<Target>,
        /// Only those with this axis of a strategy: a gene, a value of one, or a tag.
        #[arg(long)]
        axis: Option<String>,
    },
    /// One skill: its guidance and its templates.
    Show {
        /// Its name.
        skill: String,
    },
    /// Reads every skill, and renders every template with every value of every gene.
    Check {
        /// A folder of skills [default: all that are found].
        folder: Option<PathBuf>,
    },
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, verb: Verb) -> Answer {
    match verb {
        Verb::List { contract, family, target, axis } => {
            list(global, contract.as_deref(), family, target.as_ref(), axis.as_deref())
        }
        Verb::Show { skill } => show(global, &skill),
        Verb::Check { folder } => check(global, folder),
    }
}

fn skills(global: &Global) -> Result<Skills, CliError> {
    let mut roots = global.skills.clone();
    roots.extend(session::config(global, &[])?.config.paths.skills.into_iter().map(PathBuf::from));
    roots.extend(kernsmith_skill::default_roots());
    Skills::open(roots).map_err(CliError::bad_input)
}

fn list(
    global: &Global,
    contract: Option<&str>,
    family: Option<String>,
    target: Option<&Target>,
    axis: Option<&str>,
) -> Answer {
    let skills = skills(global)?;
    let contract = contract.map(|name| session::contract(global, name)).transpose()?;
    let family = family.or_else(|| contract.as_ref().map(|contract| contract.family.clone()));
    let name = contract.as_ref().map(|contract| contract.name.as_str());
    let found = skills.matching(&Wanted { contract: name, family: family.as_deref(), target, axis });
    let mut rows: Vec<Value> = Vec::new();
    for matched in &found {
        let skill = matched.skill;
        if global.format == Format::Human {
            data(&format!("{:20} {}", skill.name, skill.description));
            for template in &matched.templates {
                data(&format!("    {:38} {}", template.id, template.title));
            }
        }
        rows.push(json!({
            "name": skill.name, "description": skill.description, "directory": skill.directory, "score": matched.score,
            "templates": matched.templates,
        }));
    }
    if global.format != Format::Human {
        data(&json!({"schema_version": 1, "matches": rows}).to_string());
    }
    Ok(if found.is_empty() { Exit::No } else { Exit::Done })
}

fn show(global: &Global, name: &str) -> Answer {
    let skills = skills(global)?;
    let Some(skill) = skills.find(name) else {
        let names: Vec<&str> = skills.iter().map(|skill| skill.name.as_str()).collect();
        return Err(CliError::bad_input_message(format!(
            "there is no skill `{name}`; there are {}",
            names.join(", ")
        )));
    };
    let templates = skill.templates();
    if global.format == Format::Human {
        data(&format!("{}: {}\n{}", skill.name, skill.description, skill.directory.display()));
        for template in &templates {
            data(&format!("  {}: {}; genes {}", template.id, template.title, template.genes.join(", ")));
        }
        data(&format!("\n{}", skill.guidance.trim_end()));
    } else {
        let answer = json!({
            "schema_version": 1, "name": skill.name, "description": skill.description, "metadata": skill.metadata,
            "directory": skill.directory, "guidance": skill.guidance, "templates": templates,
        });
        data(&answer.to_string());
    }
    Ok(Exit::Done)
}

fn check(global: &Global, folder: Option<PathBuf>) -> Answer {
    let skills = match folder {
        // Parts of the house may be included from a user's templates.
        Some(folder) if folder.is_dir() => {
            let roots = std::iter::once(folder).chain(kernsmith_skill::default_roots());
            Skills::open(roots).map_err(CliError::bad_input)?
        }
        Some(folder) => {
            return Err(CliError::usage(format!("{} is not a folder", folder.display())));
        }
        None => skills(global)?,
    };
    let report = skills.lint();
    let count = skills.iter().count();
    let usable = report.problems.is_empty();
    if global.format == Format::Human {
        report.problems.iter().for_each(|problem| data(&format!("error: {problem}")));
        let end = if usable { "ok" } else { "refused" };
        let what = format!("{count} skills, {} templates, {} renderings", report.templates, report.rendered);
        data(&format!("{what}: {end}"));
    } else {
        let answer = json!({
            "schema_version": 1, "usable": usable, "read": count, "templates": report.templates,
            "rendered": report.rendered, "problems": report.problems,
        });
        data(&answer.to_string());
    }
    Ok(if usable { Exit::Done } else { Exit::BadInput })
}
