//! Proposals and candidates: source plus plan, and where they came from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{NodeId, Seq};
use crate::plan::Plan;
use crate::target::{Language, Target};

/// The value of one gene.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum GeneValue {
    /// An ordered value.
    Int(i64),
    /// A categorical value.
    Text(String),
}

impl std::fmt::Display for GeneValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// One choice for every gene of a template.
pub type Genome = BTreeMap<String, GeneValue>;

/// What a proposer hands over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The node of the tree that it implements.
    pub node: NodeId,
    /// Language of `source`.
    pub language: Language,
    /// The whole source text.
    pub source: String,
    /// How it is called.
    pub plan: Plan,
    /// Where it came from.
    pub origin: Origin,
    /// What the proposer expects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Prediction>,
    /// One or two sentences of why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rationale: String,
}

/// Where a proposal came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Origin {
    /// The proposer, such as `autotune`, `user` or `llm:<model>`.
    pub proposer: String,
    /// How it was made: `seed`, `sample`, `mutate`, `crossover`, `improve`, `debug`, ….
    pub operator: String,
    /// The entries whose candidates it was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Seq>,
    /// Template, as `<skill>/<template>`, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The genes, where there are some.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub genome: Genome,
}

/// A predicted gain: the ratio of the parent's time to the candidate's, with an interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The expected ratio; 1 means no change.
    pub ratio: f64,
    /// Lower end of an interval meant to hold nine times in ten.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
}

/// A proposal bound to a contract and a target, with its content addresses.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Name of the contract.
    pub contract: String,
    /// What it is built for.
    pub target: Target,
    /// The proposal itself.
    pub proposal: Proposal,
    /// Digest of the source text as it stands.
    pub source_digest: Digest,
    /// Digest of the normalised source together with the plan: two candidates with one key are the same candidate.
    pub key: Digest,
}

impl Proposal {
    /// A C++ source that a person handed over, with how it is called.
    pub fn by_user(source: impl Into<String>, plan: Plan) -> Self {
        let origin =
            Origin { proposer: "user".to_owned(), operator: "given".to_owned(), ..Origin::default() };
        Self {
            node: NodeId::ROOT,
            language: Language::Cpp,
            source: source.into(),
            plan,
            origin,
            prediction: None,
            rationale: String::new(),
        }
    }
}

impl Candidate {
    /// Binds a proposal and computes its addresses.
    pub fn new(contract: &str, target: &Target, proposal: Proposal) -> Self {
        let source_digest = Digest::of(proposal.source.as_bytes());
        let normal = normalise(&proposal.source);
        let plan = format!("{:?}", proposal.plan);
        let key = Digest::of_parts([
            contract.as_bytes(),
            target.to_string().as_bytes(),
            proposal.language.as_str().as_bytes(),
            normal.as_bytes(),
            plan.as_bytes(),
        ]);
        Self { contract: contract.to_owned(), target: target.clone(), proposal, source_digest, key }
    }
}

/// Drops what a compiler ignores: comments, blank lines, and runs of white space.
///
/// String and character literals are kept byte for byte. The result is only hashed, never compiled.
pub fn normalise(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '/' if chars.peek() == Some(&'/') => {
                while chars.peek().is_some_and(|&next| next != '\n') {
                    chars.next();
                }
            }
            '/' if chars.peek() == Some(&'*') => {
                chars.next();
                let mut last = ' ';
                for next in chars.by_ref() {
                    if last == '*' && next == '/' {
                        break;
                    }
                    last = next;
                }
                push_space(&mut out, ' ');
            }
            '"' | '\'' => copy_literal(c, &mut chars, &mut out),
            c if c.is_whitespace() => push_space(&mut out, c),
            c => out.push(c),
        }
    }
    out.trim().to_owned()
}

/// Newlines end preprocessor lines, so they are kept apart from other white space.
fn push_space(out: &mut String, c: char) {
    match (c, out.chars().last()) {
        (_, None | Some('\n')) => {}
        ('\n', Some(' ')) => {
            out.pop();
            push_space(out, '\n');
        }
        ('\n', _) => out.push('\n'),
        (_, Some(' ')) => {}
        _ => out.push(' '),
    }
}

fn copy_literal(quote: char, chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    out.push(quote);
    while let Some(next) = chars.next() {
        out.push(next);
        if next == '\\' {
            out.extend(chars.next());
        } else if next == quote || next == '\n' {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_spacing_do_not_make_a_new_candidate() {
        let a = normalise("int  f() { // one\n  return 1; /* two */ }\n\n#define X 1\n");
        let b = normalise("int f() {\nreturn 1; }\n#define X 1");
        assert_eq!(a, b);
        assert_ne!(normalise("f(\"a  b\")"), normalise("f(\"a b\")"));
        assert_ne!(normalise("#define A\nB"), normalise("#define A B"));
    }
}
