//! What `kernsmith isa check` finds beyond what cannot be read at all.

use std::path::Path;

use serde::Serialize;

use crate::corpus::Corpus;
use crate::error::CorpusError;
use crate::fact::Confidence;
use crate::rules::{Severity, run_examples};

/// One thing that is wrong, or worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// An error makes the check fail.
    pub severity: Severity,
    /// What it is about: `digests`, `examples`, `confidence`, `topics`.
    pub about: &'static str,
    /// What was found, with its place.
    pub message: String,
}

impl Corpus {
    /// Compares digests, runs the examples of every rule, and looks for facts that nobody finds.
    pub fn check(&self) -> Result<Vec<Finding>, CorpusError> {
        let mut findings = self.check_digests();
        let examples = run_examples(&self.root, &self.rules)?;
        findings.extend(examples.into_iter().map(|message| error("examples", message)));
        findings.extend(stray_examples(self).into_iter().map(|message| error("examples", message)));
        for rule in self.rules.iter().filter(|rule| rule.leans_on_unverified) {
            let message =
                format!("{}: rule `{}` leans on an unverified fact and refuses nothing", rule.place, rule.id);
            findings.push(warning("confidence", message));
        }
        findings.extend(self.unreached());
        Ok(findings)
    }

    /// How many facts there are of each confidence: verified, reported, unverified.
    pub fn confidence_counts(&self) -> [usize; 3] {
        let count = |confidence| self.facts().filter(|fact| fact.confidence == confidence).count();
        [Confidence::Verified, Confidence::Reported, Confidence::Unverified].map(count)
    }

    /// `manifest.json` with the digests of the files as they are.
    pub fn fresh_manifest(&self) -> String {
        let mut manifest = self.manifest.clone();
        manifest.digests.clone_from(&self.digests);
        serde_json::to_string_pretty(&manifest).map(|text| text + "\n").unwrap_or_default()
    }

    fn check_digests(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (file, digest) in &self.digests {
            let message = match self.manifest.digests.get(file) {
                Some(recorded) if recorded == digest => continue,
                Some(_) => format!("{file} is not the file that manifest.json was written for"),
                None => format!("manifest.json has no digest of {file}"),
            };
            let remedy = "read the change again, then run `kernsmith isa check --write`";
            findings.push(error("digests", format!("{message}; {remedy}")));
        }
        for file in self.manifest.digests.keys().filter(|file| !self.digests.contains_key(*file)) {
            findings
                .push(error("digests", format!("manifest.json has a digest of {file}, which is not used")));
        }
        findings
    }

    /// Sections that no topic leads to.
    fn unreached(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for chapter in &self.chapters {
            for section in &chapter.sections {
                let name = format!("{}#{}", chapter.id, section.anchor);
                if !self.topics.iter().any(|topic| topic.sections.contains(&name)) {
                    let message = format!("{}:{}: no topic leads to `{name}`", chapter.file, section.line);
                    findings.push(warning("topics", message));
                }
            }
        }
        findings
    }
}

/// Example files of rules that do not exist.
fn stray_examples(corpus: &Corpus) -> Vec<String> {
    let folder = corpus.root.join("rules/examples");
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut stray: Vec<String> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            corpus.rules.find(&id).is_none()
        })
        .map(|path| format!("{}: there is no rule of that name", shown(&path)))
        .collect();
    stray.sort();
    stray
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

const fn error(about: &'static str, message: String) -> Finding {
    Finding { severity: Severity::Error, about, message }
}

const fn warning(about: &'static str, message: String) -> Finding {
    Finding { severity: Severity::Warning, about, message }
}
