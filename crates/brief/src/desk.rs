//! Answers a model's requests for evidence by name, out of one run, the ISA corpus and the compiler.
//!
//! What is shown is bound by the same rule as a brief: no held-out shape, no seed, no oracle value, no other run. SQL sees an
//! index in memory from which all that is taken out before a question can be asked, so that no way of asking gets it back.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use kernsmith_core::event::Proposed;
use kernsmith_core::inspect::{Inspection, TOOLS};
use kernsmith_core::{Event, Evidence, Language, Seq, Target};
use kernsmith_experiment_log::{RunIndex, RunReader};
use kernsmith_isa_corpus::Query;
use kernsmith_op_contract::Contract;
use kernsmith_toolchain::{BuildOutcome, BuildRequest, BuildRole, CodeObject, Toolchain};

use crate::feedback::feedback;
use crate::knowledge::Knowledge;
use crate::known::Known;

/// Rows of one answer.
const MAX_ROWS: usize = 100;
/// Bytes of one packet of the corpus.
const PACKET_BYTES: usize = 8 * 1024;
/// Instructions of one slice, without a wish and at most.
const USUAL_INSTRUCTIONS: u64 = 120;
const MAX_INSTRUCTIONS: u64 = 300;

/// What a desk is made of.
#[derive(Debug, Clone)]
pub struct DeskParts {
    /// The contract of the run.
    pub contract: Arc<Contract>,
    /// What it is built for.
    pub target: Target,
    /// The run's folder.
    pub run: PathBuf,
    /// Skills and corpus.
    pub knowledge: Arc<Knowledge>,
    /// Builds attempts again, from its cache as a rule.
    pub toolchain: Arc<Toolchain>,
}

/// Where evidence is asked for.
#[derive(Debug)]
pub struct Desk {
    parts: DeskParts,
    index: Mutex<Option<RunIndex>>,
}

impl Desk {
    /// A desk for one run; nothing is read yet.
    pub const fn new(parts: DeskParts) -> Self {
        Self { parts, index: Mutex::new(None) }
    }

    /// The evidence, or why there is none, in words for the model.
    pub fn answer(&self, request: &Inspection) -> Result<String, String> {
        let text = |field: &str| request.text(field).ok_or_else(|| format!("`{field}` is missing"));
        match request.tool.as_str() {
            "log_query" => self.log_query(text("sql")?),
            "isa_topic" => self.isa_topic(text("words")?),
            "build_log" => self.build_log(request),
            "disassembly" => self.disassembly(request),
            "source" => self.source(request),
            other => {
                let names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
                Err(format!("there is no `{other}`; there are {}", names.join(", ")))
            }
        }
    }

    fn log_query(&self, sql: &str) -> Result<String, String> {
        let known = Known::new(&self.parts.contract);
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let index = match &mut *index {
            Some(index) => index,
            empty => empty.insert(RunIndex::new(&self.parts.run).map_err(|error| error.to_string())?),
        };
        index.update(|words| known.public(words)).map_err(|error| error.to_string())?;
        let (table, more) = index.query(sql, MAX_ROWS).map_err(|error| error.to_string())?;
        let mut lines = vec![table.columns.join(" | ")];
        lines.extend(table.rows.iter().map(|row| {
            row.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ").replace('\n', " ")
        }));
        if more {
            lines.push(format!("(only the first {MAX_ROWS} rows are shown)"));
        }
        Ok(lines.join("\n"))
    }

    fn isa_topic(&self, words: &str) -> Result<String, String> {
        let corpus = self.parts.knowledge.corpus().ok_or("there is no corpus of machine facts here")?;
        let target = &self.parts.target;
        let query = Query { words, target: Some(target), budget_bytes: PACKET_BYTES };
        let packet = corpus.packet(&query).map_err(|error| error.to_string())?;
        if packet.pieces.is_empty() {
            let topics: Vec<&str> = corpus.corpus().topics.iter().map(|topic| topic.id.as_str()).collect();
            return Err(format!("nothing answers `{words}` for {target}; topics: {}", topics.join(", ")));
        }
        Ok(packet.to_text())
    }

    fn build_log(&self, request: &Inspection) -> Result<String, String> {
        let (seq, proposed, source) = self.attempt(request)?;
        Ok(match self.build(&proposed, &source)? {
            BuildOutcome::Built(object) => {
                let log = if object.log.trim().is_empty() { "(not a word)" } else { object.log.trim() };
                format!("attempt {seq} compiles, with {}:\n{log}", object.flags.join(" "))
            }
            BuildOutcome::Refused { class, detail, log } => {
                format!("attempt {seq} does not compile ({class}): {detail}\n{}", log.trim())
            }
        })
    }

    fn disassembly(&self, request: &Inspection) -> Result<String, String> {
        let (seq, proposed, source) = self.attempt(request)?;
        let object: Box<CodeObject> = match self.build(&proposed, &source)? {
            BuildOutcome::Built(object) => object,
            BuildOutcome::Refused { class, detail, .. } => {
                return Err(format!("attempt {seq} does not compile ({class}): {detail}"));
            }
        };
        let lines = object.disassembly(request.text("symbol")).map_err(|error| error.to_string())?;
        let from = request.whole("from").unwrap_or(0).min(lines.len() as u64);
        let count = request.whole("count").unwrap_or(USUAL_INSTRUCTIONS).min(MAX_INSTRUCTIONS);
        let to = (from + count).min(lines.len() as u64);
        let slice = lines[from as usize..to as usize].join("\n");
        Ok(format!("attempt {seq}, instructions {from} to {to} of {}:\n{slice}", lines.len()))
    }

    fn source(&self, request: &Inspection) -> Result<String, String> {
        let (seq, proposed, source) = self.attempt(request)?;
        let known = Known::new(&self.parts.contract);
        let mut outcome = vec!["not judged".to_owned()];
        for entry in self.entries()? {
            if let Event::Judged { proposal, evidence } = entry.event
                && proposal == seq
            {
                outcome = judged(&evidence, &proposed, &known);
            }
        }
        let plan = serde_json::to_string(&proposed.plan).unwrap_or_default();
        let rationale = known.public(&proposed.rationale);
        Ok(format!(
            "attempt {seq} of {}, made by `{}`: {rationale}\nPlan: {plan}\n- {}\n```{}\n{}\n```",
            proposed.node,
            proposed.origin.operator,
            outcome.join("\n- "),
            proposed.language,
            source.trim_end()
        ))
    }

    /// The attempt that a request names.
    fn attempt(&self, request: &Inspection) -> Result<(Seq, Proposed, String), String> {
        let number = request.whole("attempt").ok_or("`attempt` is missing or no number")?;
        let mut entries = self.entries()?.filter(|entry| entry.seq == Seq(number));
        let Some(Event::Proposed(proposed)) = entries.next().map(|entry| entry.event) else {
            return Err(format!("{number} is no attempt of this run; v_candidates lists them as `seq`"));
        };
        let reader = RunReader::open(&self.parts.run).map_err(|error| error.to_string())?;
        let source = reader.blob(&proposed.source).map_err(|error| error.to_string())?;
        Ok((Seq(number), *proposed, String::from_utf8_lossy(&source).into_owned()))
    }

    /// What is durable of the run; whatever cannot be read ends it, as it does for every reader.
    fn entries(&self) -> Result<impl Iterator<Item = kernsmith_core::Entry> + use<>, String> {
        let reader = RunReader::open(&self.parts.run).map_err(|error| error.to_string())?;
        Ok(reader.entries().map_err(|error| error.to_string())?.map_while(Result::ok))
    }

    fn build(&self, proposed: &Proposed, source: &str) -> Result<BuildOutcome, String> {
        if proposed.language != Language::Cpp {
            let language = proposed.language;
            return Err(format!(
                "build logs and machine code of {language} attempts are not kept here; what was counted in the binary stands in \
                 the attempt's outcome: ask for its `source`"
            ));
        }
        let request = BuildRequest {
            source,
            role: BuildRole::Kernel,
            flags: &proposed.plan.flags,
            symbols: &proposed.plan.symbols(),
            link: &[],
            fresh: false,
        };
        self.parts.toolchain.build(&request).map_err(|error| error.to_string())
    }
}

fn judged(evidence: &Evidence, proposed: &Proposed, known: &Known<'_>) -> Vec<String> {
    let lines = feedback(evidence, &proposed.plan.expected_instructions);
    lines.iter().map(|line| known.public(line)).collect()
}
