//! What earlier searches teach a new one: `search --memory`.
//!
//! The part that holds for the new run is kept in its own log, so that it goes on, and can be repeated, with exactly what it
//! was told at its start, whatever becomes of the file or of the other runs.

use std::path::Path;
use std::sync::Arc;

use kernsmith_autotune::{Autotune, Experience};
use kernsmith_core::event::{MemoryUsed, Opened};
use kernsmith_core::{Digest, Genome, Prediction, Record};
use kernsmith_experiment_log::RunWriter;
use kernsmith_mine::{Archive, Guidance, Memory, Scope};

use crate::console::note;
use crate::error::CliError;

/// The word that stands for the runs of the same log.
const AUTO: &str = "auto";

/// Reads or mines what `wanted` names (a path, or `auto`), and keeps what holds for the new run with it. Nothing is asked for
/// where it is empty.
pub(crate) fn gather(
    wanted: &str,
    log_root: &Path,
    opened: &mut Opened,
    writer: &mut RunWriter,
) -> Result<Option<Memory>, CliError> {
    let memory = match wanted {
        "" => return Ok(None),
        AUTO => {
            let contract = format!("{}@{}", opened.contract, opened.contract_version);
            let archive = Archive::open(log_root, Some(&contract)).map_err(CliError::log)?;
            archive.notes.iter().for_each(|text| note(&format!("memory: {text}")));
            Memory::of(&archive)
        }
        path => {
            Memory::read(Path::new(path)).map_err(|error| CliError::bad_input_message(error.to_string()))?
        }
    };
    let scope = Scope::of(opened, "");
    for text in &memory.guidance(&scope).expired {
        note(&format!("memory: left out: {text}"));
    }
    let part = memory.part(&scope);
    let bytes = serde_json::to_vec(&part).map_err(CliError::internal)?;
    let digest = writer.keep(&bytes).map_err(CliError::log)?;
    let (origin, runs) = (wanted.to_owned(), part.runs.clone());
    opened.memory = Some(MemoryUsed { digest, origin, runs });
    Ok(Some(part))
}

/// What a run was told at its start.
pub(crate) fn recorded(opened: &Opened, writer: &RunWriter) -> Result<Option<Memory>, CliError> {
    let Some(used) = &opened.memory else { return Ok(None) };
    let bytes = writer.kept(&used.digest).map_err(CliError::log)?;
    serde_json::from_slice(&bytes).map(Some).map_err(CliError::internal)
}

/// The proposer with what is remembered, as far as its templates have not changed since.
pub(crate) fn teach(proposer: Autotune, memory: &Memory, opened: &Opened) -> Autotune {
    let mut guidance = memory.guidance(&Scope::of(opened, ""));
    guidance.check_templates(|template, genome| proposer.key_of(template, genome));
    for text in &guidance.expired {
        note(&format!("memory: left out: {text}"));
    }
    let outcomes: usize = guidance.settled.values().map(Vec::len).sum();
    let (ends, runs) = (guidance.dead_ends.len(), memory.runs.len());
    note(&format!("memory: {ends} dead ends and {outcomes} outcomes of {runs} runs"));
    proposer.with_experience(Arc::new(Remembered(guidance)))
}

/// Guidance, as a proposer asks for it.
#[derive(Debug)]
struct Remembered(Guidance);

impl Experience for Remembered {
    fn refuses(&self, template: &str, genome: &Genome) -> Option<String> {
        self.0.refuses(template, genome)
    }

    fn outcomes(&self, template: &str) -> Vec<(Genome, Option<f64>)> {
        let failed = self.0.failed_genomes(template).map(|genome| (genome.clone(), None));
        let settled = self.0.settled.get(template).into_iter().flatten();
        let passed = settled.filter_map(|row| Some((row.genome.clone(), Some(row.ratio?))));
        failed.chain(passed).collect()
    }

    fn failed(&self, key: &Digest) -> bool {
        self.0.known(key).is_some_and(|row| row.failure.is_some())
    }

    fn predict(&self, template: &str, fixed: &Genome) -> Option<Prediction> {
        self.0.predict(template, fixed)
    }
}
