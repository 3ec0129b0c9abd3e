//! One search from its first entry to its report, new or resumed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use kernsmith_brief::{DeskParts, Knowledge};
use kernsmith_core::event::{BaselineFrozen, LOG_FORMAT, Opened};
use kernsmith_core::{Plan, Record, RunId};
use kernsmith_engine::{Engine, FrozenBaseline, Limit, Outcome, Parts, Past, StopSignal};
use kernsmith_experiment_log::{RunReader, RunWriter};
use kernsmith_harness::Harness;
use kernsmith_op_contract::{Contract, Severity};
use kernsmith_search_config::Seed;
use kernsmith_toolchain::Host;

use super::elapsed::Elapsed;
use super::proposer::{AnyProposer, Reader};
use super::{Bench, memory};
use crate::args::{Format, Global};
use crate::console::{Console, data, note};
use crate::error::{Answer, CliError};
use crate::exit::Exit;

/// The name under which a user's own kernel is frozen.
pub(crate) const SEED_BASELINE: &str = "seed";

type Search = Engine<AnyProposer, Harness, RunWriter, Console>;

/// Where a search begins.
#[derive(Debug)]
pub(crate) enum Start {
    /// At nothing.
    New { run_id: Option<RunId>, baseline: Option<(String, Plan)> },
    /// At the end of an earlier log.
    Resume { directory: PathBuf, opened: Box<Opened>, wall_seconds: Option<f64> },
}

/// Runs the search and prints how it ended.
pub(crate) fn run(global: &Global, bench: Bench, contract: Arc<Contract>, start: Start) -> Answer {
    refuse_weak(&contract)?;
    let contract = contract.for_platform(bench.target.platform());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::internal)?;
    let report = bench.config.report.write;
    let stop = StopSignal::default();
    runtime.spawn(watch_signals(stop.clone()));
    let (outcome, directory) = match start {
        Start::New { run_id, baseline } => {
            runtime.block_on(begin(global, &bench, contract, run_id, baseline, stop))?
        }
        Start::Resume { directory, opened, wall_seconds } => {
            runtime.block_on(go_on(global, bench, contract, &directory, &opened, wall_seconds, stop))?
        }
    };
    finish(global, &outcome, &directory, report)
}

/// A contract that anything passes is not worth a search.
pub(crate) fn refuse_weak(contract: &Contract) -> Result<(), CliError> {
    let errors: Vec<String> = contract
        .lint()
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| format!("\n  {} [{}]", finding.message, finding.rule))
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    let path = contract.directory.display();
    Err(CliError::bad_input_message(format!(
        "contract `{}` in {path} is too weak to search with:{}",
        contract.name,
        errors.concat()
    )))
}

async fn begin(
    global: &Global,
    bench: &Bench,
    contract: Arc<Contract>,
    run_id: Option<RunId>,
    baseline: Option<(String, Plan)>,
    stop: StopSignal,
) -> Result<(Outcome, PathBuf), CliError> {
    let began = Instant::now();
    let seed = seed(bench);
    let run_id = match run_id {
        Some(run_id) => run_id,
        None => new_run_id(&contract.name)?,
    };
    // Settings that cannot work are the user's to mend, so they are looked at before anything is made.
    let reader = Reader::open(bench, &contract)?;
    // The log comes next: a folder that cannot be written is found out before anything is measured.
    let log_root = Path::new(&bench.config.log.dir);
    let mut writer = RunWriter::create(log_root, &run_id).map_err(CliError::log)?;
    let directory = writer.directory().to_owned();
    let harness = Arc::new(bench.harness(contract.clone(), baseline, None)?);
    let mut opened = opened(bench, &contract, &harness, &run_id, seed);
    let memory = memory::gather(&bench.config.search.memory, log_root, &mut opened, &mut writer)?;
    let knowledge = bench.knowledge(global)?;
    let reader = reader.map(|reader| reader.at_desk(desk(bench, &contract, &directory, &knowledge)));
    let proposer = AnyProposer::new(reader, bench, &contract, memory.as_ref(), &opened);
    let parts = (proposer, harness.clone(), writer);
    let mut engine = engine(global, bench, contract, parts, seed, stop).knowing(knowledge).since(began);
    engine.open(opened).await?;
    engine.freeze(measure_baseline(&harness).await?).await?;
    let outcome = engine.run().await?;
    engine.into_recorder().seal().map_err(CliError::log)?;
    Ok((outcome, directory))
}

async fn go_on(
    global: &Global,
    mut bench: Bench,
    contract: Arc<Contract>,
    directory: &Path,
    opened: &Opened,
    wall_seconds: Option<f64>,
    stop: StopSignal,
) -> Result<(Outcome, PathBuf), CliError> {
    let began = Instant::now();
    let reader = Reader::open(&bench, &contract)?;
    // The log is read once: while it is checked, the tree and the time used are folded from it.
    let (mut past, mut elapsed) = (Past::new(&bench.config), Elapsed::default());
    let writer = RunWriter::open_with(directory, |entry| {
        elapsed.note(&entry);
        past.apply(&entry);
    })
    .map_err(CliError::log)?;
    if past.tree().baseline().is_none() {
        return Err(CliError::bad_input_message(format!(
            "run `{}` was interrupted before its baseline was measured: there is nothing to go on with; `kernsmith search` \
             begins anew",
            run_name(directory)
        )));
    }
    let used = elapsed.seconds();
    if let Some(wall_seconds) = wall_seconds {
        bench.config.budget.wall_seconds = if wall_seconds > 0.0 { used + wall_seconds } else { 0.0 };
    }
    let baseline = past.tree().baseline().filter(|frozen| frozen.name == SEED_BASELINE);
    let baseline = baseline.map(|frozen| seed_kernel(&writer, frozen)).transpose()?;
    let harness = Arc::new(bench.harness(contract.clone(), baseline, None)?);
    // Stored medians serve the screen: they are measured again, because the machine may have changed.
    measure_baseline(&harness).await?;
    let memory = memory::recorded(opened, &writer)?;
    let knowledge = bench.knowledge(global)?;
    let reader = reader.map(|reader| reader.at_desk(desk(&bench, &contract, directory, &knowledge)));
    let proposer = AnyProposer::new(reader, &bench, &contract, memory.as_ref(), opened);
    let mut engine = engine(global, &bench, contract, (proposer, harness, writer), opened.seed, stop)
        .knowing(knowledge)
        .since(began);
    if engine.reads() {
        for entry in RunReader::open(directory).and_then(|reader| reader.entries()).map_err(CliError::log)? {
            engine.recall(&entry.map_err(CliError::log)?);
        }
    }
    engine.resume(past, used, program()).await?;
    let outcome = engine.run().await?;
    engine.into_recorder().seal().map_err(CliError::log)?;
    Ok((outcome, directory.to_owned()))
}

/// The user's own kernel, as it was frozen.
fn seed_kernel(writer: &RunWriter, frozen: &BaselineFrozen) -> Result<(String, Plan), CliError> {
    let source = writer.kept(&frozen.source).map_err(CliError::log)?;
    Ok((String::from_utf8_lossy(&source).into_owned(), frozen.plan.clone()))
}

fn engine(
    global: &Global,
    bench: &Bench,
    contract: Arc<Contract>,
    (proposer, evaluator, recorder): (AnyProposer, Arc<Harness>, RunWriter),
    seed: u64,
    stop: StopSignal,
) -> Search {
    let config = bench.config.clone();
    let observer = Console::new(global.format, global.progress, config.budget.wall_seconds);
    let target = bench.target.clone();
    Engine::new(Parts { contract, target, proposer, evaluator, recorder, observer, config, seed, stop })
}

/// Where a model may ask for evidence out of this run.
pub(crate) fn desk(
    bench: &Bench,
    contract: &Arc<Contract>,
    directory: &Path,
    knowledge: &Arc<Knowledge>,
) -> DeskParts {
    DeskParts {
        contract: contract.clone(),
        target: bench.target.clone(),
        run: directory.to_owned(),
        knowledge: knowledge.clone(),
        toolchain: bench.toolchain.clone(),
    }
}

pub(crate) async fn measure_baseline(harness: &Arc<Harness>) -> Result<FrozenBaseline, CliError> {
    let harness = harness.clone();
    let frozen = tokio::task::spawn_blocking(move || harness.freeze_baseline());
    let (name, source, plan, performance) =
        frozen.await.map_err(CliError::internal)?.map_err(CliError::apparatus)?;
    Ok(FrozenBaseline { name, source, plan, performance })
}

pub(crate) fn opened(
    bench: &Bench,
    contract: &Contract,
    harness: &Harness,
    run_id: &RunId,
    seed: u64,
) -> Opened {
    let compiler = bench.toolchain.compiler();
    let environment = BTreeMap::from([
        ("device".to_owned(), bench.host.model.clone()),
        ("cores".to_owned(), bench.host.cores.to_string()),
        ("features".to_owned(), bench.host.features.iter().map(String::as_str).collect::<Vec<_>>().join(" ")),
        ("caches".to_owned(), caches(&bench.host)),
        ("os".to_owned(), bench.host.os.clone()),
        ("compiler".to_owned(), compiler.to_string()),
        ("compiler_digest".to_owned(), compiler.digest.to_string()),
        // The same word as in every packet: outcomes of one fingerprint compare.
        ("fingerprint".to_owned(), harness.environment().fingerprint),
    ]);
    Opened {
        format: LOG_FORMAT,
        run_id: run_id.clone(),
        program: program(),
        contract: contract.name.clone(),
        contract_version: contract.version,
        contract_digest: contract.digest,
        contract_path: contract_path(contract),
        target: bench.target.clone(),
        seed,
        config: bench.config.effective(),
        config_digest: bench.config.digest(),
        environment,
        forked_from: None,
        memory: None,
        audit: None,
    }
}

/// A shipped contract is found by its relative folder anywhere; any other only by its whole path.
pub(crate) fn contract_path(contract: &Contract) -> String {
    let shipped = contract.directory.starts_with(kernsmith_op_contract::FOLDER);
    let absolute = if shipped { None } else { std::path::absolute(&contract.directory).ok() };
    absolute.unwrap_or_else(|| contract.directory.clone()).display().to_string()
}

fn caches(host: &Host) -> String {
    format!("L1d {} B a core, L2 {} B a core, L3 {} B", host.l1d_bytes, host.l2_bytes, host.l3_bytes)
}

pub(crate) fn program() -> String {
    format!("kernsmith {}", env!("CARGO_PKG_VERSION"))
}

/// Date, time and contract, made unique by a few digits of the clock.
pub(crate) fn new_run_id(contract: &str) -> Result<RunId, CliError> {
    let now = jiff::Timestamp::now();
    let name: String =
        contract.to_lowercase().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let stamp = now.strftime("%Y%m%d-%H%M%S");
    super::run_id(&format!("{stamp}-{name}-{:04x}", now.subsec_nanosecond() as u16))
}

/// The configured seed, else a fresh one.
pub(crate) fn seed(bench: &Bench) -> u64 {
    match bench.config.search.seed {
        Seed::Fixed(seed) => seed,
        Seed::Random => fresh_seed(),
    }
}

/// A seed that differs from run to run; it is recorded, so that the run can be repeated.
pub(crate) fn fresh_seed() -> u64 {
    let now = jiff::Timestamp::now().as_nanosecond();
    let digest = kernsmith_core::Digest::of(format!("{now}-{}", std::process::id()).as_bytes());
    u64::from_le_bytes(std::array::from_fn(|index| digest.bytes()[index]))
}

/// Once: finish the current candidate, confirm the best one and seal. Twice: go at once.
pub(crate) async fn watch_signals(stop: StopSignal) {
    for turn in 0.. {
        if wait_for_signal().await.is_err() {
            return;
        }
        if turn > 0 {
            // Workers and compilers die with their parent; whatever was acknowledged is on disk.
            std::process::exit(Exit::Interrupted as i32);
        }
        note("stopping after the current candidate; press Ctrl-C again to stop at once");
        stop.stop();
    }
}

async fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}

/// Writes the report where the configuration wants one, prints how it ended, and picks the exit code.
fn finish(global: &Global, outcome: &Outcome, directory: &Path, report: bool) -> Answer {
    let options = super::report_options(directory)?;
    let (summary, paths) = kernsmith_report::conclude(directory, &options, report).map_err(CliError::log)?;
    if global.format == Format::Human {
        data("");
        match &summary.champion {
            Some(champion) => {
                let score =
                    champion.sol_score.map(|score| format!(", SOL score {score:.3}")).unwrap_or_default();
                data(&format!(
                    "champion #{:04}: {:.3}x [{:.3}, {:.3}] against {}{score}",
                    champion.seq,
                    champion.ratio,
                    champion.ci_low,
                    champion.ci_high,
                    summary.baseline.as_ref().map_or("the baseline", |baseline| baseline.name.as_str())
                ));
                if report {
                    data(&format!("source   {}", champion.source_path.display()));
                }
                data(&format!("replay   {}", champion.replay));
            }
            None => data("no champion: nothing better than the baseline was confirmed"),
        }
        if let Some(models) = &summary.models {
            let (calls, tokens) = (models.calls, models.prompt_tokens + models.completion_tokens);
            let price =
                models.cost_usd_per_gain.map(|price| format!(", {price:.4} a gain")).unwrap_or_default();
            data(&format!(
                "models   {calls} calls, {tokens} tokens, {:.4} US dollars{price}",
                models.cost_usd
            ));
        }
        match paths {
            Some(paths) => data(&format!("report   {}", paths.html.display())),
            None => data(&format!(
                "report   none (`report.write` is off); `kernsmith report {}` writes one",
                run_name(directory)
            )),
        }
    } else {
        let mut answer = serde_json::to_value(&summary).map_err(CliError::internal)?;
        if !report {
            // No path of a file that was not written.
            answer["report"] = serde_json::Value::Null;
            if let Some(path) = answer.pointer_mut("/champion/source_path") {
                *path = serde_json::Value::Null;
            }
        }
        data(&answer.to_string());
    }
    Ok(match outcome.limit {
        Limit::Interrupted => Exit::Interrupted,
        Limit::Unreachable if outcome.champion.is_none() => Exit::Budget,
        _ if outcome.champion.is_some() => Exit::Done,
        Limit::Budget if summary.candidates.accepted == 0 && summary.candidates.rejected.is_empty() => {
            Exit::Budget
        }
        _ => Exit::No,
    })
}

fn run_name(directory: &Path) -> String {
    directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
