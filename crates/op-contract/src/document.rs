//! A walker over TOML that remembers where everything stands and collects every mistake.
//!
//! serde stops at the first mistake; people who write a contract want all of them at once, so the tree with spans is
//! walked by hand. A getter that finds something wrong reports it and returns `None`; the caller goes on.

use std::ops::Range;
use std::sync::Arc;

use miette::NamedSource;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Problem;

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// Where something stands: the field's path and the bytes of the file.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) field: String,
    pub(crate) span: Range<usize>,
}

/// The mistakes found so far in one file.
#[derive(Debug)]
pub(crate) struct Report {
    name: String,
    text: Arc<str>,
    problems: Vec<Problem>,
}

/// One table of the file.
#[derive(Debug, Clone)]
pub(crate) struct Section<'a> {
    pub(crate) place: Place,
    pub(crate) table: &'a DeTable<'a>,
}

impl Place {
    /// The place of a part of this field.
    pub(crate) fn join(&self, key: &str, span: Range<usize>) -> Self {
        let field = if self.field.is_empty() { key.to_owned() } else { format!("{}.{key}", self.field) };
        Self { field, span }
    }

    fn index(&self, index: usize, span: Range<usize>) -> Self {
        Self { field: format!("{}[{index}]", self.field), span }
    }
}

impl Report {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: text.into(), problems: Vec::new() }
    }

    /// Notes a mistake. `fix` may be empty when no remedy is known.
    pub(crate) fn add(&mut self, place: &Place, message: impl Into<String>, fix: impl Into<String>) {
        let fix = fix.into();
        let start = place.span.start.min(self.text.len());
        let end = place.span.end.clamp(start, self.text.len());
        let before = self.text.as_bytes().get(..start).unwrap_or_default();
        self.problems.push(Problem {
            file: NamedSource::new(&self.name, Arc::clone(&self.text)).with_language("TOML"),
            line: 1 + before.split(|byte| *byte == b'\n').count() - 1,
            field: if place.field.is_empty() { "(file)".to_owned() } else { place.field.clone() },
            message: message.into(),
            fix: (!fix.is_empty()).then_some(fix),
            span: (start..end).into(),
        });
    }

    /// The text of the file.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// The mistakes in file order.
    pub(crate) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.span.offset());
        self.problems
    }

    fn wrong_type(&mut self, place: &Place, expected: &str, found: &DeValue<'_>) {
        self.add(place, format!("expected {expected}, found {}", found.type_str()), "");
    }
}

impl<'a> Section<'a> {
    /// The whole file as a section; reports keys that are not `known`.
    pub(crate) fn root(report: &mut Report, table: &'a Spanned<DeTable<'a>>, known: &[&str]) -> Self {
        let place = Place { field: String::new(), span: 0..0 };
        let section = Self { place, table: table.get_ref() };
        section.refuse_unknown(report, known);
        section
    }

    fn open(
        report: &mut Report,
        place: Place,
        value: &'a Spanned<DeValue<'a>>,
        known: &[&str],
    ) -> Option<Self> {
        let Some(table) = value.get_ref().as_table() else {
            report.wrong_type(&place, "a table", value.get_ref());
            return None;
        };
        let section = Self { place, table };
        section.refuse_unknown(report, known);
        Some(section)
    }

    fn refuse_unknown(&self, report: &mut Report, known: &[&str]) {
        if known.is_empty() {
            return;
        }
        for (key, _) in self.table {
            if !known.contains(&key.get_ref().as_ref()) {
                let fix = match nearest(key.get_ref(), known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("legal keys: {}", known.join(", ")),
                };
                let message = format!("unknown key `{}`", key.get_ref());
                report.add(&self.place.join(key.get_ref(), key.span()), message, fix);
            }
        }
    }

    /// The value of a key, if it is there.
    pub(crate) fn get(&self, key: &str) -> Option<(Place, &'a Spanned<DeValue<'a>>)> {
        let value = self.table.get(key)?;
        Some((self.place.join(key, value.span()), value))
    }

    fn require(
        &self,
        report: &mut Report,
        key: &str,
        example: &str,
    ) -> Option<(Place, &'a Spanned<DeValue<'a>>)> {
        let found = self.get(key);
        if found.is_none() {
            let place = self.place.join(key, self.place.span.clone());
            report.add(&place, format!("`{key}` is missing"), format!("add `{key} = {example}`"));
        }
        found
    }

    /// A string that must be there; `example` is the TOML text that the message proposes.
    pub(crate) fn text(&self, report: &mut Report, key: &str, example: &str) -> Option<Located<String>> {
        let (place, value) = self.require(report, key, example)?;
        text(report, place, value)
    }

    /// A string that may be absent.
    pub(crate) fn optional_text(&self, report: &mut Report, key: &str) -> Option<Located<String>> {
        let (place, value) = self.get(key)?;
        text(report, place, value)
    }

    /// An integer that may be absent.
    pub(crate) fn optional_integer(&self, report: &mut Report, key: &str) -> Option<Located<i64>> {
        let (place, value) = self.get(key)?;
        integer(report, place, value)
    }

    /// A number that may be absent; integers count.
    pub(crate) fn optional_number(&self, report: &mut Report, key: &str) -> Option<Located<f64>> {
        let (place, value) = self.get(key)?;
        number(report, place, value)
    }

    /// A number that must be there.
    pub(crate) fn number(&self, report: &mut Report, key: &str, example: &str) -> Option<Located<f64>> {
        let (place, value) = self.require(report, key, example)?;
        number(report, place, value)
    }

    /// A truth value; absent is false.
    pub(crate) fn flag(&self, report: &mut Report, key: &str) -> bool {
        let Some((place, value)) = self.get(key) else { return false };
        value.get_ref().as_bool().unwrap_or_else(|| {
            report.wrong_type(&place, "true or false", value.get_ref());
            false
        })
    }

    /// The items of an array with their places; absent is empty.
    pub(crate) fn items(&self, report: &mut Report, key: &str) -> Vec<(Place, &'a Spanned<DeValue<'a>>)> {
        let Some((place, value)) = self.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            report.wrong_type(&place, "an array", value.get_ref());
            return Vec::new();
        };
        array.iter().enumerate().map(|(index, item)| (place.index(index, item.span()), item)).collect()
    }

    /// An array of strings; absent is empty.
    pub(crate) fn texts(&self, report: &mut Report, key: &str) -> Vec<Located<String>> {
        let items = self.items(report, key);
        items.into_iter().filter_map(|(place, item)| text(report, place, item)).collect()
    }

    /// An array of tables, each with only the `known` keys; absent is empty.
    pub(crate) fn sections(&self, report: &mut Report, key: &str, known: &[&str]) -> Vec<Self> {
        let items = self.items(report, key);
        items.into_iter().filter_map(|(place, item)| Self::open(report, place, item, known)).collect()
    }

    /// A table that must be there; no `known` keys means that any key is legal.
    pub(crate) fn section(
        &self,
        report: &mut Report,
        key: &str,
        example: &str,
        known: &[&str],
    ) -> Option<Self> {
        let (place, value) = self.require(report, key, example)?;
        Self::open(report, place, value, known)
    }

    /// A table that may be absent.
    pub(crate) fn optional_section(&self, report: &mut Report, key: &str, known: &[&str]) -> Option<Self> {
        let (place, value) = self.get(key)?;
        Self::open(report, place, value, known)
    }

    /// Every key of a table with its value's place.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, Place, &'a Spanned<DeValue<'a>>)> {
        self.table.iter().map(|(key, value)| {
            let key: &str = key.get_ref().as_ref();
            (key, self.place.join(key, value.span()), value)
        })
    }
}

/// Reads a string.
pub(crate) fn text(
    report: &mut Report,
    place: Place,
    value: &Spanned<DeValue<'_>>,
) -> Option<Located<String>> {
    let Some(text) = value.get_ref().as_str() else {
        report.wrong_type(&place, "a string", value.get_ref());
        return None;
    };
    Some(Located { value: text.to_owned(), place })
}

/// Reads an integer.
pub(crate) fn integer(
    report: &mut Report,
    place: Place,
    value: &Spanned<DeValue<'_>>,
) -> Option<Located<i64>> {
    let Some(integer) = value.get_ref().as_integer() else {
        report.wrong_type(&place, "an integer", value.get_ref());
        return None;
    };
    match i64::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(value) => Some(Located { value, place }),
        Err(error) => {
            report.add(&place, error.to_string(), "use a value within 64 bits");
            None
        }
    }
}

fn number(report: &mut Report, place: Place, value: &Spanned<DeValue<'_>>) -> Option<Located<f64>> {
    let parsed = match value.get_ref() {
        DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
        DeValue::Integer(_) => return Some(integer(report, place, value)?.map(|value| value as f64)),
        other => {
            report.wrong_type(&place, "a number", other);
            return None;
        }
    };
    let finite = parsed.filter(|value| value.is_finite());
    if finite.is_none() {
        report.add(&place, "the value is not finite", "use a finite number");
    }
    finite.map(|value| Located { value, place })
}

/// Reads a value with serde; what serde says is reported at the narrowest place it names.
pub(crate) fn decode<'a, T: Deserialize<'a>>(
    report: &mut Report,
    place: &Place,
    value: &Spanned<DeValue<'a>>,
) -> Option<T> {
    match T::deserialize(value.clone().into_deserializer()) {
        Ok(decoded) => Some(decoded),
        Err(error) => {
            let span = error.span().unwrap_or_else(|| place.span.clone());
            report.add(&Place { field: place.field.clone(), span }, error.message().trim(), "");
            None
        }
    }
}

impl<T> Located<T> {
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: change(self.value), place: self.place }
    }
}

/// The nearest known word, if one is near enough to be a slip of the pen.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let limit = 1 + word.len() / 4;
    let distances = known.iter().map(|candidate| (edit_distance(word, candidate), *candidate));
    distances.filter(|(distance, _)| *distance <= limit).min().map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, one row at a time.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_does_not() {
        assert_eq!(nearest("toleranse", &["axis", "tolerance"]), Some("tolerance"));
        assert_eq!(nearest("inputs", &["input", "output"]), Some("input"));
        assert_eq!(nearest("zebra", &["input", "output"]), None);
    }
}
