//! Properties of the fold over generated histories, sensible and absurd.

use kernsmith_core::{Digest, Edit, Entry, Event, FailureClass, Lane, NodeId, NodeKind, Prediction, Seq};
use proptest::prelude::*;

use crate::testing::{evidence, node, performance, proposed};
use crate::{Outcome, PlannerOptions, Policy, SelectOptions, Tree};

fn opened() -> Event {
    kernsmith_core::conformance::opened(&"run".parse().unwrap())
}

fn ratio() -> impl Strategy<Value = f64> {
    prop_oneof![8 => 0.1..20.0f64, 1 => Just(f64::NAN), 1 => Just(0.0), 1 => Just(f64::INFINITY)]
}

fn edit() -> impl Strategy<Value = Edit> {
    let kind =
        prop::sample::select(vec![NodeKind::Family, NodeKind::Decision, NodeKind::Action, NodeKind::Root]);
    let insert = (0..12u32, kind, 0..5u32, ratio()).prop_map(|(parent, kind, title, ratio)| Edit::Insert {
        parent: NodeId(parent),
        node: node(kind, &format!("t{title}"), ratio),
    });
    let update = (0..12u32, ratio()).prop_map(|(target, ratio)| Edit::Update {
        node: NodeId(target),
        predicted: Prediction { ratio, low: ratio, high: ratio },
        rationale: "because".to_owned(),
    });
    let prune =
        (0..12u32).prop_map(|target| Edit::Prune { node: NodeId(target), rationale: "no".to_owned() });
    prop_oneof![6 => insert, 2 => update, 1 => prune]
}

fn judged() -> impl Strategy<Value = Event> {
    let lane = prop::sample::select(vec![Lane::Screen, Lane::Verify, Lane::Confirm]);
    let class = prop::sample::select(FailureClass::ALL.to_vec());
    let result = prop_oneof![2 => ratio().prop_map(Ok), 1 => class.prop_map(Err)];
    (0..60u64, lane, result, 0..9u8).prop_map(|(proposal, lane, result, object)| Event::Judged {
        proposal: Seq(proposal),
        evidence: Box::new(evidence(
            lane,
            Some(Digest::of(&[object])),
            result.map(|ratio| performance(ratio, &[("w", ratio), ("v", 1.0 / ratio)])),
        )),
    })
}

fn event() -> impl Strategy<Value = Event> {
    let author = prop::sample::select(vec!["engine", "autotune", "user"]);
    let edited = (author, prop::collection::vec(edit(), 0..5))
        .prop_map(|(author, edits)| Event::TreeEdited { author: author.to_owned(), edits });
    let proposal = (0..12u32, 0..40u64, ratio()).prop_map(|(node, number, ratio)| {
        let mut proposed = proposed(NodeId(node), number, Some("skill/t0".to_owned()));
        proposed.prediction = Some(Prediction { ratio, low: 1.0, high: 2.0 });
        proposed.origin.parents = vec![Seq(number)];
        Event::Proposed(Box::new(proposed))
    });
    let why = prop::sample::select(vec!["source", "code_object", crate::STALE]);
    let repeated = (0..60u64, 0..60u64, why).prop_map(|(proposal, of, by)| Event::Deduplicated {
        proposal: Seq(proposal),
        of: Seq(of),
        by: by.to_owned(),
    });
    let promoted = (0..60u64, ratio()).prop_map(|(proposal, ratio)| Event::Promoted {
        proposal: Seq(proposal),
        confirmation: Seq(0),
        ratio,
        ci_low: 1.0,
        ci_high: 2.0,
    });
    let closed =
        ratio().prop_map(|seconds| Event::Closed { reason: "budget".to_owned(), wall_seconds: seconds });
    prop_oneof![
        1 => Just(opened()),
        4 => edited,
        8 => proposal,
        2 => repeated,
        10 => judged(),
        1 => promoted,
        1 => closed,
    ]
}

/// Entries in any order and with any numbers: a foreign or damaged log.
fn absurd() -> impl Strategy<Value = Vec<Entry>> {
    prop::collection::vec((0..60u64, event()), 0..80).prop_map(|events| {
        let entry = |(seq, event)| Entry { seq: Seq(seq), time: String::new(), prev: Digest::ZERO, event };
        events.into_iter().map(entry).collect()
    })
}

/// Entries as a log numbers them.
fn history() -> impl Strategy<Value = Vec<Entry>> {
    prop::collection::vec(event(), 0..80).prop_map(|events| {
        let entry =
            |(seq, event)| Entry { seq: Seq(seq as u64), time: String::new(), prev: Digest::ZERO, event };
        events.into_iter().enumerate().map(entry).collect()
    })
}

fn fold(entries: &[Entry]) -> Tree {
    fold_for(Policy::default(), entries)
}

fn fold_for(policy: Policy, entries: &[Entry]) -> Tree {
    let select = SelectOptions { policy, ..SelectOptions::default() };
    let mut tree = Tree::new(PlannerOptions { select, ..PlannerOptions::default() });
    for entry in entries {
        tree.apply(entry);
    }
    tree
}

/// Every proposal has exactly one fate, and every node's sums agree with the attempts.
fn check_sums(tree: &Tree) {
    let counts = tree.counts();
    let fates = counts.pending + counts.deduplicated + counts.accepted + counts.inconclusive;
    assert_eq!(counts.proposed, fates + counts.rejected_total());
    assert_eq!(counts.proposed, tree.attempts().count() as u64);
    for node in tree.nodes() {
        let own: Vec<_> = tree.attempts().filter(|attempt| attempt.node == node.id).collect();
        assert_eq!(node.proposed as usize, own.len());
        assert_eq!(node.accepted as usize, own.iter().filter(|attempt| attempt.is_accepted()).count());
        let failed = own.iter().filter(|attempt| matches!(attempt.outcome, Outcome::Rejected { .. })).count();
        assert_eq!(node.conclusive_failures() as usize, failed);
        let best = own.iter().filter_map(|attempt| attempt.ratio()).reduce(f64::max);
        assert_eq!(node.best_ratio(), best);
    }
}

/// Everything that can be asked; none of it may panic.
fn ask_everything(tree: &Tree) {
    for node in tree.nodes() {
        tree.elites(node.id, 5);
        tree.failures(node.id, 5);
        tree.strategy(node.id, &tree.calibration());
        tree.workload_elites(node.id);
    }
    tree.node_briefs();
    tree.trials("skill/t0");
    tree.tried_genomes("skill/t0");
    tree.render(300);
    tree.contender(1.0);
    tree.stagnating();
    assert!(
        tree.attempts().filter_map(|attempt| tree.stale(attempt.seq, &[])).all(|stale| stale.ratio > 0.0)
    );
    tree.select_batch(4, 1);
}

proptest! {
    #[test]
    fn the_tree_is_a_fold_of_the_log(entries in history()) {
        let tree = fold(&entries);
        let lines: Vec<String> = entries.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
        let read: Result<Vec<Entry>, _> = lines.iter().map(|line| serde_json::from_str(line)).collect();
        // Numbers that JSON cannot say (NaN, infinity) are refused when the log is read, not folded differently.
        if let Ok(read) = read {
            prop_assert!(fold(&read) == tree);
        }
        check_sums(&tree);
    }

    #[test]
    fn any_prefix_can_be_gone_on_from(entries in history(), cut in 0..80usize) {
        let cut = cut.min(entries.len());
        let mut tree = fold(&entries[..cut]);
        let mut resumed = tree.clone();
        for entry in &entries[cut..] {
            tree.apply(entry);
            resumed.apply(entry);
        }
        prop_assert!(tree == resumed);
    }

    #[test]
    fn absurd_histories_never_panic(entries in absurd()) {
        let tree = fold(&entries);
        check_sums(&tree);
        ask_everything(&tree);
    }

    #[test]
    fn a_validated_script_applies_whole(entries in history(), edits in prop::collection::vec(edit(), 1..6)) {
        let mut tree = fold(&entries);
        let (nodes, warnings) = (tree.nodes().count(), tree.warnings().len());
        if tree.validate(&edits).is_ok() {
            let inserts = edits.iter().filter(|edit| matches!(edit, Edit::Insert { .. })).count();
            let event = Event::TreeEdited { author: "x".to_owned(), edits };
            tree.apply(&Entry { seq: Seq(99), time: String::new(), prev: Digest::ZERO, event });
            prop_assert_eq!(tree.nodes().count(), nodes + inserts);
            prop_assert_eq!(tree.warnings().len(), warnings);
        }
    }

    #[test]
    fn every_policy_is_deterministic_and_chooses_what_is_open(
        entries in absurd(),
        policy in prop::sample::select(Policy::ALL.to_vec()),
        ordinal in 0..9u64,
        seed in 0..9u64,
    ) {
        let tree = fold_for(policy, &entries);
        let chosen = tree.select(ordinal, seed);
        prop_assert_eq!(chosen, fold_for(policy, &entries).select(ordinal, seed));
        let open = tree.nodes().any(|node| node.kind != NodeKind::Root && node.status.is_open());
        prop_assert_eq!(chosen.is_some(), open);
        let batch = tree.select_batch(4, seed);
        prop_assert_eq!(batch.is_empty(), !open);
        for id in chosen.into_iter().chain(batch.iter().copied()) {
            prop_assert!(tree.node(id).is_some_and(|node| node.status.is_open()));
        }
        let related = |id: NodeId| tree.ancestors(id).any(|above| batch.contains(&above.id));
        prop_assert!(!batch.iter().any(|&id| related(id)), "lineage in {:?}", batch);
    }
}
