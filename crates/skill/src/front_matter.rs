//! The head of `SKILL.md`: the small part of YAML that the Agent-Skills format needs.
//!
//! Read are top-level `key: value` lines, quoted or plain, folded onto indented continuation lines, and the pairs of the
//! nested map `metadata`; other nested maps are skipped.

use std::collections::BTreeMap;
use std::path::Path;

use kernsmith_place::Text;

use crate::error::SkillError;

const MAX_NAME: usize = 64;
const MAX_DESCRIPTION: usize = 1024;

/// Name and description of a skill, and the guidance after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontMatter {
    /// The skill's name; equal to the name of its folder.
    pub name: String,
    /// What the skill does and when to use it.
    pub description: String,
    /// The pairs of `metadata`.
    pub metadata: BTreeMap<String, String>,
    /// The Markdown after the front matter.
    pub body: String,
}

impl FrontMatter {
    /// Reads the text of a `SKILL.md` and checks its two required fields.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, SkillError> {
        let file = Text { path, text };
        let (head, body) = split(text).ok_or_else(|| -> SkillError {
            let help = "begin the file with `---`, `name: …`, `description: …`, `---`".to_owned();
            file.problem(Some(0..0), "", "there is no front matter", help)
        })?;
        let name = required(&file, head, "name")?;
        check_name(&file, head, &name)?;
        let description = required(&file, head, "description")?;
        if description.len() > MAX_DESCRIPTION {
            let problem = format!("{} bytes are more than {MAX_DESCRIPTION}", description.len());
            return Err(file.problem(place(text, "description"), "description", problem, None));
        }
        Ok(Self { name, description, metadata: pairs(head, "metadata"), body: body.trim_start().to_owned() })
    }
}

/// The text between the two `---` lines, and the text after them.
fn split(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("---\n")?;
    let end = rest.find("\n---\n").or_else(|| rest.strip_suffix("\n---").map(str::len))?;
    Some((&rest[..=end], rest.get(end + 5..).unwrap_or_default()))
}

fn required(file: &Text<'_>, head: &str, key: &str) -> Result<String, SkillError> {
    let value = value_of(head, key).filter(|value| !value.is_empty());
    value.ok_or_else(|| {
        let help = format!("add a line `{key}: …` between the `---` lines");
        file.problem(Some(0..3), key, "the front matter does not give it", help)
    })
}

fn value_of(head: &str, key: &str) -> Option<String> {
    let mut lines = head.lines().skip_while(|line| line_value(line, key).is_none());
    let first = line_value(lines.next()?, key)?.trim();
    let marker = matches!(first, ">" | ">-" | "|" | "|-");
    let continued = lines.take_while(|line| line.starts_with(' ') || line.trim().is_empty());
    let parts = std::iter::once(if marker { "" } else { first }).chain(continued.map(str::trim));
    let joined = parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    Some(unquote(&joined).to_owned())
}

/// The indented `key: value` lines below a key.
fn pairs(head: &str, key: &str) -> BTreeMap<String, String> {
    let lines = head.lines().skip_while(|line| line_value(line, key).is_none()).skip(1);
    let nested = lines.take_while(|line| line.starts_with(' ') || line.trim().is_empty());
    let split = nested.filter_map(|line| line.trim().split_once(':'));
    split.map(|(key, value)| (key.trim().to_owned(), unquote(value.trim()).to_owned())).collect()
}

fn line_value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.strip_prefix(':')
}

fn unquote(value: &str) -> &str {
    let quoted = |quote| value.strip_prefix(quote).and_then(|inner| inner.strip_suffix(quote));
    quoted('"').or_else(|| quoted('\'')).unwrap_or(value)
}

fn place(text: &str, key: &str) -> Option<std::ops::Range<usize>> {
    let start = text.find(&format!("\n{key}:"))? + 1;
    Some(start..start + key.len())
}

fn check_name(file: &Text<'_>, head: &str, name: &str) -> Result<(), SkillError> {
    let words = name
        .split('-')
        .all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
    let folder = file.path.parent().and_then(Path::file_name).and_then(|folder| folder.to_str());
    let problem = match folder {
        _ if !words || name.len() > MAX_NAME => format!("`{name}` is not a skill name"),
        Some(folder) if folder != name => format!("`{name}` is not the name of the folder, `{folder}`"),
        _ => return Ok(()),
    };
    let help = format!("use lower-case words and digits joined by single `-`, at most {MAX_NAME} bytes");
    debug_assert!(file.text.contains(head));
    Err(file.problem(place(file.text, "name"), "name", problem, help))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<FrontMatter, SkillError> {
        FrontMatter::parse(Path::new("skills/row-kernels/SKILL.md"), text)
    }

    #[test]
    fn quotes_folds_and_nested_maps_are_understood() {
        let text = "---\nname: row-kernels\nmetadata:\n  description: no\ndescription: >-\n  one\n  two\n---\n\n# Body\n";
        let matter = read(text).unwrap();
        assert_eq!(matter.description, "one two");
        assert_eq!(matter.body, "# Body\n");
        assert_eq!(read("---\nname: 'row-kernels'\ndescription: \"a: b\"\n---").unwrap().description, "a: b");
    }

    #[test]
    fn a_wrong_name_is_shown_with_its_line() {
        let error = read("---\ndescription: d\nname: Row_Kernels\n---\n").unwrap_err();
        assert!(error.to_string().contains("SKILL.md:3: name"), "{error}");
        let error = read("---\nname: other\ndescription: d\n---\n").unwrap_err();
        assert!(error.to_string().contains("not the name of the folder"), "{error}");
    }

    #[test]
    fn missing_fields_are_named() {
        assert!(read("# no head").unwrap_err().to_string().contains("no front matter"));
        let error = read("---\nname: row-kernels\n---\n").unwrap_err();
        assert!(error.to_string().contains("description"), "{error}");
    }
}
