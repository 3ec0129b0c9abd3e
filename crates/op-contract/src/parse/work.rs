//! Tolerance, cases and workloads.

use std::collections::BTreeMap;

use kernsmith_core::{Bindings, ExprError};
use kernsmith_tensor::{DType, Distribution, Tolerance};

use super::shapes::{declared, named_dtype};
use super::{check_unique, suggest};
use crate::contract::extent;
use crate::document::{Place, Report, Section, decode, integer};
use crate::{Axis, AxisKind, Case, Contract, PLATFORMS, Role, Workload};

const ROLES: [Role; 3] = [Role::Bench, Role::Verify, Role::HeldOut];
/// The longest legal axis; products are checked on their own.
const MAX_EXTENT: i64 = 1 << 40;

pub(super) fn tolerance(report: &mut Report, root: &Section<'_>) -> Option<Tolerance> {
    let example = "{ compute = \"f32\", ulps = 16, rms_ulps = 4 }";
    let known = ["compute", "ulps", "rms_ulps", "exact"];
    let section = root.section(report, "tolerance", example, &known)?;
    let compute = section.text(report, "compute", "\"f32\"").and_then(|name| named_dtype(report, &name));
    let exact = section.flag(report, "exact");
    if exact {
        return Some(Tolerance { compute: compute?, ulps: 0.0, rms_ulps: 0.0, exact });
    }
    let ulps = section.number(report, "ulps", "16");
    let rms_ulps = section.number(report, "rms_ulps", "4");
    for bound in [&ulps, &rms_ulps].into_iter().flatten().filter(|bound| bound.value <= 0.0) {
        report.add(&bound.place, "a bound must be above 0", "use `exact = true` where bits must agree");
    }
    let compute: DType = compute?;
    Some(Tolerance { compute, ulps: ulps?.value, rms_ulps: rms_ulps?.value, exact })
}

pub(super) fn cases(report: &mut Report, root: &Section<'_>) -> Vec<Case> {
    let known = declared(root, "input");
    let sections = root.sections(report, "case", &["name", "inputs"]);
    let cases: Vec<(Case, Place)> =
        sections.iter().filter_map(|section| case(report, section, &known)).collect();
    check_unique(report, cases.iter().map(|(case, place)| (case.name.as_str(), place)));
    cases.into_iter().map(|(case, _)| case).collect()
}

fn case(report: &mut Report, section: &Section<'_>, known: &[&str]) -> Option<(Case, Place)> {
    let name = section.text(report, "name", "\"normal\"");
    let example = "{ x = { kind = \"normal\" } }";
    let distributions = section.section(report, "inputs", example, &[])?;
    let mut filled = BTreeMap::new();
    for (key, place, value) in distributions.entries() {
        if !known.contains(&key) {
            report.add(&place, format!("`{key}` is not an input"), suggest(key, known));
        }
        if let Some(distribution) = decode::<Distribution>(report, &place, value) {
            check_distribution(report, &place, &distribution);
            filled.insert(key.to_owned(), distribution);
        }
    }
    for missing in known.iter().filter(|name| distributions.get(name).is_none()) {
        let message = format!("no distribution for input `{missing}`");
        report.add(&distributions.place, message, format!("add `{missing} = {{ kind = \"normal\" }}`"));
    }
    let name = name?;
    Some((Case { name: name.value, inputs: filled }, name.place))
}

fn check_distribution(report: &mut Report, place: &Place, distribution: &Distribution) {
    if let Err(error) = distribution.check() {
        report.add(place, error.to_string(), "");
    }
}

pub(super) fn workloads(report: &mut Report, root: &Section<'_>, axes: &[Axis]) -> Vec<Workload> {
    let sections = root.sections(report, "workload", &["name", "role", "weight", "axes", "platforms"]);
    let workloads: Vec<(Workload, Place)> =
        sections.iter().filter_map(|section| workload(report, section, axes)).collect();
    check_unique(report, workloads.iter().map(|(workload, place)| (workload.name.as_str(), place)));
    workloads.into_iter().map(|(workload, _)| workload).collect()
}

fn workload(report: &mut Report, section: &Section<'_>, axes: &[Axis]) -> Option<(Workload, Place)> {
    let name = section.text(report, "name", "\"main\"");
    let role = role(report, section);
    let weight = weight(report, section, role);
    let axes = bindings(report, section, axes);
    let platforms = platforms(report, section);
    let name = name?;
    Some((Workload { name: name.value, role: role?, weight, axes: axes?, platforms }, name.place))
}

fn platforms(report: &mut Report, section: &Section<'_>) -> Vec<String> {
    let listed = section.texts(report, "platforms");
    for unknown in listed.iter().filter(|platform| !PLATFORMS.contains(&platform.value.as_str())) {
        let message = format!("`{}` is not a platform", unknown.value);
        report.add(&unknown.place, message, suggest(&unknown.value, PLATFORMS));
    }
    listed.into_iter().map(|platform| platform.value).collect()
}

fn role(report: &mut Report, section: &Section<'_>) -> Option<Role> {
    let text = section.text(report, "role", "\"verify\"")?;
    let found = ROLES.into_iter().find(|role| role.as_str() == text.value);
    if found.is_none() {
        let known: Vec<&str> = ROLES.iter().map(|role| role.as_str()).collect();
        report.add(&text.place, format!("`{}` is not a role", text.value), suggest(&text.value, &known));
    }
    found
}

/// Bench workloads weigh 1 unless they say otherwise; the others have no weight.
fn weight(report: &mut Report, section: &Section<'_>, role: Option<Role>) -> f64 {
    let Some(weight) = section.optional_number(report, "weight") else {
        return if role == Some(Role::Bench) { 1.0 } else { 0.0 };
    };
    if weight.value <= 0.0 {
        report.add(&weight.place, format!("a weight of {}", weight.value), "use a weight above 0");
    }
    if role.is_some_and(|role| role != Role::Bench) {
        report.add(&weight.place, "only bench workloads have a weight", "remove `weight`");
    }
    weight.value
}

/// The value of every axis: variable ones from the file, constant ones from their declaration.
fn bindings(report: &mut Report, section: &Section<'_>, axes: &[Axis]) -> Option<Bindings> {
    let given = section.section(report, "axes", "{ rows = 128, cols = 64 }", &[])?;
    let known: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
    let mut bindings = Bindings::new();
    let mut complete = true;
    for (key, place, value) in given.entries() {
        if !known.contains(&key) {
            report.add(&place, format!("`{key}` is not an axis"), suggest(key, &known));
            continue;
        }
        let Some(value) = integer(report, place, value) else { continue };
        if !(0..=MAX_EXTENT).contains(&value.value) {
            report.add(&value.place, format!("{} is not an extent", value.value), "use 0 to 2^40");
        }
        bindings.insert(key.to_owned(), value.value);
    }
    for axis in axes {
        match (axis.kind, bindings.get(&axis.name)) {
            (AxisKind::Const(constant), None) => drop(bindings.insert(axis.name.clone(), constant)),
            (AxisKind::Const(constant), Some(value)) if *value != constant => {
                let message = format!("axis `{}` is constant", axis.name);
                report.add(&given.place, message, format!("remove it; its value is {constant}"));
            }
            (AxisKind::Variable, None) => {
                complete = false;
                let message = format!("axis `{}` has no value", axis.name);
                report.add(&given.place, message, format!("add `{} = 16`", axis.name));
            }
            _ => {}
        }
    }
    complete.then_some(bindings)
}

/// Every shape and cost has a value, and every constraint holds, at every workload.
pub(super) fn check_workloads(report: &mut Report, contract: &Contract, root: &Section<'_>) {
    let items = root.items(report, "workload");
    for (workload, (place, _)) in contract.workloads.iter().zip(items) {
        for constraint in &contract.constraints {
            match constraint.holds(&workload.axes) {
                Ok(true) => {}
                Ok(false) => {
                    let message = format!("workload `{}` violates `{constraint}`", workload.name);
                    report.add(&place, message, "change the axes or relax the constraint");
                }
                Err(error) => report.add(&place, error.to_string(), ""),
            }
        }
        if let Err(error) = costs(contract, &workload.axes) {
            let message = format!("workload `{}`: {error}", workload.name);
            report.add(&place, message, "use smaller axes, or correct the expression");
        }
    }
}

fn costs(contract: &Contract, axes: &Bindings) -> Result<(), ExprError> {
    contract.flops.eval(axes)?;
    contract.bytes.eval(axes)?;
    contract.partition_extent(axes)?;
    contract.compulsory_bytes(axes)?;
    for tensor in contract.inputs.iter().chain(&contract.outputs) {
        contract.row_elements(tensor, axes)?;
        contract.slice_elements(tensor, axes)?;
        tensor.limit.as_ref().map_or(Ok(0), |limit| extent(std::slice::from_ref(limit), axes))?;
    }
    Ok(())
}

/// Structured distributions and inputs with a `limit` belong together: any other number would be a wild address.
pub(super) fn check_structure(report: &mut Report, contract: &Contract, root: &Section<'_>) {
    let items = root.items(report, "case");
    for (case, (place, _)) in contract.cases.iter().zip(items) {
        for input in &contract.inputs {
            let Some(drawn) = case.inputs.get(&input.name) else { continue };
            let (message, fix) = match (drawn.is_structured(), input.limit.is_some()) {
                (true, false) => {
                    ("has no `limit`", "say how many positions there are: `limit = \"tokens\"` at the input")
                }
                (false, true) => ("holds positions", "draw it as `offsets` or `permutation`"),
                _ => continue,
            };
            let message = format!("case `{}`: input `{}` {message}", case.name, input.name);
            report.add(&place, message, fix);
        }
    }
}
