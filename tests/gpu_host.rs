//! Judging on a GPU without one: a driver that has no device runs kernels that it knows by name on the processor, so that everything
//! of ours on the host's side is run: processes, frames, steps, gates, the search. What it says about kernels is made up.
#![expect(clippy::print_stdout, reason = "what is skipped is said")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::support::{Place, Said, machine};

const CONTRACT: &str = "rmsnorm_bf16";
/// In place of the shipped bench workloads: what one thread of a processor does in no time.
const BENCH: &str = r#"workload = [
    { name = "tall", role = "bench", weight = 1.0, axes = { rows = 1024, cols = 512 } },
    { name = "few", role = "bench", weight = 1.0, axes = { rows = 2, cols = 1024 } },
"#;

/// A library out of a fixture; `None`, with a word about it, where there is no compiler.
fn library(folder: &Path, source: &str, name: &str, flags: &[&str]) -> Option<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixtures = root.join("tests/fixtures/gpu/driver");
    let output = Command::new("c++")
        .args(["-std=c++20", "-O2", "-shared", "-fPIC", "-w"])
        .args(flags)
        .arg("-I")
        .arg(fixtures.join("include"))
        .arg("-I")
        .arg(root.join("crates/harness/src/gpu"))
        .arg(fixtures.join(source))
        .arg("-o")
        .arg(folder.join(name))
        .output();
    match output {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(())
        }
        Err(error) => {
            println!("skipped: no C++ compiler: {error}");
            None
        }
    }
}

/// Folders with the driver: cool, and with a device that says it is hot.
fn drivers() -> Option<&'static (PathBuf, PathBuf)> {
    static ONCE: OnceLock<Option<(PathBuf, PathBuf)>> = OnceLock::new();
    ONCE.get_or_init(|| {
        crate::cuda::toolchain()?;
        let folder = |name: &str, flags: &[&str]| {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            std::fs::create_dir_all(&folder).expect("a folder");
            library(&folder, "driver.cpp", "libcuda.so", &[])?;
            std::fs::copy(folder.join("libcuda.so"), folder.join("libcuda.so.1")).expect("a copy");
            library(&folder, "sensor.cpp", "libnvidia-ml.so.1", flags)?;
            Some(folder)
        };
        Some((folder("driver-cool", &[])?, folder("driver-hot", &["-DHOT"])?))
    })
    .as_ref()
}

/// A place with the small contract, and the command with the driver in its way.
struct Bench {
    place: Place,
    driver: PathBuf,
}

impl Bench {
    fn new(driver: &Path) -> Self {
        let place = Place::new();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("op-contracts").join(CONTRACT);
        for entry in std::fs::read_dir(&shipped).expect("the contract") {
            let path = entry.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("a text");
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let text = if name == "contract.toml" { shrunk(&text) } else { text };
            place.write(&format!("contracts/{CONTRACT}/{name}"), &text);
        }
        Self { place, driver: driver.to_owned() }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let mut command = self.place.command();
        if let Some(home) = crate::cuda::home() {
            command.env("KERNSMITH_CUDA_HOME", home);
        }
        let contracts = self.place.path("contracts");
        command.env("LD_LIBRARY_PATH", &self.driver).env("CUDA_VISIBLE_DEVICES", "6,7").args(arguments);
        command.args(["--target", "cuda", "--format", "json", "--contracts"]).arg(contracts);
        for setting in ["verify_seconds_per_workload=0.02", "confirm_seconds_per_workload=0.02"] {
            command.args(["--set", &format!("harness.{setting}")]);
        }
        Said::of(&command.output().expect("the binary runs"))
    }

    /// Judges kernels of these names, launched one after the other.
    fn judge(&self, symbols: &[&str]) -> Value {
        let kernels = symbols.iter().map(|symbol| {
            format!(
                "extern \"C\" __global__ void {symbol}(const __nv_bfloat16* x, const __nv_bfloat16* w, __nv_bfloat16* y, \
                 long long rows, long long cols) {{ if (rows > 0) y[0] = x[0]; }}\n"
            )
        });
        let source: String = std::iter::once("#include <cuda_bf16.h>\n".to_owned()).chain(kernels).collect();
        let launches = symbols.iter().map(|symbol| {
            format!(
                "[[launch.kernel]]\nsymbol = \"{symbol}\"\ngrid = [\"max(rows, 1)\"]\nblock = [\"256\"]\n"
            )
        });
        let plan: String = std::iter::once("[[launch]]\n".to_owned()).chain(launches).collect();
        let source = self.place.write("kernel.cu", &source);
        let plan = self.place.write("plan.toml", &plan);
        let (source, plan) = (source.to_string_lossy(), plan.to_string_lossy());
        let said = self.run(&["evaluate", CONTRACT, &source, "--plan", &plan]);
        assert!(said.code == 0 || said.code == 1, "{}: {}", said.code, said.stderr);
        said.json()
    }
}

/// The contract's text with other bench workloads.
fn shrunk(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains(r#"role = "bench""#));
    let line = |line: &str| if line == "workload = [" { BENCH.to_owned() } else { format!("{line}\n") };
    lines.map(line).collect()
}

#[test]
fn without_a_device_an_honest_kernel_passes_every_gate_of_the_host_side() {
    let Some((cool, _)) = drivers() else { return };
    let (bench, _machine) = (Bench::new(cool), machine());
    let evidence = bench.judge(&["honest"]);
    assert_eq!(evidence["verdict"], "accepted", "{}", evidence["failure"]);
    let gates: Vec<&str> = evidence["validation"]["gates"]
        .as_array()
        .expect("gates")
        .iter()
        .filter_map(|gate| gate["gate"].as_str())
        .collect();
    for gate in
        ["load", "smoke", "correctness", "phase", "quiescence", "timing", "timed_outputs", "plausibility"]
    {
        assert!(gates.contains(&gate), "{gate} in {gates:?}");
    }
    let device = evidence["artifacts"]["device"].as_array().expect("a row a workload");
    assert_eq!(device.len(), 2);
    for row in device {
        assert_eq!((&row["graph"], &row["measured_again"]), (&Value::Bool(false), &Value::Bool(false)));
        assert_eq!((&row["after"]["sm_mhz"], &row["after"]["temperature_c"]), (&1980.into(), &41.into()));
        // The power limit is told, and no reason to measure again.
        assert_eq!(row["before"]["slowed_by"], serde_json::json!(["power_cap"]));
    }
}

#[test]
fn without_a_device_several_launches_are_timed_as_graphs_and_heat_is_measured_again() {
    let Some((_, hot)) = drivers() else { return };
    let (bench, _machine) = (Bench::new(hot), machine());
    let evidence = bench.judge(&["part_one", "part_two"]);
    assert_eq!(evidence["verdict"], "accepted", "{}", evidence["failure"]);
    let device = evidence["artifacts"]["device"].as_array().expect("a row a workload");
    assert!(device.iter().all(|row| row["graph"] == true), "{device:?}");
    assert_eq!(device[0]["measured_again"], true, "{device:?}");
    assert_eq!(device[1]["measured_again"], false, "{device:?}");
}

#[test]
fn without_a_device_what_kernels_do_wrong_is_found_by_name() {
    let Some((cool, _)) = drivers() else { return };
    let (bench, _machine) = (Bench::new(cool), machine());
    for (symbol, class) in [
        ("wrong", "wrong_result"),
        ("unwritten", "unwritten_output"),
        ("scribbles", "input_modified"),
        ("crashes", "crash"),
        ("missing", "missing_symbol"),
    ] {
        let evidence = bench.judge(&[symbol]);
        assert_eq!(evidence["failure"]["class"], class, "{symbol}: {}", evidence["failure"]);
        assert!(evidence["performance"].is_null());
    }
}

#[test]
fn without_a_device_one_wrong_element_of_a_large_output_is_found_beside_the_baseline() {
    let Some((cool, _)) = drivers() else { return };
    let (bench, _machine) = (Bench::new(cool), machine());
    // One element of 524,288 is a fifth too large: too little for the laws, and samples of rows seldom meet it.
    let evidence = bench.judge(&["blemished"]);
    let failure = &evidence["failure"];
    assert!(failure["detail"].as_str().is_some_and(|detail| detail.contains("element 174848")), "{failure}");
}

#[test]
fn without_a_device_a_search_judges_what_it_asked_for_while_the_next_is_built() {
    let Some((cool, _)) = drivers() else { return };
    let (bench, _machine) = (Bench::new(cool), machine());
    let said = bench.run(&["search", CONTRACT, "--set", "budget.candidates=5", "--set", "search.width=2"]);
    // Whether something is faster than the baseline here is luck.
    assert!(said.code == 0 || said.code == 1, "{}: {}", said.code, said.stderr);
    let runs = bench.place.path("experiment-log").join("runs");
    let run = std::fs::read_dir(runs).expect("a log").next().expect("a run").expect("a folder").path();
    let history = std::fs::read_to_string(run.join("history.jsonl")).expect("a history");
    let count = |kind: &str| history.lines().filter(|line| line.contains(kind)).count();
    assert_eq!(count(r#""proposed""#), 5, "{history}");
    assert!(count(r#""lane":"screen""#) + count(r#""deduplicated""#) >= 5, "{history}");
}

#[test]
fn without_a_device_two_of_them_judge_side_by_side_and_a_third_one_is_missed() {
    let Some((cool, _)) = drivers() else { return };
    let (bench, _machine) = (Bench::new(cool), machine());
    let said = bench.run(&["search", CONTRACT, "--set", "budget.candidates=6", "--set", "harness.gpus=2"]);
    assert!(said.code == 0 || said.code == 1, "{}: {}", said.code, said.stderr);
    let runs = bench.place.path("experiment-log").join("runs");
    let run = std::fs::read_dir(runs).expect("a log").next().expect("a run").expect("a folder").path();
    let history = std::fs::read_to_string(run.join("history.jsonl")).expect("a history");
    let judged = history.lines().filter(|line| line.contains(r#""lane":"screen""#)).count();
    assert!(judged >= 2, "{history}");
    let said = bench.run(&["search", CONTRACT, "--set", "harness.gpus=3"]);
    assert_eq!(said.code, 4, "{}", said.stderr);
    assert!(said.stderr.contains("no CUDA device 2"), "{}", said.stderr);
}
