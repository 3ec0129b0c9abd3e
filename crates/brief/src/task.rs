//! The operation in words, for a proposer that reads.

use kernsmith_core::brief::{Task, TimedShape};
use kernsmith_core::{Digest, Target};
use kernsmith_op_contract::{AxisKind, Contract, Role};
use kernsmith_planner::Tree;

use crate::known::Known;

/// Facts about the machine that a run records and a kernel's author wants to know, by their key in the log.
const MACHINE_FACTS: [&str; 6] = ["device", "cores", "caches", "features", "compiler", "os"];

/// The task of a run; `kept` reads blobs.
pub(crate) fn task(tree: &Tree, contract: &Contract, kept: &dyn Fn(&Digest) -> Option<Vec<u8>>) -> Task {
    let known = Known::new(contract);
    let baseline = tree.baseline();
    let source = baseline.and_then(|baseline| kept(&baseline.source)).unwrap_or_default();
    let environment = tree.opened().map(|opened| opened.environment.clone()).unwrap_or_default();
    let target = tree.opened().map_or_else(Target::host, |opened| opened.target.clone());
    let fact = |key: &&str| Some(format!("{key}: {}", environment.get(*key)?));
    let public = |line: &&str| !known.gives_away(line);
    Task {
        summary: contract.summary.clone(),
        notes: contract.notes.lines().filter(public).collect::<Vec<_>>().join("\n"),
        signature: contract.signature("kernel"),
        rules: rules(contract),
        workloads: timed_shapes(tree, contract),
        machine: MACHINE_FACTS.iter().filter_map(fact).collect(),
        baseline: baseline.map(|baseline| baseline.name.clone()).unwrap_or_default(),
        baseline_source: String::from_utf8_lossy(&source).into_owned(),
        baseline_plan: baseline.map(|baseline| baseline.plan.clone()).unwrap_or_default(),
        language: target.language(),
        target: target.to_string(),
    }
}

fn rules(contract: &Contract) -> Vec<String> {
    let mut rules = Vec::new();
    for tensor in contract.inputs.iter().chain(&contract.outputs) {
        let shape: Vec<&str> = tensor.shape.iter().map(kernsmith_core::Expr::text).collect();
        rules.push(format!("`{}` is {} [{}], dense, row-major", tensor.name, tensor.dtype, shape.join(", ")));
    }
    for axis in &contract.axes {
        let value = match axis.kind {
            AxisKind::Const(value) => format!("always {value}"),
            AxisKind::Variable => "given at every call".to_owned(),
        };
        rules.push(format!("axis `{}` ({value}): {}", axis.name, axis.summary));
    }
    let constraints: Vec<&str> = contract.constraints.iter().map(kernsmith_core::Expr::text).collect();
    if !constraints.is_empty() {
        rules.push(format!(
            "every shape with {} must be right, empty and odd ones too; shapes that are not listed here are tested",
            constraints.join(" and ")
        ));
    }
    for scalar in &contract.scalars {
        rules.push(format!("scalar `{}` ({}) is {}", scalar.name, scalar.dtype, scalar.value));
    }
    rules.push(format!("tolerance: {:?}", contract.tolerance));
    if contract.deterministic {
        rules.push("two calls on one input must agree bit for bit".to_owned());
    }
    rules.extend(contract.forbidden.iter().map(|what| format!("forbidden: {what}")));
    rules
}

/// Bench shapes with the baseline's times; no other shapes.
fn timed_shapes(tree: &Tree, contract: &Contract) -> Vec<TimedShape> {
    let measured = tree.baseline().map(|baseline| baseline.performance.workloads.clone()).unwrap_or_default();
    let shape = |workload: &kernsmith_op_contract::Workload| {
        let timing = measured.iter().find(|timing| timing.workload == workload.name);
        TimedShape {
            name: workload.name.clone(),
            axes: workload.axes.clone(),
            weight: workload.weight,
            baseline_us: timing.map_or(0.0, |timing| timing.median_us),
            sol_us: timing.and_then(|timing| timing.sol_us),
        }
    };
    contract.workloads(Role::Bench).map(shape).collect()
}
