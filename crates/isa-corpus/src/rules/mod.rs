//! Hard rules of a target: what a source or a plan must not do, decided before anything is built.
//!
//! A rule is a pattern over the text, a condition over numbers, or both. The numbers come from the plan, the machine,
//! the binary (when there is one), the pattern's own named groups, and facts of the corpus. A rule that needs a number which is not
//! known yet is left undecided, and says so.

mod examples;
mod read;
mod source;
mod variables;

use std::collections::BTreeSet;
use std::path::Path;

use kernsmith_core::{Bindings, Expr, Language, Plan, Target};
use kernsmith_place::line_of;
use regex_lite::Regex;
use serde::Serialize;

use crate::corpus::Corpus;
use crate::error::CorpusError;

pub(crate) use examples::run_examples;
pub(crate) use read::{Known, parse};

/// What breaking a rule means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The candidate is refused.
    Error,
    /// The proposer is told.
    Warning,
}

impl Severity {
    /// The word in files and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// The text that a pattern is looked for in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LookIn {
    /// The source, comments aside.
    Source,
    /// The plan's compiler flags, one a line.
    Flags,
    /// The plan's promised instruction families, one a line.
    ExpectedInstructions,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name.
    pub id: String,
    /// What breaking it means.
    pub severity: Severity,
    /// What it holds for.
    pub targets: Vec<Target>,
    /// Languages that it looks at; empty: all.
    pub languages: Vec<Language>,
    /// What is wrong; `{name}` stands for a number.
    pub message: String,
    /// What to do instead.
    pub remedy: String,
    /// Id of its source.
    pub source: String,
    /// Facts of the corpus that it computes with, by the name used in the condition.
    pub facts: Vec<(String, String)>,
    /// Whether one of these facts is not verified, which makes an error a warning.
    pub leans_on_unverified: bool,
    pub(crate) look_in: LookIn,
    pub(crate) pattern: Option<Regex>,
    pub(crate) unless: Option<Regex>,
    pub(crate) when: Option<Expr>,
    /// Values of `facts`.
    pub(crate) limits: Bindings,
    /// `file:line` of the rule.
    pub(crate) place: String,
}

/// The rules of a corpus.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub(crate) rules: Vec<Rule>,
}

/// What is held against the rules.
#[derive(Debug)]
pub struct Inspection<'a> {
    /// What the code is for.
    pub target: &'a Target,
    /// What it is written in.
    pub language: Language,
    /// The source.
    pub source: &'a str,
    /// The plan.
    pub plan: &'a Plan,
    /// Features of the machine by the names of `/proc/cpuinfo`; `None` where the machine is not known.
    pub features: Option<&'a BTreeSet<String>>,
    /// Everything else that is known by number: `cores`, `registers`, `shared_bytes`, …; see the format page.
    pub numbers: Bindings,
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Id of the rule.
    pub rule: String,
    /// What it means.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do instead.
    pub remedy: String,
    /// Line of the source, from 1, where the pattern is in the source.
    pub line: Option<usize>,
    /// What the pattern found.
    pub found: String,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Checked {
    /// Broken rules, errors first, in the order of the rule files.
    pub violations: Vec<Violation>,
    /// Rules that were decided.
    pub decided: usize,
    /// Rules that need a number which is not known yet.
    pub undecided: Vec<String>,
}

impl Checked {
    /// The first broken rule that refuses the candidate.
    pub fn refusal(&self) -> Option<&Violation> {
        self.violations.iter().find(|violation| violation.severity == Severity::Error)
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule, self.message)?;
        if let Some(line) = self.line {
            write!(f, " (line {line}: `{}`)", self.found)?;
        }
        write!(f, "; {}", self.remedy)
    }
}

impl Rules {
    /// No rules: nothing is refused.
    pub fn none() -> Self {
        Self::default()
    }

    /// The rules of the corpus in a folder.
    pub fn open(root: &Path) -> Result<Self, CorpusError> {
        Corpus::open(root).map(|corpus| corpus.rules)
    }

    /// All rules, in the order of their files.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// The rule of that name.
    pub fn find(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    /// The rules of a target.
    pub fn of_target<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(move |rule| rule.targets.contains(target))
    }

    /// Holds a source and its plan against every rule of the target.
    pub fn check(&self, inspected: &Inspection<'_>) -> Checked {
        let mut checked = Checked::default();
        let code = source::without_comments(inspected.source);
        let numbers = variables::known(inspected);
        let fits = |rule: &&Rule| rule.languages.is_empty() || rule.languages.contains(&inspected.language);
        for rule in self.of_target(inspected.target).filter(fits) {
            match rule.decide(inspected, &code, &numbers) {
                Verdict::Undecided => checked.undecided.push(rule.id.clone()),
                Verdict::Kept => checked.decided += 1,
                Verdict::Broken(violation) => {
                    checked.decided += 1;
                    checked.violations.push(violation);
                }
            }
        }
        checked.violations.sort_by_key(|violation| violation.severity);
        checked
    }
}

enum Verdict {
    /// A number is not known.
    Undecided,
    Kept,
    Broken(Violation),
}

impl Rule {
    fn decide(&self, inspected: &Inspection<'_>, code: &str, known: &Bindings) -> Verdict {
        let joined;
        let text = match self.look_in {
            LookIn::Source => code,
            LookIn::Flags => {
                joined = inspected.plan.flags.join("\n");
                &joined
            }
            LookIn::ExpectedInstructions => {
                joined = inspected.plan.expected_instructions.join("\n");
                &joined
            }
        };
        if self.unless.as_ref().is_some_and(|unless| unless.is_match(text)) {
            return Verdict::Kept;
        }
        let mut numbers = known.clone();
        numbers.extend(self.limits.iter().map(|(name, value)| (name.clone(), *value)));
        variables::fill_absent(&mut numbers, self.when.as_ref(), inspected.features.is_some());
        let Some(pattern) = &self.pattern else {
            return match self.holds(&numbers) {
                None => Verdict::Undecided,
                Some(false) => Verdict::Kept,
                Some(true) => Verdict::Broken(self.violation(&numbers, None, "")),
            };
        };
        for found in pattern.captures_iter(text) {
            let mut numbers = numbers.clone();
            for name in pattern.capture_names().flatten() {
                let value = found.name(name).and_then(|group| group.as_str().parse().ok());
                numbers.extend(value.map(|value| (name.to_owned(), value)));
            }
            match (self.holds(&numbers), found.get(0)) {
                (None, _) => return Verdict::Undecided,
                (Some(true), Some(whole)) => {
                    let line = (self.look_in == LookIn::Source).then(|| line_of(text, whole.start()));
                    return Verdict::Broken(self.violation(&numbers, line, whole.as_str()));
                }
                _ => {}
            }
        }
        Verdict::Kept
    }

    /// Whether the condition holds; `None` when a number is missing. An overflow counts as not known.
    fn holds(&self, numbers: &Bindings) -> Option<bool> {
        let Some(when) = &self.when else { return Some(true) };
        if when.axes().iter().any(|name| !numbers.contains_key(*name)) {
            return None;
        }
        when.holds(numbers).ok()
    }

    fn violation(&self, numbers: &Bindings, line: Option<usize>, found: &str) -> Violation {
        let mut message = self.message.clone();
        for (name, value) in numbers {
            message = message.replace(&format!("{{{name}}}"), &value.to_string());
        }
        message = message.replace("{found}", found);
        let severity = if self.leans_on_unverified { Severity::Warning } else { self.severity };
        let (rule, remedy) = (self.id.clone(), self.remedy.clone());
        Violation { rule, severity, message, remedy, line, found: found.to_owned() }
    }
}
