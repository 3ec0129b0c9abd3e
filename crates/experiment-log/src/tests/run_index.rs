//! One run in memory: for somebody who may see neither other runs nor everything of this one.

use super::sample::{run_id, write_run};
use crate::{Cell, LogError, RunIndex, Table, file_bug, run_directory};

fn rows(index: &mut RunIndex, sql: &str) -> Table {
    index.query(sql, 50).unwrap_or_else(|error| panic!("{sql}: {error}")).0
}

fn index(root: &std::path::Path) -> RunIndex {
    let mut index = RunIndex::new(&run_directory(root, &run_id())).unwrap();
    index.update(|words| words.replace("expected", "[withheld]")).unwrap();
    index
}

#[test]
fn seed_configuration_and_words_that_are_not_public_are_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    write_run(folder.path(), 3);
    let mut index = index(folder.path());
    let hidden = rows(&mut index, "SELECT seed, config, config_digest FROM v_runs").rows;
    assert_eq!(hidden, [vec![Cell::Null, Cell::Null, Cell::Null]]);
    assert_eq!(rows(&mut index, "SELECT seed FROM runs").rows, [vec![Cell::Null]], "nor behind the views");
    for sql in [
        "SELECT detail FROM v_candidates",
        "SELECT hex(detail) FROM v_judgements",
        "SELECT * FROM judgements",
    ] {
        let said = format!("{:?}", rows(&mut index, sql));
        assert!(!said.contains("expected") && !said.contains("6578706563746564"), "{said}");
    }
    assert!(format!("{:?}", rows(&mut index, "SELECT detail FROM v_candidates")).contains("[withheld]"));
}

#[test]
fn it_follows_the_run_and_answers_no_more_rows_than_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let directory = write_run(folder.path(), 4);
    let mut index = index(folder.path());
    let (table, more) = index.query("SELECT seq FROM v_candidates ORDER BY seq", 3).unwrap();
    assert_eq!((table.rows.len(), more), (3, true));
    let mut writer = crate::RunWriter::open(&directory).unwrap();
    let proposal = super::sample::propose(&mut writer, 99);
    writer.append_group(vec![proposal]).unwrap();
    index.update(str::to_owned).unwrap();
    let (table, more) = index.query("SELECT seq FROM v_candidates", 50).unwrap();
    assert_eq!((table.rows.len(), more), (5, false));
}

#[test]
fn whatever_writes_attaches_or_never_ends_is_refused_and_the_next_question_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    write_run(folder.path(), 2);
    let mut index = index(folder.path());
    for sql in [
        "DELETE FROM runs",
        "ATTACH 'other.sqlite' AS other",
        "PRAGMA table_info(runs)",
        "SELECT load_extension('x')",
        "SELECT 1; SELECT 2",
        "SELECT printf('%.*c', 100000000, 'x')",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
    ] {
        assert!(matches!(index.query(sql, 50), Err(LogError::Query { .. })), "{sql}");
        assert_eq!(rows(&mut index, "SELECT count(*) FROM v_candidates").rows, [vec![Cell::Int(2)]]);
    }
    index.update(str::to_owned).unwrap();
}

#[test]
fn a_defect_of_the_harness_is_filed_with_everything_that_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let kernsmith_core::Event::Judged { evidence, .. } = super::sample::rejected(kernsmith_core::Seq(7))
    else {
        unreachable!()
    };
    let run = run_id();
    let bug = crate::HarnessBug {
        run: &run,
        proposal: kernsmith_core::Seq(7),
        source: "int x;",
        plan: &kernsmith_core::Plan::default(),
        rationale: "it looks away",
        accepted: &evidence,
        refused: &evidence,
    };
    let filed = file_bug(folder.path(), &bug).unwrap();
    assert_eq!(std::fs::read_to_string(filed.join("source.cpp")).unwrap(), "int x;");
    let page = std::fs::read_to_string(filed.join("README.md")).unwrap();
    assert!(page.contains("it looks away") && page.contains("compile_error"), "{page}");
    let read: kernsmith_core::Evidence =
        serde_json::from_slice(&std::fs::read(filed.join("refused.json")).unwrap()).unwrap();
    assert_eq!(read, *evidence);
}
