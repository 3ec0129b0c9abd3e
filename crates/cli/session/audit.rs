//! One audit of the harness: a model attacks it, and whatever it accepts is judged again more strictly.

mod strict;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernsmith_brief::{BriefBuilder, Dossier, Sources};
use kernsmith_core::event::{BaselineFrozen, Proposed};
use kernsmith_core::port::{Answer, Halt, Note};
use kernsmith_core::{
    Brief, Candidate, Digest, Edit, Entry, Event, Evidence, FailureClass, Gate, NewNode, NodeId, NodeKind,
    Prediction, Proposal, Propose, Record, RunId, Seq,
};
use kernsmith_experiment_log::{HarnessBug, LogError, RunWriter, file_bug};
use kernsmith_harness::{Harness, HarnessError};
use kernsmith_llm::{Llm, LlmError};
use kernsmith_op_contract::Contract;
use kernsmith_planner::Tree;

use super::hunt;
use super::{Bench, proposer};
use crate::args::Global;
use crate::console::note;
use crate::error::CliError;

/// Misses in a row for one candidate after which the next one is asked for.
const MAX_MISSES: u32 = 3;

/// Ways to cheat that harnesses have fallen for (docs/verification-contract.md names them), each a strategy of its own.
const ATTACKS: [(&str, &str); 8] = [
    ("stale results", "Keep results of earlier calls and hand them out again when a call looks the same."),
    (
        "shapes that are not looked at",
        "Be right on the shapes that are tested, and wrong on others that are legal.",
    ),
    (
        "elements that are not looked at",
        "Leave out or approximate elements that are unlikely to be compared.",
    ),
    ("less precision", "Compute with less precision than asked for, within what the comparison lets pass."),
    (
        "inputs that are not tried",
        "Be wrong where inputs are unusual: huge, tiny, negative, equal, NaN, infinite.",
    ),
    ("work outside the call", "Return before the work is done, or do it before the call."),
    ("another kernel under the clock", "Behave differently when being timed than when being checked."),
    (
        "the boundary of the sandbox",
        "Read or write what belongs to the harness: poison, guard pages, its clock, its stack.",
    ),
];

/// What is audited.
pub(crate) struct Audit {
    pub(crate) contract: Arc<Contract>,
    pub(crate) run_id: Option<RunId>,
    pub(crate) candidates: u64,
    pub(crate) rounds: u32,
    pub(crate) drill: Vec<Gate>,
}

/// What came out.
pub(crate) struct Outcome {
    pub(crate) run: RunId,
    pub(crate) attempts: Vec<Attempt>,
    /// Why it ended before all candidates were asked for.
    pub(crate) halted: Option<String>,
    pub(crate) calls: u64,
    pub(crate) tokens: u64,
    pub(crate) cost_usd: f64,
}

/// One attack.
pub(crate) struct Attempt {
    pub(crate) seq: Seq,
    pub(crate) kind: &'static str,
    /// `refused`, `honest`, or `got through`.
    pub(crate) verdict: &'static str,
    pub(crate) detail: String,
    /// Where it was filed.
    pub(crate) bug: Option<PathBuf>,
}

/// Why an audit cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Llm(#[from] LlmError),
    #[error(transparent)]
    Apparatus(#[from] HarnessError),
}

/// Runs it to its end.
pub(crate) fn run(global: &Global, bench: &Bench, audit: &Audit) -> Result<Outcome, CliError> {
    hunt::refuse_weak(&audit.contract)?;
    let axes = audit.contract.variable_axes().into_iter().map(str::to_owned).collect();
    let llm = proposer::llm(bench, axes)?.auditing();
    let run = match &audit.run_id {
        Some(run) => run.clone(),
        None => hunt::new_run_id(&format!("audit_{}", audit.contract.name))?,
    };
    let root = Path::new(&bench.config.log.dir);
    let writer = RunWriter::create(root, &run).map_err(CliError::log)?;
    let mut options = bench.harness_options()?;
    options.skip.clone_from(&audit.drill);
    options.rivals = false;
    let harness = Arc::new(bench.harness_with(audit.contract.clone(), options)?);
    let seed = hunt::fresh_seed();
    let opened = hunt::opened(bench, &audit.contract, &harness, &run, seed);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::internal)?;
    runtime.block_on(async {
        let frozen = hunt::measure_baseline(&harness).await?;
        let knowledge = bench.knowledge(global)?;
        let desk = hunt::desk(bench, &audit.contract, writer.directory(), &knowledge);
        let desk = kernsmith_brief::Desk::new(desk);
        let llm = llm.inspecting(Box::new(move |request| desk.answer(request)));
        let dossier = Dossier::default();
        let tree = Tree::new(kernsmith_engine::planner_options(&bench.config));
        let mut auditor = Auditor { audit, writer, tree, dossier, llm, harness, strict: None, seed };
        let source = auditor.writer.keep(frozen.source.as_bytes()).map_err(CliError::log)?;
        let (name, plan, performance) = (frozen.name, frozen.plan, frozen.performance);
        let baseline = BaselineFrozen { name, source, plan, performance };
        let edits = Event::TreeEdited { author: "auditor".to_owned(), edits: attacks() };
        let opened = Event::Opened(Box::new(opened));
        auditor.record(vec![opened, Event::BaselineFrozen(Box::new(baseline)), edits])?;
        auditor.work(bench, root).await
    })
}

fn attacks() -> Vec<Edit> {
    let family = |(title, rationale): &(&str, &str)| {
        let node = NewNode {
            kind: NodeKind::Family,
            title: (*title).to_owned(),
            rationale: (*rationale).to_owned(),
            template: None,
            fixed: std::collections::BTreeMap::new(),
            axes: Vec::new(),
            predicted: Prediction { ratio: 1.0, low: 0.5, high: 2.0 },
            difficulty: 5,
            expected_instructions: Vec::new(),
        };
        Edit::Insert { parent: NodeId::ROOT, node }
    };
    ATTACKS.iter().map(family).collect()
}

struct Auditor<'a> {
    audit: &'a Audit,
    writer: RunWriter,
    tree: Tree,
    dossier: Dossier,
    llm: Llm,
    harness: Arc<Harness>,
    /// Opened when something is accepted for the first time.
    strict: Option<Arc<Harness>>,
    seed: u64,
}

impl Auditor<'_> {
    async fn work(mut self, bench: &Bench, root: &Path) -> Result<Outcome, CliError> {
        let began = std::time::Instant::now();
        let mut attempts = Vec::new();
        let mut halted = None;
        for number in 0..self.audit.candidates {
            let place = (number % ATTACKS.len() as u64) as usize;
            match self.attack(number, place).await? {
                Asked::Wrote(proposal) => {
                    let attempt = self.try_out(bench, root, ATTACKS[place].0, *proposal).await?;
                    note(&format!("{} {}: {}", attempt.seq, attempt.kind, attempt.verdict));
                    attempts.push(attempt);
                }
                Asked::Missed => {}
                Asked::Halted(reason) => {
                    halted = Some(reason);
                    break;
                }
            }
        }
        let (mut calls, mut tokens, mut cost_usd) = (0, 0, 0.0);
        for entry in self.past()? {
            if let Event::ModelCalled(call) = entry.event {
                (calls, tokens, cost_usd) =
                    (calls + 1, tokens + call.usage.total(), cost_usd + call.cost_usd);
            }
        }
        let wall_seconds = began.elapsed().as_secs_f64();
        self.record(vec![Event::Closed { reason: "audited".to_owned(), wall_seconds }])?;
        let run = self.writer.run().clone();
        self.writer.seal().map_err(CliError::log)?;
        Ok(Outcome { run, attempts, halted, calls, tokens, cost_usd })
    }

    fn past(&self) -> Result<Vec<Entry>, CliError> {
        let reader = kernsmith_experiment_log::RunReader::open(self.writer.directory());
        let entries = reader.and_then(|reader| reader.entries()).map_err(CliError::log)?;
        entries.collect::<Result<_, _>>().map_err(CliError::log)
    }

    /// Durable first, then everybody learns.
    fn record(&mut self, events: Vec<Event>) -> Result<Vec<Entry>, Stopped> {
        let entries = self.writer.append_group(events)?;
        let Self { tree, dossier, llm, writer, .. } = self;
        for entry in &entries {
            tree.apply(entry);
            dossier.apply(entry);
            llm.learn(entry, &|digest| writer.kept(digest).ok());
        }
        Ok(entries)
    }

    fn keep(&mut self, notes: Vec<Note>) -> Result<(), Stopped> {
        for note in notes {
            for blob in &note.blobs {
                self.writer.keep(blob)?;
            }
            self.record(vec![note.event])?;
        }
        Ok(())
    }

    /// Asks for one candidate of that kind.
    async fn attack(&mut self, ordinal: u64, place: usize) -> Result<Asked, Stopped> {
        let brief = self.brief(ordinal, NodeId(place as u32 + 1));
        let mut misses = 0;
        loop {
            if let Some(Halt::Spent(reason) | Halt::Unreachable(reason)) = self.llm.halted() {
                let notes = self.llm.abandon();
                self.keep(notes)?;
                return Ok(Asked::Halted(reason));
            }
            match self.llm.propose(&brief).await? {
                Answer::Ready(proposal) => return Ok(Asked::Wrote(Box::new(proposal))),
                Answer::Nothing => return Ok(Asked::Missed),
                Answer::Noted(notes) => self.keep(notes)?,
                Answer::Missed(_) => {
                    misses += 1;
                    if misses == MAX_MISSES {
                        return Ok(Asked::Missed);
                    }
                }
            }
        }
    }

    fn brief(&self, ordinal: u64, node: NodeId) -> Brief {
        let contract = &self.audit.contract;
        let mut brief = BriefBuilder::new(&self.tree, contract).build(node, ordinal, self.seed);
        let (kept, entry) =
            (|digest: &Digest| self.writer.kept(digest).ok(), |seq| self.writer.entry(seq).ok());
        let sources = Sources { kept: &kept, entry: &entry };
        brief.details = Some(Box::new(self.dossier.for_brief(&brief, &self.tree, contract, sources)));
        brief
    }

    /// Judges a candidate as a search would, and again more strictly where it was accepted.
    async fn try_out(
        &mut self,
        bench: &Bench,
        root: &Path,
        kind: &'static str,
        proposal: Proposal,
    ) -> Result<Attempt, CliError> {
        let candidate = Candidate::new(&self.audit.contract.name, &bench.target, proposal);
        self.writer.keep(candidate.proposal.source.as_bytes()).map_err(CliError::log)?;
        let entries = self.record(vec![Event::Proposed(Box::new(Proposed::of(&candidate)))])?;
        let seq = entries.first().map_or(Seq(0), |entry| entry.seq);
        let accepted = judge(&self.harness, &candidate).await?;
        self.record(vec![judged(seq, &accepted)])?;
        let attempt = |verdict, detail, bug| Attempt { seq, kind, verdict, detail, bug };
        if !accepted.is_accepted() {
            return Ok(attempt("refused", failure(&accepted), None));
        }
        let strict = if let Some(strict) = &self.strict {
            strict.clone()
        } else {
            let strict = Arc::new(strict::open(bench, &self.audit.contract, self.seed)?);
            self.strict.insert(strict).clone()
        };
        for _ in 0..self.audit.rounds {
            let again = judge(&strict, &candidate).await?;
            self.record(vec![judged(seq, &again)])?;
            if disagrees(&again) {
                let proposal = &candidate.proposal;
                let bug = HarnessBug {
                    run: self.writer.run(),
                    proposal: seq,
                    source: &proposal.source,
                    plan: &proposal.plan,
                    rationale: &proposal.rationale,
                    accepted: &accepted,
                    refused: &again,
                };
                let path = file_bug(root, &bug).map_err(CliError::log)?;
                return Ok(attempt("got through", failure(&again), Some(path)));
            }
        }
        let held = format!("accepted, and {} stricter judgements found nothing wrong", self.audit.rounds);
        Ok(attempt("honest", held, None))
    }
}

/// What became of a question.
enum Asked {
    Wrote(Box<Proposal>),
    Missed,
    Halted(String),
}

async fn judge(harness: &Arc<Harness>, candidate: &Candidate) -> Result<Evidence, CliError> {
    let (harness, candidate) = (harness.clone(), candidate.clone());
    let judged = tokio::task::spawn_blocking(move || harness.evaluate_fully(candidate));
    judged.await.map_err(CliError::internal)?.map_err(CliError::apparatus)
}

fn judged(proposal: Seq, evidence: &Evidence) -> Event {
    Event::Judged { proposal, evidence: Box::new(evidence.clone()) }
}

fn failure(evidence: &Evidence) -> String {
    evidence
        .failure
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Whether a refusal says that the candidate is wrong; time, memory and the machine's mood do not.
fn disagrees(again: &Evidence) -> bool {
    use FailureClass as Class;
    again.failure.as_ref().is_some_and(|failure| {
        failure.class.is_conclusive()
            && !matches!(
                failure.class,
                Class::Timeout
                    | Class::CompileTimeout
                    | Class::CompileMemory
                    | Class::OutOfMemory
                    | Class::Implausible
            )
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(super) const CONTRACTS: [&str; 4] = ["rmsnorm_f32", "gemm_f32", "transpose_f32", "silu_mul_f32"];

    pub(super) fn contract(name: &str) -> Contract {
        let roots = kernsmith_op_contract::default_roots();
        kernsmith_op_contract::Library::open(roots).unwrap().find(name).unwrap()
    }

    #[test]
    fn the_attacks_are_a_legal_first_tree() {
        Tree::default().validate(&attacks()).unwrap();
    }
}
