//! Launch plans: how a candidate's code object is called.
//!
//! A plan is declarative and target-neutral. On the CPU a launch is one call of an `extern "C"` symbol with the
//! contract's argument list; on a GPU it is a row of kernel launches with grids and arguments ([`crate::launch`]). The first
//! launch whose guard holds for the axes is run, so that one candidate can hold variants for different shapes.
//! The written format is described in `docs/plan-format.md`.

use serde::{Deserialize, Serialize};

use crate::expr::{Bindings, Expr, ExprError};
use crate::launch::{self, DEVICE_NUMBERS, KernelLaunch, Names, TensorMap};

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
    /// Tensor maps for the bulk tensor copy engine of a GPU.
    #[serde(default, rename = "tensor_map", skip_serializing_if = "Vec::is_empty")]
    pub tensor_maps: Vec<TensorMap>,
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// The exported symbol that is called on a CPU; empty for a GPU.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub symbol: String,
    /// The guard over the axes; absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Expr>,
    /// What is launched on a GPU, in order; empty for a CPU.
    #[serde(default, rename = "kernel", skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<KernelLaunch>,
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
            tensor_maps: Vec::new(),
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
        let with_device: Vec<&str> = axes.iter().copied().chain(DEVICE_NUMBERS).collect();
        for (index, launch) in self.launches.iter().enumerate() {
            let field = format!("launch[{index}]");
            if let Some(when) = &launch.when {
                check_axes(&format!("{field}.when"), when, axes)?;
            }
            check_launch(&field, launch, &with_device)?;
        }
        launch::check_map_count(&self.tensor_maps)?;
        for (index, map) in self.tensor_maps.iter().enumerate() {
            map.check(&format!("tensor_map[{index}]"), &with_device)?;
        }
        for (index, workspace) in self.workspaces.iter().enumerate() {
            check_name(&format!("workspace[{index}].name"), &workspace.name)?;
            let axes = if self.is_for_gpu() { &with_device } else { axes };
            check_axes(&format!("workspace[{index}].bytes"), &workspace.bytes, axes)?;
        }
        Ok(())
    }

    /// Checks the names that arguments and tensor maps of a GPU plan use, and that there are kernels to launch.
    pub fn check_for_gpu(&self, names: Names<'_>) -> Result<(), PlanError> {
        let axes: Vec<&str> = names.axes.iter().copied().chain(DEVICE_NUMBERS).collect();
        for (index, launch) in self.launches.iter().enumerate() {
            let field = format!("launch[{index}].kernel");
            if launch.kernels.is_empty() {
                return Err(error(
                    &field,
                    "a GPU plan launches kernels: add `[[launch.kernel]]` with symbol, grid and block",
                ));
            }
            for (at, kernel) in launch.kernels.iter().enumerate() {
                for (place, argument) in kernel.arguments.iter().flatten().enumerate() {
                    if !self.names(names, argument) {
                        let field = format!("{field}[{at}].arguments[{place}]");
                        let expr =
                            Expr::parse(argument).map_err(|problem| error(&field, problem.to_string()))?;
                        check_axes(&field, &expr, &axes)?;
                    }
                }
            }
        }
        for (index, map) in self.tensor_maps.iter().enumerate() {
            let workspace = self.workspaces.iter().any(|workspace| workspace.name == map.tensor);
            if !workspace && !names.tensors.contains(&map.tensor.as_str()) {
                let problem = format!("`{}` is neither a tensor nor a workspace", map.tensor);
                return Err(error(&format!("tensor_map[{index}].tensor"), problem));
            }
            if workspace && map.element.is_none() {
                let problem = "a workspace has no element type: say which";
                return Err(error(&format!("tensor_map[{index}].element"), problem));
            }
        }
        Ok(())
    }

    /// Whether an argument is a name rather than an expression.
    fn names(&self, names: Names<'_>, argument: &str) -> bool {
        names.tensors.contains(&argument)
            || names.scalars.contains(&argument)
            || self.workspaces.iter().any(|workspace| workspace.name == argument)
            || self.tensor_maps.iter().any(|map| map.name == argument)
    }

    /// Whether it launches kernels of a GPU.
    pub fn is_for_gpu(&self) -> bool {
        self.launches.iter().any(|launch| !launch.kernels.is_empty())
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
            let launched = launch.kernels.iter().map(|kernel| kernel.symbol.as_str());
            let called = launch.kernels.is_empty().then_some(launch.symbol.as_str());
            for symbol in launched.chain(called) {
                if !symbols.contains(&symbol) {
                    symbols.push(symbol);
                }
            }
        }
        symbols
    }
}

fn check_launch(field: &str, launch: &Launch, axes: &[&str]) -> Result<(), PlanError> {
    if launch.kernels.is_empty() {
        return check_name(&format!("{field}.symbol"), &launch.symbol);
    }
    if !launch.symbol.is_empty() {
        let problem = "a launch has either `symbol` (CPU) or `kernel` entries (GPU), not both";
        return Err(error(&format!("{field}.symbol"), problem));
    }
    launch::check_count(&format!("{field}.kernel"), &launch.kernels)?;
    for (index, kernel) in launch.kernels.iter().enumerate() {
        kernel.check(&format!("{field}.kernel[{index}]"), axes)?;
    }
    Ok(())
}

const fn plan_format() -> u32 {
    PLAN_FORMAT
}

fn default_launches() -> Vec<Launch> {
    vec![Launch { symbol: DEFAULT_SYMBOL.to_owned(), ..Launch::default() }]
}

pub(crate) fn error(field: &str, problem: impl Into<String>) -> PlanError {
    PlanError { field: field.to_owned(), problem: problem.into() }
}

pub(crate) fn in_range(field: &str, value: usize, low: usize, high: usize) -> Result<(), PlanError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(error(field, format!("{value} is outside {low} to {high}")))
}

pub(crate) fn check_name(field: &str, name: &str) -> Result<(), PlanError> {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if first && name.len() <= 128 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(());
    }
    Err(error(field, format!("`{name}` is not a C identifier")))
}

pub(crate) fn check_axes(field: &str, expr: &Expr, axes: &[&str]) -> Result<(), PlanError> {
    expr.check_axes(axes.iter().copied()).map_err(|problem| error(field, problem.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_guard_that_holds_wins() {
        let plan = Plan {
            launches: vec![
                Launch {
                    symbol: "wide".into(),
                    when: Some(Expr::parse("cols % 16 == 0").unwrap()),
                    ..Launch::default()
                },
                Launch { symbol: "any".into(), ..Launch::default() },
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
            launches: vec![Launch {
                symbol: "kernel".into(),
                when: Some(Expr::parse("depth > 1").unwrap()),
                ..Launch::default()
            }],
            ..Plan::default()
        };
        let error = plan.check(&["rows", "cols"]).unwrap_err();
        assert_eq!(error.field, "launch[0].when");
        assert!(error.problem.contains("depth") && error.problem.contains("rows, cols"), "{error}");
    }

    const GPU: &str = r#"
        [[launch]]
        when = "cols % 8 == 0"
        [[launch.kernel]]
        symbol = "rows_kernel"
        grid = ["min(rows, 4 * sm_count)"]
        block = ["256"]
        shared_bytes = "2 * cols"
        arguments = ["x", "partial", "y_map", "rows", "cols / 8"]
        [[workspace]]
        name = "partial"
        bytes = "4 * rows"
        [[tensor_map]]
        name = "y_map"
        tensor = "y"
        dims = ["cols", "rows"]
        strides_bytes = ["2 * cols"]
        box = [64, 128]
        swizzle = "128B"
    "#;
    const NAMES: Names<'static> = Names { axes: &["rows", "cols"], tensors: &["x", "y"], scalars: &[] };

    #[test]
    fn a_gpu_plan_is_read_checked_and_written_again() {
        let plan: Plan = toml::from_str(GPU).unwrap();
        plan.check(NAMES.axes).unwrap();
        plan.check_for_gpu(NAMES).unwrap();
        assert!(plan.is_for_gpu() && plan.symbols() == ["rows_kernel"]);
        let again: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
        assert_eq!(again, plan);
    }

    #[test]
    fn slips_of_a_gpu_plan_are_named_with_their_field() {
        for (from, to, field) in [
            (r#""cols / 8""#, r#""depth""#, "launch[0].kernel[0].arguments[4]"),
            (r#"tensor = "y""#, r#"tensor = "z""#, "tensor_map[0].tensor"),
            (r#"tensor = "y""#, r#"tensor = "partial""#, "tensor_map[0].element"),
            ("box = [64, 128]", "box = [64, 512]", "tensor_map[0].box[1]"),
            ("box = [64, 128]", "box = [64]", "tensor_map[0].box"),
            (r#"block = ["256"]"#, r#"block = ["width"]"#, "launch[0].kernel[0].block[0]"),
            (r#"block = ["256"]"#, "block = []", "launch[0].kernel[0].block"),
            ("when =", "symbol = \"k\"\nwhen =", "launch[0].symbol"),
        ] {
            let plan: Plan = toml::from_str(&GPU.replace(from, to)).unwrap();
            let error = plan.check(NAMES.axes).and_then(|()| plan.check_for_gpu(NAMES)).unwrap_err();
            assert_eq!(error.field, field, "{error}");
        }
        assert_eq!(Plan::default().check_for_gpu(NAMES).unwrap_err().field, "launch[0].kernel");
    }
}
