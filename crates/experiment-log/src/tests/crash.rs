//! Death at any moment, and a disk that is full: nothing acknowledged is lost.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kernsmith_core::Seq;

use super::entries;
use super::sample::{opened, propose_source, rejected, run_id, write_run};
use crate::{LogError, RunReader, RunWriter, run_directory, verify};

const ROOT_VARIABLE: &str = "KERNSMITH_CRASH_TEST_ROOT";

/// Sources that do not compress well, so that a frame is long enough to be torn.
fn noisy_source(number: u64) -> String {
    let mut text = String::new();
    while text.len() < 6000 {
        let digest = kernsmith_core::Digest::of(format!("{number}/{}", text.len()).as_bytes());
        text.push_str(&digest.to_string());
    }
    text
}

/// Not a test: the child of the crash test. It appends groups for ever and prints what was acknowledged.
#[test]
#[ignore = "the child of `nothing_acknowledged_is_lost_when_the_writer_is_killed`"]
fn append_until_killed() {
    let Ok(root) = std::env::var(ROOT_VARIABLE) else { return };
    let directory = run_directory(Path::new(&root), &run_id());
    let mut writer = if directory.exists() {
        match RunWriter::open(&directory) {
            Ok(writer) => writer,
            Err(error) => return writeln!(std::io::stdout(), "refused {error}").unwrap(),
        }
    } else {
        let mut writer = RunWriter::create(Path::new(&root), &run_id()).unwrap();
        writer.append_group(vec![opened()]).unwrap();
        writer
    };
    loop {
        let mut events = Vec::new();
        for _ in 0..8 {
            let proposal = Seq(writer.next_seq().0 + events.len() as u64);
            events.push(propose_source(&mut writer, &noisy_source(proposal.0)));
            events.push(rejected(proposal));
        }
        match writer.append_group(events) {
            Ok(entries) => writeln!(std::io::stdout(), "ack {}", entries.last().unwrap().seq.0).unwrap(),
            Err(error) => {
                writeln!(std::io::stdout(), "error {error}").unwrap();
                return;
            }
        }
    }
}

/// A process of its own that appends for ever.
fn writer_process(root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::crash::append_until_killed", "--ignored", "--nocapture"])
        .env(ROOT_VARIABLE, root)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The next line of a child that holds the word.
fn wait_for(word: &str, lines: &mut impl Iterator<Item = std::io::Result<String>>) -> String {
    lines.map(Result::unwrap).find(|line| line.contains(word)).unwrap_or_else(|| panic!("no `{word}`"))
}

/// Lets the child append until it has acknowledged `groups` groups and `bytes_later` spins have passed, and kills it.
fn kill_after(root: &Path, groups: usize, spins: u64) -> Option<u64> {
    let mut child = writer_process(root);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = None;
    let mut read = |line: Option<std::io::Result<String>>| {
        let line = line?.ok()?;
        if let Some((_, seq)) = line.split_once("ack ") {
            last = Some(seq.parse().unwrap());
        }
        Some(line.contains("ack "))
    };
    let mut seen = 0;
    while seen < groups {
        seen += usize::from(read(lines.next()).expect("the child ended by itself"));
    }
    (0..spins).for_each(|spin| drop(std::hint::black_box(noisy_source(spin))));
    child.kill().unwrap();
    child.wait().unwrap();
    // What was printed before the kill was acknowledged too.
    while read(lines.next()).is_some() {}
    last
}

/// Kills the writer so many times, at moments that `moment` picks, and looks at every byte each time.
fn kill_and_look(rounds: u64, moment: impl Fn(u64) -> (usize, u64)) {
    let root = tempfile::tempdir().unwrap();
    let directory = run_directory(root.path(), &run_id());
    let (mut torn, mut index) = (0, 0);
    for round in 0..rounds {
        let (groups, spins) = moment(round);
        let acknowledged = kill_after(root.path(), groups, spins).unwrap();
        let report = verify(&directory).unwrap();
        assert!(report.passed(), "round {round}: {:?}", report.damages);
        torn += usize::from(!report.is_intact());
        assert!(report.entries > acknowledged, "round {round}: {} of {acknowledged}", report.entries);
        let last = entries(&directory).pop().unwrap();
        assert!(last.seq.0 >= acknowledged);
        let update = crate::Index::open(root.path()).unwrap().update().unwrap();
        assert!(update.damages.is_empty(), "round {round}: {update:?}");
        index += update.entries;
        assert!(index >= report.entries, "the index has seen them all: {index} of {}", report.entries);
    }
    drop(RunWriter::open(&directory).unwrap());
    assert!(verify(&directory).unwrap().is_intact());
    writeln!(std::io::stderr(), "{torn} of {rounds} kills left a torn tail").unwrap();
}

#[test]
fn nothing_acknowledged_is_lost_when_the_writer_is_killed() {
    kill_and_look(20, |round| (1 + (round % 4) as usize, round * 37 % 100));
}

/// `cargo test -p kernsmith-experiment-log -- --ignored two_hundred_kills --nocapture`
#[test]
#[ignore = "a minute of killing, to be run by hand"]
fn two_hundred_kills_at_random_moments_lose_nothing() {
    let seed = std::process::id();
    writeln!(std::io::stderr(), "seed {seed}").unwrap();
    kill_and_look(200, |round| {
        let digest = kernsmith_core::Digest::of(format!("{seed}/{round}").as_bytes());
        let bytes = digest.bytes();
        (1 + usize::from(bytes[0] % 3), u64::from(bytes[1]) + 256 * u64::from(bytes[2] % 2))
    });
}

#[test]
fn of_two_writers_at_once_one_is_refused_and_nothing_is_mixed() {
    let root = tempfile::tempdir().unwrap();
    let directory = run_directory(root.path(), &run_id());
    for _ in 0..5 {
        let mut first = writer_process(root.path());
        let mut acknowledged = BufReader::new(first.stdout.take().unwrap()).lines();
        wait_for("ack ", &mut acknowledged);
        let mut rivals: Vec<Child> = (0..3).map(|_| writer_process(root.path())).collect();
        for rival in &mut rivals {
            let mut said = BufReader::new(rival.stdout.take().unwrap()).lines();
            let refused = wait_for("refused", &mut said);
            assert!(refused.contains(&format!("process {}", first.id())), "{refused}");
            rival.wait().unwrap();
        }
        wait_for("ack ", &mut acknowledged);
        first.kill().unwrap();
        first.wait().unwrap();
        let last =
            acknowledged.map_while(Result::ok).filter_map(|line| line.split_once("ack ")?.1.parse().ok());
        let last: u64 = last.last().unwrap_or(0);
        let report = verify(&directory).unwrap();
        assert!(report.passed() && report.entries > last, "{report:?}");
    }
}

/// `cargo test -p kernsmith-experiment-log -- --ignored two_hundred_damages --nocapture`
#[test]
#[ignore = "some minutes of reading, to be run by hand"]
fn two_hundred_damages_at_random_places_of_a_long_log_are_each_named() {
    let seed = std::process::id();
    writeln!(std::io::stderr(), "seed {seed}").unwrap();
    let root = tempfile::tempdir().unwrap();
    let directory = write_run(root.path(), 1000);
    let files = [crate::HISTORY_FILE, crate::PACK_FILE].map(|name| directory.join(name));
    let whole = files.each_ref().map(|file| std::fs::read(file).unwrap());
    let (mut flips, mut cuts) = (0, 0);
    for round in 0..200 {
        let dice = kernsmith_core::Digest::of(format!("{seed}/{round}").as_bytes());
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| dice.bytes()[at + byte]));
        let place = usize::from(dice.bytes()[0] % 2);
        let offset = (word(8) % whole[place].len() as u64) as usize;
        let mut bytes = whole[place].clone();
        let cut = dice.bytes()[1].is_multiple_of(4);
        if cut {
            bytes.truncate(offset);
            cuts += 1;
        } else {
            bytes[offset] ^= dice.bytes()[2].max(1);
            flips += 1;
        }
        std::fs::write(&files[place], &bytes).unwrap();
        let report = verify(&directory).unwrap();
        // Whole lines that are cut from the end of an open run leave no trace but the missing ones; their sources do.
        let noticed = !report.is_intact() || report.notes.iter().any(|note| note.contains("no entry names"));
        assert!(noticed, "round {round}: byte {offset} of {}, cut {cut}", files[place].display());
        std::fs::write(&files[place], &whole[place]).unwrap();
    }
    assert!(verify(&directory).unwrap().is_intact());
    writeln!(std::io::stderr(), "{flips} flipped bytes and {cuts} cuts, each named").unwrap();
}

#[test]
fn a_failed_write_poisons_the_writer_and_leaves_what_was_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    let directory = write_run(root.path(), 2);
    let before = entries(&directory);
    let mut writer = RunWriter::open(&directory).unwrap();
    writer.redirect_history(File::options().append(true).open("/dev/full").unwrap());
    let event = propose_source(&mut writer, &noisy_source(1));
    let error = writer.append_group(vec![event]).unwrap_err();
    assert!(error.is_disk_full());
    let text = error.to_string();
    assert!(
        text.contains("history.jsonl") && text.contains("free space and run `kernsmith resume"),
        "{text}"
    );
    assert!(matches!(writer.append_group(vec![rejected(Seq(1))]), Err(LogError::Poisoned { .. })));
    drop(writer);
    assert_eq!(entries(&directory), before);
    assert!(verify(&directory).unwrap().is_intact());
    RunWriter::open(&directory).unwrap().append_group(vec![rejected(Seq(1))]).unwrap();
}

/// A size limit of the shell stands in for a full disk: the write comes back short at a random byte, as it does there.
#[test]
fn a_disk_that_fills_up_in_the_middle_of_a_group_loses_nothing() {
    for blocks in [120, 197, 350] {
        let root = tempfile::tempdir().unwrap();
        let executable = std::env::current_exe().unwrap();
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let output = Command::new("sh")
            .args(["-c", &script])
            .arg(executable)
            .args(["--exact", "tests::crash::append_until_killed", "--ignored", "--nocapture"])
            .env(ROOT_VARIABLE, root.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("error ") && text.contains("free space and run `kernsmith resume"), "{text}");
        let last: u64 =
            text.lines().filter_map(|line| line.split_once("ack ")?.1.parse().ok()).next_back().unwrap();
        let directory: PathBuf = run_directory(root.path(), &run_id());
        assert!(verify(&directory).unwrap().is_intact(), "the tail was cut back");
        assert_eq!(entries(&directory).pop().unwrap().seq.0, last);
        RunReader::open(&directory).unwrap();
        RunWriter::open(&directory).unwrap();
    }
}
