//! Axes, tensors, scalars and the expressions over axes.

use kernsmith_core::{Expr, ExprError};
use kernsmith_tensor::DType;

use super::{check_identifier, check_unique, suggest};
use crate::document::{Located, Place, Report, Section, integer, text};
use crate::{Axis, AxisKind, Scalar, TensorSpec};

use toml::Spanned;
use toml::de::DeValue;

const MAX_RANK: usize = 8;
const OUTPUT_KEYS: &[&str] = &["name", "dtype", "shape", "alignment_bytes"];
const INPUT_KEYS: &[&str] = &["name", "dtype", "shape", "alignment_bytes", "limit"];

pub(super) fn axes(report: &mut Report, root: &Section<'_>) -> Vec<Axis> {
    let sections = root.sections(report, "axis", &["name", "const", "summary"]);
    if sections.is_empty() {
        report.add(&root.place, "there is no axis", "add `axis = [{ name = \"n\" }]`");
    }
    sections.iter().filter_map(|section| axis(report, section)).collect()
}

fn axis(report: &mut Report, section: &Section<'_>) -> Option<Axis> {
    let constant = section.optional_integer(report, "const");
    if let Some(value) = constant.as_ref().filter(|constant| constant.value < 0) {
        report.add(&value.place, "an axis cannot be negative", "use a value from 0 up");
    }
    let summary = section.optional_text(report, "summary").map_or_else(String::new, |summary| summary.value);
    let name = section.text(report, "name", "\"rows\"")?;
    check_identifier(report, &name.place, &name.value);
    let kind = constant.map_or(AxisKind::Variable, |constant| AxisKind::Const(constant.value));
    Some(Axis { name: name.value, kind, summary })
}

pub(super) fn tensors(report: &mut Report, root: &Section<'_>, key: &str, axes: &[Axis]) -> Vec<TensorSpec> {
    let known: &[&str] = if key == "input" { INPUT_KEYS } else { OUTPUT_KEYS };
    let sections = root.sections(report, key, known);
    if sections.is_empty() {
        let fix = format!("add `{key} = [{{ name = \"x\", dtype = \"f32\", shape = [\"n\"] }}]`");
        report.add(&root.place, format!("there is no {key}"), fix);
    }
    sections.iter().filter_map(|section| tensor(report, section, axes)).collect()
}

fn tensor(report: &mut Report, section: &Section<'_>, axes: &[Axis]) -> Option<TensorSpec> {
    let dtype = dtype(report, section);
    let alignment_bytes = alignment(report, section);
    if section.get("shape").is_none() {
        report.add(
            &section.place,
            "`shape` is missing",
            "add `shape = [\"rows\", \"cols\"]`, or `[]` for one element",
        );
    }
    let items = section.items(report, "shape");
    if items.len() > MAX_RANK {
        report.add(
            &section.place,
            format!("{} dimensions", items.len()),
            format!("at most {MAX_RANK} are legal"),
        );
    }
    let shape = items.into_iter().filter_map(|(place, item)| expr(report, place, item, axes)).collect();
    let name = section.text(report, "name", "\"x\"")?;
    check_identifier(report, &name.place, &name.value);
    let limit = limit(report, section, dtype, axes);
    Some(TensorSpec { name: name.value, dtype: dtype?, shape, alignment_bytes, limit })
}

/// How many positions an integer input can name.
fn limit(report: &mut Report, section: &Section<'_>, dtype: Option<DType>, axes: &[Axis]) -> Option<Expr> {
    let (place, value) = section.get("limit")?;
    if let Some(dtype) = dtype.filter(|dtype| !matches!(dtype, DType::I32 | DType::I64)) {
        let message = format!("elements of type `{}` are no positions", dtype.as_str());
        report.add(&place, message, "`limit` is for i32 and i64");
    }
    expr(report, place, value, axes)
}

fn alignment(report: &mut Report, section: &Section<'_>) -> u32 {
    let Some(alignment) = section.optional_integer(report, "alignment_bytes") else { return 64 };
    let legal = u32::try_from(alignment.value).ok().filter(|bytes| bytes.is_power_of_two() && *bytes <= 64);
    legal.unwrap_or_else(|| {
        let message = format!("{} is not an alignment", alignment.value);
        report.add(&alignment.place, message, "legal: 1, 2, 4, 8, 16, 32, 64");
        64
    })
}

/// Reads a `dtype` key.
pub(super) fn dtype(report: &mut Report, section: &Section<'_>) -> Option<DType> {
    let name = section.text(report, "dtype", "\"f32\"")?;
    named_dtype(report, &name)
}

/// The element type of that name; a wrong one lists the legal ones.
pub(super) fn named_dtype(report: &mut Report, name: &Located<String>) -> Option<DType> {
    let found = DType::ALL.iter().copied().find(|dtype| dtype.as_str() == name.value);
    if found.is_none() {
        let known: Vec<&str> = DType::ALL.iter().map(|dtype| dtype.as_str()).collect();
        report.add(&name.place, format!("`{}` is not a dtype", name.value), suggest(&name.value, &known));
    }
    found
}

pub(super) fn scalars(report: &mut Report, root: &Section<'_>) -> Vec<Scalar> {
    let sections = root.sections(report, "scalar", &["name", "dtype", "value"]);
    sections.iter().filter_map(|section| scalar(report, section)).collect()
}

fn scalar(report: &mut Report, section: &Section<'_>) -> Option<Scalar> {
    let dtype = dtype(report, section);
    let value = section.number(report, "value", "1.0");
    let name = section.text(report, "name", "\"epsilon\"")?;
    check_identifier(report, &name.place, &name.value);
    if let Some(dtype) =
        dtype.filter(|dtype| !matches!(dtype, DType::F64 | DType::F32 | DType::I64 | DType::I32))
    {
        let message = format!("a scalar argument cannot be `{}`", dtype.as_str());
        report.add(&section.place, message, "legal: f64, f32, i64, i32");
    }
    Some(Scalar { name: name.value, dtype: dtype?, value: value?.value })
}

/// The names of an array's items, also of those that are wrong otherwise: one mistake should not cause others.
pub(super) fn declared<'a>(root: &Section<'a>, key: &str) -> Vec<&'a str> {
    let array = root.get(key).and_then(|(_, value)| value.get_ref().as_array());
    let items = array.into_iter().flat_map(|array| array.iter());
    items.filter_map(|item| item.get_ref().get("name")?.get_ref().as_str()).collect()
}

/// Axes, tensors and scalars are the arguments of one C++ function: their names are all different.
pub(super) fn unique_arguments(report: &mut Report, root: &Section<'_>) {
    let mut names: Vec<(&str, Place)> = Vec::new();
    for key in ["axis", "input", "output", "scalar"] {
        let Some(array) = root.get(key).and_then(|(_, value)| value.get_ref().as_array()) else { continue };
        for (index, item) in array.iter().enumerate() {
            if let Some(name) = item.get_ref().get("name")
                && let Some(text) = name.get_ref().as_str()
            {
                names.push((text, Place { field: format!("{key}[{index}].name"), span: name.span() }));
            }
        }
    }
    check_unique(report, names.iter().map(|(name, place)| (*name, place)));
}

pub(super) fn constraints(report: &mut Report, root: &Section<'_>, axes: &[Axis]) -> Vec<Expr> {
    let items = root.items(report, "constraints");
    items.into_iter().filter_map(|(place, item)| expr(report, place, item, axes)).collect()
}

pub(super) fn required_expr(
    report: &mut Report,
    root: &Section<'_>,
    key: &str,
    axes: &[Axis],
) -> Option<Expr> {
    let Some((place, value)) = root.get(key) else {
        report.add(&root.place, format!("`{key}` is missing"), format!("add `{key} = \"4 * rows * cols\"`"));
        return None;
    };
    expr(report, place, value, axes)
}

/// An expression over known axes, written as a string or as a plain number.
fn expr(report: &mut Report, place: Place, value: &Spanned<DeValue<'_>>, axes: &[Axis]) -> Option<Expr> {
    if value.get_ref().is_integer() {
        return Some(Expr::number(integer(report, place, value)?.value));
    }
    let text = text(report, place, value)?;
    match Expr::parse(&text.value) {
        Err(error) => {
            report.add(&narrow(&text, &error), error.to_string(), "");
            None
        }
        Ok(expr) => check_axes(report, &text.place, expr, axes),
    }
}

fn check_axes(report: &mut Report, place: &Place, expr: Expr, axes: &[Axis]) -> Option<Expr> {
    let known: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
    let unknown: Vec<String> =
        expr.axes().into_iter().filter(|name| !known.contains(name)).map(str::to_owned).collect();
    for name in &unknown {
        let message = format!("unknown axis `{name}` in `{expr}`");
        report.add(place, message, format!("declare it in `axis`; {}", suggest(name, &known)));
    }
    unknown.is_empty().then_some(expr)
}

/// The byte at which reading an expression stopped, where the string is plain ASCII without escapes.
fn narrow(text: &Located<String>, error: &ExprError) -> Place {
    let mut place = text.place.clone();
    if let ExprError::Syntax { offset, .. } = error
        && text.value.is_ascii()
        && place.span.len() == text.value.len() + 2
    {
        let start = (place.span.start + 1 + offset).min(place.span.end - 1);
        place.span = start..start + 1;
    }
    place
}
