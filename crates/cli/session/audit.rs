//! One audit of the harness: a model attacks it, and whatever it accepts is judged again more strictly.

mod attacks;
mod progress;
mod strict;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use kernsmith_brief::{BriefBuilder, Desk, Dossier, Sources};
use kernsmith_core::event::{AuditTerms, BaselineFrozen, Opened, Proposed};
use kernsmith_core::port::{Answer, Halt, Note};
use kernsmith_core::{
    Brief, Candidate, Digest, Entry, Event, Evidence, FailureClass, NodeId, Proposal, Propose, Record, RunId,
    Seq,
};
use kernsmith_engine::{Limit, StopSignal};
use kernsmith_experiment_log::{HarnessBug, LogError, RunReader, RunWriter, file_bug};
use kernsmith_harness::{Harness, HarnessError};
use kernsmith_llm::{Llm, LlmError};
use kernsmith_op_contract::Contract;
use kernsmith_planner::Tree;

use super::elapsed::Elapsed;
use super::{Bench, hunt, proposer};
use crate::args::Global;
use crate::console::note;
use crate::error::CliError;
use attacks::{ATTACKS, attacks};
use progress::{Bill, Progress, Standing, Tried};

/// Misses in a row for one candidate after which the next one is asked for.
const MAX_MISSES: u32 = 3;

/// What is audited.
pub(crate) struct Audit {
    pub(crate) contract: Arc<Contract>,
    pub(crate) terms: AuditTerms,
}

/// Where an audit begins.
pub(crate) enum Start {
    /// At nothing.
    New(Option<RunId>),
    /// At the end of an earlier log.
    Resume(PathBuf, Box<Opened>),
}

/// What came out.
pub(crate) struct Outcome {
    pub(crate) run: RunId,
    pub(crate) attempts: Vec<Attempt>,
    /// Why it ended before all candidates were asked for.
    pub(crate) halted: Option<(Limit, String)>,
    pub(crate) bill: Bill,
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

/// Runs it to its end, or until the user asks to stop.
pub(crate) fn run(global: &Global, bench: &Bench, audit: &Audit, start: Start) -> Result<Outcome, CliError> {
    hunt::refuse_weak(&audit.contract)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::internal)?;
    let stop = StopSignal::default();
    runtime.spawn(hunt::watch_signals(stop.clone()));
    runtime.block_on(async {
        let auditor = match start {
            Start::New(run_id) => begin(global, bench, audit, run_id, stop).await?,
            Start::Resume(directory, opened) => {
                go_on(global, bench, audit, &directory, &opened, stop).await?
            }
        };
        auditor.work(bench).await
    })
}

async fn begin<'a>(
    global: &Global,
    bench: &Bench,
    audit: &'a Audit,
    run_id: Option<RunId>,
    stop: StopSignal,
) -> Result<Auditor<'a>, CliError> {
    let began = Instant::now();
    let llm = auditing(bench, audit)?;
    let run = match run_id {
        Some(run) => run,
        None => hunt::new_run_id(&format!("audit_{}", audit.contract.name))?,
    };
    let writer = RunWriter::create(Path::new(&bench.config.log.dir), &run).map_err(CliError::log)?;
    let harness = harness(bench, audit)?;
    let seed = hunt::seed(bench);
    let mut opened = hunt::opened(bench, &audit.contract, &harness, &run, seed);
    opened.audit = Some(audit.terms.clone());
    let llm = at_desk(global, bench, audit, &writer, llm)?;
    let mut auditor = Auditor::new(bench, audit, (writer, llm, harness), seed, (began, 0.0), stop);
    // First of all, so that a log that is interrupted while the baseline is measured says what it was to be.
    auditor.record(vec![Event::Opened(Box::new(opened))])?;
    let frozen = hunt::measure_baseline(&auditor.harness).await?;
    let source = auditor.writer.keep(frozen.source.as_bytes()).map_err(CliError::log)?;
    let (name, plan, performance) = (frozen.name, frozen.plan, frozen.performance);
    let baseline = BaselineFrozen { name, source, plan, performance };
    let edits = Event::TreeEdited { author: "auditor".to_owned(), edits: attacks() };
    auditor.record(vec![Event::BaselineFrozen(Box::new(baseline)), edits])?;
    Ok(auditor)
}

/// Folds the log of an earlier session: what was answered is not asked again, and what was judged is not judged again.
async fn go_on<'a>(
    global: &Global,
    bench: &Bench,
    audit: &'a Audit,
    directory: &Path,
    opened: &Opened,
    stop: StopSignal,
) -> Result<Auditor<'a>, CliError> {
    let began = Instant::now();
    let llm = auditing(bench, audit)?;
    let mut elapsed = Elapsed::default();
    let writer = RunWriter::open_with(directory, |entry| elapsed.note(&entry)).map_err(CliError::log)?;
    let harness = harness(bench, audit)?;
    let llm = at_desk(global, bench, audit, &writer, llm)?;
    let used = elapsed.seconds();
    let mut auditor = Auditor::new(bench, audit, (writer, llm, harness), opened.seed, (began, used), stop);
    for entry in auditor.past()? {
        auditor.learn(&entry);
    }
    if auditor.tree.baseline().is_none() {
        return Err(CliError::bad_input_message(format!(
            "audit `{}` was interrupted before its baseline was measured: there is nothing to go on with; `kernsmith audit` \
             begins anew",
            opened.run_id
        )));
    }
    if auditor.tree.is_empty() {
        let edits = Event::TreeEdited { author: "auditor".to_owned(), edits: attacks() };
        auditor.record(vec![edits])?;
    }
    // Stored medians serve the screen: they are measured again, because the machine may have changed.
    hunt::measure_baseline(&auditor.harness).await?;
    let (program, wall_seconds_before) = (hunt::program(), auditor.wall_seconds());
    auditor.record(vec![Event::Resumed { program, wall_seconds_before }])?;
    Ok(auditor)
}

fn auditing(bench: &Bench, audit: &Audit) -> Result<Llm, CliError> {
    let axes = audit.contract.variable_axes().into_iter().map(str::to_owned).collect();
    Ok(proposer::llm(bench, axes)?.auditing())
}

/// The harness under attack.
fn harness(bench: &Bench, audit: &Audit) -> Result<Arc<Harness>, CliError> {
    let mut options = bench.harness_options()?;
    options.skip.clone_from(&audit.terms.drill);
    options.rivals = false;
    Ok(Arc::new(bench.harness_with(audit.contract.clone(), options)?))
}

/// The auditor may ask for evidence out of the run that it works on.
fn at_desk(
    global: &Global,
    bench: &Bench,
    audit: &Audit,
    writer: &RunWriter,
    llm: Llm,
) -> Result<Llm, CliError> {
    let knowledge = bench.knowledge(global)?;
    let desk = Desk::new(hunt::desk(bench, &audit.contract, writer.directory(), &knowledge));
    Ok(llm.inspecting(Box::new(move |request| desk.answer(request))))
}

struct Auditor<'a> {
    audit: &'a Audit,
    writer: RunWriter,
    tree: Tree,
    dossier: Dossier,
    progress: Progress,
    llm: Llm,
    harness: Arc<Harness>,
    /// Opened when something is accepted for the first time.
    strict: Option<Arc<Harness>>,
    seed: u64,
    /// When this session began, and the wall time of those before it.
    clock: (Instant, f64),
    stop: StopSignal,
}

impl<'a> Auditor<'a> {
    fn new(
        bench: &Bench,
        audit: &'a Audit,
        (writer, llm, harness): (RunWriter, Llm, Arc<Harness>),
        seed: u64,
        clock: (Instant, f64),
        stop: StopSignal,
    ) -> Self {
        let tree = Tree::new(kernsmith_engine::planner_options(&bench.config));
        let (dossier, progress) = (Dossier::default(), Progress::default());
        Self { audit, writer, tree, dossier, progress, llm, harness, strict: None, seed, clock, stop }
    }

    fn wall_seconds(&self) -> f64 {
        self.clock.1 + self.clock.0.elapsed().as_secs_f64()
    }

    async fn work(mut self, bench: &Bench) -> Result<Outcome, CliError> {
        let mut attempts = Vec::new();
        let mut halted = None;
        for number in 0..self.audit.terms.candidates {
            let place = (number % ATTACKS.len() as u64) as usize;
            let tried = match self.progress.at(number) {
                Standing::Tried(tried) => tried,
                Standing::Missed => continue,
                Standing::Open => match self.attack(number, place).await? {
                    Asked::Wrote(proposal) => self.propose(*proposal, bench)?,
                    Asked::Missed => continue,
                    Asked::Halted(limit, reason) => {
                        halted = Some((limit, reason));
                        break;
                    }
                },
            };
            let attempt = self.try_out(bench, ATTACKS[place].0, tried).await?;
            note(&format!("{} {}: {}", attempt.seq, attempt.kind, attempt.verdict));
            attempts.push(attempt);
        }
        let reason = halted.as_ref().map_or("audited", |(limit, _)| limit.as_str()).to_owned();
        let wall_seconds = self.wall_seconds();
        self.record(vec![Event::Closed { reason, wall_seconds }])?;
        self.writer.seal().map_err(CliError::log)?;
        let run = self.writer.run().clone();
        Ok(Outcome { run, attempts, halted, bill: self.progress.bill })
    }

    fn past(&self) -> Result<Vec<Entry>, CliError> {
        let reader = RunReader::open(self.writer.directory());
        let entries = reader.and_then(|reader| reader.entries()).map_err(CliError::log)?;
        entries.collect::<Result<_, _>>().map_err(CliError::log)
    }

    /// Durable first, then everybody learns.
    fn record(&mut self, events: Vec<Event>) -> Result<Vec<Entry>, Stopped> {
        let entries = self.writer.append_group(events)?;
        for entry in &entries {
            self.learn(entry);
        }
        Ok(entries)
    }

    /// Everything that an auditor knows is a fold of the log.
    fn learn(&mut self, entry: &Entry) {
        let Self { tree, dossier, progress, llm, writer, .. } = self;
        tree.apply(entry);
        dossier.apply(entry);
        progress.apply(entry);
        llm.learn(entry, &|digest| writer.kept(digest).ok());
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
            let halt = self.llm.halted().map(|halt| match halt {
                Halt::Spent(reason) => (Limit::Budget, reason),
                Halt::Unreachable(reason) => (Limit::Unreachable, reason),
            });
            let stopped = || (Limit::Interrupted, "the user asked to stop".to_owned());
            if let Some((limit, reason)) = halt.or_else(|| self.stop.is_set().then(stopped)) {
                let notes = self.llm.abandon();
                self.keep(notes)?;
                return Ok(Asked::Halted(limit, reason));
            }
            let stop = self.stop.clone();
            let answer = tokio::select! {
                biased;
                answer = self.llm.propose(&brief) => answer?,
                () = stop.wait() => continue,
            };
            match answer {
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

    /// Makes a proposal durable.
    fn propose(&mut self, proposal: Proposal, bench: &Bench) -> Result<Tried, CliError> {
        let candidate = Candidate::new(&self.audit.contract.name, &bench.target, proposal);
        self.writer.keep(candidate.proposal.source.as_bytes()).map_err(CliError::log)?;
        let entries = self.record(vec![Event::Proposed(Box::new(Proposed::of(&candidate)))])?;
        let seq = entries.first().map_or(Seq(0), |entry| entry.seq);
        Ok(Tried { seq, judged: Vec::new() })
    }

    /// The candidate of a durable proposal.
    fn candidate(&self, seq: Seq, bench: &Bench) -> Result<Candidate, CliError> {
        let entry = self.writer.entry(seq).map_err(CliError::log)?;
        let Event::Proposed(proposed) = entry.event else {
            return Err(CliError::internal(std::io::Error::other(format!("entry {seq} is no proposal"))));
        };
        let source = self.writer.kept(&proposed.source).map_err(CliError::log)?;
        Ok(Candidate::new(&self.audit.contract.name, &bench.target, proposed.into_proposal(&source)))
    }

    /// Judges a candidate as a search would, and again more strictly where it was accepted; judgements that are in the log
    /// already are not repeated.
    async fn try_out(
        &mut self,
        bench: &Bench,
        kind: &'static str,
        tried: Tried,
    ) -> Result<Attempt, CliError> {
        let seq = tried.seq;
        let candidate = self.candidate(seq, bench)?;
        let mut judged = tried.judged.into_iter();
        let accepted = match judged.next() {
            Some(evidence) => evidence,
            None => self.judge(seq, &candidate, self.harness.clone()).await?,
        };
        let attempt = |verdict, detail, bug| Attempt { seq, kind, verdict, detail, bug };
        if !accepted.is_accepted() {
            return Ok(attempt("refused", failure(&accepted), None));
        }
        for _ in 0..self.audit.terms.rounds {
            let again = if let Some(evidence) = judged.next() {
                evidence
            } else {
                let strict = self.strict(bench)?;
                self.judge(seq, &candidate, strict).await?
            };
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
                // Written over where an earlier session filed it.
                let path = file_bug(Path::new(&bench.config.log.dir), &bug).map_err(CliError::log)?;
                return Ok(attempt("got through", failure(&again), Some(path)));
            }
        }
        let held =
            format!("accepted, and {} stricter judgements found nothing wrong", self.audit.terms.rounds);
        Ok(attempt("honest", held, None))
    }

    fn strict(&mut self, bench: &Bench) -> Result<Arc<Harness>, CliError> {
        if let Some(strict) = &self.strict {
            return Ok(strict.clone());
        }
        let strict = Arc::new(strict::open(bench, &self.audit.contract, self.seed)?);
        Ok(self.strict.insert(strict).clone())
    }

    async fn judge(
        &mut self,
        seq: Seq,
        candidate: &Candidate,
        harness: Arc<Harness>,
    ) -> Result<Evidence, CliError> {
        let candidate = candidate.clone();
        let judged = tokio::task::spawn_blocking(move || harness.evaluate_fully(candidate));
        let evidence = judged.await.map_err(CliError::internal)?.map_err(CliError::apparatus)?;
        self.record(vec![Event::Judged { proposal: seq, evidence: Box::new(evidence.clone()) }])?;
        Ok(evidence)
    }
}

/// What became of a question.
enum Asked {
    Wrote(Box<Proposal>),
    Missed,
    Halted(Limit, String),
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
}
