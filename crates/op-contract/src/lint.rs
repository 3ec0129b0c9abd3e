//! Where a legal contract is weak.

use std::collections::BTreeSet;

use kernsmith_core::Bindings;

use crate::{Axis, AxisKind, BaselineRole, Contract, FAMILIES, Role, TensorSpec, Workload};

mod code;
mod cost;

/// Fewer cases than this leave whole classes of wrong kernels unseen.
const MIN_CASES: usize = 6;

/// One weakness of a contract that loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether the contract is refused.
    pub severity: Severity,
    /// The stable name of the rule, such as `bytes_below_compulsory`.
    pub rule: &'static str,
    /// What is weak, and the remedy.
    pub message: String,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a look; a search may start.
    Warning,
    /// Verdicts under this contract would mean little: no search starts.
    Error,
}

impl Severity {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = self.severity.as_str();
        write!(f, "{word}[{}]: {}", self.rule, self.message)
    }
}

impl Contract {
    /// Checks that the contract is strong enough to judge candidates with; empty when it is.
    ///
    /// Nothing is compiled or run: whether trivial outputs pass, and whether oracle and invariants agree, is the
    /// harness's part.
    pub fn lint(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        identity(self, &mut findings);
        cases(self, &mut findings);
        workloads(self, &mut findings);
        for axis in self.axes.iter().filter(|axis| axis.kind == AxisKind::Variable) {
            edges(self, axis, &mut findings);
        }
        unused_axes(self, &mut findings);
        baselines(self, &mut findings);
        cost::check(self, &mut findings);
        code::check(self, &mut findings);
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings
    }
}

fn error(findings: &mut Vec<Finding>, rule: &'static str, message: String) {
    findings.push(Finding { severity: Severity::Error, rule, message });
}

fn warning(findings: &mut Vec<Finding>, rule: &'static str, message: String) {
    findings.push(Finding { severity: Severity::Warning, rule, message });
}

fn identity(contract: &Contract, findings: &mut Vec<Finding>) {
    if !FAMILIES.iter().any(|(family, _)| *family == contract.family) {
        let known: Vec<&str> = FAMILIES.iter().map(|(family, _)| *family).collect();
        let message = format!(
            "no skill knows the family `{}`; only proposers that write code of their own can search it; known: {}",
            contract.family,
            known.join(", ")
        );
        warning(findings, "unknown_family", message);
    }
    let directory = contract.directory.canonicalize().unwrap_or_else(|_| contract.directory.clone());
    let directory = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if directory != contract.name {
        let message = format!("the directory is called `{directory}`: call it `{}` too", contract.name);
        warning(findings, "directory_name", message);
    }
    if contract.notes.trim().is_empty() {
        let message = "there is no README.md: write down semantics, NaN policy and sources".to_owned();
        warning(findings, "no_notes", message);
    }
    let partition = &contract.oracle.partition_axis;
    for output in &contract.outputs {
        if output.shape.first().is_none_or(|extent| extent.text().trim() != partition) {
            let message = format!(
                "`{partition}` is not the leading dimension of output `{}`: the oracle computes slices along it",
                output.name
            );
            error(findings, "partition_axis", message);
        }
    }
}

fn cases(contract: &Contract, findings: &mut Vec<Finding>) {
    let count = contract.cases.len();
    if count < MIN_CASES {
        let message = format!(
            "{count} of at least {MIN_CASES} cases: add small and large scales, a shifted mean, spikes, zero rows, integers"
        );
        error(findings, "few_cases", message);
    }
    for input in &contract.inputs {
        let mut fillings = contract.cases.iter().filter_map(|case| case.inputs.get(&input.name));
        let fixed = |filling: &kernsmith_tensor::Distribution| filling.is_fixed();
        if count > 0 && fillings.all(fixed) {
            let message = format!(
                "input `{}` never depends on the seed: a kernel could have its values built in; draw it in some case",
                input.name
            );
            error(findings, "fixed_input", message);
        }
    }
}

fn workloads(contract: &Contract, findings: &mut Vec<Finding>) {
    let bench: Vec<&Workload> = contract.workloads(Role::Bench).collect();
    roles(contract, findings);
    let shown: BTreeSet<Vec<i64>> =
        contract.workloads.iter().filter(|workload| workload.role != Role::HeldOut).map(values).collect();
    for workload in contract.workloads(Role::HeldOut).filter(|workload| shown.contains(&values(workload))) {
        let message =
            format!("held_out workload `{}` has the shape of a shown one: change it", workload.name);
        error(findings, "held_out_is_shown", message);
    }
    let mut seen = BTreeSet::new();
    for workload in contract.workloads.iter().filter(|workload| workload.role != Role::HeldOut) {
        if !seen.insert((workload.role, &workload.platforms, values(workload))) {
            let message = format!("workload `{}` repeats an earlier shape of its role", workload.name);
            warning(findings, "repeated_workload", message);
        }
    }
    for workload in bench.iter().filter(|workload| workload.weight <= 0.0 || !workload.weight.is_finite()) {
        let message =
            format!("bench workload `{}` has weight {}: use one above 0", workload.name, workload.weight);
        error(findings, "weight", message);
    }
}

/// The platforms with a baseline; the processor where there is none yet.
fn platforms(contract: &Contract) -> BTreeSet<&str> {
    let named = contract.baselines.iter().map(|baseline| baseline.target_platform.as_str());
    let found: BTreeSet<&str> = named.collect();
    if found.is_empty() { BTreeSet::from(["cpu"]) } else { found }
}

/// Every role has a workload on every platform.
fn roles(contract: &Contract, findings: &mut Vec<Finding>) {
    let mut note = |role: Role, rule: &'static str, problem: &str| {
        let lacks = |platform: &&str| !contract.workloads(role).any(|workload| workload.is_for(platform));
        let lacking: Vec<&str> = platforms(contract).into_iter().filter(lacks).collect();
        if !lacking.is_empty() {
            let message = format!("no {} workload for {}: {problem}", role.as_str(), lacking.join(", "));
            error(findings, rule, message);
        }
    };
    note(Role::Bench, "no_bench", "nothing can be timed");
    note(Role::Verify, "no_verify", "add edge shapes");
    note(Role::HeldOut, "no_held_out", "kernels could be made for the known shapes only");
}

fn values(workload: &Workload) -> Vec<i64> {
    workload.axes.values().copied().collect()
}

/// Per axis: 0 and 1 where legal, a prime, and a length beyond 16 that is no multiple of 16.
fn edges(contract: &Contract, axis: &Axis, findings: &mut Vec<Finding>) {
    let verified: Vec<i64> = contract
        .workloads(Role::Verify)
        .filter_map(|workload| workload.axes.get(&axis.name).copied())
        .collect();
    let name = &axis.name;
    for edge in [0, 1] {
        if !verified.contains(&edge) && legal_somewhere(contract, name, edge) {
            let message =
                format!("no verify workload has `{name} = {edge}`: add one, or exclude it with a constraint");
            error(findings, "missing_edge", message);
        }
    }
    if !verified.iter().any(|value| is_prime(*value)) && legal_somewhere(contract, name, 17) {
        let message = format!("no verify workload has a prime `{name}`: add one, such as 17");
        error(findings, "missing_prime", message);
    }
    let odd = |value: &i64| *value > 16 && *value % 16 != 0;
    if !verified.iter().any(odd) && legal_somewhere(contract, name, 1023) {
        let message = format!(
            "no verify workload has a `{name}` above 16 that is no multiple of 16: add one, such as 1023"
        );
        error(findings, "missing_non_multiple", message);
    }
}

/// Whether the axis may have the value while the others are as in some workload.
fn legal_somewhere(contract: &Contract, axis: &str, value: i64) -> bool {
    contract.workloads.iter().any(|workload| {
        let mut bindings: Bindings = workload.axes.clone();
        bindings.insert(axis.to_owned(), value);
        contract.is_legal(&bindings).unwrap_or(false)
    })
}

fn is_prime(value: i64) -> bool {
    value >= 3 && (2..=value.isqrt()).all(|divisor| value % divisor != 0)
}

fn unused_axes(contract: &Contract, findings: &mut Vec<Finding>) {
    let tensors = contract.inputs.iter().chain(&contract.outputs);
    let used: BTreeSet<&str> = tensors
        .flat_map(|tensor: &TensorSpec| tensor.shape.iter().flat_map(kernsmith_core::Expr::axes))
        .collect();
    for axis in contract.axes.iter().filter(|axis| !used.contains(axis.name.as_str())) {
        let message = format!("axis `{}` occurs in no shape: remove it, or use it", axis.name);
        error(findings, "unused_axis", message);
    }
}

fn baselines(contract: &Contract, findings: &mut Vec<Finding>) {
    if contract.baselines.is_empty() {
        let message =
            "there is no baseline: write the plain loop as scalar.cpp, `role = \"frozen\"`".to_owned();
        error(findings, "no_baseline", message);
    }
    for platform in platforms(contract).into_iter().filter(|_| !contract.baselines.is_empty()) {
        let frozen =
            contract.baselines_for(platform).filter(|baseline| baseline.role == BaselineRole::Frozen);
        if frozen.count() != 1 {
            let message =
                format!("platform `{platform}` needs exactly one baseline with `role = \"frozen\"`");
            error(findings, "no_frozen_baseline", message);
        }
    }
}
