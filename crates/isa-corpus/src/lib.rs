//! Reads isa-corpus/: what a target can do.
//!
//! [`Corpus::open`] reads chapters (Markdown in our own words, with tables of facts), sources, topics and rules, and refuses
//! what does not fit together: every fact names its source and how sure it is, and two facts that give one key of one
//! target different values are a conflict. [`Search`] answers a few words with a [`Packet`] that fits a budget.
//! [`Rules::check`] holds a source and its launch plan against the hard rules of a target before anything is
//! built. [`import_xml`] turns AMD's machine-readable ISA into a chapter. The written format is described in
//! `docs/isa-corpus-format.md`.
//!
//! **Invariant:** this crate alone opens `isa-corpus/`, and an unverified fact is never shown without saying so.

mod chapter;
mod check;
mod corpus;
mod error;
mod fact;
mod import;
mod index;
mod manifest;
mod packet;
mod roots;
mod rules;
#[cfg(test)]
mod shipped;
mod sources;
mod topics;

pub use chapter::{Chapter, Section};
pub use check::Finding;
pub use corpus::{Corpus, Item};
pub use error::CorpusError;
pub use fact::{Confidence, Fact, Value};
pub use import::{ImportError, Imported, Instruction, import_xml, imported_in};
pub use index::Search;
pub use kernsmith_place::FileProblem;
pub use manifest::{TargetInfo, digest_of};
pub use packet::{BYTES_PER_TOKEN, Packet, Piece, PieceKind, Query};
pub use roots::{FOLDER, default_root};
pub use rules::{Checked, Inspection, Rule, Rules, Severity, Violation};
pub use sources::{Source, SourceKind};
pub use topics::Topic;
