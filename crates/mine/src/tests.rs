//! The rules, on small histories.

use kernsmith_core::{Digest, FailureClass, GeneValue};
use proptest::prelude::*;

use crate::testing::{Out, Story, TEMPLATE, archive, genome, key_of, scope};
use crate::{DeadEndKind, Domain, Memory, calibration, dead_ends, facts, frontier, frontier_csv};

const WRONG: Out = Out::Fails(FailureClass::WrongResult);
const ACCIDENT: Out = Out::Fails(FailureClass::Infrastructure);

/// `a = 1` fails whatever `b` is, `a = 2` works and is faster with a larger `b`.
fn told(name: &str) -> Story {
    let mut story = Story::new(name, "gcc");
    for b in 1..=4 {
        story.attempt(&[("a", 1), ("b", b)], WRONG);
        story.attempt(&[("a", 2), ("b", b)], Out::Runs(b as f64));
    }
    story
}

#[test]
fn a_gene_value_that_never_passes_is_a_dead_end_with_its_evidence() {
    let found = dead_ends(&archive(&[&told("one")]));
    assert_eq!(found.len(), 1, "{found:?}");
    let dead = &found[0];
    assert_eq!((dead.subject.to_string().as_str(), dead.kind), ("skill/fused a=1", DeadEndKind::NeverPasses));
    assert_eq!(dead.evidence, ["one#10", "one#14", "one#2", "one#6"]);
    assert_eq!(dead.classes["wrong_result"], 4);
    assert!(dead.chance < 0.01, "{}", dead.chance);
}

#[test]
fn two_attempts_are_not_enough_and_neither_are_repeats_or_accidents() {
    let mut story = Story::new("one", "gcc");
    story.attempt(&[("a", 1)], WRONG);
    story.attempt(&[("a", 1)], WRONG);
    story.attempt(&[("a", 2)], WRONG);
    for a in 3..9 {
        story.attempt(&[("a", a)], ACCIDENT);
        story.attempt(&[("b", a)], Out::Fails(FailureClass::NotConfirmed));
    }
    assert!(dead_ends(&archive(&[&story])).is_empty());
    let mut other = Story::new("two", "gcc");
    other.attempt(&[("a", 1)], WRONG);
    assert!(
        dead_ends(&archive(&[&story, &other])).is_empty(),
        "the same candidate in another run is no third"
    );
    other.attempt(&[("a", 9)], WRONG);
    let found = dead_ends(&archive(&[&story, &other]));
    assert_eq!(found[0].attempts, 3);
    assert_eq!(found[0].subject.to_string(), TEMPLATE, "the whole template, over two runs");
}

#[test]
fn one_pass_or_an_unclear_timing_keeps_a_choice_alive() {
    let slow = |last| {
        let mut story = Story::new("one", "gcc");
        for b in 1..=3 {
            story.attempt(&[("a", 1), ("b", b)], Out::Runs(0.5));
        }
        story.attempt(&[("a", 1), ("b", 4)], Out::Runs(last));
        dead_ends(&archive(&[&story]))
    };
    let found = slow(0.9);
    assert_eq!((found[0].kind, found[0].best_ratio), (DeadEndKind::NeverFaster, Some(0.9)));
    assert!(slow(0.99).is_empty(), "the interval of 0.99 reaches above 1");
    assert!(slow(1.5).is_empty());
}

#[test]
fn another_toolchain_is_another_scope() {
    let mut one = Story::new("one", "gcc");
    let mut two = Story::new("two", "clang");
    one.attempt(&[("a", 1)], WRONG);
    one.attempt(&[("a", 2)], WRONG);
    two.attempt(&[("a", 3)], WRONG);
    let archive = archive(&[&one, &two]);
    assert_eq!(archive.scopes.len(), 2);
    assert!(dead_ends(&archive).is_empty());
}

#[test]
fn a_fork_counts_nothing_twice() {
    let one = told("one");
    let mut fork = one.fork("two");
    fork.attempt(&[("a", 2), ("b", 9)], Out::Runs(9.0));
    let archive = archive(&[&one, &fork]);
    assert_eq!(archive.attempts.len(), 9);
    let proposer = calibration(&archive).into_iter().find(|row| row.kind == "proposer").unwrap();
    assert_eq!((proposer.pairs, proposer.runs), (5, 2));
}

#[test]
fn a_fact_compares_what_differs_in_one_gene_only() {
    let mut one = told("one");
    let mut two = told("two");
    for story in [&mut one, &mut two] {
        for b in 1..=4 {
            story.attempt(&[("a", 3), ("b", b)], Out::Runs(2.0 * b as f64));
        }
    }
    let found = facts(&archive(&[&one, &two]));
    let fact = found.iter().find(|fact| fact.gene == "a").unwrap();
    assert_eq!((&fact.value, &fact.against), (&GeneValue::Int(3), &GeneValue::Int(2)));
    assert!((fact.ratio - 2.0).abs() < 1e-9 && fact.certain, "{fact:?}");
    assert_eq!((fact.pairs, fact.attempts, fact.runs), (8, 16, 2));
    let b = found.iter().find(|fact| fact.gene == "b" && fact.against == GeneValue::Int(1)).unwrap();
    assert!(b.ratio > 1.0);
}

#[test]
fn the_frontier_names_what_nobody_tried() {
    let values = [1, 2, 3].map(GeneValue::Int).to_vec();
    let domain = Domain { template: TEMPLATE.to_owned(), gene: "a".to_owned(), values };
    let rows = frontier(&archive(&[&told("one")]), &[domain]);
    let row = |value| rows.iter().find(|row| row.gene == "a" && row.value == GeneValue::Int(value)).unwrap();
    assert_eq!((row(1).tried, row(1).failed, row(1).best_ratio), (4, 4, None));
    assert_eq!((row(2).tried, row(2).passed, row(2).best_ratio), (4, 4, Some(4.0)));
    assert_eq!(row(3).tried, 0);
    let csv = frontier_csv(&rows);
    assert!(csv.contains("\nrmsnorm_f32@1,cpu-x86_64,skill/fused,a,2,4,4,0,0,4,one#16,1,0\n"), "{csv}");
    assert!(csv.contains(",a,3,0,0,0,0,,,0,0\n"), "{csv}");
}

#[test]
fn calibration_says_how_far_off_predictions_were() {
    let mut story = Story::new("one", "gcc");
    story.attempt(&[("a", 1)], Out::Runs(1.0));
    story.attempt(&[("a", 2)], Out::Runs(8.0));
    let rows = calibration(&archive(&[&story]));
    let find = |kind: &str| rows.iter().find(|row| row.kind == kind).unwrap();
    let family = find("family");
    assert!((family.bias - 2.0_f64.ln()).abs() < 1e-9 && (family.coverage - 1.0).abs() < 1e-9, "{family:?}");
    let proposer = find("proposer");
    assert!((proposer.bias - 0.5 * 2.0_f64.ln()).abs() < 1e-9, "{proposer:?}");
    assert!((proposer.mean_abs_log_error - 1.5 * 2.0_f64.ln()).abs() < 1e-9);
    assert!((proposer.coverage - 0.5).abs() < 1e-9);
    assert_eq!(find("axis").name, "vector=avx2");
}

#[test]
fn a_memory_survives_its_file_and_a_newer_or_broken_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&[&told("one")]);
    let memory = Memory::of(&archive);
    let [path, csv] = memory.write(folder.path(), &frontier(&archive, &[])).unwrap();
    assert_eq!(Memory::read(&path).unwrap(), memory);
    assert_eq!(Memory::read(folder.path()).unwrap(), memory);
    assert!(std::fs::read_to_string(csv).unwrap().starts_with("contract,target,"));
    std::fs::write(&path, "{\"format\": 2, \"runs\": [], \"news\": 1}").unwrap();
    assert!(Memory::read(&path).unwrap_err().to_string().contains("format 2"));
    std::fs::write(&path, "{\"format\": 1, \"runs\": 3}").unwrap();
    assert!(Memory::read(&path).unwrap_err().to_string().contains("line 1"));
}

#[test]
fn guidance_refuses_what_failed_and_predicts_from_what_passed() {
    let memory = Memory::of(&archive(&[&told("one"), &told("two")]));
    let guidance = memory.guidance(&scope("gcc"));
    let failed = genome(&[("a", 1), ("b", 2)]);
    assert!(guidance.refuses(TEMPLATE, &failed).unwrap().contains("wrong_result, see one#6"));
    let untried = genome(&[("a", 1), ("b", 77)]);
    assert!(guidance.refuses(TEMPLATE, &untried).unwrap().contains("dead end"));
    assert_eq!(guidance.refuses(TEMPLATE, &genome(&[("a", 2), ("b", 77)])), None);
    assert_eq!(guidance.refuses("skill/other", &failed), None);
    assert_eq!(guidance.failed_genomes(TEMPLATE).count(), 4);
    assert_eq!(guidance.known(&key_of(TEMPLATE, &genome(&[("a", 2), ("b", 3)]))).unwrap().ratio, Some(3.0));
    let ratio = |fixed: &[(&str, i64)]| guidance.predict(TEMPLATE, &genome(fixed)).unwrap().ratio;
    assert!((ratio(&[]) - 4.0).abs() < 1e-9);
    assert!((ratio(&[("a", 2), ("b", 3)]) - 3.0).abs() < 1e-9, "the lowest of the priors counts");
    assert_eq!(guidance.predict("skill/other", &genome(&[])), None);
}

#[test]
fn what_was_learned_elsewhere_has_expired() {
    let memory = Memory::of(&archive(&[&told("one")]));
    let later = memory.guidance(&scope("clang"));
    assert!(later.dead_ends.is_empty() && later.settled.is_empty());
    assert_eq!(later.expired.len(), 1);
    assert!(
        later.expired[0].contains("1 dead ends and 8 outcomes")
            && later.expired[0].contains("another toolchain")
    );
    let mut version = scope("gcc");
    version.contract = "rmsnorm_f32@2".to_owned();
    assert!(memory.guidance(&version).expired[0].contains("another contract version"));
    let mut unrelated = scope("gcc");
    unrelated.contract = "gelu_f32@1".to_owned();
    assert!(memory.guidance(&unrelated).expired.is_empty());
}

#[test]
fn a_template_that_has_changed_takes_its_dead_ends_with_it() {
    let memory = Memory::of(&archive(&[&told("one")]));
    let mut guidance = memory.guidance(&scope("gcc"));
    guidance.check_templates(|template, genome| Some(key_of(template, genome)));
    assert_eq!((guidance.dead_ends.len(), guidance.expired.len()), (1, 0));
    guidance.check_templates(|_, genome| Some(Digest::of(format!("new {genome:?}").as_bytes())));
    assert!(guidance.dead_ends.is_empty());
    assert_eq!(guidance.refuses(TEMPLATE, &genome(&[("a", 1), ("b", 1)])), None);
    assert!(guidance.expired[0].contains("templates have changed"));
}

proptest! {
    /// A dead end never covers anything that passed at baseline speed, never rests on fewer than three candidates, and its evidence exists.
    #[test]
    fn no_dead_end_without_evidence(plan in prop::collection::vec((0_u8..3, 0_i64..4, 0_i64..4, 0_u8..4), 1..60)) {
        let mut stories = [0, 1, 2].map(|number| Story::new(&format!("run-{number}"), "gcc"));
        for (run, a, b, out) in plan {
            let out = [WRONG, ACCIDENT, Out::Runs(0.5), Out::Runs(2.0)][out as usize];
            stories[run as usize].attempt(&[("a", a), ("b", b)], out);
        }
        let archive = archive(&stories.iter().collect::<Vec<_>>());
        for dead_end in dead_ends(&archive) {
            prop_assert!(dead_end.evidence.len() >= 3);
            let mut keys = std::collections::BTreeSet::new();
            for attempt in &archive.attempts {
                let covered = dead_end.subject.covers(TEMPLATE, &attempt.genome);
                prop_assert!(!covered || attempt.ratio().is_none_or(|ratio| ratio < 1.0));
                if dead_end.evidence.contains(&attempt.at()) {
                    prop_assert!(covered && attempt.known != crate::Known::Nothing);
                    keys.insert(attempt.key);
                }
            }
            prop_assert_eq!(keys.len(), dead_end.evidence.len());
        }
        let memory = Memory::of(&archive);
        let text = serde_json::to_string(&memory).unwrap();
        prop_assert_eq!(serde_json::from_str::<Memory>(&text).unwrap(), memory);
    }
}
