//! `kernsmith isa` and `kernsmith skill` from outside, and a rule that refuses a candidate before it is built.

use std::path::Path;

use kernsmith_core::{Bindings, Language, Plan, Target};
use kernsmith_isa_corpus::{Inspection, Rules, default_root};

use crate::support::{Place, RMSNORM, machine};

/// The corpus of the repository, copied to where it can be spoiled.
fn copy(place: &Place) -> String {
    let to = place.path("corpus");
    copy_folder(&default_root().expect("the corpus"), &to);
    to.display().to_string()
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

fn spoil(corpus: &str, file: &str, from: &str, to: &str) {
    let path = Path::new(corpus).join(file);
    let text = std::fs::read_to_string(&path).expect("a file");
    assert!(text.contains(from), "{from} is not in {file}");
    std::fs::write(path, text.replacen(from, to, 1)).expect("written");
}

#[test]
fn topics_search_and_show_answer_for_people_and_programs() {
    let place = Place::new();
    let topics = place.run(&["isa", "topics", "--target", "hip-gfx942", "--format", "json"]).expect(0).json();
    assert!(topics["topics"].as_array().is_some_and(|topics| topics.len() >= 8), "{topics}");
    let words = ["isa", "search", "shared", "memory", "of", "a", "block", "--target", "cuda-sm_90a"];
    let said = place.run(&[&words[..], &["--format", "json", "--budget", "400"]].concat()).expect(0).json();
    assert_eq!(said["pieces"][0]["id"], "sm_90a#shared-memory");
    assert!(said["bytes"].as_u64().is_some_and(|bytes| bytes <= 1600), "{said}");
    assert_eq!(place.run(&words).expect(0).stdout, place.run(&words).expect(0).stdout);
    place.run(&["isa", "search", "zzzz"]).expect(1);
    let fact = place.run(&["isa", "show", "sm_90a.shared_memory.banks"]).expect(0).stdout;
    assert!(fact.contains("[UNVERIFIED]"), "{fact}");
    let rule = place.run(&["isa", "show", "sm_90a.wgmma-n", "--format", "json"]).expect(0).json();
    assert_eq!(rule["kind"], "rule");
    place.run(&["isa", "show", "sm_90a.shared_memory.blok"]).expect(3).complains(&["sm_90a.shared_memory"]);
    place.run(&["isa", "topics", "--target", "gfx942"]).expect(2);
}

#[test]
fn the_check_passes_and_names_what_was_spoiled() {
    let place = Place::new();
    let said = place.run(&["isa", "check", "--format", "json"]).expect(0).json();
    assert_eq!(said["usable"], true);
    let corpus = copy(&place);
    let check = |expected: i32| place.run(&["isa", "check", &corpus]).expect(expected);
    spoil(&corpus, "chapters/sm_90a.md", "| 232448 | bytes |", "| 300000 | bytes |");
    assert!(check(3).stdout.contains("chapters/sm_90a.md is not the file"), "a digest");
    place.run(&["isa", "check", &corpus, "--write"]).expect(3);
    assert!(check(3).stdout.contains("sm_90a.shared-memory.toml"), "the example of the rule");
    spoil(&corpus, "chapters/sm_90a.md", "| 300000 | bytes |", "| 232448 | bytes |");
    place.run(&["isa", "check", &corpus, "--write"]).expect(0);
    spoil(&corpus, "chapters/gfx950.md", "gfx950.xcds | 8", "gfx950.other | 7");
    let row = "| gfx950.again | xcds | 9 | | dies | unverified | - |";
    let table = format!(
        "\n## Again\n\n| id | key | value | unit | fact | confidence | source |\n|---|---|---|---|---|---|---|\n{row}\n{}\n",
        row.replace("again", "twice").replace("| 9 |", "| 8 |")
    );
    let path = Path::new(&corpus).join("chapters/gfx950.md");
    let text = std::fs::read_to_string(&path).expect("a chapter");
    std::fs::write(&path, text + &table).expect("written");
    place
        .run(&["isa", "check", &corpus])
        .expect(3)
        .complains(&["conflict: `xcds` of hip-gfx950 is 8 here and 9"]);
}

#[test]
fn an_import_is_found_by_search_and_show() {
    let place = Place::new();
    let xml = "<Spec><Document><ReleaseDate>2025-09-05</ReleaseDate><SchemaVersion>1.1.0</SchemaVersion></Document><ISA>\
        <Architecture><ArchitectureName>AMD CDNA 4</ArchitectureName></Architecture><Instructions><Instruction>\
        <InstructionName>V_SAMPLE_TWIST</InstructionName><Description>Twists sample lanes.</Description>\
        </Instruction></Instructions></ISA></Spec>";
    let file = place.write("sample.xml", xml).display().to_string();
    let cache = format!("paths.cache={}", place.path("cache").display());
    let run = |words: &[&str]| place.run(&[words, &["--set", &cache]].concat());
    let said = run(&["isa", "import", &file, "--format", "json"]).expect(0).json();
    assert_eq!((said["target"].as_str(), said["instructions"].as_u64()), (Some("hip-gfx950"), Some(1)));
    let found = run(&["isa", "search", "twist", "--target", "hip-gfx950"]).expect(0).stdout;
    assert!(found.contains("V_SAMPLE_TWIST") && found.contains("[imported:"), "{found}");
    run(&["isa", "show", "v_sample_twist"]).expect(0);
    let wrong = place.write("wrong.xml", "<html></html>").display().to_string();
    run(&["isa", "import", &wrong]).expect(3).complains(&["not `Spec`"]);
}

#[test]
fn a_candidate_that_breaks_a_rule_is_refused_with_the_rules_id_before_a_build() {
    let place = Place::new();
    let _machine = machine();
    let source = RMSNORM.replace("float sum = 0.0f;", "float sum = 0.0f; _tile_zero(0);");
    let kernel = place.write("kernel.cpp", &source).display().to_string();
    let said = place.run(&["evaluate", "rmsnorm_f32", &kernel, "--format", "json"]).expect(1).json();
    let failure = &said["failure"];
    assert_eq!(
        (failure["gate"].as_str(), failure["class"].as_str()),
        (Some("admit"), Some("rule_broken")),
        "{said}"
    );
    assert!(
        failure["detail"].as_str().is_some_and(|detail| detail.starts_with("x86.amx-not-permitted: ")),
        "{said}"
    );
}

#[test]
fn no_honest_kernel_of_the_repository_breaks_a_rule() {
    let rules = Rules::open(&default_root().expect("the corpus")).expect("rules");
    let target: Target = "cpu-x86_64".parse().expect("a target");
    let features: std::collections::BTreeSet<String> =
        ["avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl"]
            .map(str::to_owned)
            .into();
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kernels");
    let mut looked_at = 0;
    for contract in std::fs::read_dir(kernels).expect("fixtures").flatten() {
        for kernel in std::fs::read_dir(contract.path().join("honest")).expect("honest kernels").flatten() {
            let source = std::fs::read_to_string(kernel.path()).expect("a source");
            let plan = Plan::default();
            let checked = rules.check(&Inspection {
                target: &target,
                language: Language::Cpp,
                source: &source,
                plan: &plan,
                features: Some(&features),
                numbers: Bindings::new(),
            });
            assert!(checked.violations.is_empty(), "{}: {:?}", kernel.path().display(), checked.violations);
            looked_at += 1;
        }
    }
    assert!(looked_at > 20, "{looked_at}");
}

#[test]
fn skills_are_listed_by_what_they_serve_shown_and_checked() {
    let place = Place::new();
    let listed = place.run(&["skill", "list", "--contract", "gemm_f32", "--format", "json"]).expect(0).json();
    assert_eq!(listed["matches"][0]["name"], "cpu-gemm");
    place.run(&["skill", "list", "--contract", "gemm_f32", "--target", "cuda-sm_90a"]).expect(1);
    assert!(place.run(&["skill", "list", "--axis", "mr"]).expect(0).stdout.contains("packed_avx512"));
    assert!(place.run(&["skill", "show", "cpu-gemm"]).expect(0).stdout.contains("Register tile"));
    place.run(&["skill", "show", "cpu-gem"]).expect(3).complains(&["cpu-gemm"]);
    place.write("mine/row-notes/SKILL.md", "---\nname: row-notes\ndescription: Notes on rows.\n---\nBody\n");
    place.run(&["skill", "check", "mine"]).expect(0);
    place.write("mine/row-notes/SKILL.md", "---\nname: other\ndescription: Notes on rows.\n---\nBody\n");
    place.run(&["skill", "check", "mine"]).expect(3).complains(&["SKILL.md:2: name", "row-notes"]);
}
