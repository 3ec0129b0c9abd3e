//! What a log promises, tested on real files.

mod crash;
mod fork;
mod index;
mod run_index;
mod sample;
mod tamper;

use std::path::Path;

use kernsmith_core::event::LOG_FORMAT;
use kernsmith_core::{Digest, Entry, Event, Record, Seq};

use crate::{
    HISTORY_FILE, LogError, PACK_FILE, RunReader, RunState, RunWriter, find, list, summarise, verify,
};
use sample::{closed, opened, propose, rejected, run_id, write_run};

fn entries(directory: &Path) -> Vec<Entry> {
    let reader = RunReader::open(directory).unwrap();
    reader.entries().unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn what_was_appended_is_read_back_entry_for_entry() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = RunWriter::create(root.path(), &run_id()).unwrap();
    let mut acknowledged = writer.append_group(vec![opened()]).unwrap();
    for number in 0..20 {
        let events = vec![propose(&mut writer, number), rejected(Seq(writer.next_seq().0))];
        acknowledged.extend(writer.append_group(events).unwrap());
    }
    assert_eq!(entries(writer.directory()), acknowledged);
    let reader = RunReader::open(writer.directory()).unwrap();
    let digest = Digest::of(sample::source(7).as_bytes());
    assert_eq!(reader.blob(&digest).unwrap(), sample::source(7).into_bytes());
    assert_eq!(writer.kept(&digest).unwrap(), sample::source(7).into_bytes());
    assert!(matches!(reader.blob(&Digest::of(b"other")), Err(LogError::NoBlob { .. })));
    assert!(verify(writer.directory()).unwrap().is_intact());
}

#[test]
fn the_same_bytes_are_stored_once() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = RunWriter::create(root.path(), &run_id()).unwrap();
    writer.append_group(vec![opened()]).unwrap();
    for _ in 0..3 {
        let event = propose(&mut writer, 1);
        writer.append_group(vec![event]).unwrap();
    }
    let directory = writer.directory().to_owned();
    drop(writer);
    let mut writer = RunWriter::open(&directory).unwrap();
    let event = propose(&mut writer, 1);
    writer.append_group(vec![event]).unwrap();
    let report = verify(&directory).unwrap();
    assert_eq!((report.blobs, report.entries), (1, 5));
}

#[test]
fn a_kept_blob_can_be_read_before_it_is_written() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = RunWriter::create(root.path(), &run_id()).unwrap();
    let digest = writer.keep(b"pending").unwrap();
    assert_eq!(writer.kept(&digest).unwrap(), b"pending");
}

#[test]
fn a_second_writer_is_told_who_holds_the_run() {
    let root = tempfile::tempdir().unwrap();
    let directory = write_run(root.path(), 2);
    let first = RunWriter::open(&directory).unwrap();
    let refused = RunWriter::open(&directory).unwrap_err().to_string();
    assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
    drop(first);
    RunWriter::open(&directory).unwrap();
}

#[test]
fn a_run_is_never_begun_twice() {
    let root = tempfile::tempdir().unwrap();
    write_run(root.path(), 0);
    let refused = RunWriter::create(root.path(), &run_id()).unwrap_err().to_string();
    assert!(refused.contains("kernsmith resume"), "{refused}");
}

#[test]
fn an_entry_whose_source_was_not_kept_is_refused_and_the_writer_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let directory = write_run(root.path(), 1);
    let mut writer = RunWriter::open(&directory).unwrap();
    let Event::Proposed(mut proposed) = propose(&mut writer, 5) else { unreachable!() };
    proposed.source = Digest::of(b"nowhere");
    assert!(matches!(
        writer.append_group(vec![Event::Proposed(proposed)]),
        Err(LogError::Unrecordable { .. })
    ));
    writer.append_group(vec![closed("goal")]).unwrap();
}

#[test]
fn a_number_that_json_cannot_hold_is_refused_before_it_is_written() {
    let root = tempfile::tempdir().unwrap();
    let directory = write_run(root.path(), 1);
    let mut writer = RunWriter::open(&directory).unwrap();
    let event = Event::Closed { reason: "goal".to_owned(), wall_seconds: f64::NAN };
    assert!(matches!(writer.append_group(vec![event]), Err(LogError::Unrecordable { .. })));
    assert!(verify(&directory).unwrap().is_intact());
}

#[test]
fn a_sealed_run_goes_on_only_after_budget_or_interruption() {
    for (reason, goes_on) in [
        ("budget", true),
        ("interrupted", true),
        ("unreachable", true),
        ("goal", false),
        ("exhausted", false),
    ] {
        let root = tempfile::tempdir().unwrap();
        let directory = write_run(root.path(), 2);
        let mut writer = RunWriter::open(&directory).unwrap();
        writer.append_group(vec![closed(reason)]).unwrap();
        let seal = writer.seal().unwrap();
        assert!(writer.append_group(vec![closed(reason)]).is_err());
        drop(writer);
        assert_eq!(RunReader::open(&directory).unwrap().sealed().unwrap(), Some(seal));
        assert!(verify(&directory).unwrap().is_intact());
        assert_eq!(RunWriter::open(&directory).is_ok(), goes_on, "{reason}");
        assert_eq!(verify(&directory).unwrap().sealed, !goes_on);
    }
}

#[test]
fn a_newer_log_is_read_and_never_written() {
    let root = tempfile::tempdir().unwrap();
    let directory = write_run(root.path(), 0);
    let time = "2026-01-02T03:04:05Z";
    let Event::Opened(mut first) = opened() else { unreachable!() };
    first.format = LOG_FORMAT + 1;
    let mut bytes = Vec::new();
    let prev = crate::line::encode(&mut bytes, Seq(0), time, &Digest::ZERO, &Event::Opened(first)).unwrap();
    let mut second = Vec::new();
    let last = crate::line::encode(&mut second, Seq(1), time, &prev, &closed("goal")).unwrap();
    let text = String::from_utf8(second).unwrap().replace("\"closed\"", "\"dreamt\"");
    let body = &text[..text.len() - "\"sum\":\"0123456789abcdef\"}\n".len() - 1];
    let sum = Digest::of(body.as_bytes()).to_string();
    let text = format!("{body},\"sum\":\"{}\"}}", &sum[..16]);
    let last = if text.is_empty() { last } else { Digest::of(text.as_bytes()) };
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(b'\n');
    crate::line::encode(&mut bytes, Seq(2), time, &last, &closed("budget")).unwrap();
    std::fs::write(directory.join(HISTORY_FILE), &bytes).unwrap();
    let mut stream = RunReader::open(&directory).unwrap().entries().unwrap();
    let read: Vec<Entry> = stream.by_ref().collect::<Result<_, _>>().unwrap();
    assert_eq!((read.len(), read[1].seq, stream.skipped()), (2, Seq(2), 1));
    assert!(verify(&directory).unwrap().is_intact());
    assert!(matches!(RunWriter::open(&directory), Err(LogError::NewerFormat { .. })));
    assert_eq!(std::fs::read(directory.join(HISTORY_FILE)).unwrap(), bytes);
}

#[test]
fn a_run_that_never_began_says_so() {
    let root = tempfile::tempdir().unwrap();
    let writer = RunWriter::create(root.path(), &run_id()).unwrap();
    let directory = writer.directory().to_owned();
    drop(writer);
    std::fs::write(directory.join(HISTORY_FILE), b"{\"seq\":0,").unwrap();
    assert!(matches!(RunWriter::open(&directory), Err(LogError::Empty { .. })));
    assert!(matches!(RunReader::open(&directory), Err(LogError::Empty { .. })));
    assert!(verify(&directory).unwrap().passed());
    assert!(find(root.path(), "latest").is_err());
}

#[test]
fn runs_are_listed_and_found_by_prefix() {
    let root = tempfile::tempdir().unwrap();
    assert!(list(root.path()).unwrap().is_empty());
    let directory = write_run(root.path(), 3);
    let other = "20261121-sample".parse().unwrap();
    let mut writer = RunWriter::create(root.path(), &other).unwrap();
    writer.append_group(vec![sample::opened_as(&other)]).unwrap();
    std::fs::create_dir(root.path().join("runs/Not-A-Run")).unwrap();
    let summaries = list(root.path()).unwrap();
    assert_eq!(summaries.len(), 2);
    let summary = summarise(&directory).unwrap();
    assert_eq!((summary.candidates, summary.accepted, summary.state), (3, 0, RunState::Open));
    assert_eq!((summary.contract.as_str(), summary.target.as_str()), ("rmsnorm_f32", "cpu-x86_64"));
    assert_eq!(find(root.path(), "20261121-rms").unwrap(), directory);
    assert_eq!(find(root.path(), "latest").unwrap(), writer.directory());
    assert_eq!(find(root.path(), directory.to_str().unwrap()).unwrap(), directory);
    let ambiguous = find(root.path(), "20261121-").unwrap_err().to_string();
    assert!(ambiguous.contains("more than one"), "{ambiguous}");
    assert!(find(root.path(), "nothing").unwrap_err().to_string().contains("20261121-sample"));
    std::fs::write(directory.join(HISTORY_FILE), b"damage\n").unwrap();
    assert_eq!(summarise(&directory).unwrap().state, RunState::Damaged);
}

#[test]
fn the_fold_sees_every_entry_while_the_run_is_opened() {
    let root = tempfile::tempdir().unwrap();
    let directory = write_run(root.path(), 4);
    let mut seen = Vec::new();
    drop(RunWriter::open_with(&directory, |entry| seen.push(entry)).unwrap());
    assert_eq!(seen, entries(&directory));
}

#[test]
fn bytes_in_the_pack_that_are_no_frame_stop_a_writer() {
    let root = tempfile::tempdir().unwrap();
    let directory = write_run(root.path(), 2);
    let path = directory.join(PACK_FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[3] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let refused = RunWriter::open(&directory).unwrap_err().to_string();
    assert!(refused.contains("blobs.pack (byte 0)") && refused.contains("log verify"), "{refused}");
}

/// The writer never waits for anything but the disk, so that one poll is enough.
fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("the writer waits"),
    }
}

#[test]
fn the_writer_keeps_the_promises_of_the_port() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = RunWriter::create(root.path(), &run_id()).unwrap();
    finish(kernsmith_core::conformance::record(&mut writer, &run_id())).unwrap();
}
