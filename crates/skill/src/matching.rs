//! Which skills speak to an operation, a target and an axis of a strategy.

use kernsmith_core::Target;
use serde::Serialize;

use crate::manifest::TemplateEntry;
use crate::skills::{Skill, Skills};

/// What is looked for; what is `None` does not matter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// A contract by name.
    pub contract: Option<&'a str>,
    /// A family of contracts.
    pub family: Option<&'a str>,
    /// What the kernel is for.
    pub target: Option<&'a Target>,
    /// An axis of the strategy: a gene's name, a value of one, or a tag of the skill.
    pub axis: Option<&'a str>,
}

/// What a template says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TemplateSummary {
    /// `<skill>/<template>`.
    pub id: String,
    /// A few words.
    pub title: String,
    /// Why it should be fast.
    pub rationale: String,
    /// 1 sure to work … 5 delicate.
    pub difficulty: u8,
    /// Contracts by name.
    pub contracts: Vec<String>,
    /// Families of contracts.
    pub families: Vec<String>,
    /// Targets; a name may end in `*`.
    pub targets: Vec<String>,
    /// Features without which it is not offered.
    pub requires: String,
    /// Its genes by name.
    pub genes: Vec<String>,
}

/// A skill that fits.
#[derive(Debug, Clone)]
pub struct Matched<'a> {
    /// The skill.
    pub skill: &'a Skill,
    /// Its templates that fit; empty when only the guidance does.
    pub templates: Vec<TemplateSummary>,
    /// How closely it fits: 4 for the very contract, 2 for the family, 1 for the axis.
    pub score: u32,
}

impl Skills {
    /// The skills that fit, the closest first, equal ones by name.
    pub fn matching(&self, wanted: &Wanted<'_>) -> Vec<Matched<'_>> {
        let mut found: Vec<Matched<'_>> = self.iter().filter_map(|skill| matched(skill, wanted)).collect();
        found.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.skill.name.cmp(&b.skill.name)));
        found
    }
}

impl Skill {
    /// What its templates say of themselves.
    pub fn templates(&self) -> Vec<TemplateSummary> {
        self.entries.iter().map(|entry| summary(self, entry)).collect()
    }
}

fn matched<'a>(skill: &'a Skill, wanted: &Wanted<'_>) -> Option<Matched<'a>> {
    let mut best = skill_score(skill, wanted);
    let mut templates = Vec::new();
    for entry in &skill.entries {
        if let Some(score) = entry_score(skill, entry, wanted) {
            best = Some(best.unwrap_or(0).max(score));
            templates.push(summary(skill, entry));
        }
    }
    best.map(|score| Matched { skill, templates, score })
}

/// Whether a template fits, and how closely.
fn entry_score(skill: &Skill, entry: &TemplateEntry, wanted: &Wanted<'_>) -> Option<u32> {
    let operation = score_of(wanted, &entry.contracts, &entry.families)?;
    if !covers(entry.targets.as_ref(), wanted.target) {
        return None;
    }
    let Some(axis) = wanted.axis else { return Some(operation) };
    let in_gene = entry.genes.iter().any(|gene| {
        gene.name.as_ref() == axis || gene.values.as_ref().iter().any(|value| value.to_string() == axis)
    });
    (in_gene || skill.tags("axes").iter().any(|tag| tag == axis)).then_some(operation + 1)
}

/// Whether the guidance fits by the tags in the front matter's `metadata`; a skill with templates fits by these.
fn skill_score(skill: &Skill, wanted: &Wanted<'_>) -> Option<u32> {
    if !skill.entries.is_empty() {
        return None;
    }
    let operation = score_of(wanted, &skill.tags("contracts"), &skill.tags("families"))?;
    let targets = skill.tags("targets");
    if !targets.is_empty() && !covers(&targets, wanted.target) {
        return None;
    }
    match wanted.axis {
        None => Some(operation),
        Some(axis) => skill.tags("axes").iter().any(|tag| tag == axis).then_some(operation + 1),
    }
}

/// 4 for the very contract, 2 for its family, 0 where no operation is wanted.
fn score_of(wanted: &Wanted<'_>, contracts: &[String], families: &[String]) -> Option<u32> {
    let has =
        |list: &[String], word: Option<&str>| word.is_some_and(|word| list.iter().any(|one| one == word));
    if wanted.contract.is_none() && wanted.family.is_none() {
        return Some(0);
    }
    match (has(contracts, wanted.contract), has(families, wanted.family)) {
        (true, _) => Some(4),
        (false, true) => Some(2),
        (false, false) => None,
    }
}

fn covers(targets: &[String], wanted: Option<&Target>) -> bool {
    let Some(wanted) = wanted else { return true };
    let wanted = wanted.to_string();
    targets.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => wanted.starts_with(prefix),
        None => wanted == *pattern,
    })
}

fn summary(skill: &Skill, entry: &TemplateEntry) -> TemplateSummary {
    TemplateSummary {
        id: format!("{}/{}", skill.name, entry.name.as_ref()),
        title: entry.title.clone(),
        rationale: entry.rationale.clone(),
        difficulty: *entry.difficulty.as_ref(),
        contracts: entry.contracts.clone(),
        families: entry.families.clone(),
        targets: entry.targets.as_ref().clone(),
        requires: entry.requires.clone(),
        genes: entry.genes.iter().map(|gene| gene.name.as_ref().clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn skills_are_found_by_contract_family_target_and_axis() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("row-notes/SKILL.md");
        std::fs::create_dir_all(note.parent().unwrap()).unwrap();
        let head =
            "---\nname: row-notes\ndescription: words\nmetadata:\n  families: \"normalization, reduction\"\n";
        std::fs::write(&note, format!("{head}  targets: cpu-*\n  axes: tiling\nlicense: MIT\n---\nBody\n"))
            .unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../skills");
        let skills = Skills::open([folder.path().to_owned(), shipped]).unwrap();
        let names = |wanted: Wanted<'_>| -> Vec<String> {
            skills.matching(&wanted).iter().map(|matched| matched.skill.name.clone()).collect()
        };
        let gemm = Wanted { contract: Some("gemm_f32"), ..Wanted::default() };
        assert_eq!(names(gemm), ["cpu-gemm"]);
        let target = "cuda-sm_90a".parse().unwrap();
        assert!(names(Wanted { target: Some(&target), ..gemm }).is_empty());
        let matched = skills.matching(&Wanted { axis: Some("mr"), ..gemm });
        assert_eq!((matched[0].score, matched[0].templates.len()), (5, 2));
        let by_family = Wanted { family: Some("reduction"), axis: Some("tiling"), ..Wanted::default() };
        assert_eq!(names(by_family), ["row-notes"]);
        assert!(names(Wanted { axis: Some("nothing"), ..Wanted::default() }).is_empty());
        assert!(names(Wanted::default()).len() >= 5);
    }
}
