//! The launch plan of a rendering: what `skill.toml` says of it, with the genes filled in.

use kernsmith_core::plan::Workspace;
use kernsmith_core::{Expr, Plan};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::error::SkillError;
use crate::manifest::{TemplateEntry, WorkspaceEntry};

/// Fields of a plan that are lists of plain integers; a gene in one stands in a text.
const INTEGER_LISTS: [&str; 2] = ["cluster", "box"];

/// The parts of a plan as they are written; every text may be a Tera template over the genes.
#[derive(Debug, Clone)]
pub(crate) struct PlanEntry {
    workspaces: Vec<WorkspaceEntry>,
    launches: Vec<Table>,
    tensor_maps: Vec<Table>,
}

/// Fills the genes into one text.
type Render<'a> = dyn Fn(&str) -> Result<String, SkillError> + 'a;
/// Names the template that a problem belongs to.
type Wrong<'a> = dyn Fn(String) -> SkillError + 'a;

impl PlanEntry {
    pub(crate) fn of(entry: &TemplateEntry) -> Self {
        Self {
            workspaces: entry.workspaces.clone(),
            launches: entry.launches.clone(),
            tensor_maps: entry.tensor_maps.clone(),
        }
    }

    /// Adds workspaces, launches and tensor maps to a plan; without launches it keeps those that it has.
    pub(crate) fn complete(
        &self,
        plan: Plan,
        render: &Render<'_>,
        wrong: &Wrong<'_>,
    ) -> Result<Plan, SkillError> {
        let launches = match self.launches.as_slice() {
            [] => plan.launches,
            launches => filled(launches, render, wrong)?,
        };
        Ok(Plan {
            launches,
            tensor_maps: filled(&self.tensor_maps, render, wrong)?,
            workspaces: self.workspaces(render, wrong)?,
            ..plan
        })
    }

    fn workspaces(&self, render: &Render<'_>, wrong: &Wrong<'_>) -> Result<Vec<Workspace>, SkillError> {
        let one = |entry: &WorkspaceEntry| {
            let bytes =
                Expr::parse(render(&entry.bytes)?.trim()).map_err(|error| wrong(error.to_string()))?;
            Ok(Workspace { name: entry.name.clone(), bytes })
        };
        self.workspaces.iter().map(one).collect()
    }
}

fn filled<T: DeserializeOwned>(
    tables: &[Table],
    render: &Render<'_>,
    wrong: &Wrong<'_>,
) -> Result<Vec<T>, SkillError> {
    let one = |table: &Table| {
        let value = fill(&Value::Table(table.clone()), false, render, wrong)?;
        value.try_into().map_err(|error: toml::de::Error| wrong(error.message().trim().to_owned()))
    };
    tables.iter().map(one).collect()
}

/// A value with all its texts rendered; texts of an integer list become integers.
fn fill(value: &Value, integers: bool, render: &Render<'_>, wrong: &Wrong<'_>) -> Result<Value, SkillError> {
    Ok(match value {
        Value::String(text) => {
            let text = render(text)?.trim().to_owned();
            if integers {
                let number = text.parse();
                Value::Integer(number.map_err(|_| wrong(format!("`{text}` is not a whole number")))?)
            } else {
                Value::String(text)
            }
        }
        Value::Array(items) => {
            let items = items.iter().map(|item| fill(item, integers, render, wrong));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Table(table) => {
            let entries = table.iter().map(|(key, value)| {
                let integers = INTEGER_LISTS.contains(&key.as_str());
                Ok((key.clone(), fill(value, integers, render, wrong)?))
            });
            Value::Table(entries.collect::<Result<_, SkillError>>()?)
        }
        other => other.clone(),
    })
}
