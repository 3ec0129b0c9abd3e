//! `manifest.json`: what belongs to the corpus, and the digest of each file.

use std::collections::BTreeMap;
use std::path::Path;

use kernsmith_core::{Digest, Target};
use kernsmith_place::Text;
use serde::{Deserialize, Serialize};

use crate::error::CorpusError;

/// The newest manifest format that this version reads.
pub(crate) const FORMAT: u32 = 1;

/// `manifest.json` as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    /// Version of the content; a date.
    pub(crate) version: String,
    pub(crate) targets: Vec<TargetInfo>,
    pub(crate) chapters: Vec<ChapterEntry>,
    pub(crate) rules: Vec<RuleFile>,
    /// Digest of every file by its path below the folder.
    pub(crate) digests: BTreeMap<String, Digest>,
}

/// A target that the corpus knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetInfo {
    /// Its name.
    pub target: Target,
    /// The machine in a few words.
    pub title: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChapterEntry {
    pub(crate) id: String,
    pub(crate) file: String,
    pub(crate) title: String,
    pub(crate) targets: Vec<Target>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleFile {
    pub(crate) file: String,
    pub(crate) targets: Vec<Target>,
}

impl Manifest {
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, CorpusError> {
        let file = Text { path, text };
        let manifest: Self = serde_json::from_str(text).map_err(|error| -> CorpusError {
            let help = "docs/isa-corpus-format.md lists the fields".to_owned();
            file.problem(Some(at_line(text, error.line())), "", error.to_string(), help)
        })?;
        if !(1..=FORMAT).contains(&manifest.format) {
            let problem = format!("format {} is not known", manifest.format);
            let help = format!("this program reads 1 to {FORMAT}");
            return Err(file.problem(place(text, "format"), "format", problem, help));
        }
        manifest.check_targets(file)?;
        Ok(manifest)
    }

    fn check_targets(&self, file: Text<'_>) -> Result<(), CorpusError> {
        let known = |target: &Target| self.targets.iter().any(|info| info.target == *target);
        let chapters = self.chapters.iter().map(|chapter| (&chapter.id, &chapter.targets));
        let rules = self.rules.iter().map(|rules| (&rules.file, &rules.targets));
        for (name, targets) in chapters.chain(rules) {
            if let Some(target) = targets.iter().find(|target| !known(target)) {
                let problem = format!("`{name}` is for `{target}`, which `targets` does not list");
                let help = "add the target, or correct the name".to_owned();
                return Err(file.problem(place(file.text, name), "targets", problem, help));
            }
        }
        for (index, chapter) in self.chapters.iter().enumerate() {
            if self.chapters[..index].iter().any(|other| other.id == chapter.id) {
                let problem = format!("two chapters are called `{}`", chapter.id);
                let help = "give each chapter an id of its own".to_owned();
                return Err(file.problem(place(file.text, &chapter.id), "chapters", problem, help));
            }
        }
        Ok(())
    }
}

/// The digest that `manifest.json` must give for a file's text.
pub fn digest_of(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn at_line(text: &str, line: usize) -> std::ops::Range<usize> {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let length = text[start..].lines().next().map_or(0, str::len);
    start..start + length
}

/// Where a JSON string stands.
fn place(text: &str, word: &str) -> Option<std::ops::Range<usize>> {
    let start = text.find(&format!("\"{word}\""))?;
    Some(start..start + word.len() + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{
  "format": 1,
  "version": "2026-11-21",
  "targets": [{"target": "hip-gfx942", "title": "MI300X"}],
  "chapters": [{"id": "gfx942", "file": "chapters/gfx942.md", "title": "t", "targets": ["hip-gfx942"]}],
  "rules": [],
  "digests": {}
}"#;

    #[test]
    fn mistakes_are_named_with_file_line_and_field() {
        assert!(Manifest::parse(Path::new("manifest.json"), GOOD).is_ok());
        let cases = [
            ("\"format\": 1", "\"format\": 7", "manifest.json:2: format: format 7 is not known"),
            ("\"version\"", "\"versoin\"", "manifest.json:3"),
            ("[\"hip-gfx942\"]", "[\"hip-gfx950\"]", "manifest.json:5: targets"),
            ("\"hip-gfx942\",", "\"gfx942\",", "manifest.json:4"),
        ];
        for (from, to, expected) in cases {
            assert!(GOOD.contains(from), "{from}");
            let text = GOOD.replacen(from, to, 1);
            let error = Manifest::parse(Path::new("manifest.json"), &text).unwrap_err();
            assert!(error.to_string().contains(expected), "{to}: {error}");
        }
    }
}
