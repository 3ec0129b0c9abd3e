//! Imported instruction sets: AMD's machine-readable ISA, which a user downloads, as a chapter of its own.
//!
//! The vendor's XML is read as a stream and kept below the user's cache as JSON lines: a head with the source, then one
//! instruction a line. Nothing of it is part of this repository. The XML has no timing, hazard or occupancy data.

mod store;
mod xml;

use kernsmith_core::{Digest, Target};
use serde::{Deserialize, Serialize};

pub use store::imported_in;
pub use xml::import_xml;

/// Why an instruction set cannot be imported.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ImportError {
    /// A file cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}:{line}: {problem}")]
    #[diagnostic(help("{help}"))]
    Wrong {
        /// The file.
        path: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        help: String,
    },
}

/// One operand of an instruction.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Operand {
    /// Field of the encoding; empty for implicit ones.
    pub field: String,
    /// Type, such as `OPR_VGPR`.
    pub kind: String,
    /// Data format, such as `FMT_NUM_F32`.
    pub format: String,
    /// Size in bits; 0 where it is not given.
    pub bits: u32,
    /// Whether it is read.
    pub input: bool,
    /// Whether it is written.
    pub output: bool,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Instruction {
    /// Its name in assembly.
    pub name: String,
    /// The vendor's description.
    pub description: String,
    /// Functional group and subgroup.
    pub group: String,
    /// Encodings by name.
    pub encodings: Vec<String>,
    /// Operands of the first encoding.
    pub operands: Vec<Operand>,
}

impl Instruction {
    /// One line for a packet.
    pub fn line(&self) -> String {
        let operands: Vec<String> = self
            .operands
            .iter()
            .map(|operand| {
                let way = match (operand.input, operand.output) {
                    (true, true) => "in/out",
                    (false, true) => "out",
                    _ => "in",
                };
                format!("{way} {} {} {} bits", operand.kind, operand.format, operand.bits)
            })
            .collect();
        format!("instruction {} ({}): {} [{}]", self.name, self.group, self.description, operands.join(", "))
    }
}

/// An imported instruction set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The architecture as the vendor names it.
    pub architecture: String,
    /// The target that it is taken for.
    pub target: Target,
    /// Schema version of the XML.
    pub schema_version: String,
    /// Release date in the XML.
    pub release_date: String,
    /// Digest of the file that was imported.
    pub digest: Digest,
    /// Instructions in the file's order.
    pub instructions: Vec<Instruction>,
}

impl Imported {
    /// How packets name the source.
    pub fn source(&self) -> String {
        format!(
            "imported: AMD machine-readable ISA, {}, released {}, schema {}",
            self.architecture, self.release_date, self.schema_version
        )
    }
}
