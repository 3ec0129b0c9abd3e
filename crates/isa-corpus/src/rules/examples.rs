//! `rules/examples/<rule>.toml`: for each rule a candidate that breaks it and one that keeps it.

use std::path::Path;

use kernsmith_core::{Bindings, Language, Plan};
use kernsmith_place::Text;
use serde::Deserialize;

use super::{Inspection, Rule, Rules};
use crate::error::{CorpusError, parse_toml, read};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExampleFile {
    /// Breaks the rule.
    breaks: Example,
    /// Keeps it, and every other rule that can be decided.
    keeps: Example,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    language: Option<Language>,
    #[serde(default)]
    source: String,
    #[serde(default)]
    plan: Plan,
    /// Features of the machine; absent: not known.
    features: Option<std::collections::BTreeSet<String>>,
    #[serde(default)]
    numbers: Bindings,
}

/// Runs the examples of every rule; what is wrong with them, a line each.
pub(crate) fn run_examples(root: &Path, rules: &Rules) -> Result<Vec<String>, CorpusError> {
    let mut problems = Vec::new();
    for rule in rules.iter() {
        let path = root.join("rules/examples").join(format!("{}.toml", rule.id));
        if !path.is_file() {
            problems.push(format!("{}: rule `{}` has no example {}", rule.place, rule.id, path.display()));
            continue;
        }
        let text = read(&path)?;
        let example: ExampleFile = parse_toml(Text { path: &path, text: &text })?;
        problems.extend(judge(rules, rule, &example).map(|problem| format!("{}: {problem}", path.display())));
    }
    Ok(problems)
}

fn judge(rules: &Rules, rule: &Rule, example: &ExampleFile) -> Option<String> {
    let broken = broken_by(rules, rule, &example.breaks);
    if !broken.contains(&rule.id) {
        return Some(format!("`breaks` does not break `{}`, but [{}]", rule.id, broken.join(", ")));
    }
    let kept = broken_by(rules, rule, &example.keeps);
    (!kept.is_empty()).then(|| format!("`keeps` breaks [{}]", kept.join(", ")))
}

/// Every rule that an example breaks on any of the rule's targets.
fn broken_by(rules: &Rules, rule: &Rule, example: &Example) -> Vec<String> {
    let mut broken = Vec::new();
    for target in &rule.targets {
        let language = example.language.unwrap_or(match target.platform() {
            "cuda" => Language::Cuda,
            "hip" => Language::Hip,
            _ => Language::Cpp,
        });
        let inspected = Inspection {
            target,
            language,
            source: &example.source,
            plan: &example.plan,
            features: example.features.as_ref(),
            numbers: example.numbers.clone(),
        };
        broken.extend(rules.check(&inspected).violations.into_iter().map(|violation| violation.rule));
    }
    broken.sort();
    broken.dedup();
    broken
}
