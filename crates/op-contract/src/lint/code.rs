//! What can be seen in the sources without compiling them.

use super::{Finding, error, warning};
use crate::{Contract, TensorSpec};

pub(super) fn check(contract: &Contract, findings: &mut Vec<Finding>) {
    let oracle = &contract.oracle;
    let symbols = contract.invariants.iter().map(|invariant| &invariant.symbol).chain([&oracle.symbol]);
    for symbol in symbols.filter(|symbol| !contains_word(&oracle.source, symbol)) {
        let message = format!("`{}` does not define `{symbol}`: export it with extern \"C\"", oracle.file);
        error(findings, "missing_symbol", message);
    }
    if contract.invariants.is_empty() {
        let message =
            "there is no invariant: the oracle may be wrong too; add a law of the operation".to_owned();
        warning(findings, "no_invariant", message);
    }
    for baseline in &contract.baselines {
        if baseline.is_python() {
            if !baseline.source.contains(&format!("def {}(", baseline.name)) {
                let message = format!(
                    "`{}` does not define `{}`: a rival is a function of its name",
                    baseline.file, baseline.name
                );
                error(findings, "missing_symbol", message);
            }
            continue;
        }
        for symbol in baseline.plan.symbols() {
            if !contains_word(&baseline.source, symbol) {
                let message = format!("`{}` does not define `{symbol}`, which its plan calls", baseline.file);
                error(findings, "missing_symbol", message);
            }
        }
    }
    local_includes(contract, findings);
    tolerance(contract, findings);
    element(contract, findings);
}

/// Every source is compiled on its own: there is no directory to include from.
fn local_includes(contract: &Contract, findings: &mut Vec<Finding>) {
    let baselines = contract.baselines.iter().map(|baseline| (&baseline.file, &baseline.source));
    for (file, source) in baselines.chain([(&contract.oracle.file, &contract.oracle.source)]) {
        let local = |line: &str| {
            line.trim_start().strip_prefix('#').is_some_and(|rest| {
                rest.trim_start()
                    .strip_prefix("include")
                    .is_some_and(|name| name.trim_start().starts_with('"'))
            })
        };
        if source.lines().any(local) {
            let message =
                format!("`{file}` includes a local file: sources are compiled alone; paste what is needed");
            error(findings, "local_include", message);
        }
    }
}

fn tolerance(contract: &Contract, findings: &mut Vec<Finding>) {
    const LOOSE_ULPS: f64 = 1024.0;
    let tolerance = &contract.tolerance;
    if !tolerance.exact && tolerance.ulps > LOOSE_ULPS {
        let message = format!(
            "{} ulps let a lower precision pass: put the growth of errors into the oracle's scale instead",
            tolerance.ulps
        );
        warning(findings, "loose_tolerance", message);
    }
    if !tolerance.exact && tolerance.rms_ulps > tolerance.ulps {
        let message = format!(
            "rms_ulps {} above ulps {} can never refuse anything: use a smaller one",
            tolerance.rms_ulps, tolerance.ulps
        );
        warning(findings, "useless_rms", message);
    }
}

/// Element expressions need tensors of one shape and speak about every input.
fn element(contract: &Contract, findings: &mut Vec<Finding>) {
    let Some(expressions) = &contract.element else { return };
    if contract.family != "elementwise" {
        let message = format!("`element` has no use in family `{}`: use `elementwise`", contract.family);
        error(findings, "element_family", message);
    }
    let shape = contract.outputs.first().map(|output| &output.shape);
    let tensors = contract.inputs.iter().chain(&contract.outputs);
    for tensor in tensors.filter(|tensor: &&TensorSpec| Some(&tensor.shape) != shape) {
        let message = format!("`element` needs tensors of one shape, `{}` has another", tensor.name);
        error(findings, "element_shape", message);
    }
    for input in &contract.inputs {
        if !expressions.values().any(|expression| contains_word(expression, &input.name)) {
            let message = format!("input `{}` occurs in no element expression", input.name);
            error(findings, "element_input", message);
        }
    }
}

/// Whether the text holds the name as a whole word.
fn contains_word(text: &str, name: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + name.len()..].chars().next();
        !before.is_some_and(inside) && !after.is_some_and(inside)
    })
}
