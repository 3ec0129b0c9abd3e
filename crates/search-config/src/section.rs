//! The sections of a configuration, each with its keys and what is legal for them.

use kernsmith_core::Digest;
use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

use toml::Spanned;

use crate::key::{Key, Legal, Rule};
use crate::layer::{Illegal, sections};
use crate::source::Origin;
use crate::value::{ByteCount, Seed};

const YEAR: f64 = 31_536_000.0;
const MANY: u64 = 1_000_000_000;
const MEBI: u64 = 1 << 20;
const TEBI: u64 = 1 << 40;

/// The planner's policies, the default first.
const POLICIES: &[&str] = &["world-model", "puct", "ksearch", "islands", "beam", "mcts", "random"];

/// The confinement levels that a configuration can demand, weakest first; each includes the ones before it.
const SANDBOX_LEVELS: &[&str] = &["none", "rlimits", "seccomp", "landlock", "namespaces"];

/// How hard a model should think; `default` leaves it to the server.
const EFFORTS: &[&str] = &["default", "none", "minimal", "low", "medium", "high", "xhigh"];

sections! {
    /// When the search ends.
    budget: BudgetConfig / BudgetLayer {
        /// Wall time of the whole search, confirmation included; 0 is no limit.
        wall_seconds: f64 = Number(0.0, YEAR),
        /// Candidates that may be proposed; 0 is no limit.
        candidates: u64 = Whole(0, MANY),
        /// Candidates that may be judged; 0 is no limit.
        evaluations: u64 = Whole(0, MANY),
        /// The search ends when the champion's confirmed lower bound reaches this ratio; 0 is no goal.
        goal_ratio: f64 = Number(0.0, 1e6),
    }
    /// How the tree is searched.
    search: LoopConfig / LoopLayer {
        /// Seed of everything but measured time.
        seed: Seed = Seed,
        /// Candidates that are built at the same time.
        width: u32 = Whole(0, 256),
        /// How strategies are chosen.
        policy: String = Word(POLICIES),
        /// Weight of the unknown against the known in the choice of a strategy.
        exploration: f64 = Number(0.0, 100.0),
        /// A screened candidate goes on to verification when it comes within this share of the champion's ratio.
        promote_margin: f64 = Number(0.0, 10.0),
        /// Wall time kept back at the end for confirmation.
        final_seconds: f64 = Number(0.0, YEAR),
        /// Size of the tree's text in a proposer's request.
        tree_bytes: u64 = Whole(256, 16 * MEBI),
        /// What earlier searches teach this one: empty, `auto`, or the path of a `memory.json`.
        memory: String = Text,
    }
    /// When a strategy is closed.
    closure: ClosureConfig / ClosureLayer {
        /// Distinct conclusive failures without a pass that make a strategy a dead end.
        dead_end_failures: u32 = Whole(1, 1000),
        /// Judged attempts without improvement after which a strategy that has passed is exhausted.
        stagnation: u32 = Whole(1, 100_000),
        /// Judged attempts without improvement of the champion after which the whole frontier counts as stagnating.
        base_stagnation: u32 = Whole(1, 100_000),
    }
    /// How sources become code objects.
    build: BuildConfig / BuildLayer {
        /// Wall time of one compilation.
        timeout_seconds: f64 = Number(0.1, 86_400.0),
        /// Memory of one compiler process.
        memory_bytes: ByteCount = Size(64 * MEBI, TEBI),
        /// Largest source text.
        source_bytes: ByteCount = Size(1024, 64 * MEBI),
    }
    /// How candidates are judged.
    harness: HarnessConfig / HarnessLayer {
        /// Timing samples of the screen.
        screen_samples: u32 = Whole(1, 10_000),
        /// The screen stops early at this multiple of the champion's time.
        screen_stop_factor: f64 = Number(1.0, 1000.0),
        /// Timing budget of verification for each bench workload.
        verify_seconds_per_workload: f64 = Number(0.001, 86_400.0),
        /// Verification stops timing at this half-width of the 95 % interval of the log ratio.
        verify_half_width: f64 = Number(1e-5, 1.0),
        /// Timing budget of confirmation for each bench workload.
        confirm_seconds_per_workload: f64 = Number(0.001, 86_400.0),
        /// Confirmation stops timing at this half-width of the 95 % interval of the log ratio.
        confirm_half_width: f64 = Number(1e-5, 1.0),
        /// Interleaved pairs that verification and confirmation always take; a 95 % interval takes six.
        minimum_pairs: u32 = Whole(6, 10_000),
        /// Whether timed calls find cold caches.
        cold_cache: bool = Flag,
        /// Wall time of one call of a kernel.
        call_timeout_seconds: f64 = Number(0.001, 86_400.0),
        /// Memory of one worker process.
        memory_bytes: ByteCount = Size(64 * MEBI, TEBI),
        /// Whether the contract's rivals in Python are timed beside every confirmation, where their libraries are there.
        rivals: bool = Flag,
        /// GPUs that judge side by side: the first so many that the driver shows.
        gpus: u32 = Whole(1, 64),
        /// The least confinement with which candidates are run at all.
        minimum_sandbox: String = Word(SANDBOX_LEVELS),
    }
    /// Who writes candidates.
    proposer: ProposerConfig / ProposerLayer {
        /// Which proposer.
        kind: String = Word(&["autotune", "llm", "exec", "llm,autotune", "exec,autotune"]),
        /// Passed candidates that a strategy keeps as parents.
        elites: u32 = Whole(1, 1000),
        /// Chance that a gene of a child is changed.
        mutation_rate: f64 = Number(0.0, 1.0),
        /// Chance that a child has two parents.
        crossover_rate: f64 = Number(0.0, 1.0),
        /// Most of what a brief holds of skills and of the ISA corpus.
        knowledge_tokens: u64 = Whole(0, MANY),
    }
    /// Which models are asked, and how.
    llm: LlmConfig / LlmLayer {
        /// Address of an OpenAI-compatible server, up to and including the version.
        base_url: String = Text,
        /// Which of its interfaces is used.
        api: String = Word(&["chat", "responses"]),
        /// Models that write candidates; with several, the one that earns more for its price is asked more often.
        models: Vec<String> = List,
        /// Whether a model plans; without a plan there is one plain strategy, and the coder chooses.
        plan: bool = Flag,
        /// The model that plans; empty is the first of `models`.
        planner_model: String = Text,
        /// The model that reads a candidate before it is built; empty is nobody.
        reviewer_model: String = Text,
        /// The model that tries to break the harness in `kernsmith audit`; empty is the first of `models`.
        auditor_model: String = Text,
        /// The environment variable that holds the key.
        key_env: String = Text,
        /// A file that holds the key, readable by its owner only; empty is none.
        key_file: String = Text,
        /// A file with certificates (PEM) that are trusted beside the system's; empty is none.
        ca_file: String = Text,
        /// Time of one call, all its tries and pauses together.
        deadline_seconds: f64 = Number(1.0, 86_400.0),
        /// Silence after which a stream is given up.
        idle_seconds: f64 = Number(0.1, 86_400.0),
        /// The first pause after a try that failed; it doubles.
        retry_pause_seconds: f64 = Number(0.001, 3600.0),
        /// The longest such pause.
        retry_pause_max_seconds: f64 = Number(0.001, 3600.0),
        /// Requests at the same time.
        concurrency: u32 = Whole(1, 256),
        /// Whether answers are streamed.
        stream: bool = Flag,
        /// How answers are asked for: by JSON schema, or as fenced text.
        structured: String = Word(&["schema", "fenced"]),
        /// Temperature of planner, coder and reviewer; -1 leaves it to the server.
        planner_temperature: f64 = Number(-1.0, 2.0),
        /// As above.
        coder_temperature: f64 = Number(-1.0, 2.0),
        /// As above.
        reviewer_temperature: f64 = Number(-1.0, 2.0),
        /// Reasoning effort of planner, coder and reviewer.
        planner_effort: String = Word(EFFORTS),
        /// As above.
        coder_effort: String = Word(EFFORTS),
        /// As above.
        reviewer_effort: String = Word(EFFORTS),
        /// Length of a prompt in estimated tokens; what matters least is cut first.
        prompt_tokens: u64 = Whole(1000, 10_000_000),
        /// Length of an answer in tokens, reasoning included.
        reply_tokens: u64 = Whole(100, 1_000_000),
        /// Requests for evidence that one question may lead to; 0 offers none.
        inspect_calls: u32 = Whole(0, 100),
        /// Bytes of evidence that one question may bring.
        inspect_bytes: ByteCount = Size(256, 16 * MEBI),
        /// Tokens of the whole run; 0 is no limit.
        budget_tokens: u64 = Whole(0, u64::MAX),
        /// Price of the whole run in US dollars; 0 is no limit.
        budget_usd: f64 = Number(0.0, 1e9),
        /// Prices in US dollars per million tokens, as `model=input/output` or `model=input/cached/output`.
        prices: Vec<String> = List,
        /// Calls in a row that brought nothing usable after which the run ends; it can be resumed.
        give_up_calls: u32 = Whole(1, 10_000),
        /// A file that calls are recorded to or replayed from; empty is none.
        cassette: String = Text,
        /// What is done with the cassette.
        cassette_mode: String = Word(&["record", "replay"]),
    }
    /// A program that proposes.
    exec: ExecConfig / ExecLayer {
        /// The program and its arguments; it reads a brief as JSON on stdin and writes a proposal as JSON on stdout.
        command: Vec<String> = List,
        /// Wall time of one question.
        timeout_seconds: f64 = Number(0.1, 86_400.0),
    }
    /// What is written when the search ends.
    report: ReportConfig / ReportLayer {
        /// Whether `report.html` and `report.md` are written.
        write: bool = Flag,
    }
    /// Where attempts are kept.
    log: LogConfig / LogLayer {
        /// The folder of runs.
        dir: String = Text,
    }
    /// Where else to look.
    paths: PathsConfig / PathsLayer {
        /// Folders of op contracts, searched before the ones that come with the program.
        contracts: Vec<String> = List,
        /// Folders of skills, searched before the ones that come with the program.
        skills: Vec<String> = List,
        /// The folder of code objects that can be rebuilt; empty is `$XDG_CACHE_HOME/kernsmith`.
        cache: String = Text,
    }
}

impl SearchConfig {
    /// The whole configuration as one JSON object, keys in alphabetical order: what the log keeps.
    pub fn effective(&self) -> serde_json::Value {
        // Every field is a number, a text, a flag or a list of texts, none of which can fail; non-finite numbers were
        // refused when the layers were read.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The digest of [`SearchConfig::effective`]: equal digests are equal configurations.
    pub fn digest(&self) -> Digest {
        Digest::of(self.effective().to_string().as_bytes())
    }

    /// The configuration that a log kept; a key that the log's version did not know has its default.
    pub fn from_effective(value: &serde_json::Value) -> Result<Self, crate::ConfigError> {
        let mut whole = Self::defaults()?.effective();
        for (section, keys) in value.as_object().into_iter().flatten() {
            for (key, value) in keys.as_object().into_iter().flatten() {
                whole[section][key] = value.clone();
            }
        }
        Self::deserialize(whole).map_err(crate::ConfigError::Recorded)
    }

    /// The defaults, without any other layer.
    pub fn defaults() -> Result<Self, crate::ConfigError> {
        crate::load(&crate::Request::default()).map(|loaded| loaded.config)
    }
}
