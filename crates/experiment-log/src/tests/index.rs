//! The index is what the entries say, however it came about.

use std::path::Path;

use kernsmith_core::event::Proposed;
use kernsmith_core::evidence::GateReport;
use kernsmith_core::{
    Edit, Event, Failure, FailureClass, Gate, GeneValue, Lane, NewNode, NodeId, NodeKind, Performance,
    Prediction, RunId, Seq, Verdict,
};
use proptest::prelude::*;

use super::sample::{closed, opened_as, propose, rejected};
use crate::index::VIEWS;
use crate::{Cell, HISTORY_FILE, INDEX_FILE, Index, LogError, RunWriter, Table, run_directory};

fn run(number: u8) -> RunId {
    format!("run-{number}").parse().unwrap()
}

fn begin(root: &Path, number: u8) -> RunWriter {
    let mut writer = RunWriter::create(root, &run(number)).unwrap();
    writer.append_group(vec![opened_as(&run(number)), family()]).unwrap();
    writer
}

fn family() -> Event {
    let predicted = Prediction { ratio: 4.0, low: 2.0, high: 8.0 };
    let node = NewNode {
        kind: NodeKind::Family,
        title: "fused".to_owned(),
        rationale: "one pass".to_owned(),
        template: Some("skill/fused".to_owned()),
        fixed: [("vector".to_owned(), GeneValue::Text("avx2".to_owned()))].into(),
        axes: vec!["vector=avx2".to_owned()],
        predicted,
        difficulty: 2,
        expected_instructions: Vec::new(),
    };
    let twin = Edit::Insert { parent: NodeId::ROOT, node: node.clone() };
    let child = NewNode { kind: NodeKind::Decision, title: "wide".to_owned(), ..node.clone() };
    let edits = vec![
        Edit::Insert { parent: NodeId::ROOT, node },
        twin,
        Edit::Insert { parent: NodeId(1), node: child },
        Edit::Prune { node: NodeId(2), rationale: "too wide".to_owned() },
    ];
    Event::TreeEdited { author: "autotune".to_owned(), edits }
}

/// A judgement: `ratio` above 0 passes, 0 is a compile error, below 0 is the apparatus.
fn judged(proposal: Seq, lane: Lane, ratio: f64) -> Event {
    let Event::Judged { mut evidence, .. } = rejected(proposal) else { unreachable!() };
    evidence.lane = lane;
    evidence.validation.gates =
        vec![GateReport { gate: Gate::Build, passed: ratio != 0.0, wall_ms: 12.5, note: String::new() }];
    if ratio > 0.0 {
        evidence.verdict = Verdict::Accepted;
        evidence.failure = None;
        evidence.performance = Some(performance(ratio));
    } else if ratio < 0.0 {
        evidence.failure = Some(Failure::new(Gate::Load, FailureClass::Infrastructure, "no memory"));
    }
    Event::Judged { proposal, evidence }
}

fn performance(ratio: f64) -> Performance {
    Performance {
        median_us: 10.0 / ratio,
        baseline_us: 10.0,
        baseline: "scalar".to_owned(),
        ratio,
        ci_low: ratio * 0.95,
        ci_high: ratio * 1.05,
        sol_score: None,
        noise_floor: 1.02,
        interleaved: true,
        workloads: Vec::new(),
        rivals: Vec::new(),
    }
}

/// Views as sets of rows: the order of rows without `ORDER BY` means nothing.
fn contents(index: &Index) -> Vec<Table> {
    VIEWS
        .iter()
        .filter(|view| **view != "v_sources")
        .map(|view| {
            let mut table = index.query(&format!("SELECT * FROM {view}")).unwrap();
            table.rows.sort_by_key(|row| format!("{row:?}"));
            table
        })
        .collect()
}

fn updated(root: &Path) -> Index {
    let mut index = Index::open(root).unwrap();
    index.update().unwrap();
    index
}

fn cells(index: &Index, sql: &str) -> Vec<Vec<Cell>> {
    index.query(sql).unwrap().rows
}

fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

#[test]
fn a_candidate_stands_in_the_index_as_the_entries_left_it() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = begin(root.path(), 1);
    for (lanes, ratios) in [
        (vec![Lane::Screen, Lane::Verify, Lane::Screen], vec![3.0, 2.0, 9.0]),
        (vec![Lane::Screen, Lane::Confirm], vec![5.0, 0.0]),
        (vec![Lane::Screen], vec![-1.0]),
        (vec![Lane::Screen, Lane::Verify], vec![2.5, -1.0]),
    ] {
        let proposal = writer.next_seq();
        let event = propose(&mut writer, proposal.0);
        writer.append_group(vec![event]).unwrap();
        for (lane, ratio) in lanes.into_iter().zip(ratios) {
            writer.append_group(vec![judged(proposal, lane, ratio)]).unwrap();
        }
    }
    let index = updated(root.path());
    let sql = "SELECT status, lane, ratio, class FROM v_candidates ORDER BY seq";
    let expected = vec![
        vec![text("accepted"), text("verify"), Cell::Real(2.0), Cell::Null],
        vec![text("rejected"), text("screen"), Cell::Null, text("compile_error")],
        vec![text("inconclusive"), Cell::Null, Cell::Null, text("infrastructure")],
        vec![text("accepted"), text("screen"), Cell::Real(2.5), Cell::Null],
    ];
    assert_eq!(cells(&index, sql), expected);
    let strategies = cells(&index, "SELECT node, path, pruned, accepted FROM v_strategies ORDER BY node");
    let expected = vec![
        vec![Cell::Int(1), text("fused"), Cell::Null, Cell::Int(2)],
        vec![Cell::Int(2), text("fused / wide"), text("too wide"), Cell::Int(0)],
    ];
    assert_eq!(strategies, expected, "the twin title got no id");
    assert_eq!(cells(&index, "SELECT count(*) FROM v_gates"), [[Cell::Int(8)]]);
}

#[test]
fn an_index_that_grew_equals_one_that_was_made_at_once() {
    let root = tempfile::tempdir().unwrap();
    let mut writers = [begin(root.path(), 2), begin(root.path(), 1)];
    for step in 0..6_u64 {
        let writer = &mut writers[step as usize % 2];
        let proposal = writer.next_seq();
        let event = propose(writer, step);
        writer.append_group(vec![event]).unwrap();
        updated(root.path());
        writer.append_group(vec![judged(proposal, Lane::Screen, step as f64)]).unwrap();
        if step == 4 {
            let (confirmation, ratio) = (Seq(proposal.0 + 1), 4.0);
            let promoted = Event::Promoted { proposal, confirmation, ratio, ci_low: 3.0, ci_high: 5.0 };
            writer.append_group(vec![promoted, closed("budget")]).unwrap();
            writer.seal().unwrap();
        }
    }
    let mut index = Index::open(root.path()).unwrap();
    let update = index.update().unwrap();
    assert_eq!((update.runs, update.reread), (2, 0), "{update:?}");
    let grown = contents(&index);
    drop(index);
    let (rebuilt, update) = Index::rebuild(root.path(), false).unwrap();
    assert_eq!((update.reread, update.continued), (2, 0));
    assert_eq!(contents(&rebuilt), grown);
    let states = cells(&rebuilt, "SELECT run, state, champion IS NOT NULL FROM v_runs ORDER BY run");
    assert!(states.contains(&vec![text("run-2"), text("sealed"), Cell::Int(1)]), "{states:?}");
}

#[test]
fn a_run_that_was_damaged_replaced_or_removed_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    for number in 1..=3 {
        let mut writer = begin(root.path(), number);
        let event = propose(&mut writer, 1);
        writer.append_group(vec![event]).unwrap();
    }
    updated(root.path());
    let [first, second, third] = [1, 2, 3].map(|number| run_directory(root.path(), &run(number)));
    let mut bytes = std::fs::read(first.join(HISTORY_FILE)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(first.join(HISTORY_FILE), bytes).unwrap();
    std::fs::remove_dir_all(&second).unwrap();
    let mut writer = begin(root.path(), 2);
    for number in 0..9 {
        let event = propose(&mut writer, 100 + number);
        writer.append_group(vec![event]).unwrap();
    }
    std::fs::remove_dir_all(third).unwrap();
    let mut index = Index::open(root.path()).unwrap();
    let update = index.update().unwrap();
    assert_eq!((update.runs, update.reread, update.removed), (2, 2, 1), "{update:?}");
    assert_eq!(update.damages.len(), 1, "{update:?}");
    let sql = "SELECT run, state, candidates FROM v_runs ORDER BY run";
    let rows = cells(&index, sql);
    assert_eq!(rows[0][..2], [text("run-1"), text("damaged")]);
    assert_eq!(rows[1], [text("run-2"), text("open"), Cell::Int(9)]);
    let again = index.update().unwrap();
    assert_eq!((again.entries, again.reread), (0, 0), "nothing changed since: {again:?}");
    let grown = contents(&index);
    drop(index);
    assert_eq!(contents(&Index::rebuild(root.path(), false).unwrap().0), grown);
}

#[test]
fn an_index_that_is_gone_or_broken_is_made_again() {
    let root = tempfile::tempdir().unwrap();
    begin(root.path(), 1);
    let before = contents(&updated(root.path()));
    let path = root.path().join(INDEX_FILE);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(contents(&updated(root.path())), before);
    std::fs::write(&path, b"this is no database, and it never was one; it only lies where one should be")
        .unwrap();
    assert_eq!(contents(&updated(root.path())), before);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.pragma_update(None, "user_version", 999).unwrap();
    drop(other);
    assert_eq!(contents(&updated(root.path())), before, "of another version");
}

#[test]
fn a_question_cannot_change_anything_and_a_bad_one_names_the_views() {
    let root = tempfile::tempdir().unwrap();
    begin(root.path(), 1);
    let index = updated(root.path());
    let before = contents(&index);
    for sql in [
        "DELETE FROM runs",
        "DROP VIEW v_runs",
        "ATTACH 'other.sqlite' AS other",
        "PRAGMA query_only = OFF",
        "VACUUM INTO 'copy.sqlite'",
        "SELECT load_extension('x')",
        "SELECT 1; DELETE FROM runs",
        "SELEC run FROM v_runs",
        "SELECT nothing FROM v_runs",
        "SELECT * FROM v_nothing",
        "",
    ] {
        let Err(LogError::Query { problem }) = index.query(sql) else { panic!("{sql}") };
        let message = LogError::Query { problem }.to_string();
        assert!(message.contains("v_candidates"), "{sql}: {message}");
    }
    assert_eq!(contents(&index), before);
    assert!(
        index
            .query(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n"
            )
            .is_ok()
    );
}

#[test]
fn sources_can_be_searched_where_that_was_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = begin(root.path(), 1);
    for number in [12, 345] {
        let event = propose(&mut writer, number);
        writer.append_group(vec![event]).unwrap();
    }
    let sql = "SELECT run, seq FROM v_sources WHERE text MATCH '\"* 345 *\"'";
    assert!(cells(&updated(root.path()), sql).is_empty());
    let (index, _) = Index::rebuild(root.path(), true).unwrap();
    assert_eq!(cells(&index, sql), [[text("run-1"), Cell::Int(3)]]);
    drop(index);
    let event = propose(&mut writer, 3456);
    writer.append_group(vec![event]).unwrap();
    let index = updated(root.path());
    let sql = "SELECT seq FROM v_sources WHERE text MATCH '345' ORDER BY seq";
    assert_eq!(cells(&index, sql), [[Cell::Int(3)], [Cell::Int(4)]], "later updates keep to it");
}

#[test]
fn two_processes_may_bring_it_up_to_date_at_once() {
    let root = tempfile::tempdir().unwrap();
    for number in 0..8 {
        let mut writer = begin(root.path(), number);
        let event = propose(&mut writer, 1);
        writer.append_group(vec![event]).unwrap();
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                assert_eq!(
                    cells(&updated(root.path()), "SELECT count(*) FROM v_candidates"),
                    [[Cell::Int(8)]]
                );
            });
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is written, and whenever the index is brought up to date in between, it ends as if it were made at once.
    #[test]
    fn growing_and_making_anew_are_the_same(steps in prop::collection::vec((0_u8..3, -1_i8..5, 0_u8..3, any::<bool>()), 1..25)) {
        let root = tempfile::tempdir().unwrap();
        let mut writers = [0, 1, 2].map(|number| begin(root.path(), number));
        let mut waiting: [Option<Seq>; 3] = [None; 3];
        for (which, ratio, lane, update) in steps {
            let writer = &mut writers[which as usize];
            let proposal = writer.next_seq();
            let event = propose(writer, proposal.0);
            let Event::Proposed(boxed) = event else { unreachable!() };
            let event = Event::Proposed(Box::new(Proposed { node: NodeId(1 + u32::from(lane)), ..*boxed }));
            let old = waiting[which as usize].replace(proposal);
            let lane = [Lane::Screen, Lane::Verify, Lane::Confirm][lane as usize];
            let mut events = vec![event];
            events.extend(old.map(|old| judged(old, lane, f64::from(ratio))));
            writer.append_group(events).unwrap();
            if update {
                updated(root.path());
            }
        }
        let grown = contents(&updated(root.path()));
        prop_assert_eq!(contents(&Index::rebuild(root.path(), false).unwrap().0), grown);
    }
}
