//! Forks and imports: nothing is lost on the way, nothing is claimed that was not earned.

use std::path::{Path, PathBuf};

use kernsmith_core::{Event, Lane, RunId, Seq, Verdict};

use super::entries;
use super::sample::{opened, propose, propose_source, rejected, run_id, write_run};
use crate::{
    Cell, HISTORY_FILE, Index, LogError, PROVENANCE_FILE, RunReader, RunWriter, fork, import, importable,
    verify, write_bundle,
};

fn name(text: &str) -> RunId {
    text.parse().unwrap()
}

fn passed(proposal: Seq, lane: Lane) -> Event {
    let Event::Judged { mut evidence, .. } = rejected(proposal) else { unreachable!() };
    evidence.verdict = Verdict::Accepted;
    evidence.failure = None;
    evidence.lane = lane;
    Event::Judged { proposal, evidence }
}

/// 0 opened, 1-2 a failure, 3-4 a pass, 5 its confirmation, 6 promoted, 7 never judged, 8-9 a failure made from 3.
fn eventful(root: &Path) -> PathBuf {
    let mut writer = RunWriter::create(root, &run_id()).unwrap();
    writer.append_group(vec![opened()]).unwrap();
    let first = propose(&mut writer, 1);
    let second = propose(&mut writer, 2);
    let third = propose(&mut writer, 3);
    let Event::Proposed(mut fourth) = propose(&mut writer, 4) else { unreachable!() };
    fourth.origin.parents = vec![Seq(3), Seq(7)];
    let (proposal, confirmation) = (Seq(3), Seq(5));
    let promoted = Event::Promoted { proposal, confirmation, ratio: 2.0, ci_low: 1.9, ci_high: 2.1 };
    writer
        .append_group(vec![
            first,
            rejected(Seq(1)),
            second,
            passed(Seq(3), Lane::Screen),
            passed(Seq(3), Lane::Confirm),
            promoted,
            third,
            Event::Proposed(fourth),
            rejected(Seq(8)),
        ])
        .unwrap();
    writer.directory().to_owned()
}

#[test]
fn a_fork_has_the_history_up_to_its_point_and_names_its_origin() {
    let root = tempfile::tempdir().unwrap();
    let origin = eventful(root.path());
    let before = entries(&origin);
    let forked = fork(root.path(), &origin, Seq(6), &name("second-try"), false).unwrap();
    let after = entries(&forked.directory);
    assert_eq!(after.len(), 7);
    for (old, new) in before.iter().zip(&after).skip(1) {
        assert_eq!((old.seq, &old.event), (new.seq, &new.event));
    }
    let reader = RunReader::open(&forked.directory).unwrap();
    let from = reader.opened().forked_from.clone().unwrap();
    assert_eq!((from.run, from.seq, from.digest), (run_id(), Seq(6), before[7].prev));
    assert!(verify(&forked.directory).unwrap().is_intact());
    assert_eq!(entries(&origin), before, "the origin is as it was");
    RunWriter::open(&forked.directory).unwrap().append_group(vec![rejected(Seq(1))]).unwrap();
}

#[test]
fn experience_brings_facts_and_no_titles() {
    let root = tempfile::tempdir().unwrap();
    let origin = eventful(root.path());
    let forked = fork(root.path(), &origin, Seq(2), &name("wiser"), true).unwrap();
    let after = entries(&forked.directory);
    let names: Vec<&str> = after.iter().map(|entry| entry.event.name()).collect();
    assert_eq!(names, ["opened", "proposed", "judged", "proposed", "judged", "proposed", "judged"]);
    let Event::Judged { proposal, evidence } = &after[4].event else { panic!() };
    assert_eq!((*proposal, evidence.lane), (Seq(3), Lane::Screen), "the confirmation stays behind");
    let Event::Proposed(last) = &after[5].event else { panic!() };
    assert_eq!(last.origin.parents, [Seq(3)], "a parent that was not carried is not named");
    let Event::Judged { proposal, .. } = &after[6].event else { panic!() };
    assert_eq!(*proposal, Seq(5));
    let origin_of = |seq| forked.from.origin_of(Seq(seq)).map(|seq| seq.0);
    assert_eq!(
        [0, 2, 3, 4, 5, 6, 7].map(origin_of),
        [None, Some(2), Some(3), Some(4), Some(8), Some(9), None]
    );
    let mut index = Index::open(root.path()).unwrap();
    index.update().unwrap();
    let sql = "SELECT imported FROM v_candidates WHERE run = 'wiser' AND seq = 5";
    assert_eq!(index.query(sql).unwrap().rows, [[Cell::Text(format!("{}#8", run_id()))]]);
}

#[test]
fn a_fork_of_nothing_or_onto_something_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let origin = eventful(root.path());
    let error = fork(root.path(), &origin, Seq(99), &name("x"), false).unwrap_err();
    assert!(error.to_string().contains("has 10 entries"), "{error}");
    let error = fork(root.path(), &origin, Seq(1), &run_id(), false).unwrap_err();
    assert!(matches!(error, LogError::Exists { .. }), "{error}");
    let leftovers = std::fs::read_dir(root.path()).unwrap().count();
    assert_eq!(leftovers, 1, "no half-made run stays behind");
}

#[test]
fn a_run_travels_as_a_folder_and_as_a_bundle() {
    let here = tempfile::tempdir().unwrap();
    let directory = write_run(here.path(), 5);
    let bundle = here.path().join("run.ksrun");
    write_bundle(&directory, &bundle).unwrap();
    for from in [directory.clone(), bundle] {
        let there = tempfile::tempdir().unwrap();
        let runs = importable(&from).unwrap();
        let provenance = import(there.path(), &runs[0]).unwrap();
        let arrived = crate::run_directory(there.path(), &run_id());
        assert_eq!(entries(&arrived), entries(&directory));
        assert!(verify(&arrived).unwrap().is_intact());
        assert_eq!(provenance.entries, 11);
        assert!(arrived.join(PROVENANCE_FILE).exists());
        let error = import(there.path(), &from).unwrap_err();
        assert!(matches!(error, LogError::Exists { .. }), "{error}");
        RunWriter::open(&arrived).unwrap();
    }
    assert_eq!(importable(here.path()).unwrap(), [directory]);
    assert!(importable(&here.path().join("nowhere")).is_err());
}

#[test]
fn a_damaged_run_or_bundle_is_not_taken_in() {
    let here = tempfile::tempdir().unwrap();
    let there = tempfile::tempdir().unwrap();
    let mut writer = RunWriter::create(here.path(), &run_id()).unwrap();
    writer.append_group(vec![opened()]).unwrap();
    let event = propose_source(&mut writer, "int x;");
    writer.append_group(vec![event]).unwrap();
    let directory = writer.directory().to_owned();
    let bundle = here.path().join("run.ksrun");
    write_bundle(&directory, &bundle).unwrap();
    let whole = std::fs::read(&bundle).unwrap();
    for cut in [0, 3, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&bundle, &whole[..cut]).unwrap();
        assert!(import(there.path(), &bundle).is_err(), "cut at {cut}");
    }
    for place in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[place] ^= 0x10;
        std::fs::write(&bundle, &changed).unwrap();
        if let Ok(provenance) = import(there.path(), &bundle) {
            // A bit of the stream's own head may mean nothing; then what arrived is what was sent.
            assert_eq!(provenance.last, verify(&directory).unwrap().last);
            std::fs::remove_dir_all(crate::run_directory(there.path(), &run_id())).unwrap();
        }
    }
    let history = directory.join(HISTORY_FILE);
    let mut bytes = std::fs::read(&history).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&history, bytes).unwrap();
    assert!(matches!(import(there.path(), &directory), Err(LogError::Damaged { .. })));
    assert!(write_bundle(&directory, &bundle).is_err());
    let left =
        std::fs::read_dir(there.path()).unwrap().filter(|item| item.as_ref().unwrap().file_name() != "runs");
    assert_eq!(left.count(), 0);
}
