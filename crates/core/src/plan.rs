//! Launch plans: how a candidate's code object is called.
//!
//! A plan is declarative and target-neutral. On the CPU a launch is one call of an `extern "C"` symbol with the
//! contract's argument list; on a GPU it will also carry grid, block and shared memory. The first launch *group* whose
//! guard holds for the axes is run, so that one candidate can hold variants for different shapes.
//! The written format is described in `docs/plan-format.md`.

use serde::{Deserialize, Serialize};

use crate::expr::{Bindings, Expr, ExprError};

/// The newest plan format that this version writes.
pub const PLAN_FORMAT: u32 = 1;
/// The symbol that a plan calls when it does not say otherwise.
pub const DEFAULT_SYMBOL: &str = "kernel";
const MAX_LAUNCHES: usize = 64;
const MAX_WORKSPACES: usize = 16;
const MAX_THREADS: u32 = 1024;

/// How a code object is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Format version, at most [`PLAN_FORMAT`].
    #[serde(default = "plan_format")]
    pub format: u32,
    /// The variants, in order; the first whose guard holds is called.
    #[serde(default = "default_launches", rename = "launch")]
    pub launches: Vec<Launch>,
    /// Scratch buffers, passed after the scalars as pointers; contents are undefined at every call.
    #[serde(default, rename = "workspace", skip_serializing_if = "Vec::is_empty")]
    pub workspaces: Vec<Workspace>,
    /// Upper limit of threads that run at the same time, the caller included; absent: all cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// Extra compiler flags; the toolchain has a list of the allowed ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Instruction families that the binary must contain, such as `avx512-fma`; the audit checks them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected_instructions: Vec<String>,
}

/// One variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// The exported symbol.
    pub symbol: String,
    /// The guard over the axes; absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Expr>,
}

/// One scratch buffer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workspace {
    /// Its name, for messages.
    pub name: String,
    /// Its size over the axes.
    pub bytes: Expr,
}

/// Why a plan cannot be used; `field` is a path such as `launch[0].when`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plan field `{field}`: {problem}")]
pub struct PlanError {
    /// Path of the field.
    pub field: String,
    /// What is wrong with it, and the remedy where one is known.
    pub problem: String,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            format: PLAN_FORMAT,
            launches: default_launches(),
            workspaces: Vec::new(),
            threads: None,
            flags: Vec::new(),
            expected_instructions: Vec::new(),
        }
    }
}

impl Plan {
    /// Checks everything that needs no binary: version, names, sizes, and that only known axes occur.
    pub fn check(&self, axes: &[&str]) -> Result<(), PlanError> {
        if self.format == 0 || self.format > PLAN_FORMAT {
            let problem =
                format!("version {} is not known; this program reads 1 to {PLAN_FORMAT}", self.format);
            return Err(error("format", problem));
        }
        in_range("launch", self.launches.len(), 1, MAX_LAUNCHES)?;
        in_range("workspace", self.workspaces.len(), 0, MAX_WORKSPACES)?;
        if let Some(threads) = self.threads {
            in_range("threads", threads as usize, 1, MAX_THREADS as usize)?;
        }
        for (index, launch) in self.launches.iter().enumerate() {
            let field = format!("launch[{index}]");
            check_name(&format!("{field}.symbol"), &launch.symbol)?;
            if let Some(when) = &launch.when {
                check_axes(&format!("{field}.when"), when, axes)?;
            }
        }
        for (index, workspace) in self.workspaces.iter().enumerate() {
            check_name(&format!("workspace[{index}].name"), &workspace.name)?;
            check_axes(&format!("workspace[{index}].bytes"), &workspace.bytes, axes)?;
        }
        Ok(())
    }

    /// The first launch whose guard holds; `None` when no variant covers these axes.
    pub fn launch_for(&self, axes: &Bindings) -> Result<Option<&Launch>, ExprError> {
        for launch in &self.launches {
            if launch.when.as_ref().map_or(Ok(true), |when| when.holds(axes))? {
                return Ok(Some(launch));
            }
        }
        Ok(None)
    }

    /// Every symbol that the plan may call, in order, without repeats.
    pub fn symbols(&self) -> Vec<&str> {
        let mut symbols: Vec<&str> = Vec::new();
        for launch in &self.launches {
            if !symbols.contains(&launch.symbol.as_str()) {
                symbols.push(&launch.symbol);
            }
        }
        symbols
    }
}

const fn plan_format() -> u32 {
    PLAN_FORMAT
}

fn default_launches() -> Vec<Launch> {
    vec![Launch { symbol: DEFAULT_SYMBOL.to_owned(), when: None }]
}

fn error(field: &str, problem: impl Into<String>) -> PlanError {
    PlanError { field: field.to_owned(), problem: problem.into() }
}

fn in_range(field: &str, value: usize, low: usize, high: usize) -> Result<(), PlanError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(error(field, format!("{value} is outside {low} to {high}")))
}

fn check_name(field: &str, name: &str) -> Result<(), PlanError> {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if first && name.len() <= 128 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(());
    }
    Err(error(field, format!("`{name}` is not a C identifier")))
}

fn check_axes(field: &str, expr: &Expr, axes: &[&str]) -> Result<(), PlanError> {
    expr.check_axes(axes.iter().copied()).map_err(|problem| error(field, problem.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_guard_that_holds_wins() {
        let plan = Plan {
            launches: vec![
                Launch { symbol: "wide".into(), when: Some(Expr::parse("cols % 16 == 0").unwrap()) },
                Launch { symbol: "any".into(), when: None },
            ],
            ..Plan::default()
        };
        let at = |cols| Bindings::from([("cols".to_owned(), cols)]);
        assert_eq!(plan.launch_for(&at(32)).unwrap().unwrap().symbol, "wide");
        assert_eq!(plan.launch_for(&at(33)).unwrap().unwrap().symbol, "any");
    }

    #[test]
    fn an_unknown_axis_is_named_with_its_field() {
        let plan = Plan {
            launches: vec![Launch { symbol: "kernel".into(), when: Some(Expr::parse("depth > 1").unwrap()) }],
            ..Plan::default()
        };
        let error = plan.check(&["rows", "cols"]).unwrap_err();
        assert_eq!(error.field, "launch[0].when");
        assert!(error.problem.contains("depth") && error.problem.contains("rows, cols"), "{error}");
    }
}
