//! A focused packet: the few sections, facts and rules that answer some words, within a budget of bytes.
//!
//! What does not fit is cut in a fixed order: the least telling section first, within a section the prose before the facts
//! that were asked for, rules and imported instructions after the sections.

use std::collections::BTreeSet;

use kernsmith_core::Target;
use serde::Serialize;

use crate::error::CorpusError;
use crate::fact::{Confidence, Fact};
use crate::index::{Hit, Kind, Search};

/// Bytes that count as one token when a budget is given in tokens. An estimate: English prose has about 4.
pub const BYTES_PER_TOKEN: usize = 4;
/// Sections of a packet, at most.
const MAX_SECTIONS: usize = 6;
/// A section that scores less than this part of the best one is left out.
const LEAST_PART: f64 = 0.35;
const MAX_RULES: usize = 6;
const MAX_INSTRUCTIONS: usize = 12;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// Words, as one would type them.
    pub words: &'a str,
    /// Only what holds for this target; `None`: everything.
    pub target: Option<&'a Target>,
    /// Bytes of text, at most.
    pub budget_bytes: usize,
}

/// What a piece of a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PieceKind {
    /// Prose and facts of a section.
    Section,
    /// A hard rule.
    Rule,
    /// An instruction of an imported instruction set.
    Instruction,
}

/// One piece of a packet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Piece {
    /// What it is.
    pub kind: PieceKind,
    /// `<chapter>#<section>`, the rule's id, or the instruction's name.
    pub id: String,
    /// How well it answers; larger is better, comparable within one packet.
    pub score: f64,
    /// Ids of the facts in it.
    pub facts: Vec<String>,
    /// How many of them are not verified.
    pub unverified: usize,
    /// The text.
    pub text: String,
}

/// What answers a query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Packet {
    /// Version of the corpus.
    pub version: String,
    /// Bytes of text that were allowed.
    pub budget_bytes: usize,
    /// Bytes of text that are used.
    pub bytes: usize,
    /// The pieces, best first.
    pub pieces: Vec<Piece>,
    /// What answers too and did not fit, by id.
    pub left_out: Vec<String>,
}

impl Packet {
    /// The text, ready to be put into a prompt.
    pub fn to_text(&self) -> String {
        self.pieces.iter().map(|piece| piece.text.as_str()).collect()
    }
}

impl Search {
    /// The packet that answers some words.
    pub fn packet(&self, query: &Query<'_>) -> Result<Packet, CorpusError> {
        let hits = self.hits(query.words, query.target)?;
        let of = |kind| hits.iter().copied().filter(move |hit| hit.kind == kind);
        let mut builder = Builder {
            search: self,
            query,
            asked: of(Kind::Fact).map(|hit| (hit.first, hit.second)).collect(),
            packet: Packet {
                version: self.corpus.version.clone(),
                budget_bytes: query.budget_bytes,
                bytes: 0,
                pieces: Vec::new(),
                left_out: Vec::new(),
            },
        };
        for hit in self.best_sections(&hits) {
            builder.section(hit);
        }
        of(Kind::Rule).take(MAX_RULES).for_each(|hit| builder.rule(hit));
        of(Kind::Instruction).take(MAX_INSTRUCTIONS).for_each(|hit| builder.instruction(hit));
        Ok(builder.packet)
    }

    /// Sections by their own score and that of the best fact in them.
    fn best_sections(&self, hits: &[Hit]) -> Vec<Hit> {
        let mut sections: Vec<Hit> = hits.iter().copied().filter(|hit| hit.kind == Kind::Section).collect();
        for hit in hits.iter().filter(|hit| hit.kind == Kind::Fact) {
            let chapter = &self.corpus.chapters[hit.first];
            let anchor = &chapter.facts[hit.second].anchor;
            let position = chapter.sections.iter().position(|section| section.anchor == *anchor);
            let Some(second) = position else { continue };
            // A fact lifts its section by half of its own score; further facts of one section lift it no more.
            let known =
                sections.iter_mut().find(|section| (section.first, section.second) == (hit.first, second));
            match known {
                Some(section) if section.kind == Kind::Section => {
                    section.score += hit.score / 2.0;
                    section.kind = Kind::Fact;
                }
                Some(_) => {}
                None => {
                    sections.push(Hit { kind: Kind::Fact, first: hit.first, second, score: hit.score / 2.0 });
                }
            }
        }
        sections
            .sort_by(|a, b| b.score.total_cmp(&a.score).then((a.first, a.second).cmp(&(b.first, b.second))));
        let least = sections.first().map_or(0.0, |best| best.score * LEAST_PART);
        sections.retain(|section| section.score >= least);
        sections.truncate(MAX_SECTIONS);
        sections
    }
}

struct Builder<'a> {
    search: &'a Search,
    query: &'a Query<'a>,
    /// Facts that the words hit, as (chapter, index).
    asked: BTreeSet<(usize, usize)>,
    packet: Packet,
}

impl Builder<'_> {
    fn room(&self) -> usize {
        self.query.budget_bytes.saturating_sub(self.packet.bytes)
    }

    fn push(&mut self, piece: Piece) {
        if piece.text.len() > self.room() {
            self.packet.left_out.push(piece.id);
        } else {
            self.packet.bytes += piece.text.len();
            self.packet.pieces.push(piece);
        }
    }

    /// The whole section, or its heading with as many facts as fit, those that were asked for first.
    fn section(&mut self, hit: Hit) {
        let chapter = &self.search.corpus.chapters[hit.first];
        let section = &chapter.sections[hit.second];
        let target = self.query.target;
        let holds = |fact: &Fact| target.is_none_or(|target| fact.holds_for(target));
        let facts: Vec<(bool, &Fact)> = chapter
            .facts
            .iter()
            .enumerate()
            .filter(|(_, fact)| fact.anchor == section.anchor && holds(fact))
            .map(|(index, fact)| (self.asked.contains(&(hit.first, index)), fact))
            .collect();
        let id = format!("{}#{}", chapter.id, section.anchor);
        let heading = format!("## {} ({id})\n", section.title);
        let prose = if section.prose.is_empty() { String::new() } else { format!("{}\n", section.prose) };
        let lines: usize = facts.iter().map(|(_, fact)| fact.line().len() + 1).sum();
        let whole = heading.len() + prose.len() + lines + 1;
        let mut text = heading;
        let mut kept: Vec<&Fact> = Vec::new();
        if whole <= self.room() {
            text.push_str(&prose);
            kept.extend(facts.iter().map(|(_, fact)| *fact));
        } else {
            let mut room = self.room().saturating_sub(text.len() + 1);
            let (asked, others): (Vec<_>, Vec<_>) = facts.iter().partition(|(asked, _)| *asked);
            for (_, fact) in asked.into_iter().chain(others) {
                let bytes = fact.line().len() + 1;
                if bytes <= room {
                    room -= bytes;
                    kept.push(fact);
                }
            }
            if kept.is_empty() {
                self.packet.left_out.push(id);
                return;
            }
        }
        for fact in &kept {
            text.push_str(&fact.line());
            text.push('\n');
        }
        text.push('\n');
        let unverified = kept.iter().filter(|fact| fact.confidence != Confidence::Verified).count();
        let facts = kept.iter().map(|fact| fact.id.clone()).collect();
        self.push(Piece { kind: PieceKind::Section, id, score: hit.score, facts, unverified, text });
    }

    fn rule(&mut self, hit: Hit) {
        let rule = &self.search.corpus.rules.rules[hit.first];
        let mark = if rule.leans_on_unverified { " [UNVERIFIED]" } else { "" };
        let text = format!(
            "rule {} ({}){mark}: {}; {}\n",
            rule.id,
            rule.severity.as_str(),
            rule.message,
            rule.remedy
        );
        let unverified = usize::from(rule.leans_on_unverified);
        let (id, facts) = (rule.id.clone(), Vec::new());
        self.push(Piece { kind: PieceKind::Rule, id, score: hit.score, facts, unverified, text });
    }

    fn instruction(&mut self, hit: Hit) {
        let import = &self.search.imported[hit.first];
        let instruction = &import.instructions[hit.second];
        let text = format!("{} [{}]\n", instruction.line(), import.source());
        let (id, facts) = (instruction.name.clone(), Vec::new());
        self.push(Piece { kind: PieceKind::Instruction, id, score: hit.score, facts, unverified: 0, text });
    }
}
