//! The parts that name C++: oracle, invariants, baselines and element expressions.

use std::collections::{BTreeMap, BTreeSet};

use kernsmith_core::{Plan, Target};

use super::shapes::declared;
use super::{ReadFile, check_identifier, check_unique, suggest};
use crate::document::{Located, Place, Report, Section, decode, text};
use crate::{Axis, Baseline, BaselineRole, Invariant, Oracle, PLATFORMS};

const MAX_EXPRESSION_BYTES: usize = 2000;

pub(super) fn oracle(
    report: &mut Report,
    root: &Section<'_>,
    axes: &[Axis],
    read: &ReadFile<'_>,
) -> Option<Oracle> {
    let example = "{ source = \"reference.cpp\", partition_axis = \"rows\" }";
    let section = root.section(report, "oracle", example, &["source", "symbol", "partition_axis"])?;
    let source = source(report, &section, read);
    let symbol = section.optional_text(report, "symbol");
    if let Some(symbol) = &symbol {
        check_identifier(report, &symbol.place, &symbol.value);
    }
    let partition = section.text(report, "partition_axis", "\"rows\"")?;
    let known: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
    if !known.contains(&partition.value.as_str()) {
        report.add(
            &partition.place,
            format!("unknown axis `{}`", partition.value),
            suggest(&partition.value, &known),
        );
    }
    let (file, source) = source?;
    let symbol = symbol.map_or_else(|| "reference".to_owned(), |symbol| symbol.value);
    Some(Oracle { source, file, symbol, partition_axis: partition.value })
}

/// Reads the file that `source` names.
fn source(report: &mut Report, section: &Section<'_>, read: &ReadFile<'_>) -> Option<(String, String)> {
    let file = section.text(report, "source", "\"reference.cpp\"")?;
    let plain =
        !file.value.is_empty() && !file.value.contains(['/', '\\', '\0']) && !file.value.starts_with('.');
    if !plain {
        let message = format!("`{}` is not a file of the contract's directory", file.value);
        report.add(&file.place, message, "use a plain file name, without directories");
        return None;
    }
    match read(&file.value) {
        Ok(source) => Some((file.value, source)),
        Err(cause) => {
            let message = format!("cannot read `{}`: {cause}", file.value);
            report.add(&file.place, message, "write the file next to contract.toml, or correct the name");
            None
        }
    }
}

pub(super) fn invariants(report: &mut Report, root: &Section<'_>) -> Vec<Invariant> {
    let sections = root.sections(report, "invariant", &["name", "symbol"]);
    let mut invariants = Vec::new();
    for section in &sections {
        let name = section.text(report, "name", "\"row_sums\"");
        let symbol = section.text(report, "symbol", "\"row_sums\"");
        if let (Some(name), Some(symbol)) = (name, symbol) {
            check_identifier(report, &symbol.place, &symbol.value);
            invariants.push((Invariant { name: name.value, symbol: symbol.value }, name.place));
        }
    }
    check_unique(report, invariants.iter().map(|(invariant, place)| (invariant.name.as_str(), place)));
    invariants.into_iter().map(|(invariant, _)| invariant).collect()
}

pub(super) fn baselines(
    report: &mut Report,
    root: &Section<'_>,
    axes: &[Axis],
    read: &ReadFile<'_>,
) -> Vec<Baseline> {
    let known = ["name", "source", "platform", "role", "plan", "link", "summary"];
    let sections = root.sections(report, "baseline", &known);
    let baselines: Vec<(Baseline, Place)> =
        sections.iter().filter_map(|section| baseline(report, section, axes, read)).collect();
    check_unique(report, baselines.iter().map(|(baseline, place)| (baseline.name.as_str(), place)));
    let mut frozen = BTreeMap::new();
    for (baseline, place) in baselines.iter().filter(|(baseline, _)| baseline.role == BaselineRole::Frozen) {
        if let Some(first) = frozen.insert(&baseline.target_platform, &baseline.name) {
            let message =
                format!("`{first}` is the frozen baseline of `{}` already", baseline.target_platform);
            report.add(place, message, "make one of the two `role = \"rival\"`");
        }
    }
    baselines.into_iter().map(|(baseline, _)| baseline).collect()
}

fn baseline(
    report: &mut Report,
    section: &Section<'_>,
    axes: &[Axis],
    read: &ReadFile<'_>,
) -> Option<(Baseline, Place)> {
    let source = source(report, section, read);
    let platform = platform(report, section);
    let role = baseline_role(report, section);
    let plan = plan(report, section, axes);
    let link = section.texts(report, "link").into_iter().filter_map(|library| library_name(report, library));
    let link = link.collect();
    let summary = section.optional_text(report, "summary").map_or_else(String::new, |summary| summary.value);
    let name = section.text(report, "name", "\"scalar\"")?;
    let (file, source) = source?;
    let target_platform = platform?;
    let baseline =
        Baseline { name: name.value, source, file, plan: plan?, target_platform, link, role: role?, summary };
    if baseline.is_python() && baseline.role == BaselineRole::Frozen {
        let message = format!("`{}` cannot be frozen: only rivals are written in Python", baseline.name);
        report.add(
            &name.place,
            message,
            "write the frozen baseline in C++ or CUDA, or say `role = \"rival\"`",
        );
    }
    Some((baseline, name.place))
}

fn platform(report: &mut Report, section: &Section<'_>) -> Option<String> {
    let platform = section.text(report, "platform", "\"cpu\"")?;
    if !PLATFORMS.contains(&platform.value.as_str()) {
        let message = format!("`{}` is not a platform", platform.value);
        report.add(&platform.place, message, suggest(&platform.value, PLATFORMS));
    }
    Some(platform.value)
}

fn baseline_role(report: &mut Report, section: &Section<'_>) -> Option<BaselineRole> {
    let role = section.text(report, "role", "\"frozen\"")?;
    match role.value.as_str() {
        "frozen" => Some(BaselineRole::Frozen),
        "rival" => Some(BaselineRole::Rival),
        other => {
            report.add(&role.place, format!("`{other}` is not a role"), suggest(other, &["frozen", "rival"]));
            None
        }
    }
}

fn plan(report: &mut Report, section: &Section<'_>, axes: &[Axis]) -> Option<Plan> {
    let Some((place, value)) = section.get("plan") else { return Some(Plan::default()) };
    let plan: Plan = decode(report, &place, value)?;
    let variable: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
    if let Err(error) = plan.check(&variable) {
        report.add(&place.join(&error.field, place.span.clone()), error.problem, "see docs/plan-format.md");
    }
    Some(plan)
}

fn library_name(report: &mut Report, library: Located<String>) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
    if library.value.starts_with(|c: char| c.is_ascii_alphanumeric()) && library.value.chars().all(legal) {
        return Some(library.value);
    }
    let message = format!("`{}` is not a library name", library.value);
    report.add(&library.place, message, "write the name without `lib` and ending, such as \"openblas\"");
    None
}

/// Per output, the C++ expression of its elements.
pub(super) fn element(report: &mut Report, root: &Section<'_>) -> Option<BTreeMap<String, String>> {
    let section = root.optional_section(report, "element", &[])?;
    let known = declared(root, "output");
    let mut expressions = BTreeMap::new();
    for (key, place, value) in section.entries() {
        if !known.contains(&key) {
            report.add(&place, format!("`{key}` is not an output"), suggest(key, &known));
        }
        let Some(expression) = text(report, place, value) else { continue };
        check_expression(report, &expression);
        expressions.insert(key.to_owned(), expression.value);
    }
    for missing in known.iter().filter(|name| section.get(name).is_none()) {
        let fix = format!("add `{missing} = \"2.0f * x\"`, or remove `element`");
        report.add(&section.place, format!("output `{missing}` has no expression"), fix);
    }
    Some(expressions)
}

/// An expression goes into generated code as it is: it must stay one expression.
fn check_expression(report: &mut Report, expression: &Located<String>) {
    let text = &expression.value;
    let balanced = text.chars().try_fold(0_i32, |depth, c| match c {
        '(' => Some(depth + 1),
        ')' => Some(depth - 1).filter(|depth| *depth >= 0),
        _ => Some(depth),
    });
    let comment = text.contains("//") || text.contains("/*");
    if text.trim().is_empty() || text.len() > MAX_EXPRESSION_BYTES {
        let message = format!("the expression has {} bytes", text.len());
        report.add(&expression.place, message, format!("write 1 to {MAX_EXPRESSION_BYTES} bytes"));
    } else if let Some(c) = text.chars().find(|c| {
        !c.is_ascii() || c.is_ascii_control() || ";{}#\\\"'=`$@".contains(*c) && !is_comparison(text, *c)
    }) {
        let message = format!("`{}` may not occur in an expression", c.escape_default());
        report.add(&expression.place, message, "write one C++ expression without statements or assignments");
    } else if comment || balanced != Some(0) {
        let message = if comment { "a comment" } else { "parentheses do not match" };
        report.add(&expression.place, message, "write one C++ expression");
    }
}

/// Whether every `=` of the text belongs to `==`, `!=`, `<=` or `>=`.
fn is_comparison(text: &str, c: char) -> bool {
    let stripped =
        ["==", "!=", "<=", ">="].iter().fold(text.to_owned(), |text, sign| text.replace(sign, " "));
    c == '=' && !stripped.contains('=')
}

/// Instruction families per target (`cpu-x86_64`) or platform (`cpu`).
pub(super) fn expected_instructions(
    report: &mut Report,
    root: &Section<'_>,
) -> BTreeMap<String, Vec<String>> {
    let Some(section) = root.optional_section(report, "expected_instructions", &[]) else {
        return BTreeMap::new();
    };
    let mut expected = BTreeMap::new();
    for (key, place, _) in section.entries() {
        if !PLATFORMS.contains(&key)
            && let Err(error) = key.parse::<Target>()
        {
            report.add(&place, error.to_string(), "or use a platform: cpu, cuda, hip");
        }
        let families: BTreeSet<String> =
            section.texts(report, key).into_iter().map(|family| family.value).collect();
        expected.insert(key.to_owned(), families.into_iter().collect());
    }
    expected
}
