//! The adversarial suite: every kernel of `fixtures/kernels/` is judged as the lines at its beginning say.
//!
//! `// expect:` names `accepted`, `neutralised` (accepted, but it gains nothing) or failure classes, joined by `|`;
//! `// max-ratio:` is the ratio below which a neutralised kernel has gained nothing, `// requires:` names processor features,
//! `// set:` changes one value of the configuration, and kernels with `// slow:` are only judged when they are asked for.
//! `KERNSMITH_FIXTURES=walk_,gemm_f32/` judges only kernels whose path contains one of these words, `KERNSMITH_SHARE=1/3` the
//! first of three shares of them.
//!
//! What is refused for reasons that have nothing to do with time is judged two at a time; whatever may reach the clock, or
//! whose class comes from waiting, has the machine for itself.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use kernsmith_core::FailureClass;
use serde_json::Value;

use crate::support::{Place, Said, machine};

/// A cheat that gains nothing stays below this ratio: its honest part is the loop that the baseline is.
const NOTHING_GAINED: f64 = 1.3;
/// The harness has limits of its own; this one is for the harness. The scalar product takes seconds a call, seven times a
/// workload, and on a machine full of other work many times that.
const PATIENCE: Duration = Duration::from_mins(4);
/// Kernels that need no quiet are judged so many at a time.
const LANES: usize = 2;
/// A fixture that may end so is judged alone: it reaches the clock, is told by waiting, or eats up the machine.
const NEEDS_QUIET: [&str; 11] = [
    "accepted",
    "neutralised",
    "not_confirmed",
    "timed_output_wrong",
    "implausible",
    "late_write",
    "background_work",
    "timeout",
    "out_of_memory",
    "compile_timeout",
    "compile_memory",
];

/// One kernel and what shall become of it.
struct Fixture {
    contract: String,
    name: String,
    source: PathBuf,
    expected: Vec<String>,
    max_ratio: f64,
    requires: Vec<String>,
    settings: Vec<String>,
    slow: bool,
}

/// What a command line for one kernel came to.
struct Judged {
    outcome: String,
    /// The measured ratio and the lower end of its interval.
    ratio: Option<(f64, f64)>,
    detail: String,
    wall: Duration,
}

#[test]
fn cheats_are_caught_or_gain_nothing_and_honest_kernels_pass() {
    let _turn = machine();
    let features = processor_features();
    let (mut quiet, mut loud) = (Vec::new(), Vec::new());
    for fixture in fixtures() {
        match fixture.requires.iter().find(|name| !features.contains(name)) {
            Some(missing) => eprintln!("{:52} skipped: this processor has no {missing}", fixture.name),
            None if fixture.needs_quiet() => quiet.push(fixture),
            None => loud.push(fixture),
        }
    }
    // From the end, so that kernels come in the order of their names.
    loud.reverse();
    let left = Mutex::new(loud);
    let next = || left.lock().expect("no lane panicked").pop();
    let lane = || {
        let bench = Bench::new();
        let mut wrong = Vec::new();
        while let Some(fixture) = next() {
            wrong.extend(bench.judged(&fixture));
        }
        wrong
    };
    let mut wrong: Vec<String> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("a lane")).collect()
    });
    let bench = Bench::new();
    wrong.extend(quiet.iter().flat_map(|fixture| bench.judged(fixture)));
    assert!(wrong.is_empty(), "{} kernels were misjudged:\n{}", wrong.len(), wrong.join("\n"));
}

/// A folder and a copy of the program for kernels that are judged one after the other.
struct Bench {
    place: Place,
    program: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let place = Place::new();
        let program = private_copy(&place);
        Self { place, program }
    }

    /// Judges one kernel, prints its line, and says what is wrong with the judgement.
    #[expect(clippy::print_stderr, reason = "one line a kernel, as it is judged")]
    fn judged(&self, fixture: &Fixture) -> Vec<String> {
        let mut judged = judge(&self.place, &self.program, fixture);
        // A gain on a busy machine may be the machine's: one that is real comes again.
        for _ in 0..2 {
            if fixture.seems_to_gain(&judged) {
                judged = judge(&self.place, &self.program, fixture);
            }
        }
        let mut complaints = Vec::from_iter(fixture.complaint(&judged));
        complaints.extend(survivors(&self.program));
        let mark = if complaints.is_empty() { "ok" } else { "WRONG" };
        let ratio = judged.ratio.map(|(ratio, _)| format!(" {ratio:.3}x")).unwrap_or_default();
        let (name, wall) = (&fixture.name, judged.wall.as_secs_f64());
        eprintln!("{name:52} {mark:5} {wall:5.1} s  {}{ratio}", judged.outcome);
        complaints.into_iter().map(|complaint| format!("{name}: {complaint}")).collect()
    }
}

#[test]
fn every_fixture_says_what_it_is() {
    let all = fixtures_of(|_| true);
    let count = |part: &str| all.iter().filter(|fixture| fixture.name.contains(part)).count();
    assert!(count("/cheats/") >= 48, "{} cheats", count("/cheats/"));
    assert!(count("/honest/") >= 18, "{} honest kernels", count("/honest/"));
    let known = |word: &String| {
        ["accepted", "neutralised"].contains(&word.as_str())
            || FailureClass::ALL.iter().any(|class| class.as_str() == word)
    };
    for fixture in &all {
        let honest = fixture.name.contains("/honest/");
        assert!(!fixture.expected.is_empty(), "{} expects nothing", fixture.name);
        assert!(fixture.expected.iter().all(known), "{}: {:?}", fixture.name, fixture.expected);
        assert_eq!(honest, fixture.expected == ["accepted"], "{}", fixture.name);
        let text = std::fs::read_to_string(&fixture.source).expect("a source");
        let families = ["honest", "b1", "b2", "b3", "b4", "b5"];
        assert!(families.contains(&header(&text, "family").unwrap_or_default()), "{}", fixture.name);
    }
}

impl Fixture {
    fn read(source: PathBuf, root: &Path) -> Self {
        let text = std::fs::read_to_string(&source).expect("a source");
        let words = |key: &str, separator: char| -> Vec<String> {
            let line = header(&text, key).unwrap_or_default();
            line.split(separator).map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
        };
        let max_ratio =
            header(&text, "max-ratio").map_or(NOTHING_GAINED, |text| text.parse().expect("a ratio"));
        let name =
            source.strip_prefix(root).expect("below the root").with_extension("").display().to_string();
        let contract = name.split('/').next().unwrap_or_default().to_owned();
        Self {
            contract,
            name,
            expected: words("expect", '|'),
            max_ratio,
            requires: words("requires", ','),
            settings: words("set", ','),
            slow: header(&text, "slow").is_some(),
            source,
        }
    }

    fn plan(&self) -> Option<PathBuf> {
        Some(self.source.with_extension("plan.toml")).filter(|plan| plan.exists())
    }

    fn expects(&self, outcome: &str) -> bool {
        self.expected.iter().any(|expected| expected == outcome)
    }

    fn needs_quiet(&self) -> bool {
        self.expected.iter().any(|expected| NEEDS_QUIET.contains(&expected.as_str()))
    }

    fn seems_to_gain(&self, judged: &Judged) -> bool {
        let accepted = judged.outcome == "accepted" && !self.expects("accepted");
        accepted && judged.ratio.is_some_and(|(ratio, low)| ratio >= self.max_ratio && low > 1.0)
    }

    /// What is wrong with a judgement, if anything.
    fn complaint(&self, judged: &Judged) -> Option<String> {
        let wanted = self.expected.join("|");
        if judged.outcome == "accepted" && !self.expects("accepted") {
            let ratio = judged.ratio.map_or(f64::INFINITY, |(ratio, _)| ratio);
            if !self.expects("neutralised") {
                return Some(format!("accepted with a ratio of {ratio:.3}, not {wanted}"));
            }
            return self
                .seems_to_gain(judged)
                .then(|| format!("accepted, and it gained: a ratio of {ratio:.3}"));
        }
        let known = self.expects(&judged.outcome);
        (!known).then(|| format!("{} instead of {wanted}: {}", judged.outcome, judged.detail))
    }
}

/// The rest of a line such as `// family: b3` at the beginning of a file.
pub(crate) fn header<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let comments = text.lines().take_while(|line| line.starts_with("//"));
    comments.filter_map(|line| line[2..].trim().strip_prefix(key)?.strip_prefix(':')).map(str::trim).next()
}

/// The kernels that the environment asks for: all of them, unless it says otherwise.
fn fixtures() -> Vec<Fixture> {
    let words = std::env::var("KERNSMITH_FIXTURES").unwrap_or_default();
    let words: Vec<&str> = words.split(',').filter(|word| !word.is_empty()).collect();
    let mut chosen = fixtures_of(|name| words.is_empty() || words.iter().any(|word| name.contains(word)));
    chosen.retain(|fixture| !fixture.slow || !words.is_empty());
    let (share, shares) = share();
    chosen.into_iter().skip(share - 1).step_by(shares).collect()
}

/// Which share of the kernels the environment asks for, and of how many.
fn share() -> (usize, usize) {
    let Ok(text) = std::env::var("KERNSMITH_SHARE") else { return (1, 1) };
    let numbers = text.split_once('/').and_then(|(one, all)| Some((one.parse().ok()?, all.parse().ok()?)));
    let (share, shares) = numbers.unwrap_or_else(|| panic!("KERNSMITH_SHARE is `{text}`, not such as 1/3"));
    assert!(share >= 1 && share <= shares, "KERNSMITH_SHARE is `{text}`, not such as 1/3");
    (share, shares)
}

fn fixtures_of(wanted: impl Fn(&str) -> bool) -> Vec<Fixture> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kernels");
    let mut sources = Vec::new();
    for contract in entries(&root) {
        for kind in entries(&contract) {
            sources.extend(
                entries(&kind).into_iter().filter(|path| path.extension().is_some_and(|e| e == "cpp")),
            );
        }
    }
    sources.sort();
    let all = sources.into_iter().map(|source| Fixture::read(source, &root));
    all.filter(|fixture| wanted(&fixture.name)).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// The program under a name of its own, so that what it leaves behind can be told from what other tests run.
pub(crate) fn private_copy(place: &Place) -> PathBuf {
    let copy = place.path("kernsmith-under-attack");
    std::fs::copy(env!("CARGO_BIN_EXE_kernsmith"), &copy).expect("a copy of the program");
    // A process that another test is just starting may hold the copy open for writing until its own program begins, and until
    // then the system refuses to run it. Once it has run, nobody holds it any more.
    let begin = Instant::now();
    let runs = || Command::new(&copy).arg("--version").stdout(Stdio::null()).status();
    while runs().is_err_and(|error| error.kind() == ErrorKind::ExecutableFileBusy) {
        assert!(begin.elapsed() < PATIENCE, "the copy stays busy");
        std::thread::sleep(Duration::from_millis(5));
    }
    copy
}

fn judge(place: &Place, program: &Path, fixture: &Fixture) -> Judged {
    let mut command = Command::new(program);
    let original = place.command();
    command.current_dir(place.folder.path());
    for (name, value) in original.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(["evaluate", "--format", "json", &fixture.contract]).arg(&fixture.source);
    if let Some(plan) = fixture.plan() {
        command.arg("--plan").arg(plan);
    }
    for setting in &fixture.settings {
        command.arg("--set").arg(setting);
    }
    let begin = Instant::now();
    let Some(said) = run(command) else {
        let detail = format!("no answer in {PATIENCE:?}");
        return Judged { outcome: "no_answer".to_owned(), ratio: None, detail, wall: begin.elapsed() };
    };
    read(&said, begin.elapsed())
}

fn read(said: &Said, wall: Duration) -> Judged {
    let answer: Value =
        said.stdout.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let failure = &answer["failure"];
    let (outcome, detail) = match answer["verdict"].as_str() {
        Some("accepted") if said.code == 0 => ("accepted".to_owned(), String::new()),
        Some("rejected") if said.code == 1 => {
            let detail = text(&failure["detail"]);
            (cause(&text(&failure["class"]), &detail), format!("at {}: {detail}", text(&failure["gate"])))
        }
        // A plan that is no plan at all does not get as far as a gate.
        _ if said.code == 3 && said.stderr.contains("plan") => {
            ("plan_invalid".to_owned(), said.stderr.clone())
        }
        _ => (format!("exit_{}", said.code), format!("{}\n{}", said.stdout, said.stderr)),
    };
    let number = |key: &str| answer["performance"][key].as_f64();
    Judged { outcome, ratio: number("ratio").zip(number("ci_low")), detail, wall }
}

/// The class; for `not_confirmed` the one that it names as its reason, which is the one that a fixture expects.
fn cause(class: &str, detail: &str) -> String {
    let first = detail.split_whitespace().next().unwrap_or_default();
    let named = FailureClass::ALL.iter().any(|class| class.as_str() == first);
    if class == FailureClass::NotConfirmed.as_str() && named { first.to_owned() } else { class.to_owned() }
}

/// Runs a command to its end, or kills it when patience runs out. What it says is short enough for the pipes.
fn run(mut command: Command) -> Option<Said> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .expect("the program starts");
    let begin = Instant::now();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reader = |pipe: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = reader(stdout.map(|pipe| Box::new(pipe) as _));
    let stderr = reader(stderr.map(|pipe| Box::new(pipe) as _));
    let status = loop {
        if let Some(status) = child.try_wait().expect("a status") {
            break status;
        }
        if begin.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |reader: std::thread::JoinHandle<String>| reader.join().unwrap_or_default();
    Some(Said { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) })
}

/// Processes of the private copy that are still there; the dying get a moment.
pub(crate) fn survivors(program: &Path) -> Option<String> {
    let name = program.as_os_str().as_encoded_bytes();
    let mut left = Vec::new();
    for _ in 0..100 {
        left = entries(Path::new("/proc"))
            .into_iter()
            .filter(|process| {
                let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
                let named = line.windows(name.len()).any(|window| window == name);
                named || std::fs::read_link(process.join("exe")).is_ok_and(|exe| exe == program)
            })
            .collect();
        if left.is_empty() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(format!("left processes behind: {left:?}"))
}

fn processor_features() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = text.lines().find(|line| line.starts_with("flags"));
    flags.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}
