//! Kills, full disks and damage: nothing acknowledged is lost, and every error names the remedy.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::{Place, machine};

#[test]
fn a_killed_search_verifies_and_goes_on() {
    let place = Place::new();
    let _machine = machine();
    let mut command = place.command();
    command.args([
        "search",
        "rmsnorm_f32",
        "--run-id",
        "killed",
        "--wall-seconds",
        "60",
        "--format",
        "jsonl",
    ]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary starts");
    // Every line on stdout is an acknowledged entry. Kill in the middle of things, after some of them.
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let acknowledged: Vec<String> = lines.take(9).map(|line| line.expect("a line")).collect();
    child.kill().expect("killed");
    child.wait().expect("gone");
    place.run(&["log", "verify", "killed"]).expect(0);
    let log = place.run(&["log", "show", "killed", "--format", "jsonl"]).expect(0).stdout;
    for line in &acknowledged {
        assert!(log.contains(line.as_str()), "lost: {line}");
    }
    let resumed = place.run(&["resume", "killed", "--wall-seconds", "15"]);
    assert!(matches!(resumed.code, 0 | 1), "{resumed:?}");
    place.run(&["log", "verify", "killed"]).expect(0);
    let after = place.run(&["log", "show", "killed"]).expect(0).stdout;
    assert!(after.contains("resumed") && after.lines().count() > acknowledged.len(), "{after}");
}

#[test]
fn an_interrupt_finishes_and_seals() {
    let place = Place::new();
    let _machine = machine();
    let mut command = place.command();
    command.args([
        "search",
        "silu_mul_f32",
        "--run-id",
        "stopped",
        "--wall-seconds",
        "120",
        "--format",
        "jsonl",
    ]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    for _ in 0..5 {
        lines.next().expect("a line").expect("readable");
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("ended").code(), Some(130));
    assert!(rest.iter().any(|line| line.contains("\"interrupted\"")), "{rest:?}");
    assert!(place.run(&["log", "list"]).expect(0).stdout.contains("sealed"));
}

#[test]
fn a_damaged_line_is_named_and_the_exit_code_is_6() {
    let place = Place::new();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/experiment-log/sample");
    let runs: Vec<_> =
        std::fs::read_dir(format!("{sample}/runs")).expect("the sample run").flatten().collect();
    let name = runs[0].file_name().to_string_lossy().into_owned();
    let copy = place.path(&format!("experiment-log/runs/{name}"));
    std::fs::create_dir_all(&copy).expect("a folder");
    for file in std::fs::read_dir(runs[0].path()).expect("files").flatten() {
        std::fs::copy(file.path(), copy.join(file.file_name())).expect("a copy");
    }
    place.run(&["log", "verify", &name]).expect(0);
    let history = copy.join("history.jsonl");
    let text = std::fs::read_to_string(&history).expect("the history");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[2] = lines[2].replacen("\"seq\":2", "\"seq\":7", 1);
    std::fs::write(&history, lines.join("\n") + "\n").expect("written");
    let said = place.run(&["log", "verify", &name]).expect(6);
    assert!(said.stdout.contains("history.jsonl") && said.stdout.contains('3'), "{}", said.stdout);
    place.run(&["resume", &name]).expect(6).complains(&["history.jsonl"]);
}

#[test]
fn a_log_folder_that_cannot_be_written_is_found_out_first() {
    let place = Place::new();
    place.write("file", "not a folder");
    place.run(&["search", "rmsnorm_f32", "--log-dir", "file/log"]).expect(6).complains(&["file/log"]);
}

#[test]
fn a_full_disk_ends_the_search_and_loses_nothing() {
    let place = Place::new();
    let mount = place.path("small");
    std::fs::create_dir(&mount).expect("a folder");
    let target = mount.to_str().expect("utf-8");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs", target])
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        eprintln!("skipped: a tmpfs cannot be mounted here (needs root)");
        return;
    }
    let _machine = machine();
    let said = place.run(&[
        "search",
        "rmsnorm_f32",
        "--log-dir",
        target,
        "--run-id",
        "full",
        "--wall-seconds",
        "60",
    ]);
    let verified = place.run(&["log", "verify", "full", "--log-dir", target]);
    let unmounted = std::process::Command::new("umount").args(["-l", target]).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    let said =
        said.expect(6).complains(&["cannot write", "runs/full", "No space left", "kernsmith resume full"]);
    assert!(!said.stdout.is_empty());
    verified.expect(0);
}
