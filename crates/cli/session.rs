//! From what was typed to what is needed: configuration, contract, toolchain, harness, log.

pub(crate) mod audit;
pub(crate) mod batch;
mod elapsed;
pub(crate) mod hunt;
mod memory;
pub(crate) mod proposer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernsmith_brief::Knowledge;
use kernsmith_core::event::Opened;
use kernsmith_core::{Entry, Event, Plan, RunId, Seq, Target};
use kernsmith_experiment_log::{RunReader, find};
use kernsmith_harness::{GpuRequest, Harness, HarnessOptions, OpenRequest};
use kernsmith_isa_corpus::{Corpus, Rules, Search, imported_in};
use kernsmith_op_contract::{Contract, Finding, Library};
use kernsmith_planner::Tree;
use kernsmith_sandbox::Level;
use kernsmith_search_config::{Loaded, Request, SearchConfig, load};
use kernsmith_skill::{Machine, Skills};
use kernsmith_toolchain::cuda::{CudaOptions, CudaToolchain};
use kernsmith_toolchain::{Host, Toolchain, ToolchainOptions};

use crate::args::Global;
use crate::error::CliError;

/// All layers of the configuration; `flags` are a subcommand's own, stronger than `--set`.
pub(crate) fn config(global: &Global, flags: &[(String, String)]) -> Result<Loaded, CliError> {
    let mut overrides: Vec<(String, String)> = Vec::new();
    if let Some(dir) = &global.log_dir {
        overrides.push(("log.dir".to_owned(), dir.display().to_string()));
    }
    overrides.extend(global.settings.iter().map(|flag| Request::split_flag(flag)));
    overrides.extend_from_slice(flags);
    let request = Request::new(global.config.clone(), std::env::vars(), overrides);
    load(&request).map_err(CliError::bad_input)
}

/// A configuration's list with one text; a plain text would be split at its colons.
pub(crate) fn list_of_one(text: &str) -> String {
    serde_json::json!([text]).to_string()
}

/// The folder of runs.
pub(crate) fn log_root(global: &Global) -> Result<PathBuf, CliError> {
    Ok(PathBuf::from(config(global, &[])?.config.log.dir))
}

/// Contracts from flags, then from the configuration, then those that come with the program.
pub(crate) fn library(global: &Global) -> Result<Library, CliError> {
    let mut roots = global.contracts.clone();
    roots.extend(config(global, &[])?.config.paths.contracts.into_iter().map(PathBuf::from));
    roots.extend(kernsmith_op_contract::default_roots());
    Library::open(roots).map_err(CliError::bad_input)
}

/// One contract by name or folder.
pub(crate) fn contract(global: &Global, name: &str) -> Result<Arc<Contract>, CliError> {
    library(global)?.find(name).map(Arc::new).map_err(CliError::bad_input)
}

/// The contract of an earlier run; an edited one is refused, because its verdicts would not compare.
pub(crate) fn recorded_contract(global: &Global, opened: &Opened) -> Result<Arc<Contract>, CliError> {
    let path = Path::new(&opened.contract_path);
    let contract = if path.is_dir() {
        Contract::load(path).map(Arc::new).map_err(CliError::bad_input)?
    } else {
        contract(global, &opened.contract)?
    };
    if contract.digest != opened.contract_digest {
        return Err(CliError::bad_input_message(format!(
            "contract `{}` in {} has changed since run {} began, so that new verdicts would not compare with old ones; \
             restore it, or start a new search",
            contract.name,
            contract.directory.display(),
            opened.run_id
        )));
    }
    Ok(contract)
}

/// The baseline that a run froze, where it was a user's own kernel.
pub(crate) fn recorded_baseline(reader: &RunReader) -> Result<Option<(String, Plan)>, CliError> {
    for entry in reader.entries().map_err(CliError::log)? {
        if let Event::BaselineFrozen(frozen) = entry.map_err(CliError::log)?.event {
            if frozen.name != hunt::SEED_BASELINE {
                return Ok(None);
            }
            let source = reader.blob(&frozen.source).map_err(CliError::log)?;
            return Ok(Some((String::from_utf8_lossy(&source).into_owned(), frozen.plan)));
        }
    }
    Ok(None)
}

/// Compilations for a GPU at the same time, at most: each helper holds a compiler in memory.
const COMPILE_HELPERS_MAX: u32 = 12;
/// The GPU that is used where a target names none by number.
pub(crate) const FIRST_GPU: u32 = 0;

/// A target word; `cpu` is this machine's, `cuda` is what the first GPU is.
pub(crate) fn target(text: &str) -> Result<Target, CliError> {
    if text == "cuda" {
        let self_exe = std::env::current_exe().map_err(CliError::apparatus)?;
        return kernsmith_harness::gpu_target(&self_exe, FIRST_GPU).map_err(CliError::apparatus);
    }
    let target: Target = text.parse().map_err(|error| CliError::usage(format!("{error}")))?;
    match target {
        Target::Cpu(_) if target == Target::host() => Ok(target),
        Target::Cpu(_) => {
            Err(CliError::usage(format!("`{target}` is not this machine, which is `{}`", Target::host())))
        }
        Target::Cuda(_) => Ok(target),
        Target::Hip(_) => Err(CliError::usage(format!(
            "`{target}` cannot be judged by this version yet; `cpu` and `cuda` can"
        ))),
    }
}

/// A launch plan from a file, checked against the contract's axes; the default plan without one.
pub(crate) fn plan(path: Option<&Path>, axes: &[&str]) -> Result<Plan, CliError> {
    let Some(path) = path else { return Ok(Plan::default()) };
    let text = read_text(path)?;
    let plan: Plan = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        CliError::bad_input_message(format!(
            "{}:{line}: {}; docs/plan-format.md lists the fields",
            path.display(),
            error.message()
        ))
    })?;
    plan.check(axes).map_err(|error| CliError::bad_input_message(format!("{}: {error}", path.display())))?;
    Ok(plan)
}

/// A text file, or an error that names it.
pub(crate) fn read_text(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path)
        .map_err(|error| CliError::usage(format!("cannot read {}: {error}", path.display())))
}

/// A run's name.
pub(crate) fn run_id(text: &str) -> Result<RunId, CliError> {
    text.parse().map_err(|error| CliError::usage(format!("{error}")))
}

/// An entry's number, with or without leading zeros.
pub(crate) fn seq(text: &str) -> Result<Seq, CliError> {
    let number = text.trim_start_matches('#').parse();
    number.map(Seq).map_err(|_| CliError::usage(format!("`{text}` is not an entry number")))
}

/// The folder of a run by name, unique prefix, or `latest`.
pub(crate) fn run_directory(global: &Global, run: &str) -> Result<PathBuf, CliError> {
    find(&log_root(global)?, run).map_err(CliError::log)
}

/// A run's log, for reading.
pub(crate) fn reader(global: &Global, run: &str) -> Result<RunReader, CliError> {
    RunReader::open(&run_directory(global, run)?).map_err(CliError::log)
}

/// One entry of a run.
pub(crate) fn entry(reader: &RunReader, seq: Seq) -> Result<Entry, CliError> {
    for entry in reader.entries().map_err(CliError::log)? {
        let entry = entry.map_err(CliError::log)?;
        if entry.seq == seq {
            return Ok(entry);
        }
    }
    Err(CliError::usage(format!("the run has no entry {seq}")))
}

/// The tree of a run, empty, with the rules of its recorded configuration.
pub(crate) fn empty_tree(reader: &RunReader) -> Result<Tree, CliError> {
    let config = SearchConfig::from_effective(&reader.opened().config).map_err(CliError::log)?;
    Ok(Tree::new(kernsmith_engine::planner_options(&config)))
}

/// A tree as one object, a row a node.
pub(crate) fn tree_json(tree: &Tree) -> serde_json::Value {
    let nodes = tree.nodes().map(|node| {
        serde_json::json!({
            "id": node.id, "parent": node.parent, "kind": node.kind, "title": node.title, "status": node.status.as_str(),
            "template": node.template, "fixed": node.fixed, "predicted": node.predicted,
            "calibrated": tree.calibrated(node.id), "best_ratio": tree.best_below(node.id), "proposed": node.proposed,
            "accepted": node.accepted, "failures": node.failures, "closed_because": node.closed_because,
        })
    });
    serde_json::json!({"schema_version": 1, "nodes": nodes.collect::<Vec<_>>()})
}

/// How a run is reported: with the rules that it was searched with.
pub(crate) fn report_options(directory: &Path) -> Result<kernsmith_report::Options, CliError> {
    let reader = RunReader::open(directory).map_err(CliError::log)?;
    let planner = empty_tree(&reader)?.options().clone();
    Ok(kernsmith_report::Options { planner, ..kernsmith_report::Options::default() })
}

/// The word that stands for a value in a log.
pub(crate) fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Everything that judging takes, short of a contract.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) config: SearchConfig,
    pub(crate) target: Target,
    pub(crate) toolchain: Arc<Toolchain>,
    /// Compiles for a GPU, where the target is one.
    cuda: Option<Arc<CudaToolchain>>,
    pub(crate) host: Host,
    pub(crate) skills: Skills,
    self_exe: PathBuf,
    cache: PathBuf,
}

impl Bench {
    /// A bench with the configuration in force.
    pub(crate) fn open(global: &Global, target: &Target) -> Result<Self, CliError> {
        Self::open_with(global, target, &[])
    }

    /// A bench with a subcommand's own settings on top.
    pub(crate) fn open_with(
        global: &Global,
        target: &Target,
        flags: &[(String, String)],
    ) -> Result<Self, CliError> {
        Self::with_config(global, target, config(global, flags)?.config)
    }

    /// A bench with the configuration that a run recorded.
    pub(crate) fn of_run(global: &Global, opened: &Opened) -> Result<Self, CliError> {
        let mut config = SearchConfig::from_effective(&opened.config).map_err(CliError::log)?;
        config.log.dir = log_root(global)?.display().to_string();
        Self::with_config(global, &opened.target, config)
    }

    /// A bench with exactly this configuration.
    pub(crate) fn with_config(
        global: &Global,
        target: &Target,
        config: SearchConfig,
    ) -> Result<Self, CliError> {
        let self_exe = std::env::current_exe().map_err(CliError::apparatus)?;
        // Before anything is run, and before a log is begun.
        kernsmith_sandbox::demand(&self_exe, minimum_sandbox(&config)?).map_err(CliError::apparatus)?;
        let cache = cache_folder(&config);
        let toolchain = Toolchain::discover(&cpu_options(global, &config)).map_err(CliError::apparatus)?;
        let cuda = match target {
            Target::Cuda(_) => {
                let opened = CudaToolchain::open(&cuda_options(&config)?);
                Some(Arc::new(opened.map_err(CliError::apparatus)?))
            }
            Target::Cpu(_) | Target::Hip(_) => None,
        };
        let mut roots = global.skills.clone();
        roots.extend(config.paths.skills.iter().map(PathBuf::from));
        roots.extend(kernsmith_skill::default_roots());
        let skills = Skills::open(roots).map_err(CliError::bad_input)?;
        let (toolchain, host, target) = (Arc::new(toolchain), Host::detect(), target.clone());
        Ok(Self { config, target, toolchain, cuda, host, skills, self_exe, cache })
    }

    /// What skills and the ISA corpus say, imported instruction sets included.
    pub(crate) fn knowledge(&self, global: &Global) -> Result<Arc<Knowledge>, CliError> {
        let corpus = match kernsmith_isa_corpus::default_root() {
            Some(root) => {
                let corpus = Arc::new(Corpus::open(&root).map_err(CliError::bad_input)?);
                let imported = imported_in(&isa_import_folder(global)?).map_err(CliError::bad_input)?;
                Some(Search::new(corpus, imported).map_err(CliError::bad_input)?)
            }
            None => None,
        };
        let tokens = self.config.proposer.knowledge_tokens;
        Ok(Arc::new(Knowledge::new(self.skills.clone(), corpus, tokens)))
    }

    /// A harness for one contract; `baseline` replaces the contract's own.
    pub(crate) fn harness(
        &self,
        contract: Arc<Contract>,
        baseline: Option<(String, Plan)>,
        seed: Option<u64>,
    ) -> Result<Harness, CliError> {
        let options = self.harness_options()?;
        self.open_harness(contract, baseline, seed, options)
    }

    /// A harness with options of its own, the contract's baseline and secret seeds.
    pub(crate) fn harness_with(
        &self,
        contract: Arc<Contract>,
        options: HarnessOptions,
    ) -> Result<Harness, CliError> {
        self.open_harness(contract, None, None, options)
    }

    fn open_harness(
        &self,
        contract: Arc<Contract>,
        user_baseline: Option<(String, Plan)>,
        seed: Option<u64>,
        options: HarnessOptions,
    ) -> Result<Harness, CliError> {
        Harness::open(OpenRequest {
            contract,
            toolchain: self.toolchain.clone(),
            options,
            rules: rules()?,
            user_baseline,
            self_exe: self.self_exe.clone(),
            seed,
            cache_dir: self.cache.clone(),
            gpu: self.cuda.as_ref().map(|toolchain| GpuRequest {
                target: self.target.clone(),
                toolchain: toolchain.clone(),
                ordinals: (FIRST_GPU..FIRST_GPU + self.config.harness.gpus).collect(),
            }),
        })
        .map_err(CliError::apparatus)
    }

    /// Attacks a contract: see `kernsmith contract check`.
    pub(crate) fn lint(&self, contract: &Arc<Contract>) -> Result<Vec<Finding>, CliError> {
        let harness = self.harness(contract.clone(), None, None)?;
        harness.lint_contract().map_err(CliError::apparatus)
    }

    /// What templates need to know about this machine.
    pub(crate) fn machine(&self) -> Machine {
        Machine {
            target: self.target.clone(),
            features: self.host.features.clone(),
            cores: self.host.cores,
            l1d_bytes: self.host.l1d_bytes,
            l2_bytes: self.host.l2_bytes,
            l3_bytes: self.host.l3_bytes,
        }
    }

    /// What the configuration says about judging.
    pub(crate) fn harness_options(&self) -> Result<HarnessOptions, CliError> {
        let harness = &self.config.harness;
        let pairs = |most: u32| (harness.minimum_pairs, most.max(harness.minimum_pairs));
        let defaults = HarnessOptions::default();
        Ok(HarnessOptions {
            minimum_sandbox: minimum_sandbox(&self.config)?,
            cold_cache: harness.cold_cache,
            source_bytes_max: self.config.build.source_bytes.0,
            worker_memory_bytes: harness.memory_bytes.0,
            call_timeout_floor_ms: (harness.call_timeout_seconds * 1e3) as u64,
            screen_samples: harness.screen_samples,
            screen_stop_ratio: harness.screen_stop_factor,
            verify_workload_ms: harness.verify_seconds_per_workload * 1e3,
            verify_pairs: pairs(defaults.verify_pairs.1),
            confirm_workload_ms: harness.confirm_seconds_per_workload * 1e3,
            confirm_pairs: pairs(defaults.confirm_pairs.1),
            verify_half_width: harness.verify_half_width,
            confirm_half_width: harness.confirm_half_width,
            python_rivals: harness.rivals,
            ..defaults
        })
    }
}

/// `harness.minimum_sandbox`.
pub(crate) fn minimum_sandbox(config: &SearchConfig) -> Result<Level, CliError> {
    config.harness.minimum_sandbox.parse().map_err(CliError::bad_input_message)
}

/// How the C++ toolchain is set up.
pub(crate) fn cpu_options(global: &Global, config: &SearchConfig) -> ToolchainOptions {
    ToolchainOptions {
        compiler: global.compiler.clone(),
        cache_dir: cache_folder(config),
        timeout_seconds: config.build.timeout_seconds,
        memory_bytes: config.build.memory_bytes.0,
        self_exe: std::env::current_exe().ok(),
    }
}

/// How the CUDA toolchain is set up.
pub(crate) fn cuda_options(config: &SearchConfig) -> Result<CudaOptions, CliError> {
    Ok(CudaOptions {
        home: None,
        cache_dir: cache_folder(config),
        timeout_seconds: config.build.timeout_seconds,
        memory_bytes: config.build.memory_bytes.0,
        helpers: Host::detect().cores.clamp(1, COMPILE_HELPERS_MAX) as usize,
        self_exe: std::env::current_exe().map_err(CliError::apparatus)?,
    })
}

/// Hard rules of the corpus that is found first; without a corpus nothing is refused, and `kernsmith doctor` says so.
pub(crate) fn rules() -> Result<Arc<Rules>, CliError> {
    let Some(root) = kernsmith_isa_corpus::default_root() else { return Ok(Arc::new(Rules::none())) };
    Rules::open(&root).map(Arc::new).map_err(CliError::bad_input)
}

/// Where imported instruction sets are kept.
pub(crate) fn isa_import_folder(global: &Global) -> Result<PathBuf, CliError> {
    Ok(cache_folder(&config(global, &[])?.config).join("isa"))
}

/// `paths.cache`, or the user's cache folder, or a folder below the working directory.
pub(crate) fn cache_folder(config: &SearchConfig) -> PathBuf {
    if !config.paths.cache.is_empty() {
        return PathBuf::from(&config.paths.cache);
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME")
        .or_else(|| Some(set("HOME")?.join(".cache")))
        .map_or_else(|| PathBuf::from(".kernsmith-cache"), |cache| cache.join("kernsmith"))
}
