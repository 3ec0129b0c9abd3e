//! What a model can be asked, and the prompt that asks it.
//!
//! Who asks (`llm`) and who writes the words (`brief`) do not know each other; they meet in these types.

use std::fmt::Write;

use crate::brief::Brief;
use crate::id::Seq;
use crate::plan::Plan;
use crate::port::PlanRequest;

/// Bytes of one token, on average over prompts of words and code; used where only an estimate is needed.
const BYTES_PER_TOKEN: f64 = 3.5;

/// A question to a model.
#[derive(Debug, Clone, Copy)]
pub enum Question<'a> {
    /// Edits of the tree.
    Plan(&'a PlanRequest),
    /// One candidate.
    Code {
        /// For this strategy.
        brief: &'a Brief,
        /// In this way.
        kind: CodeKind,
        /// From this attempt; from the frozen baseline without one.
        base: Option<Seq>,
        /// With this one beside it, for contrast or crossover.
        other: Option<Seq>,
        /// What a reviewer read out of the base's evidence.
        advice: Option<&'a str>,
    },
    /// One candidate that the harness should refuse and may not.
    Attack {
        /// For this way of cheating.
        brief: &'a Brief,
    },
    /// What the evidence of a judged attempt says.
    Evidence {
        /// For this strategy.
        brief: &'a Brief,
        /// The attempt; the brief holds its texts.
        attempt: Seq,
    },
    /// A judgement of a candidate before it is built.
    Review {
        /// For this strategy.
        brief: &'a Brief,
        /// The candidate as a difference to its base.
        diff: &'a str,
        /// How it is called.
        plan: &'a Plan,
        /// Why it was written.
        rationale: &'a str,
    },
}

/// In which way a candidate is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CodeKind {
    /// The first one of a strategy that nothing is known about.
    Fresh,
    /// Repair the latest failure: nothing in the strategy has passed yet.
    Debug,
    /// Make the best one faster.
    Improve,
    /// Learn from a faster and a slower one.
    Contrast,
    /// Put two good ones together.
    Crossover,
}

impl CodeKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Fresh, Self::Debug, Self::Improve, Self::Contrast, Self::Crossover];

    /// The word that stands in the log as operator.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Debug => "debug",
            Self::Improve => "improve",
            Self::Contrast => "contrast",
            Self::Crossover => "crossover",
        }
    }
}

/// A prompt in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Who the model is and what counts; the system message.
    pub role: String,
    /// The parts, in order.
    pub sections: Vec<Section>,
}

/// One part of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name, which is its heading.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Items that were left out of it.
    pub cut: u64,
}

impl Prompt {
    /// The user message: every part under its heading.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for section in self.sections.iter().filter(|section| !section.text.trim().is_empty()) {
            let _ = write!(text, "# {}\n\n{}\n\n", section.name, section.text.trim());
        }
        text.trim_end().to_owned()
    }

    /// The estimated length of everything.
    pub fn tokens(&self) -> u64 {
        tokens(&self.role) + self.sections.iter().map(|section| tokens(&section.text)).sum::<u64>()
    }
}

/// The estimated number of tokens of a text.
pub fn tokens(text: &str) -> u64 {
    (text.len() as f64 / BYTES_PER_TOKEN).ceil() as u64
}
