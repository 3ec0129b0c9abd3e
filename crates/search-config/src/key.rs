//! Keys and what is legal for them.

use std::fmt;

use crate::value::{ByteCount, Seed};

/// One key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// The table that it stands in.
    pub section: &'static str,
    /// Its name in that table.
    pub name: &'static str,
    /// What is legal.
    pub rule: Rule,
}

/// What is legal for a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// A number between two others, both included.
    Number(f64, f64),
    /// A whole number between two others, both included.
    Whole(u64, u64),
    /// A size in bytes between two others, both included.
    Size(u64, u64),
    /// `true` or `false`.
    Flag,
    /// A whole number or `random`.
    Seed,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any text.
    Text,
    /// A list of texts.
    List,
}

impl Key {
    /// `section.name`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("KERNSMITH_{}_{}", self.section, self.name).to_uppercase()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(low, high) => write!(f, "a number from {low} to {high}"),
            Self::Whole(low, high) => write!(f, "a whole number from {low} to {high}"),
            Self::Size(low, high) => write!(f, "a size from {} to {}", ByteCount(*low), ByteCount(*high)),
            Self::Flag => f.write_str("true or false"),
            Self::Seed => f.write_str("\"random\" or a whole number from 0 up"),
            Self::Word(words) => write!(f, "one of \"{}\"", words.join("\", \"")),
            Self::Text => f.write_str("a text in quotes"),
            Self::List => f.write_str("a list of texts, such as [\"one\", \"two\"]"),
        }
    }
}

/// A value that can be held against a rule.
pub(crate) trait Legal {
    fn is_legal(&self, rule: &Rule) -> bool;
}

impl Legal for f64 {
    fn is_legal(&self, rule: &Rule) -> bool {
        matches!(rule, Rule::Number(low, high) if (low..=high).contains(&self))
    }
}

impl Legal for u64 {
    fn is_legal(&self, rule: &Rule) -> bool {
        matches!(rule, Rule::Whole(low, high) if (low..=high).contains(&self))
    }
}

impl Legal for u32 {
    fn is_legal(&self, rule: &Rule) -> bool {
        u64::from(*self).is_legal(rule)
    }
}

impl Legal for ByteCount {
    fn is_legal(&self, rule: &Rule) -> bool {
        matches!(rule, Rule::Size(low, high) if (low..=high).contains(&&self.0))
    }
}

impl Legal for bool {
    fn is_legal(&self, rule: &Rule) -> bool {
        matches!(rule, Rule::Flag)
    }
}

impl Legal for Seed {
    fn is_legal(&self, rule: &Rule) -> bool {
        matches!(rule, Rule::Seed)
    }
}

impl Legal for String {
    fn is_legal(&self, rule: &Rule) -> bool {
        match rule {
            Rule::Word(words) => words.contains(&self.as_str()),
            Rule::Text => !self.contains('\0'),
            _ => false,
        }
    }
}

impl Legal for Vec<String> {
    fn is_legal(&self, rule: &Rule) -> bool {
        matches!(rule, Rule::List)
    }
}

/// Every key, in the order of `default.toml`.
pub fn keys() -> Vec<Key> {
    crate::section::Layer::keys()
}

/// The candidate closest to `wrong`, where one is close enough to be meant.
pub(crate) fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (distance(wrong, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 2).max(2))
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements that make one word of the other (Levenshtein, 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_only_when_it_is_near() {
        let words = ["wall_seconds", "candidates", "evaluations"];
        assert_eq!(nearest("wall_second", words), Some("wall_seconds"));
        assert_eq!(nearest("canddates", words), Some("candidates"));
        assert_eq!(nearest("zzzzzzzzzzzz", words), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn no_two_keys_share_a_variable() {
        let mut variables: Vec<String> = keys().iter().map(Key::variable).collect();
        let count = variables.len();
        variables.sort();
        variables.dedup();
        assert_eq!(variables.len(), count);
        assert!(variables.contains(&"KERNSMITH_BUDGET_WALL_SECONDS".to_owned()));
    }
}
