//! Judging a bundle: a search of each job, with a proposer that hands out what the bundle holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernsmith_batch::{BUNDLE_FACT, Bundle, Handout, JOB_FACT, Job};
use kernsmith_core::event::Opened;
use kernsmith_core::{Digest, Event, RunId};
use kernsmith_engine::{Engine, Limit, Parts, Past, StopSignal};
use kernsmith_experiment_log::{RunReader, RunWriter, list};
use kernsmith_harness::Harness;
use kernsmith_search_config::{BudgetConfig, PathsConfig, SearchConfig};

use super::elapsed::Elapsed;
use super::hunt;
use super::{Bench, minimum_sandbox};
use crate::args::Global;
use crate::console::{Console, note};
use crate::error::CliError;

/// Sections of a configuration that say how candidates are judged.
const JUDGING: [&str; 3] = ["build", "harness", "search"];

/// Where a bundle is worked on.
pub(crate) struct Batch<'a> {
    pub(crate) global: &'a Global,
    pub(crate) bundle: &'a Bundle,
    /// The log folder of its runs.
    pub(crate) log: PathBuf,
    /// Wall time that each job may take in this session; absent: no limit.
    pub(crate) wall_seconds: Option<f64>,
    /// Whether rivals in Python are timed; what the bundle says does not count.
    pub(crate) rivals: bool,
}

/// The run of a job.
pub(crate) struct JobRun {
    pub(crate) job: usize,
    pub(crate) run: RunId,
    pub(crate) directory: PathBuf,
}

/// The part of a configuration that travels: how candidates are judged, and nothing of who asks whom where.
pub(crate) fn travelling(config: &serde_json::Value) -> serde_json::Value {
    let sections = JUDGING.iter().filter_map(|name| Some(((*name).to_owned(), config.get(name)?.clone())));
    serde_json::Value::Object(sections.collect())
}

impl Batch<'_> {
    /// Works on all jobs; what limited the last one that did not come to its end, if any.
    pub(crate) fn run(&self) -> Result<Option<Limit>, CliError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(CliError::internal)?;
        let stop = StopSignal::default();
        runtime.spawn(hunt::watch_signals(stop.clone()));
        let mut unfinished = None;
        for (place, job) in self.bundle.manifest.jobs.iter().enumerate() {
            if stop.is_set() {
                return Ok(Some(Limit::Interrupted));
            }
            let limit = runtime.block_on(self.work_on(place, job, &stop))?;
            if limit != Limit::Exhausted {
                unfinished = Some(limit);
            }
        }
        Ok(unfinished)
    }

    /// The runs that were begun so far.
    pub(crate) fn runs(&self) -> Result<Vec<JobRun>, CliError> {
        let mut runs = Vec::new();
        for summary in list(&self.log).map_err(CliError::log)? {
            let Ok(reader) = RunReader::open(&summary.directory) else { continue };
            let fact = |name: &str| reader.opened().environment.get(name).cloned();
            if fact(BUNDLE_FACT) != Some(self.bundle.number.to_string()) {
                continue;
            }
            let run = reader.opened().run_id.clone();
            let job = fact(JOB_FACT).and_then(|job| job.parse().ok());
            runs.extend(job.map(|job| JobRun { job, run, directory: summary.directory }));
        }
        runs.sort_by_key(|run| run.job);
        Ok(runs)
    }

    async fn work_on(&self, place: usize, job: &Job, stop: &StopSignal) -> Result<Limit, CliError> {
        let known = self.runs()?.into_iter().find(|run| run.job == place);
        let (mut past, mut elapsed) = (Past::new(&self.config(job, 0.0)?), Elapsed::default());
        let Some(known) = known else { return Box::pin(self.begin(place, job, stop)).await };
        let closed = kernsmith_experiment_log::summarise(&known.directory).map_err(CliError::log)?.closed;
        if closed.as_deref() == Some(Limit::Exhausted.as_str()) {
            note(&format!("{} for {} is done: {}", job.contract, job.target, known.run));
            return Ok(Limit::Exhausted);
        }
        let writer = RunWriter::open_with(&known.directory, |entry| {
            elapsed.note(&entry);
            past.apply(&entry);
        })
        .map_err(CliError::log)?;
        if past.tree().baseline().is_none() {
            // Nothing was judged yet: it costs nothing to begin anew.
            drop(writer);
            std::fs::remove_dir_all(&known.directory).map_err(CliError::log)?;
            return Box::pin(self.begin(place, job, stop)).await;
        }
        let used = elapsed.seconds();
        let (bench, harness) = self.bench(job, used)?;
        hunt::measure_baseline(&harness).await?;
        let mut engine = self.engine(&bench, job, (harness, writer), stop)?;
        let entries = RunReader::open(&known.directory).and_then(|reader| reader.entries());
        for entry in entries.map_err(CliError::log)? {
            engine.recall(&entry.map_err(CliError::log)?);
        }
        engine.resume(past, used, hunt::program()).await?;
        finish(engine).await
    }

    async fn begin(&self, place: usize, job: &Job, stop: &StopSignal) -> Result<Limit, CliError> {
        let run = hunt::new_run_id(&format!("batch_{}", job.contract))?;
        let writer = RunWriter::create(&self.log, &run).map_err(CliError::log)?;
        let (bench, harness) = self.bench(job, 0.0)?;
        let contract = self.bundle.contract(job)?;
        let opened = hunt::opened(&bench, &contract, &harness, &run, hunt::fresh_seed());
        let mut opened = Opened { contract_path: job.contract_path.clone(), ..opened };
        opened.environment.extend(program_facts()?);
        opened.environment.insert(BUNDLE_FACT.to_owned(), self.bundle.number.to_string());
        opened.environment.insert(JOB_FACT.to_owned(), place.to_string());
        opened.environment.insert("device".to_owned(), harness.environment().device);
        let mut engine = self.engine(&bench, job, (harness.clone(), writer), stop)?;
        engine.open(opened).await?;
        engine.freeze(hunt::measure_baseline(&harness).await?).await?;
        finish(engine).await
    }

    fn bench(&self, job: &Job, used: f64) -> Result<(Bench, Arc<Harness>), CliError> {
        let contract = self.bundle.contract(job)?;
        hunt::refuse_weak(&contract)?;
        let target = super::target(&job.target.to_string())?;
        let bench = Bench::with_config(self.global, &target, self.config(job, used)?)?;
        let baseline = self.bundle.baseline(job)?;
        let harness = bench.harness(contract.for_platform(target.platform()), baseline, None)?;
        Ok((bench, Arc::new(harness)))
    }

    /// The bundle's configuration, with this machine's folders and no limits but those of this session.
    fn config(&self, job: &Job, used: f64) -> Result<SearchConfig, CliError> {
        let own = super::config(self.global, &[])?.config;
        let mut config =
            SearchConfig::from_effective(&travelling(&job.config)).map_err(CliError::bad_input)?;
        if minimum_sandbox(&own)? > minimum_sandbox(&config)? {
            config.harness.minimum_sandbox = own.harness.minimum_sandbox;
        }
        let wall_seconds = self.wall_seconds.map_or(0.0, |seconds| used + seconds);
        config.budget = BudgetConfig { wall_seconds, candidates: 0, evaluations: 0, goal_ratio: 0.0 };
        config.paths = PathsConfig { contracts: Vec::new(), skills: Vec::new(), cache: own.paths.cache };
        config.log.dir = self.log.display().to_string();
        config.search.memory = String::new();
        // Rivals run without a sandbox, and their text comes with the bundle: whoever runs it decides.
        config.harness.rivals = self.rivals || own.harness.rivals;
        config.report.write = false;
        Ok(config)
    }

    fn engine(
        &self,
        bench: &Bench,
        job: &Job,
        (evaluator, recorder): (Arc<Harness>, RunWriter),
        stop: &StopSignal,
    ) -> Result<Engine<Handout, Harness, RunWriter, Console>, CliError> {
        let config = bench.config.clone();
        let observer = Console::new(self.global.format, self.global.progress, config.budget.wall_seconds);
        let contract = self.bundle.contract(job)?.for_platform(bench.target.platform());
        let (proposer, target) = (Handout::of(self.bundle, job)?, bench.target.clone());
        let (seed, stop) = (hunt::fresh_seed(), stop.clone());
        Ok(Engine::new(Parts {
            contract,
            target,
            proposer,
            evaluator,
            recorder,
            observer,
            config,
            seed,
            stop,
        }))
    }
}

async fn finish(mut engine: Engine<Handout, Harness, RunWriter, Console>) -> Result<Limit, CliError> {
    let outcome = engine.run().await?;
    engine.into_recorder().seal().map_err(CliError::log)?;
    Ok(outcome.limit)
}

/// What program runs, and on which machine.
fn program_facts() -> Result<BTreeMap<String, String>, CliError> {
    let own = std::env::current_exe().and_then(std::fs::read).map_err(CliError::apparatus)?;
    let first_line = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().next().unwrap_or_default().trim().to_owned()
    };
    let facts = [
        ("program", hunt::program()),
        ("program_digest", Digest::of(&own).to_string()),
        ("machine", first_line("/proc/sys/kernel/hostname")),
        ("driver", first_line("/proc/driver/nvidia/version")),
    ];
    let known = facts.into_iter().filter(|(_, value)| !value.is_empty());
    Ok(known.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// What the runs say of the machine: facts of their first entries, and everything that their packets name.
pub(crate) fn machine_facts(runs: &[JobRun]) -> Result<BTreeMap<String, String>, CliError> {
    let mut facts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            facts.entry(name.to_owned()).or_default().insert(value.to_owned());
        }
    };
    for run in runs {
        let reader = RunReader::open(&run.directory).map_err(CliError::log)?;
        for name in
            ["machine", "driver", "device", "os", "compiler", "program", "program_digest", BUNDLE_FACT]
        {
            add(name, reader.opened().environment.get(name).map_or("", String::as_str));
        }
        for entry in reader.entries().map_err(CliError::log)? {
            if let Event::Judged { evidence, .. } = entry.map_err(CliError::log)?.event {
                add("device", &evidence.environment.device);
                add("compiler", &evidence.environment.compiler);
                add("sandbox", &evidence.security.sandbox);
            }
        }
    }
    let joined = |values: BTreeSet<String>| values.into_iter().collect::<Vec<_>>().join("; ");
    Ok(facts.into_iter().map(|(name, values)| (name, joined(values))).collect())
}

/// The work folder of a result.
pub(crate) fn work_folder(result: &Path) -> PathBuf {
    let mut name = result.as_os_str().to_owned();
    name.push(".work");
    PathBuf::from(name)
}
