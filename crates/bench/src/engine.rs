//! The engine alone: null proposer and null evaluator through the real loop, log and fold.
//!
//! What is measured is everything that Kernsmith itself does for a candidate: selection, brief, addresses, compression, the
//! chained log with its syncs, and the fold into the tree. Nothing is built and nothing is judged: sources are pseudo-random
//! identifiers in the shape of C++, verdicts come from their digests. `docs/bench-engine.md` says how each number is defined.

mod meter;
mod null;
mod text;
mod usage;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use kernsmith_core::event::{LOG_FORMAT, Opened};
use kernsmith_core::{Digest, Plan, RunId, Target};
use kernsmith_engine::{Engine, FrozenBaseline, Genesis, Parts, Past, StopSignal};
use kernsmith_experiment_log::{RunWriter, run_directory};
use kernsmith_op_contract::Contract;
use kernsmith_search_config::SearchConfig;
use serde::{Deserialize, Serialize};

use crate::BenchError;
use meter::{LogTime, Meter, PARTS, Timed, Watch, locked};
use null::{NullEvaluator, NullProposer};

/// The run's name below the folder.
const RUN: &str = "bench-engine";
/// The contract that is searched for: the scaffold of `kernsmith contract new`.
const CONTRACT: &str = "null_f32";
/// Candidates that are in flight at once, and share a group of the log.
const WIDTH: u32 = 64;

/// What is measured.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Candidates to propose.
    pub candidates: u64,
    /// Size of each source.
    pub source_bytes: usize,
    /// Seed of everything.
    pub seed: u64,
    /// Where the run is written; it must not hold one yet.
    pub folder: PathBuf,
}

/// What the engine did and what it took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EngineReport {
    /// Candidates that were proposed.
    pub candidates: u64,
    /// Size of each source.
    pub source_bytes: usize,
    /// Seed of everything.
    pub seed: u64,
    /// Candidates in flight at once.
    pub width: u32,
    /// Wall time from the first proposal to the last durable entry.
    pub seconds: f64,
    /// Candidates a second over the whole run.
    pub per_second: f64,
    /// Candidates a second over the first tenth.
    pub per_second_first_tenth: f64,
    /// Candidates a second over the last tenth.
    pub per_second_last_tenth: f64,
    /// Processor time of the whole process for one candidate of the first tenth.
    pub cpu_ms_first_tenth: f64,
    /// The same for the last tenth.
    pub cpu_ms_last_tenth: f64,
    /// Wall time that one candidate of the first tenth waited for the log, syncs included.
    pub log_ms_first_tenth: f64,
    /// The same for the last tenth.
    pub log_ms_last_tenth: f64,
    /// Durable entries.
    pub entries: u64,
    /// Candidates that passed, by their deepest judgement.
    pub accepted: u64,
    /// Judgements beyond the screen.
    pub deeper_judgements: u64,
    /// Promotions.
    pub promotions: u64,
    /// Bytes of the history for each candidate: the proposal and its evidence.
    pub history_bytes_per_candidate: f64,
    /// Bytes of the pack for each candidate: the compressed source.
    pub pack_bytes_per_candidate: f64,
    /// Bytes on disk for each candidate, everything counted.
    pub disk_bytes_per_candidate: f64,
    /// Bytes on disk over bytes of source.
    pub disk_over_source: f64,
    /// Peak resident memory of the process (`VmHWM`) when the search ended; `None` where the system does not say.
    pub peak_rss_mib: Option<f64>,
    /// Peak resident memory of the process that opened the run again.
    pub peak_rss_reopened_mib: Option<f64>,
    /// The same before anything was proposed.
    pub start_rss_mib: Option<f64>,
    /// Wall time to open the run again: every sum and the chain checked, every source found, and the fold into the tree.
    pub resume_seconds: f64,
    /// The same for each hundred thousand entries.
    pub resume_seconds_per_100k_entries: f64,
    /// Digest of what happened, times left out: equal seeds give equal digests.
    pub events: String,
}

/// What opening a run again takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reopened {
    /// Candidates in the tree that was folded.
    pub candidates: u64,
    /// Those that passed, by their deepest judgement.
    pub accepted: u64,
    /// Judgements beyond the screen.
    pub deeper_judgements: u64,
    /// Wall time: every sum and the chain checked, every source found, and the fold into the tree.
    pub seconds: f64,
    /// Peak resident memory of the process (`VmHWM`) afterwards; `None` where the system does not say.
    pub peak_rss_mib: Option<f64>,
}

/// Opens the run that [`measure_engine`] left in a folder, as `resume` does before its first new candidate.
pub fn measure_reopening(options: &EngineOptions) -> Result<Reopened, BenchError> {
    let directory = run_directory(&options.folder, &run_id()?);
    let begun = Instant::now();
    let mut past = Past::new(&config(options)?);
    drop(RunWriter::open_with(&directory, |entry| past.apply(&entry))?);
    let seconds = begun.elapsed().as_secs_f64();
    let counts = past.tree().counts();
    Ok(Reopened {
        candidates: counts.proposed,
        accepted: counts.accepted,
        deeper_judgements: counts.judgements - counts.judged,
        seconds,
        peak_rss_mib: usage::peak_rss_mib(),
    })
}

/// Runs the search and opens its log again. `progress` is told how many candidates have been proposed.
///
/// `reopen` is [`measure_reopening`], in a process of its own where there is one: `resume` starts in a fresh process too, and
/// not in the heap that a search left behind.
pub fn measure_engine(
    options: &EngineOptions,
    progress: &(dyn Fn(u64) + Sync),
    reopen: &dyn Fn(&EngineOptions) -> Result<Reopened, BenchError>,
) -> Result<EngineReport, BenchError> {
    if options.candidates < PARTS {
        let value = options.candidates.to_string();
        return Err(BenchError::Option { name: "--candidates", value, legal: "at least 10" });
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .map_err(|source| BenchError::Read { path: PathBuf::from("the runtime"), source })?;
    let contract = Arc::new(contract(&options.folder)?);
    let start_rss_mib = usage::peak_rss_mib();
    let (meter, seconds) = runtime.block_on(search(options, contract, progress))?;
    let peak_rss_mib = usage::peak_rss_mib();
    let reopened = reopen(options)?;
    let directory = run_directory(&options.folder, &run_id()?);
    let disk =
        usage::DiskUse::of(&directory).map_err(|source| BenchError::Read { path: directory, source })?;
    let count = options.candidates as f64;
    let (first, last) = (meter.part(0), meter.part(PARTS as usize - 1));
    Ok(EngineReport {
        candidates: reopened.candidates,
        source_bytes: options.source_bytes,
        seed: options.seed,
        width: WIDTH,
        seconds,
        per_second: reopened.candidates as f64 / seconds,
        per_second_first_tenth: 1e3 / first.wall_ms,
        per_second_last_tenth: 1e3 / last.wall_ms,
        cpu_ms_first_tenth: first.cpu_ms,
        cpu_ms_last_tenth: last.cpu_ms,
        log_ms_first_tenth: first.log_ms,
        log_ms_last_tenth: last.log_ms,
        entries: meter.entries,
        accepted: reopened.accepted,
        deeper_judgements: reopened.deeper_judgements,
        promotions: meter.promotions,
        history_bytes_per_candidate: disk.history as f64 / count,
        pack_bytes_per_candidate: disk.pack as f64 / count,
        disk_bytes_per_candidate: disk.all as f64 / count,
        disk_over_source: disk.all as f64 / (count * options.source_bytes as f64),
        peak_rss_mib,
        peak_rss_reopened_mib: reopened.peak_rss_mib,
        start_rss_mib,
        resume_seconds: reopened.seconds,
        resume_seconds_per_100k_entries: reopened.seconds * 1e5 / meter.entries as f64,
        events: Digest::from_bytes(*meter.events.finalize().as_bytes()).short(),
    })
}

async fn search(
    options: &EngineOptions,
    contract: Arc<Contract>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(Meter, f64), BenchError> {
    let logging = LogTime::default();
    let recorder = Timed { inner: RunWriter::create(&options.folder, &run_id()?)?, spent: logging.clone() };
    let meter = Arc::new(std::sync::Mutex::new(Meter::new(options.candidates, logging.clone())));
    let observer = Watch { meter: meter.clone(), progress };
    let target = Target::host();
    let mut engine = Engine::new(Parts {
        proposer: NullProposer::new(options.seed, options.source_bytes),
        evaluator: Arc::new(NullEvaluator::new(&contract.name, &target)),
        contract: contract.clone(),
        target,
        recorder,
        observer,
        config: config(options)?,
        seed: options.seed,
        stop: StopSignal::default(),
    });
    engine.begin(genesis(&contract, options)?).await?;
    locked(&meter).begin();
    engine.run().await?;
    drop(engine);
    let meter = std::mem::replace(&mut *locked(&meter), Meter::new(1, logging));
    let seconds = meter.seconds();
    Ok((meter, seconds))
}

/// No limit but the candidates, and no strategy is ever closed: the tree stays as wide as it was planned.
fn config(options: &EngineOptions) -> Result<SearchConfig, BenchError> {
    let mut config = SearchConfig::defaults()?;
    config.budget.wall_seconds = 0.0;
    config.budget.candidates = options.candidates;
    config.search.width = WIDTH;
    config.closure.stagnation = 100_000;
    config.closure.base_stagnation = 100_000;
    Ok(config)
}

fn run_id() -> Result<RunId, BenchError> {
    RUN.parse().map_err(|_| BenchError::Option { name: "run", value: RUN.to_owned(), legal: "a run's name" })
}

fn contract(folder: &Path) -> Result<Contract, BenchError> {
    let root = folder.join("contracts");
    let directory = root.join(CONTRACT);
    if !directory.is_dir() {
        kernsmith_op_contract::scaffold(CONTRACT, &root)?;
    }
    Ok(Contract::load(&directory)?)
}

fn genesis(contract: &Contract, options: &EngineOptions) -> Result<Genesis, BenchError> {
    let config = config(options)?;
    let opened = Opened {
        format: LOG_FORMAT,
        run_id: run_id()?,
        program: "kernsmith bench engine".to_owned(),
        contract: contract.name.clone(),
        contract_version: contract.version,
        contract_digest: contract.digest,
        contract_path: CONTRACT.to_owned(),
        target: Target::host(),
        seed: options.seed,
        config: config.effective(),
        config_digest: config.digest(),
        environment: std::collections::BTreeMap::new(),
        forked_from: None,
        memory: None,
        audit: None,
    };
    let (name, source) = ("null".to_owned(), text::source(options.seed, u64::MAX, options.source_bytes));
    let baseline =
        FrozenBaseline { name, source, plan: Plan::default(), performance: null::performance(1.0) };
    Ok(Genesis { opened, baseline })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(seed: u64) -> EngineReport {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_owned();
        let options = EngineOptions { candidates: 300, source_bytes: 600, seed, folder };
        measure_engine(&options, &|_| (), &measure_reopening).unwrap()
    }

    #[test]
    fn equal_seeds_give_the_same_history_and_other_seeds_another() {
        let (one, again, other) = (measured(1), measured(1), measured(2));
        assert_eq!(one.events, again.events);
        assert_ne!(one.events, other.events);
        assert!(one.candidates >= 300 && one.entries > 600 && one.promotions > 0, "{one:?}");
        assert!(one.accepted > 100 && one.accepted < one.candidates, "{one:?}");
    }
}
