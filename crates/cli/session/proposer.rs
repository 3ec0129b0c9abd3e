//! Which proposer a configuration names; the search itself does not care.

use kernsmith_autotune::{Autotune, AutotuneError, AutotuneOptions, OptimizerOptions};
use kernsmith_brief::{Desk, DeskParts};
use kernsmith_core::event::Opened;
use kernsmith_core::port::{Answer, Halt, Note, PlanRequest};
use kernsmith_core::{Brief, Digest, Edit, Entry, Proposal, Propose};
use kernsmith_llm::{ApiKey, Exec, Llm, LlmError};
use kernsmith_mine::Memory;
use kernsmith_op_contract::Contract;

use super::{Bench, memory};
use crate::error::CliError;

/// One of the proposers, or one that reads beside the autotuner.
#[derive(Debug)]
pub(crate) enum AnyProposer {
    /// Templates and genes.
    Autotune(Autotune),
    /// Models or a program, with the autotuner beside them where it was asked for.
    Reader(Reader, Option<Autotune>),
}

/// A proposer that reads briefs.
#[derive(Debug)]
pub(crate) enum Reader {
    /// Models.
    Llm(Box<Llm>),
    /// A program.
    Exec(Exec),
}

/// What can go wrong with any of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProposerError {
    /// The autotuner.
    #[error(transparent)]
    Autotune(#[from] AutotuneError),
    /// A model or a program.
    #[error(transparent)]
    Llm(#[from] LlmError),
}

impl Reader {
    /// The reader that `proposer.kind` names, if it names one.
    pub(crate) fn open(bench: &Bench, contract: &Contract) -> Result<Option<Self>, CliError> {
        let axes = || contract.variable_axes().into_iter().map(str::to_owned).collect();
        match bench.config.proposer.kind.split(',').next() {
            Some("llm") => Ok(Some(Self::Llm(Box::new(llm(bench, axes())?)))),
            Some("exec") => {
                Exec::new(&bench.config.exec, axes()).map(Self::Exec).map(Some).map_err(bad_setting)
            }
            _ => Ok(None),
        }
    }
}

impl Reader {
    /// The same reader; a model may ask for evidence out of the run that it works on.
    pub(crate) fn at_desk(self, parts: DeskParts) -> Self {
        match self {
            Self::Llm(llm) => {
                let desk = Desk::new(parts);
                Self::Llm(Box::new(llm.inspecting(Box::new(move |request| desk.answer(request)))))
            }
            Self::Exec(exec) => Self::Exec(exec),
        }
    }
}

impl AnyProposer {
    /// The reader, if there is one, and the autotuner where it is asked for, with what earlier searches taught it.
    pub(crate) fn new(
        reader: Option<Reader>,
        bench: &Bench,
        contract: &Contract,
        memory: Option<&Memory>,
        opened: &Opened,
    ) -> Self {
        let autotune = || {
            let optimizer = OptimizerOptions {
                mutate: bench.config.proposer.mutation_rate,
                crossover: bench.config.proposer.crossover_rate,
                ..OptimizerOptions::default()
            };
            let options = AutotuneOptions { optimizer };
            let autotune = Autotune::new(contract, &bench.skills, bench.machine(), options);
            match memory {
                Some(memory) => memory::teach(autotune, memory, opened),
                None => autotune,
            }
        };
        match reader {
            Some(reader) => {
                Self::Reader(reader, bench.config.proposer.kind.ends_with(",autotune").then(autotune))
            }
            None => Self::Autotune(autotune()),
        }
    }
}

/// The key that a configuration names, out of the environment or a file.
pub(crate) fn key(config: &kernsmith_search_config::LlmConfig) -> Result<ApiKey, CliError> {
    ApiKey::load(&config.key_env, &config.key_file, |name| std::env::var(name).ok()).map_err(bad_setting)
}

/// A setting that cannot be used: the user's to mend.
#[expect(clippy::needless_pass_by_value, reason = "it is handed to `map_err`")]
pub(crate) fn bad_setting(error: LlmError) -> CliError {
    CliError::bad_input_message(error.to_string())
}

pub(crate) fn llm(bench: &Bench, axes: Vec<String>) -> Result<Llm, CliError> {
    let config = &bench.config.llm;
    Llm::new(config, key(config)?, axes, Box::new(kernsmith_brief::prompt)).map_err(bad_setting)
}

impl Reader {
    async fn plan(&mut self, request: &PlanRequest) -> Result<Answer<Vec<Edit>>, ProposerError> {
        Ok(match self {
            Self::Llm(llm) => llm.plan(request).await?,
            Self::Exec(exec) => exec.plan(request).await?,
        })
    }

    async fn propose_all(&mut self, briefs: &mut [Brief]) -> Result<Vec<Answer<Proposal>>, ProposerError> {
        Ok(match self {
            Self::Llm(llm) => llm.propose_all(briefs).await?,
            Self::Exec(exec) => exec.propose_all(briefs).await?,
        })
    }
}

impl Propose for AnyProposer {
    type Error = ProposerError;

    fn name(&self) -> &str {
        match self {
            Self::Autotune(autotune) => autotune.name(),
            Self::Reader(Reader::Llm(llm), _) => llm.name(),
            Self::Reader(Reader::Exec(exec), _) => exec.name(),
        }
    }

    /// The reader plans; at the start the autotuner's families are there too, and it widens where the reader has nothing.
    async fn plan(&mut self, request: &PlanRequest) -> Result<Answer<Vec<Edit>>, ProposerError> {
        let (reader, autotune) = match self {
            Self::Autotune(autotune) => return Ok(autotune.plan(request).await?),
            Self::Reader(reader, autotune) => (reader, autotune),
        };
        match (reader.plan(request).await?, autotune) {
            (Answer::Nothing, Some(autotune)) => Ok(autotune.plan(request).await?),
            (answer, _) => Ok(answer),
        }
    }

    async fn propose(&mut self, brief: &Brief) -> Result<Answer<Proposal>, ProposerError> {
        let mut briefs = [brief.clone()];
        let mut answers = self.propose_all(&mut briefs).await?;
        Ok(answers.pop().unwrap_or(Answer::Nothing))
    }

    /// Strategies with a template are the autotuner's. In all others the reader writes, and every second candidate is the
    /// autotuner's as long as the best source there marks numbers that it may change.
    async fn propose_all(&mut self, briefs: &mut [Brief]) -> Result<Vec<Answer<Proposal>>, ProposerError> {
        let (reader, autotune) = match self {
            Self::Autotune(autotune) => return Ok(autotune.propose_all(briefs).await?),
            Self::Reader(reader, None) => return reader.propose_all(briefs).await,
            Self::Reader(reader, Some(autotune)) => (reader, autotune),
        };
        let mut answers: Vec<Option<Answer<Proposal>>> = Vec::with_capacity(briefs.len());
        for brief in briefs.iter() {
            answers.push(if brief.strategy.template.is_some() {
                Some(autotune.propose(brief).await?)
            } else if brief.ordinal % 2 == 1 {
                autotune.marked_variant(brief).map(Answer::Ready)
            } else {
                None
            });
        }
        let mut read: Vec<Brief> = briefs
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| answer.is_none())
            .map(|(brief, _)| brief.clone())
            .collect();
        // What is ready at once does not wait for a model: the reader is asked when only its briefs are left.
        let waits = read.len() < briefs.len();
        let mut read = if waits { Vec::new() } else { reader.propose_all(&mut read).await? }.into_iter();
        let answer = |answer: Option<Answer<Proposal>>| {
            answer.or_else(|| read.next()).unwrap_or(Answer::Noted(Vec::new()))
        };
        Ok(answers.into_iter().map(answer).collect())
    }

    fn learn(&mut self, entry: &Entry, kept: &dyn Fn(&Digest) -> Option<Vec<u8>>) {
        if let Self::Reader(Reader::Llm(llm), _) = self {
            llm.learn(entry, kept);
        }
    }

    fn reads(&self) -> bool {
        matches!(self, Self::Reader(..))
    }

    fn abandon(&mut self) -> Vec<Note> {
        match self {
            Self::Reader(Reader::Llm(llm), _) => llm.abandon(),
            _ => Vec::new(),
        }
    }

    /// The autotuner can go on without its reader.
    fn halted(&self) -> Option<Halt> {
        match self {
            Self::Reader(Reader::Llm(llm), None) => llm.halted(),
            Self::Reader(Reader::Exec(exec), None) => exec.halted(),
            _ => None,
        }
    }
}
