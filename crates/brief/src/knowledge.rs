//! What skills and the ISA corpus say about a strategy: packets within a budget.
//!
//! The order is fixed, and a prompt that is too long loses its last packets first: guidance of the closest skill, section by section,
//! of the next skills, then sections, rules and instructions of the corpus by how well they answer. Skills get half of
//! the budget at most; what does not fit is left out, and smaller packets after it may still fit.

use kernsmith_core::Target;
use kernsmith_core::brief::Packet;
use kernsmith_core::prompt::tokens;
use kernsmith_isa_corpus::{Query, Search};
use kernsmith_op_contract::Contract;
use kernsmith_skill::{Matched, Skills, Wanted};

use crate::known::Known;

/// Bytes of one token where a budget in tokens becomes one in bytes.
const BYTES_PER_TOKEN: usize = 3;
/// Skills that are shown.
const SHOWN_SKILLS: usize = 3;

/// Skills and the ISA corpus, and how much of them a brief may hold.
#[derive(Debug, Default)]
pub struct Knowledge {
    skills: Option<Skills>,
    corpus: Option<Search>,
    budget_tokens: u64,
}

/// What packets are wanted about.
pub(crate) struct Subject<'a> {
    pub(crate) contract: &'a Contract,
    pub(crate) target: &'a Target,
    /// Words of the strategy.
    pub(crate) words: &'a str,
}

impl Knowledge {
    /// Knowledge of which at most `budget_tokens` (estimated) enter one brief; without a corpus there are no facts.
    pub const fn new(skills: Skills, corpus: Option<Search>, budget_tokens: u64) -> Self {
        Self { skills: Some(skills), corpus, budget_tokens }
    }

    /// The corpus, where there is one.
    pub(crate) const fn corpus(&self) -> Option<&Search> {
        self.corpus.as_ref()
    }

    /// The packets about a strategy, most important first.
    pub(crate) fn packets(&self, subject: &Subject<'_>) -> Vec<Packet> {
        let known = Known::new(subject.contract);
        let mut packets = self.guidance(subject, &known);
        let used: u64 = packets.iter().map(length).sum();
        packets.extend(self.facts(subject, &known, self.budget_tokens.saturating_sub(used)));
        packets
    }

    fn guidance(&self, subject: &Subject<'_>, known: &Known<'_>) -> Vec<Packet> {
        let wanted = Wanted {
            contract: Some(&subject.contract.name),
            family: Some(&subject.contract.family),
            target: Some(subject.target),
            axis: None,
        };
        let matched = self.skills.as_ref().map(|skills| skills.matching(&wanted)).unwrap_or_default();
        let mut room = self.budget_tokens / 2;
        let mut packets = Vec::new();
        for packet in matched.iter().take(SHOWN_SKILLS).flat_map(|matched| sections(matched, known)) {
            let length = length(&packet);
            if length <= room {
                room -= length;
                packets.push(packet);
            }
        }
        packets
    }

    fn facts(&self, subject: &Subject<'_>, known: &Known<'_>, room: u64) -> Vec<Packet> {
        let Some(corpus) = &self.corpus else { return Vec::new() };
        let words = format!("{} {} {}", subject.words, subject.contract.family, subject.contract.summary);
        let query = Query {
            words: &words,
            target: Some(subject.target),
            budget_bytes: usize::try_from(room).unwrap_or(0).saturating_mul(BYTES_PER_TOKEN),
        };
        // The index lies in memory and every word is quoted: a question that fails is answered by nothing.
        let Ok(found) = corpus.packet(&query) else { return Vec::new() };
        let source = format!("isa-corpus {}", found.version);
        let mut left = room;
        let packets = found.pieces.into_iter().map(|piece| Packet {
            title: piece.id,
            source: source.clone(),
            text: public(piece.text.trim_end(), known),
        });
        packets
            .filter(|packet| {
                let fits = length(packet) <= left;
                left -= if fits { length(packet) } else { 0 };
                fits
            })
            .collect()
    }
}

/// The guidance of a skill by its second-level headings, and what its templates are about.
fn sections(matched: &Matched<'_>, known: &Known<'_>) -> Vec<Packet> {
    let skill = matched.skill;
    let source = format!("skill {}", skill.name);
    let mut parts = vec![("guidance".to_owned(), String::new())];
    for line in skill.guidance.lines() {
        match line.strip_prefix("## ") {
            Some(heading) => parts.push((heading.trim().to_owned(), String::new())),
            None => {
                if let Some((_, text)) = parts.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
    }
    let templates: Vec<String> = matched
        .templates
        .iter()
        .map(|template| format!("- {}: {}. {}", template.id, template.title, template.rationale))
        .collect();
    parts.push(("what the autotuner's templates do".to_owned(), templates.join("\n")));
    parts
        .into_iter()
        .map(|(title, text)| Packet { title, source: source.clone(), text: public(text.trim(), known) })
        .filter(|packet| !packet.text.is_empty())
        .collect()
}

/// The lines that do not give a held-out shape away.
fn public(text: &str, known: &Known<'_>) -> String {
    text.lines().filter(|line| !known.gives_away(line)).collect::<Vec<_>>().join("\n")
}

fn length(packet: &Packet) -> u64 {
    tokens(&packet.title) + tokens(&packet.source) + tokens(&packet.text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use kernsmith_isa_corpus::Corpus;

    use super::*;

    fn root(folder: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder)
    }

    fn knowledge(budget_tokens: u64) -> Knowledge {
        let corpus = Arc::new(Corpus::open(&root("isa-corpus")).unwrap());
        let skills = Skills::open([root("skills")]).unwrap();
        Knowledge::new(skills, Some(Search::new(corpus, Vec::new()).unwrap()), budget_tokens)
    }

    fn packets(budget_tokens: u64, contract: &str, words: &str) -> Vec<Packet> {
        let contract = Contract::load(&root("op-contracts").join(contract)).unwrap();
        let target = "cpu-x86_64".parse().unwrap();
        knowledge(budget_tokens).packets(&Subject { contract: &contract, target: &target, words })
    }

    #[test]
    fn a_strategy_gets_the_skill_of_its_contract_and_facts_about_its_words() {
        let found = packets(4000, "gemm_f32", "register tile avx512 fma, packed panels");
        assert_eq!(found[0].source, "skill cpu-gemm");
        assert!(found.iter().any(|packet| packet.source.starts_with("isa-corpus")), "{found:?}");
        let names = |found: &[Packet]| -> Vec<String> { found.iter().map(|p| p.title.clone()).collect() };
        let other = packets(4000, "rmsnorm_f32", "streaming stores, row in registers");
        assert_eq!(other[0].source, "skill cpu-row-kernels");
        assert_ne!(names(&found), names(&other));
    }

    #[test]
    fn the_budget_is_kept_and_a_smaller_one_keeps_what_matters_most() {
        let words = "register tile avx512 fma";
        let length_of = |found: &[Packet]| found.iter().map(length).sum::<u64>();
        let mut least = usize::MAX;
        for budget in [8000, 3000, 1500, 700, 200, 0] {
            let found = packets(budget, "gemm_f32", words);
            assert!(length_of(&found) <= budget, "{} over {budget}", length_of(&found));
            assert_eq!(found, packets(budget, "gemm_f32", words), "equal questions have equal answers");
            assert!(found.len() <= least);
            least = found.len();
        }
        assert_eq!(packets(0, "gemm_f32", words), []);
        let first = |budget| packets(budget, "gemm_f32", words).first().map(|packet| packet.title.clone());
        assert_eq!(first(3000), first(8000));
    }

    #[test]
    fn nothing_in_a_packet_gives_a_held_out_shape_away() {
        for name in ["rmsnorm_f32", "softmax_f32", "gemm_f32", "transpose_f32", "cumsum_f32"] {
            let contract = Contract::load(&root("op-contracts").join(name)).unwrap();
            let known = Known::new(&contract);
            for packet in packets(20_000, name, "everything about rows, columns and vectors") {
                let told = packet.text.lines().find(|line| known.gives_away(line));
                assert_eq!(told, None, "{name}: {}", packet.title);
            }
        }
    }
}
