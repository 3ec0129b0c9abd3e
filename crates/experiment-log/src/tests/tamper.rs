//! No byte changes unseen, and a cut tail costs nothing that was acknowledged.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kernsmith_core::{Entry, Event};
use proptest::prelude::*;

use super::entries;
use super::sample::{closed, run_id, write_run};
use crate::{DamageKind, HISTORY_FILE, PACK_FILE, RunWriter, SEAL_FILE, run_directory, verify};

type Files = Vec<(&'static str, Vec<u8>)>;

/// The files of a small run, written once: hundreds of copies need no sync of their own.
fn files(sealed: bool) -> &'static Files {
    static OPEN: OnceLock<Files> = OnceLock::new();
    static SEALED: OnceLock<Files> = OnceLock::new();
    let cell = if sealed { &SEALED } else { &OPEN };
    cell.get_or_init(|| {
        let root = tempfile::tempdir().unwrap();
        let directory = write_run(root.path(), 3);
        if sealed {
            let mut writer = RunWriter::open(&directory).unwrap();
            writer.append_group(vec![closed("goal")]).unwrap();
            writer.seal().unwrap();
        }
        let names = [HISTORY_FILE, PACK_FILE, SEAL_FILE];
        let present = names.into_iter().filter(|name| directory.join(name).exists());
        present.map(|name| (name, std::fs::read(directory.join(name)).unwrap())).collect()
    })
}

fn run(sealed: bool) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let directory = run_directory(root.path(), &run_id());
    std::fs::create_dir_all(&directory).unwrap();
    for (name, bytes) in files(sealed) {
        std::fs::write(directory.join(name), bytes).unwrap();
    }
    (root, directory)
}

fn length(directory: &Path, file: &str) -> usize {
    std::fs::metadata(directory.join(file)).unwrap().len() as usize
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_changed_byte_of_any_file_is_reported(
        sealed: bool, file in 0..3_usize, at in 0.0..1.0_f64, change in 1..=255_u8,
    ) {
        let (_root, directory) = run(sealed);
        let file = [HISTORY_FILE, PACK_FILE, SEAL_FILE][if sealed { file } else { file % 2 }];
        let path = directory.join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        let index = (at * bytes.len() as f64) as usize;
        bytes[index] ^= change;
        let before = verify(&directory).unwrap();
        prop_assert!(before.is_intact());
        std::fs::write(&path, &bytes).unwrap();
        let report = verify(&directory).unwrap();
        // The seal is JSON that people may read: its white space and its time say nothing about the files.
        let harmless = file == SEAL_FILE && is_same_seal(&bytes, &before);
        prop_assert!(!report.is_intact() || harmless, "byte {index} of {file}");
    }

    #[test]
    fn a_cut_sealed_run_is_reported(file in 0..2_usize, at in 0.0..1.0_f64) {
        let (_root, directory) = run(true);
        let file = [HISTORY_FILE, PACK_FILE][file];
        let keep = (at * length(&directory, file) as f64) as u64;
        std::fs::File::options().write(true).open(directory.join(file)).unwrap().set_len(keep).unwrap();
        prop_assert!(!verify(&directory).unwrap().passed());
        prop_assert!(RunWriter::open(&directory).is_err());
    }

    #[test]
    fn recovery_of_a_cut_history_keeps_every_whole_line(at in 0.0..1.0_f64) {
        let (_root, directory) = run(false);
        let written = entries(&directory);
        let path = directory.join(HISTORY_FILE);
        let bytes = std::fs::read(&path).unwrap();
        let first = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let keep = first + (at * (bytes.len() - first) as f64) as usize;
        std::fs::write(&path, &bytes[..keep]).unwrap();
        let whole = bytes[..keep].split(|&byte| byte == b'\n').count() - 1;
        let torn = bytes[keep - 1] != b'\n';
        let report = verify(&directory).unwrap();
        prop_assert!(report.passed());
        prop_assert_eq!(report.damages.iter().any(|damage| damage.kind == DamageKind::TornTail), torn);
        drop(RunWriter::open(&directory).unwrap());
        let read = entries(&directory);
        prop_assert_eq!(&read[..whole], &written[..whole]);
        prop_assert_eq!(read.len(), whole + usize::from(torn));
        prop_assert_eq!(torn, is_recovered(read.last().unwrap()));
        prop_assert!(verify(&directory).unwrap().is_intact());
    }

    #[test]
    fn a_pack_cut_into_a_named_blob_is_missing_blobs_and_stops_a_writer(at in 0.0..1.0_f64) {
        let (_root, directory) = run(false);
        let keep = (at * length(&directory, PACK_FILE) as f64) as u64;
        std::fs::File::options().write(true).open(directory.join(PACK_FILE)).unwrap().set_len(keep).unwrap();
        let report = verify(&directory).unwrap();
        prop_assert!(report.damages.iter().any(|damage| damage.kind == DamageKind::MissingBlob && damage.line.is_some()));
        let refused = RunWriter::open(&directory).unwrap_err().to_string();
        prop_assert!(refused.contains("missing blob") && refused.contains("history.jsonl line"), "{}", refused);
        prop_assert_eq!(length(&directory, PACK_FILE) as u64, keep);
    }

    #[test]
    fn an_unfinished_frame_is_cut_off_and_said(junk in 1..2000_usize) {
        let (_root, directory) = run(false);
        let path = directory.join(PACK_FILE);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, [bytes.as_slice(), &vec![0; junk]].concat()).unwrap();
        prop_assert!(verify(&directory).unwrap().passed());
        let writer = RunWriter::open(&directory).unwrap();
        prop_assert!(is_recovered(writer.recovered().unwrap()));
        prop_assert_eq!(length(&directory, PACK_FILE), bytes.len());
    }
}

fn is_recovered(entry: &Entry) -> bool {
    matches!(entry.event, Event::Recovered { .. })
}

fn is_same_seal(bytes: &[u8], report: &crate::VerifyReport) -> bool {
    serde_json::from_slice::<crate::Seal>(bytes).is_ok_and(|seal| {
        seal.entries == report.entries && seal.last == report.last && seal.pack_bytes == report.pack_bytes
    })
}

#[test]
fn the_first_line_is_as_protected_as_the_last() {
    let (_root, directory) = run(false);
    let path = directory.join(HISTORY_FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 40;
    for index in [10, last] {
        bytes[index] ^= 2;
        std::fs::write(&path, &bytes).unwrap();
        let report = verify(&directory).unwrap();
        assert!(!report.passed());
        let damage = &report.damages[0];
        assert_eq!(damage.kind, DamageKind::BadSum, "{damage}");
        assert_eq!(damage.line, Some(if index == 10 { 1 } else { 7 }));
        bytes[index] ^= 2;
    }
}

#[test]
fn a_line_taken_out_breaks_the_chain_and_leaves_a_gap() {
    let (_root, directory) = run(false);
    let path = directory.join(HISTORY_FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    let shorter: Vec<&str> =
        text.lines().enumerate().filter(|(n, _)| *n != 2).map(|(_, line)| line).collect();
    std::fs::write(&path, shorter.join("\n") + "\n").unwrap();
    let kinds: Vec<DamageKind> =
        verify(&directory).unwrap().damages.iter().map(|damage| damage.kind).collect();
    assert_eq!(kinds, [DamageKind::BrokenChain, DamageKind::SeqGap]);
}
