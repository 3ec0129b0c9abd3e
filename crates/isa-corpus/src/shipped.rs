//! Tests on the corpus of the repository.

use std::path::Path;
use std::sync::Arc;

use kernsmith_core::{Bindings, Language, Plan, Target};

use crate::{Confidence, Corpus, Inspection, Packet, PieceKind, Query, Search, Severity};

fn corpus() -> Corpus {
    Corpus::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../isa-corpus")).unwrap()
}

fn ask(search: &Search, words: &str, target: &str, budget_bytes: usize) -> Packet {
    let target: Target = target.parse().unwrap();
    search.packet(&Query { words, target: Some(&target), budget_bytes }).unwrap()
}

#[test]
fn the_corpus_of_the_repository_is_without_error() {
    let mut corpus = corpus();
    if std::env::var_os("KERNSMITH_BLESS").is_some() {
        std::fs::write(corpus.root.join("manifest.json"), corpus.fresh_manifest()).unwrap();
        corpus = Corpus::open(&corpus.root).unwrap();
    }
    let findings = corpus.check().unwrap();
    let errors: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    for target in &corpus.targets {
        let facts = corpus.facts().filter(|fact| fact.holds_for(&target.target)).count();
        let rules = corpus.rules.of_target(&target.target).count();
        assert!(facts >= 30 && rules >= 8, "{}: {facts} facts, {rules} rules", target.target);
    }
}

#[test]
fn realistic_questions_find_the_section_that_answers_them() {
    let search = Search::new(Arc::new(corpus()), Vec::new()).unwrap();
    let questions = [
        ("how much shared memory can a block use", "cuda-sm_90a", "sm_90a#shared-memory"),
        ("legal wgmma shapes for fp8", "cuda-sm_90a", "sm_90a#wgmma-shapes-and-types"),
        ("tma box size and alignment limits", "cuda-sm_90a", "sm_90a#tma-and-bulk-copies"),
        ("setmaxnreg producer consumer registers", "cuda-sm_90a", "sm_90a#register-reallocation"),
        ("mfma cycles 16x16x32 fp8", "hip-gfx942", "gfx942#mfma-instructions-and-cycles"),
        ("vgpr occupancy waves per simd", "hip-gfx942", "gfx942#registers-and-occupancy"),
        ("fp8 fnuz or ocp", "hip-gfx950", "gfx950#fp8-variant"),
        ("mxfp4 scale format e8m0 cbsz blgp", "hip-gfx950", "gfx950#block-scaled-formats-fp8-fp6-and-fp4"),
        ("tail of a row with avx512 masks", "cpu-x86_64", "x86#masks-and-tails"),
        ("fma latency and division throughput", "cpu-x86_64", "x86#latency-and-throughput"),
        ("non-temporal stores alignment", "cpu-x86_64", "x86#memory-and-stores"),
        ("lds bank conflicts swizzle", "hip-gfx950", "gfx950#lds"),
    ];
    for (words, target, expected) in questions {
        let packet = ask(&search, words, target, 6000);
        let first = packet.pieces.first().map(|piece| piece.id.clone());
        assert_eq!(first.as_deref(), Some(expected), "{words}: {:?}", ids(&packet));
        assert!(packet.bytes <= 6000 && packet.bytes == packet.to_text().len());
    }
}

fn ids(packet: &Packet) -> Vec<(&str, f64)> {
    packet.pieces.iter().map(|piece| (piece.id.as_str(), piece.score)).collect()
}

#[test]
fn a_small_budget_keeps_the_facts_that_were_asked_for() {
    let search = Search::new(Arc::new(corpus()), Vec::new()).unwrap();
    let packet = ask(&search, "shared memory of a block", "cuda-sm_90a", 500);
    assert!(packet.bytes <= 500, "{}", packet.bytes);
    assert!(
        packet.to_text().contains("sm_90a.shared_memory.block_max = 232448 bytes"),
        "{}",
        packet.to_text()
    );
    assert!(!packet.left_out.is_empty());
    assert_eq!(
        packet,
        ask(&search, "shared memory of a block", "cuda-sm_90a", 500),
        "equal questions, equal answers"
    );
    assert!(ask(&search, "the of", "cuda-sm_90a", 500).pieces.is_empty());
}

#[test]
fn unverified_facts_are_marked_in_every_packet() {
    let corpus = Arc::new(corpus());
    let search = Search::new(corpus.clone(), Vec::new()).unwrap();
    let mut shown = 0;
    for fact in corpus.facts().filter(|fact| fact.confidence == Confidence::Unverified) {
        let target = fact.targets[0].to_string();
        let text = ask(&search, &fact.statement, &target, 20_000).to_text();
        for line in text.lines().filter(|line| line.starts_with(&format!("- {} =", fact.id))) {
            assert!(line.contains("[UNVERIFIED]"), "{line}");
            shown += 1;
        }
    }
    assert!(shown >= 10, "{shown}");
}

#[test]
fn facts_of_another_target_stay_out() {
    let search = Search::new(Arc::new(corpus()), Vec::new()).unwrap();
    let packet = ask(&search, "lds bytes registers wave", "hip-gfx942", 8000);
    assert!(packet.pieces.iter().all(|piece| piece.id.starts_with("gfx942")), "{:?}", ids(&packet));
    assert!(packet.pieces.iter().any(|piece| piece.kind == PieceKind::Section));
}

#[test]
fn a_rule_that_needs_an_unknown_number_is_left_undecided() {
    let corpus = corpus();
    let target: Target = "cpu-x86_64".parse().unwrap();
    let plan = Plan { threads: Some(8), ..Plan::default() };
    let source = "#include <immintrin.h>\n// _mm512_add_ps is only mentioned\n__m512 x;";
    let mut inspected = Inspection {
        target: &target,
        language: Language::Cpp,
        source,
        plan: &plan,
        features: None,
        numbers: Bindings::new(),
    };
    let checked = corpus.rules.check(&inspected);
    assert!(checked.undecided.contains(&"x86.avx512f-missing".to_owned()), "{checked:?}");
    assert!(checked.undecided.contains(&"x86.threads-beyond-cores".to_owned()), "{checked:?}");
    assert!(checked.refusal().is_none());
    let features = ["avx2".to_owned()].into();
    inspected.features = Some(&features);
    inspected.numbers.insert("cores".to_owned(), 2);
    let checked = corpus.rules.check(&inspected);
    let refusal = checked.refusal().unwrap();
    assert_eq!((refusal.rule.as_str(), refusal.line), ("x86.avx512f-missing", Some(3)));
    assert!(refusal.to_string().contains("(line 3: `__m512`)"), "{refusal}");
    assert!(
        checked
            .violations
            .iter()
            .any(|v| v.rule == "x86.threads-beyond-cores" && v.message.contains("8 threads on 2 cores"))
    );
}
