//! `kernsmith batch`: candidates out, judged in another folder, evidence back, and what is refused on the way.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::{Place, RMSNORM, Said, machine};

/// As the plain kernel, with four sums at a time.
const FASTER: &str = r#"
#include <cmath>
#include <cstdint>
extern "C" void kernel(const float* x, const float* w, float* y, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; ++r) {
        const float* row = x + r * cols;
        float part[16] = {};
        int64_t c = 0;
        for (; c + 16 <= cols; c += 16)
            for (int lane = 0; lane < 16; ++lane) part[lane] += row[c + lane] * row[c + lane];
        float sum = 0.0f;
        for (; c < cols; ++c) sum += row[c] * row[c];
        for (int lane = 0; lane < 16; ++lane) sum += part[lane];
        const float scale = 1.0f / std::sqrt(sum / static_cast<float>(cols) + 1e-6f);
        for (c = 0; c < cols; ++c) y[r * cols + c] = row[c] * scale * w[c];
    }
}
"#;

const WRONG: &str = r#"
#include <cstdint>
extern "C" void kernel(const float* x, const float*, float* y, int64_t rows, int64_t cols) {
    for (int64_t i = 0; i < rows * cols; ++i) y[i] = x[i];
}
"#;

/// A folder of three candidates, exported.
fn exported(place: &Place) -> PathBuf {
    place.write("kernels/plain.cpp", RMSNORM);
    place.write("kernels/faster.cpp", FASTER);
    place.write("kernels/wrong.cpp", WRONG);
    place.write("kernels/plain.plan.toml", "threads = 1\n");
    let said = place
        .run(&[
            "batch",
            "export",
            "--contract",
            "rmsnorm_f32",
            "--source",
            "kernels",
            "--out",
            "three.ksbatch",
            "--format",
            "json",
        ])
        .expect(0)
        .json();
    assert_eq!(said["jobs"][0]["candidates"].as_array().map(Vec::len), Some(3), "{said}");
    place.path("three.ksbatch")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("utf-8")
}

fn import(place: &Place, result: &Path) -> Said {
    place.run(&["batch", "import", text(result), "--format", "json"])
}

#[test]
fn candidates_travel_to_another_folder_and_their_evidence_comes_back() {
    let (here, there) = (Place::new(), Place::new());
    let bundle = exported(&here);
    let result = there.path("three.ksevidence");
    {
        let _machine = machine();
        let said = there
            .run(&["batch", "run", text(&bundle), "--out", "three.ksevidence", "--format", "json"])
            .expect(0);
        let json = said.json();
        assert_eq!(json["jobs"][0]["accepted"], 2, "{json}");
        assert_eq!(json["jobs"][0]["rejected"], 1, "{json}");
    }
    assert!(!there.path("three.ksevidence.work").exists(), "what is done needs no work folder");
    let taken = import(&here, &result).expect(0).json();
    let run = taken["runs"][0]["run"].as_str().expect("a run").to_owned();
    assert_eq!(taken["runs"][0]["outcome"], "taken_in", "{taken}");
    here.run(&["log", "verify", &run]).expect(0);
    let shown = here.run(&["log", "show", &run]).expect(0);
    assert!(shown.stdout.contains("accepted") && shown.stdout.contains("wrong_result"), "{}", shown.stdout);
    assert!(shown.stdout.contains("faster.cpp"), "a candidate goes by where it came from: {}", shown.stdout);
    assert!(shown.stderr.contains("another machine"), "{}", shown.stderr);
    let query = "SELECT imported_from, strategy, status FROM v_runs r JOIN v_candidates c USING (run) ORDER BY strategy";
    let rows = here.run(&["log", "query", query, "--format", "csv"]).expect(0).stdout;
    assert!(rows.contains("three.ksevidence,faster.cpp,accepted"), "{rows}");
    assert!(rows.contains("wrong.cpp,rejected"), "{rows}");
    assert!(here.run(&["log", "list"]).expect(0).stdout.contains("imported"));
    let provenance = std::fs::read_to_string(here.path(&format!("experiment-log/runs/{run}/imported.json")))
        .expect("provenance");
    for fact in ["\"device\"", "\"os\"", "\"program_digest\"", "\"sandbox\"", "\"compiler\"", "\"bundle\""] {
        assert!(provenance.contains(fact), "no {fact} in {provenance}");
    }
    // Once more, and nothing is added.
    let again = import(&here, &result).expect(0).json();
    assert_eq!(again["runs"][0]["outcome"], "known", "{again}");
    assert_eq!(here.run(&["log", "list"]).expect(0).stdout.lines().count(), 1);
    // The imported run is a run as any other: its candidates can go out again.
    let best = format!("{run}#3");
    here.run(&["batch", "export", &best, "--out", "again.ksbatch"]).expect(0);
    here.run(&["batch", "export", &run, "--top", "2", "--out", "two.ksbatch"]).expect(0);
    let two = here.run(&["batch", "show", "two.ksbatch", "--format", "json"]).expect(0).json();
    assert_eq!(two["jobs"][0]["candidates"].as_array().map(Vec::len), Some(2), "{two}");
    refused_when_it_differs(&here, &result, &run);
}

/// Every way in which a result can be another one's.
fn refused_when_it_differs(here: &Place, result: &Path, run: &str) {
    let fresh = Place::new();
    // Another bundle than the one that is asked for.
    here.run(&["batch", "import", text(result), "--bundle", "two.ksbatch"])
        .expect(6)
        .complains(&["two.ksbatch", "bundle"]);
    // A contract here that is another one under the same name.
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("op-contracts/rmsnorm_f32");
    for file in std::fs::read_dir(contract).expect("the contract").flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let mut content = std::fs::read_to_string(file.path()).expect("text");
        if name == "contract.toml" {
            content.push_str("\n# changed\n");
        }
        fresh.write(&format!("mine/rmsnorm_f32/{name}"), &content);
    }
    let mine = ["batch", "import", text(result), "--contracts", "mine"];
    fresh.run(&mine).expect(3).complains(&["rmsnorm_f32", "contract", "--other-contract"]);
    fresh.run(&[&mine[..], &["--other-contract"]].concat()).expect(0);
    // Every byte counts: cut, or changed anywhere.
    let whole = std::fs::read(result).expect("the result");
    let tampered = fresh.path("tampered.ksevidence");
    std::fs::write(&tampered, &whole[..whole.len() / 2]).expect("written");
    fresh.run(&["batch", "import", text(&tampered)]).expect(6).complains(&["tampered.ksevidence"]);
    // A run that is here under the same name and says something else.
    let history = here.path(&format!("experiment-log/runs/{run}/history.jsonl"));
    let lines = std::fs::read_to_string(&history).expect("the history");
    let shorter: Vec<&str> = lines.lines().take(2).collect();
    std::fs::write(&history, shorter.join("\n") + "\n").expect("written");
    std::fs::remove_file(history.with_file_name("seal.json")).expect("unsealed");
    let grown = import(here, result).expect(0).json();
    assert_eq!(grown["runs"][0]["outcome"], "grown", "{grown}");
    assert_eq!(std::fs::read_to_string(&history).expect("the history"), lines);
    std::fs::write(&history, lines.lines().next().expect("a line").replacen("rmsnorm", "rmsmorn", 1) + "\n")
        .expect("written");
    std::fs::remove_file(history.with_file_name("seal.json")).expect("unsealed");
    import(here, result).expect(6).complains(&[run]);
}

#[test]
fn a_killed_batch_goes_on_where_it_was() {
    let (here, there) = (Place::new(), Place::new());
    let bundle = exported(&here);
    let _machine = machine();
    let mut command = there.command();
    command.args(["batch", "run", text(&bundle), "--out", "r.ksevidence", "--format", "jsonl"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let acknowledged: Vec<String> = lines.take(5).map(|line| line.expect("a line")).collect();
    child.kill().expect("killed");
    child.wait().expect("gone");
    // Also where it was done before the signal came.
    there.run(&["batch", "run", text(&bundle), "--out", "r.ksevidence"]).expect(0);
    let taken = import(&there, &there.path("r.ksevidence")).expect(0).json();
    let run = taken["runs"][0]["run"].as_str().expect("a run").to_owned();
    let log = there.run(&["log", "show", &run, "--format", "jsonl"]).expect(0).stdout;
    for line in &acknowledged {
        assert!(log.contains(line.as_str()), "lost: {line}");
    }
    assert_eq!(taken["runs"][0]["missing"].as_array().map(Vec::len), Some(0), "{taken}");
}

#[test]
fn an_interrupted_batch_hands_over_what_it_has_and_goes_on() {
    let (here, there) = (Place::new(), Place::new());
    let bundle = exported(&here);
    let _machine = machine();
    let mut command = there.command();
    command.args(["batch", "run", text(&bundle), "--out", "r.ksevidence", "--partial", "--format", "jsonl"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    for _ in 0..3 {
        lines.next().expect("a line").expect("readable");
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let code = child.wait().expect("ended").code();
    // The signal may come when everything is done.
    assert!(matches!(code, Some(0 | 130)), "{code:?} {rest:?}");
    let result = there.path("r.ksevidence");
    let part = import(&there, &result).expect(0).json();
    assert_eq!(part["runs"][0]["outcome"], "taken_in", "{part}");
    there.run(&["batch", "run", text(&bundle), "--out", "r.ksevidence"]).expect(0);
    let whole = import(&there, &result).expect(0).json();
    let outcome = if code == Some(130) { "grown" } else { "known" };
    assert_eq!(
        (&whole["runs"][0]["outcome"], &whole["runs"][0]["run"]),
        (&outcome.into(), &part["runs"][0]["run"])
    );
    assert_eq!(whole["runs"][0]["missing"].as_array().map(Vec::len), Some(0), "{whole}");
    there.run(&["log", "import", "r.ksevidence"]).expect(6).complains(&["kernsmith batch import"]);
}

#[test]
fn a_bundle_that_cannot_be_judged_here_says_why() {
    let place = Place::new();
    let bundle = exported(&place);
    let whole = std::fs::read(&bundle).expect("the bundle");
    let cut = place.path("cut.ksbatch");
    std::fs::write(&cut, &whole[..whole.len() - 9]).expect("written");
    place.run(&["batch", "run", text(&cut), "--out", "r"]).expect(6).complains(&["cut.ksbatch"]);
    place.run(&["batch", "import", text(&bundle)]).expect(6).complains(&["candidates", "batch run"]);
    place
        .run(&["batch", "export", "--source", "kernels/plain.cpp", "--out", "x"])
        .expect(2)
        .complains(&["--contract"]);
    place.run(&["batch", "export", "--out", "x"]).expect(2).complains(&["nothing to export"]);
    place
        .run(&["batch", "export", "--contract", "rmsnorm_f32", "--source", "empty", "--out", "x"])
        .expect(2)
        .complains(&["empty"]);
    place.write("k.cu", "extern \"C\" __global__ void rmsnorm() {}\n");
    let gpu = [
        "batch",
        "export",
        "--contract",
        "rmsnorm_bf16",
        "--source",
        "k.cu",
        "--target",
        "cuda-sm_90a",
        "--out",
        "g",
    ];
    place.run(&gpu).expect(0);
    if !Path::new("/dev/nvidiactl").exists() {
        let said = place.run(&["batch", "run", "g", "--out", "r"]).expect(4).stderr;
        assert!(
            said.contains("CUDA") && said.contains("kernsmith toolchain") || said.contains("GPU"),
            "{said}"
        );
    }
}
