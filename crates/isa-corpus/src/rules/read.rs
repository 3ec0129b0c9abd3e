//! `rules/*.toml` as they are written, with the place of every field that can be wrong.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use kernsmith_core::{Bindings, Expr, Language, Target};
use kernsmith_place::{Text, line_of};
use regex_lite::Regex;
use serde::Deserialize;
use toml::Spanned;

use super::{LookIn, Rule, Severity, variables};
use crate::error::{CorpusError, parse_toml};
use crate::fact::{Confidence, Fact};
use crate::sources::Source;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    format: u32,
    rule: Vec<Spanned<RuleEntry>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    id: Spanned<String>,
    severity: Spanned<String>,
    #[serde(default)]
    languages: Vec<Language>,
    #[serde(default)]
    look_in: Option<Spanned<String>>,
    #[serde(default)]
    pattern: Option<Spanned<String>>,
    #[serde(default)]
    unless: Option<Spanned<String>>,
    #[serde(default)]
    when: Option<Spanned<String>>,
    #[serde(default)]
    facts: BTreeMap<String, Spanned<String>>,
    message: String,
    remedy: String,
    source: Spanned<String>,
}

/// What rules may refer to.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) sources: &'a BTreeMap<String, Source>,
    pub(crate) facts: &'a BTreeMap<&'a str, &'a Fact>,
}

/// Reads a file of rules for some targets; `earlier` are the rules of files before it.
pub(crate) fn parse(
    path: &Path,
    text: &str,
    targets: &[Target],
    known: Known<'_>,
    earlier: &[Rule],
) -> Result<Vec<Rule>, CorpusError> {
    let file = Text { path, text };
    let read: RulesFile = parse_toml(file)?;
    if read.format != 1 {
        let help = "this program reads 1".to_owned();
        return Err(file.problem(None, "format", format!("format {} is not known", read.format), help));
    }
    let mut rules: Vec<Rule> = Vec::new();
    for entry in read.rule {
        let line = line_of(text, entry.span().start);
        let entry = entry.into_inner();
        let reader = Reader { file, entry: &entry, known };
        let rule = reader.rule(targets, format!("{}:{line}", path.display()))?;
        if earlier.iter().chain(&rules).any(|other| other.id == rule.id) {
            return Err(reader.wrong(entry.id.span(), "id", "two rules have it", "choose another id"));
        }
        rules.push(rule);
    }
    Ok(rules)
}

struct Reader<'a> {
    file: Text<'a>,
    entry: &'a RuleEntry,
    known: Known<'a>,
}

impl Reader<'_> {
    fn wrong(&self, span: Range<usize>, field: &str, problem: &str, help: &str) -> CorpusError {
        let field = format!("rule `{}`, {field}", self.entry.id.as_ref());
        self.file.problem(Some(span), &field, problem, help.to_owned())
    }

    fn rule(&self, targets: &[Target], place: String) -> Result<Rule, CorpusError> {
        let entry = self.entry;
        let severity = match entry.severity.as_ref().as_str() {
            "error" => Severity::Error,
            "warning" => Severity::Warning,
            other => {
                let problem = format!("`{other}` is no severity");
                return Err(self.wrong(
                    entry.severity.span(),
                    "severity",
                    &problem,
                    "write error or warning",
                ));
            }
        };
        let look_in = self.look_in()?;
        let pattern = self.regex(entry.pattern.as_ref(), "pattern")?;
        let unless = self.regex(entry.unless.as_ref(), "unless")?;
        if pattern.is_none() && entry.when.is_none() {
            let help = "give it a `pattern`, a condition `when`, or both";
            return Err(self.wrong(entry.id.span(), "when", "the rule is always broken", help));
        }
        if !self.known.sources.contains_key(entry.source.as_ref()) {
            let problem = format!("there is no source `{}`", entry.source.as_ref());
            let help = "add it to sources.toml, or correct the name";
            return Err(self.wrong(entry.source.span(), "source", &problem, help));
        }
        let (limits, leans_on_unverified) = self.limits()?;
        let mut own: Vec<String> = limits.keys().cloned().collect();
        let groups = pattern.iter().flat_map(Regex::capture_names).flatten();
        own.extend(groups.map(str::to_owned));
        let facts = entry.facts.iter().map(|(name, fact)| (name.clone(), fact.as_ref().clone())).collect();
        Ok(Rule {
            id: entry.id.as_ref().clone(),
            severity,
            targets: targets.to_vec(),
            languages: entry.languages.clone(),
            message: entry.message.clone(),
            remedy: entry.remedy.clone(),
            source: entry.source.as_ref().clone(),
            facts,
            leans_on_unverified,
            look_in,
            when: self.condition(&own)?,
            pattern,
            unless,
            limits,
            place,
        })
    }

    fn look_in(&self) -> Result<LookIn, CorpusError> {
        let Some(word) = &self.entry.look_in else { return Ok(LookIn::Source) };
        match word.as_ref().as_str() {
            "source" => Ok(LookIn::Source),
            "flags" => Ok(LookIn::Flags),
            "expected_instructions" => Ok(LookIn::ExpectedInstructions),
            other => {
                let help = "write source, flags or expected_instructions";
                Err(self.wrong(word.span(), "look_in", &format!("`{other}` is no text"), help))
            }
        }
    }

    fn regex(&self, text: Option<&Spanned<String>>, field: &str) -> Result<Option<Regex>, CorpusError> {
        let Some(text) = text else { return Ok(None) };
        let help = "a regular expression; `(?<name>\\d+)` names a number";
        let read = Regex::new(text.as_ref());
        read.map(Some).map_err(|error| self.wrong(text.span(), field, &error.to_string(), help))
    }

    /// Values of the facts that the condition names, and whether one of them is not verified.
    fn limits(&self) -> Result<(Bindings, bool), CorpusError> {
        let mut limits = Bindings::new();
        let mut unverified = false;
        for (name, id) in &self.entry.facts {
            let field = format!("facts.{name}");
            let fact = self.known.facts.get(id.as_ref().as_str()).ok_or_else(|| {
                let problem = format!("there is no fact `{}`", id.as_ref());
                self.wrong(id.span(), &field, &problem, "name a fact of a chapter by its id")
            })?;
            let value = fact.integer().ok_or_else(|| {
                let problem = format!("`{}` is no whole number", fact.value);
                self.wrong(id.span(), &field, &problem, "a condition computes with whole numbers")
            })?;
            limits.insert(name.clone(), value);
            unverified |= fact.confidence == Confidence::Unverified;
        }
        Ok((limits, unverified))
    }

    fn condition(&self, own: &[String]) -> Result<Option<Expr>, CorpusError> {
        let Some(text) = &self.entry.when else { return Ok(None) };
        let help = "docs/isa-corpus-format.md lists the names and the grammar";
        let expr = Expr::parse(text.as_ref())
            .map_err(|error| self.wrong(text.span(), "when", &error.to_string(), help))?;
        match expr.axes().iter().find(|name| !variables::is_known(name, own)) {
            Some(name) => Err(self.wrong(text.span(), "when", &format!("unknown name `{name}`"), help)),
            None => Ok(Some(expr)),
        }
    }
}
