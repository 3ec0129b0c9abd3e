//! `skill.toml` as it is written, with the place of every field that can be wrong.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use kernsmith_core::{Bindings, Expr, GeneValue, Prediction};
use kernsmith_place::Text;
use serde::Deserialize;
use toml::Spanned;

use crate::error::SkillError;
use crate::machine::Machine;

/// The newest `skill.toml` format that this version reads.
const SKILL_FORMAT: u32 = 1;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) format: Spanned<u32>,
    pub(crate) name: Spanned<String>,
    #[serde(default, rename = "template")]
    pub(crate) templates: Vec<TemplateEntry>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TemplateEntry {
    pub(crate) name: Spanned<String>,
    #[serde(default)]
    pub(crate) contracts: Vec<String>,
    #[serde(default)]
    pub(crate) families: Vec<String>,
    #[serde(default)]
    pub(crate) requires_elements: bool,
    #[serde(default)]
    pub(crate) requires: String,
    pub(crate) targets: Spanned<Vec<String>>,
    pub(crate) file: Spanned<String>,
    pub(crate) title: String,
    pub(crate) rationale: String,
    pub(crate) difficulty: Spanned<u8>,
    pub(crate) predicted: Spanned<Predicted>,
    #[serde(default)]
    pub(crate) constraints: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) expected_instructions: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) flags: Vec<String>,
    #[serde(default, rename = "workspace")]
    pub(crate) workspaces: Vec<WorkspaceEntry>,
    /// Variants of a GPU plan as in docs/plan-format.md; every text is a Tera template.
    #[serde(default, rename = "launch")]
    pub(crate) launches: Vec<toml::Table>,
    /// Tensor maps of a GPU plan, likewise.
    #[serde(default, rename = "tensor_map")]
    pub(crate) tensor_maps: Vec<toml::Table>,
    #[serde(default, rename = "gene")]
    pub(crate) genes: Vec<GeneEntry>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Predicted {
    pub(crate) ratio: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkspaceEntry {
    pub(crate) name: String,
    /// A Tera template of an expression over the axes.
    pub(crate) bytes: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GeneEntry {
    pub(crate) name: Spanned<String>,
    pub(crate) values: Spanned<Vec<GeneValue>>,
    #[serde(default)]
    pub(crate) default: Option<Spanned<GeneValue>>,
    #[serde(default)]
    pub(crate) decision: bool,
    #[serde(default)]
    pub(crate) at_most: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) requires: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) summary: String,
}

impl From<Predicted> for Prediction {
    fn from(predicted: Predicted) -> Self {
        Self { ratio: predicted.ratio, low: predicted.low, high: predicted.high }
    }
}

impl Manifest {
    /// Reads and checks a `skill.toml`; `folder` is the name that it must carry.
    pub(crate) fn parse(path: &Path, text: &str, folder: &str) -> Result<Self, SkillError> {
        let file = Text { path, text };
        let manifest: Self = toml::from_str(text).map_err(|error| -> SkillError {
            let help = "docs/skill-format.md lists the fields".to_owned();
            file.problem(error.span(), "", error.message(), help)
        })?;
        if !(1..=SKILL_FORMAT).contains(manifest.format.as_ref()) {
            let problem = format!("format {} is not known", manifest.format.as_ref());
            let help = format!("this program reads 1 to {SKILL_FORMAT}");
            return Err(file.problem(Some(manifest.format.span()), "format", problem, help));
        }
        if manifest.name.as_ref() != folder {
            let problem = format!("`{}` is not the name of the folder", manifest.name.as_ref());
            return Err(file.problem(
                Some(manifest.name.span()),
                "name",
                problem,
                format!("write `{folder}`"),
            ));
        }
        for (index, template) in manifest.templates.iter().enumerate() {
            Checker { file, template }.check(&manifest.templates[..index])?;
        }
        Ok(manifest)
    }
}

struct Checker<'a> {
    file: Text<'a>,
    template: &'a TemplateEntry,
}

impl Checker<'_> {
    fn check(&self, earlier: &[TemplateEntry]) -> Result<(), SkillError> {
        let template = self.template;
        let name = &template.name;
        if earlier.iter().any(|other| other.name.as_ref() == name.as_ref()) {
            return Err(self.wrong(name.span(), "name", "two templates have it", "choose another name"));
        }
        if template.contracts.is_empty() && template.families.is_empty() {
            let help = "add `contracts = [\"…\"]` or `families = [\"…\"]`";
            return Err(self.wrong(name.span(), "contracts", "the template serves no contract", help));
        }
        for target in template.targets.as_ref() {
            if !target.contains('-') {
                let help = "write for example `cpu-x86_64`, or `cpu-*` for every processor";
                return Err(self.wrong(
                    template.targets.span(),
                    "targets",
                    &format!("`{target}` is no target"),
                    help,
                ));
            }
        }
        let predicted = template.predicted.as_ref();
        if !(predicted.low > 0.0 && predicted.low <= predicted.ratio && predicted.ratio <= predicted.high) {
            let help = "0 < low <= ratio <= high";
            return Err(self.wrong(template.predicted.span(), "predicted", "the interval is not one", help));
        }
        for (index, gene) in template.genes.iter().enumerate() {
            self.check_gene(gene, &template.genes[..index])?;
        }
        let known = known_names(template);
        template
            .constraints
            .iter()
            .try_for_each(|text| self.check_expr(text, "constraints", known.iter().map(String::as_str)))
    }

    fn check_gene(&self, gene: &GeneEntry, earlier: &[GeneEntry]) -> Result<(), SkillError> {
        let name = gene.name.as_ref();
        let identifier = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !identifier || Machine::reference().facts().contains_key(name) {
            let help = "use lower-case letters, digits and `_`; machine facts are taken";
            return Err(self.wrong(gene.name.span(), "gene.name", &format!("`{name}` cannot be used"), help));
        }
        if earlier.iter().any(|other| other.name.as_ref() == name) {
            return Err(self.wrong(
                gene.name.span(),
                "gene.name",
                "two genes have it",
                "choose another name",
            ));
        }
        self.check_values(gene)?;
        if let Some(at_most) = &gene.at_most {
            let facts = Machine::reference().facts();
            self.check_expr(at_most, "gene.at_most", facts.keys().map(String::as_str))?;
        }
        Ok(())
    }

    fn check_values(&self, gene: &GeneEntry) -> Result<(), SkillError> {
        let values = gene.values.as_ref();
        let span = gene.values.span();
        let ints = values.iter().filter(|value| matches!(value, GeneValue::Int(_))).count();
        if values.is_empty() || (ints != 0 && ints != values.len()) {
            let help = "give at least one value: all whole numbers, or all words";
            return Err(self.wrong(span, "gene.values", "the values do not belong together", help));
        }
        let ordered = values.windows(2).all(|pair| pair[0] < pair[1]);
        let distinct = values.iter().enumerate().all(|(index, value)| !values[..index].contains(value));
        if !distinct || (ints != 0 && !ordered) {
            let help = "list each value once; numbers ascend, and `default` names the first guess";
            return Err(self.wrong(span, "gene.values", "the values repeat or descend", help));
        }
        if let Some(unknown) = gene.requires.keys().find(|key| !values.iter().any(|v| v.to_string() == **key))
        {
            let problem = format!("`{unknown}` is not a value of the gene");
            return Err(self.wrong(span, "gene.requires", &problem, "name one of `values`"));
        }
        match &gene.default {
            Some(default) => self.check_default(gene, default),
            None => Ok(()),
        }
    }

    /// A default is one of the values, or, for an ordered gene, an expression over machine facts.
    fn check_default(&self, gene: &GeneEntry, default: &Spanned<GeneValue>) -> Result<(), SkillError> {
        if gene.values.as_ref().contains(default.as_ref()) {
            return Ok(());
        }
        let ordered = gene.values.as_ref().iter().all(|value| matches!(value, GeneValue::Int(_)));
        match default.as_ref() {
            GeneValue::Text(text) if ordered => {
                let facts = Machine::reference().facts();
                let text = Spanned::new(default.span(), text.clone());
                self.check_expr(&text, "gene.default", facts.keys().map(String::as_str))
            }
            _ => {
                let problem = format!("`{}` is not among the values", default.as_ref());
                Err(self.wrong(default.span(), "gene.default", &problem, "name one of `values`"))
            }
        }
    }

    fn check_expr<'b>(
        &self,
        text: &Spanned<String>,
        field: &str,
        known: impl Iterator<Item = &'b str>,
    ) -> Result<(), SkillError> {
        let checked = Expr::parse(text.as_ref()).and_then(|expr| expr.check_axes(known));
        checked.map_err(|error| {
            self.wrong(
                text.span(),
                field,
                &error.to_string(),
                "see the expression grammar in docs/skill-format.md",
            )
        })
    }

    fn wrong(&self, span: Range<usize>, field: &str, problem: &str, help: &str) -> SkillError {
        let field = format!("template `{}`, {field}", self.template.name.as_ref());
        self.file.problem(Some(span), &field, problem, help.to_owned())
    }
}

/// Every name that a constraint may use: machine facts, ordered genes, and `gene_value` for each word of a categorical one.
fn known_names(template: &TemplateEntry) -> Vec<String> {
    let mut names: Vec<String> = Machine::reference().facts().into_keys().collect();
    for gene in &template.genes {
        for value in gene.values.as_ref() {
            names.push(match value {
                GeneValue::Int(_) => gene.name.as_ref().clone(),
                GeneValue::Text(word) => flag_name(gene.name.as_ref(), word),
            });
        }
    }
    names
}

/// The name under which a constraint asks whether a categorical gene has a value.
pub(crate) fn flag_name(gene: &str, word: &str) -> String {
    let word: String = word.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("{gene}_{word}")
}

/// Value of a machine expression; `None` when it cannot be computed.
pub(crate) fn machine_value(text: &str, facts: &Bindings) -> Option<i64> {
    Expr::parse(text).ok()?.eval(facts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"format = 1
name = "demo"
[[template]]
name = "a"
contracts = ["x_f32"]
targets = ["cpu-x86_64"]
file = "a.cpp.tera"
title = "t"
rationale = "r"
difficulty = 1
predicted = { ratio = 2.0, low = 1.0, high = 3.0 }
constraints = ["unroll <= 4"]
[[template.gene]]
name = "unroll"
values = [1, 2, 4]
default = 2
"#;

    fn problem(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        let text = GOOD.replacen(from, to, 1);
        Manifest::parse(Path::new("skills/demo/skill.toml"), &text, "demo").unwrap_err().to_string()
    }

    #[test]
    fn a_good_file_is_read() {
        let manifest = Manifest::parse(Path::new("skills/demo/skill.toml"), GOOD, "demo").unwrap();
        assert_eq!(manifest.templates[0].genes[0].values.as_ref().len(), 3);
    }

    #[test]
    fn mistakes_are_named_with_file_line_and_field() {
        let cases = [
            ("format = 1", "format = 9", "skill.toml:1: format: format 9 is not known"),
            ("name = \"demo\"", "name = \"other\"", "skill.toml:2: name"),
            ("title = \"t\"", "titel = \"t\"", "skill.toml:8"),
            ("low = 1.0", "low = 2.5", "skill.toml:11: template `a`, predicted"),
            ("unroll <= 4", "unrol <= 4", "skill.toml:12: template `a`, constraints: unknown axis `unrol`"),
            ("values = [1, 2, 4]", "values = [1, 4, 2]", "skill.toml:15: template `a`, gene.values"),
            ("values = [1, 2, 4]", "values = [1, \"2\"]", "do not belong together"),
            ("default = 2", "default = 3", "skill.toml:16: template `a`, gene.default: `3` is not among"),
            ("contracts = [\"x_f32\"]", "contracts = []", "serves no contract"),
            ("name = \"unroll\"", "name = \"cores\"", "`cores` cannot be used"),
        ];
        for (from, to, expected) in cases {
            let found = problem(from, to);
            assert!(found.contains(expected), "{to}: {found}");
        }
    }
}
