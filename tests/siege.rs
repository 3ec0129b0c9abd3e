//! A search under attack: kernels that hang, crash, fork, flood and exit cost one run each, and the search goes on to a
//! champion. The engine, the harness and the log are the real ones; only the proposer is a script.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kernsmith_core::event::Opened;
use kernsmith_core::port::{Answer, PlanRequest, Propose};
use kernsmith_core::{
    Brief, Edit, Event, FailureClass, GeneValue, Language, NewNode, NodeId, NodeKind, Origin, Plan,
    Prediction, Proposal, RunId, Seq, Target, conformance,
};
use kernsmith_engine::{Engine, FrozenBaseline, Genesis, Limit, Outcome, Parts, Silent, StopSignal};
use kernsmith_experiment_log::{RunReader, RunWriter, verify};
use kernsmith_harness::{Harness, HarnessOptions, OpenRequest};
use kernsmith_op_contract::Contract;
use kernsmith_search_config::SearchConfig;
use kernsmith_toolchain::{Toolchain, ToolchainOptions};

use crate::adversarial::{header, private_copy, survivors};
use crate::support::{Place, RMSNORM, machine};

/// What stands in the log of a kernel that passed its gates.
const ACCEPTED: &str = "accepted";
/// The kernel that somebody kills from outside.
const VICTIM: &str = "killed_from_outside";

/// One kernel of the script, and how it may end.
#[derive(Debug, Clone)]
struct Attack {
    name: String,
    source: String,
    expected: Vec<String>,
}

impl Attack {
    fn new(name: &str, source: String, expected: &[&str]) -> Self {
        let expected = expected.iter().map(|&word| word.to_owned()).collect();
        Self { name: name.to_owned(), source, expected }
    }

    /// A cheat of the adversarial suite, with the classes that it expects there.
    fn of_suite(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kernels/rmsnorm_f32/cheats");
        let source = std::fs::read_to_string(folder.join(name).with_extension("cpp")).expect("a fixture");
        let words = header(&source, "expect").expect("classes").split('|').map(|word| match word {
            "neutralised" => ACCEPTED.to_owned(),
            class => class.to_owned(),
        });
        let expected = words.collect();
        Self { name: name.to_owned(), source, expected }
    }
}

/// The textbook loop with something in front of each call.
fn with(before: &str) -> String {
    format!(
        "#include <thread>\n{}",
        RMSNORM.replace("int64_t cols) {", &format!("int64_t cols) {{\n{before}"))
    )
}

/// The textbook loop with `lanes` partial sums: honest, and faster than the baseline.
fn fast(lanes: usize) -> String {
    let sum = "for (int64_t c = 0; c < cols; ++c) sum += x[r * cols + c] * x[r * cols + c];";
    let sums = format!(
        "float part[{lanes}] = {{}}; int64_t at = 0;
        for (; at + {lanes} <= cols; at += {lanes})
            for (int64_t l = 0; l < {lanes}; ++l) part[l] += x[r * cols + at + l] * x[r * cols + at + l];
        for (; at < cols; ++at) part[0] += x[r * cols + at] * x[r * cols + at];
        for (float one : part) sum += one;"
    );
    assert!(RMSNORM.contains(sum));
    RMSNORM.replace(sum, &sums)
}

/// Everything in its order: an honest kernel first and two good ones last.
fn script() -> Vec<Attack> {
    let hang = "if (rows * cols > 100000) {
        std::thread([] { std::thread([] { for (volatile int i = 0;; i = i + 1) {} }).join(); }).join();
    }";
    let victim = "if (rows * cols > 100000) for (volatile uint64_t i = 0; i < 100000000000U; i = i + 1) {}";
    let mut script = vec![
        Attack::new("honest", RMSNORM.to_owned(), &[ACCEPTED]),
        Attack::new("hang_with_grandchild", with(hang), &["timeout"]),
        Attack::of_suite("fork_helper"),
        Attack::of_suite("walk_fork_worker"),
        Attack::of_suite("ten_gigabytes"),
        Attack::of_suite("fork_bomb"),
        Attack::of_suite("walk_fork_bomb"),
        Attack::of_suite("stdout_flood"),
        Attack::of_suite("walk_stdout_flood"),
        Attack::of_suite("exit_success"),
        Attack::of_suite("walk_exit"),
    ];
    script.extend((0..5).map(|place| {
        let crash =
            format!("if (rows * cols > 1000) *reinterpret_cast<volatile float*>({place} * 4096) = 1.0f;");
        Attack::new(&format!("crash_loop_{place}"), with(&crash), &["crash"])
    }));
    script.push(Attack::new(VICTIM, with(victim), &["infrastructure"]));
    script.push(Attack::new("good_8", fast(8), &[ACCEPTED]));
    script.push(Attack::new("good_16", fast(16), &[ACCEPTED]));
    script
}

/// Proposes the script, one kernel after the other; says when the victim's turn has come.
struct Scripted {
    script: Vec<Attack>,
    next: usize,
    victim_begins: Arc<AtomicBool>,
}

impl Propose for Scripted {
    type Error = Infallible;

    fn name(&self) -> &'static str {
        "script"
    }

    async fn plan(&mut self, request: &PlanRequest) -> Result<Answer<Vec<Edit>>, Infallible> {
        if request.nodes.iter().any(|node| node.parent.is_some()) {
            return Ok(Answer::Nothing);
        }
        let node = NewNode {
            kind: NodeKind::Family,
            title: "anything".to_owned(),
            rationale: "a script".to_owned(),
            template: Some("script/any".to_owned()),
            fixed: BTreeMap::new(),
            axes: vec!["family=script".to_owned()],
            predicted: Prediction { ratio: 2.0, low: 1.0, high: 4.0 },
            difficulty: 1,
            expected_instructions: Vec::new(),
        };
        Ok(Answer::Ready(vec![Edit::Insert { parent: NodeId::ROOT, node }]))
    }

    async fn propose(&mut self, brief: &Brief) -> Result<Answer<Proposal>, Infallible> {
        let Some(attack) = self.script.get(self.next) else { return Ok(Answer::Nothing) };
        self.victim_begins.store(attack.name == VICTIM, Ordering::Relaxed);
        let genome = BTreeMap::from([("turn".to_owned(), GeneValue::Int(self.next as i64))]);
        self.next += 1;
        Ok(Answer::Ready(Proposal {
            node: brief.strategy.node,
            language: Language::Cpp,
            source: attack.source.clone(),
            plan: Plan::default(),
            origin: Origin {
                proposer: "script".to_owned(),
                operator: "next".to_owned(),
                template: brief.strategy.template.clone(),
                genome,
                ..Origin::default()
            },
            prediction: None,
            rationale: attack.name.clone(),
        }))
    }
}

#[test]
fn every_attack_costs_one_run_and_the_search_goes_on_to_a_champion() {
    let _machine = machine();
    let place = Place::new();
    let program = private_copy(&place);
    let victim_begins = Arc::new(AtomicBool::new(false));
    let killer = Killer::start(program.clone(), victim_begins.clone());
    let (outcome, directory) = search(&place, &program, victim_begins);
    assert!(killer.stop(), "nobody was killed from outside");
    assert_eq!(survivors(&program), None);
    assert!(verify(&directory).expect("a report").passed());
    let ends = ends(&directory);
    for attack in script() {
        let judgements = &ends[&attack.name];
        let last = judgements.last().expect("it was judged");
        eprintln!("{:24} {}", attack.name, judgements.join(", "));
        assert!(
            attack.expected.contains(last),
            "{}: {judgements:?} instead of {:?}",
            attack.name,
            attack.expected
        );
        assert!(
            last == ACCEPTED || judgements.len() == 1,
            "{} cost more than one run: {judgements:?}",
            attack.name
        );
    }
    let champion = outcome.champion.map(|seq| name_of(&directory, seq));
    // Which of those that passed leads is the machine's to say: on a busy one their intervals overlap.
    assert!(
        champion.as_ref().is_some_and(|name| ends[name].ends_with(&[ACCEPTED.to_owned()])),
        "{champion:?}"
    );
    assert_eq!(outcome.limit, Limit::Exhausted, "it went on to the end of the script");
}

fn contract() -> Arc<Contract> {
    let library = kernsmith_op_contract::Library::open(kernsmith_op_contract::default_roots());
    Arc::new(library.expect("the folder").find("rmsnorm_f32").expect("a shipped contract"))
}

fn harness(program: &Path) -> Harness {
    let cache_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/kernsmith");
    let toolchain = Toolchain::discover(&ToolchainOptions {
        compiler: None,
        cache_dir: cache_dir.clone(),
        timeout_seconds: 20.0,
        memory_bytes: 4 << 30,
        self_exe: Some(program.to_owned()),
    });
    let request = OpenRequest {
        contract: contract(),
        toolchain: Arc::new(toolchain.expect("a compiler")),
        // The victim must be found before it counts as hanging, on a busy machine too.
        options: HarnessOptions {
            confirm_workload_ms: 1_000.0,
            call_timeout_floor_ms: 5_000,
            ..HarnessOptions::default()
        },
        rules: Arc::new(kernsmith_isa_corpus::Rules::none()),
        user_baseline: Some((LEISURELY.to_owned(), Plan::default())),
        self_exe: program.to_owned(),
        seed: None,
        cache_dir,
        gpu: None,
    };
    Harness::open(request).expect("a harness")
}

/// The baseline of this search: right, and so slow that a good kernel is the faster one on the busiest machine too.
const LEISURELY: &str = r#"
#include <cmath>
#include <cstdint>
extern "C" void kernel(const float* x, const float* w, float* y, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; ++r) {
        long double sum = 0.0L;
        for (int64_t c = 0; c < cols; ++c) sum += static_cast<long double>(x[r * cols + c]) * x[r * cols + c];
        const long double factor = 1.0L / std::sqrt(sum / cols + 1e-6L);
        for (int64_t c = 0; c < cols; ++c) y[r * cols + c] = static_cast<float>(x[r * cols + c] * factor * w[c]);
    }
}
"#;

/// The whole search; nothing of it is alive when this returns.
fn search(place: &Place, program: &Path, victim_begins: Arc<AtomicBool>) -> (Outcome, PathBuf) {
    let run_id: RunId = "siege".parse().expect("a name");
    let recorder = RunWriter::create(&place.path("experiment-log"), &run_id).expect("a run");
    let directory = recorder.directory().to_owned();
    let harness = harness(program);
    let (name, source, plan, performance) = harness.freeze_baseline().expect("a baseline");
    let mut config = SearchConfig::defaults().expect("the defaults");
    config.search.width = 1;
    config.budget.wall_seconds = 0.0;
    (config.closure.dead_end_failures, config.closure.stagnation) = (1000, 1000);
    let Event::Opened(opened) = conformance::opened(&run_id) else { panic!("the first event opens") };
    let genesis = Genesis {
        opened: Opened { target: Target::host(), config: config.effective(), ..*opened },
        baseline: FrozenBaseline { name, source, plan, performance },
    };
    let mut engine = Engine::new(Parts {
        contract: contract(),
        target: Target::host(),
        proposer: Scripted { script: script(), next: 0, victim_begins },
        evaluator: Arc::new(harness),
        recorder,
        observer: Silent,
        config,
        seed: 1,
        stop: StopSignal::default(),
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let outcome = runtime.block_on(async {
        engine.begin(genesis).await.expect("the log can be written");
        engine.run().await.expect("the apparatus holds")
    });
    engine.into_recorder().seal().expect("a seal");
    (outcome, directory)
}

/// How each kernel of the script was judged, as the log tells it: a class, or that it was accepted.
fn ends(directory: &Path) -> BTreeMap<String, Vec<String>> {
    let mut ends: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in RunReader::open(directory).expect("a run").entries().expect("entries") {
        if let Event::Judged { proposal, evidence } = entry.expect("an entry").event {
            let class = evidence.failure.as_ref().map_or(ACCEPTED, |failure| failure.class.as_str());
            ends.entry(name_of(directory, proposal)).or_default().push(class.to_owned());
        }
    }
    ends
}

/// The name under which the script proposed something.
fn name_of(directory: &Path, seq: Seq) -> String {
    let entries = RunReader::open(directory).expect("a run").entries().expect("entries");
    let mut events = entries.map(|entry| entry.expect("an entry")).filter(|entry| entry.seq == seq);
    match events.next().map(|entry| entry.event) {
        Some(Event::Proposed(proposed)) => proposed.rationale,
        other => panic!("{seq} is no proposal: {other:?}"),
    }
}

/// Kills the victim's worker from outside, as an operator or a batch system would.
struct Killer {
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<bool>,
}

impl Killer {
    fn start(program: PathBuf, victim_begins: Arc<AtomicBool>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let until = over.clone();
        let thread = std::thread::spawn(move || {
            let mut killed = false;
            while !until.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
                if victim_begins.load(Ordering::Relaxed)
                    && !killed
                    && let Some(worker) = busy_worker(&program)
                {
                    let status = Command::new("kill").args(["-KILL", &worker.to_string()]).status();
                    killed = status.is_ok_and(|status| status.success());
                }
            }
            killed
        });
        Self { over, thread }
    }

    /// Whether it killed somebody.
    fn stop(self) -> bool {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the killer")
    }
}

/// The worker that has computed most of the last half second: no other one does while the victim is at work.
fn busy_worker(program: &Path) -> Option<u32> {
    let before = worker_ticks(program);
    std::thread::sleep(Duration::from_millis(500));
    let after = worker_ticks(program);
    let spent = |pid: &u32| after.get(pid).zip(before.get(pid)).map_or(0, |(after, before)| after - before);
    // A tick is a hundredth of a second; on a busy machine the victim gets a part of a processor only.
    after.keys().copied().filter(|pid| spent(pid) >= 5).max_by_key(spent)
}

/// Processor time of all workers of a program, in ticks.
fn worker_ticks(program: &Path) -> BTreeMap<u32, u64> {
    let mut ticks = BTreeMap::new();
    for process in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        if !line.starts_with(program.as_os_str().as_encoded_bytes()) {
            continue;
        }
        let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        // Fields are counted behind the name, which may hold anything: user time is the twelfth.
        let user = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(11)?.parse().ok());
        ticks.extend(user.map(|user| (pid, user)));
    }
    ticks
}

#[test]
fn every_class_that_the_siege_expects_exists() {
    for attack in script() {
        for word in &attack.expected {
            let known = FailureClass::ALL.iter().any(|class| class.as_str() == word);
            assert!(known || word == ACCEPTED, "{}: {word}", attack.name);
        }
    }
}
