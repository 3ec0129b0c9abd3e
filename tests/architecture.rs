//! The house's invariants (crates/README.md), read off manifests and sources.
//!
//! Every check is a pure function of a [`House`], so each one is also shown to fail on a house that breaks its rule.

mod checks;
mod house;
mod lexer;

use checks::{CHECKS, Check};
use house::{House, Package};

#[test]
fn the_house_is_in_order() {
    let house = House::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(house.packages.len() > 10, "only {} crates were found", house.packages.len());
    let problems: Vec<String> = CHECKS
        .iter()
        .flat_map(|(name, check)| check(&house).into_iter().map(move |problem| format!("{name}: {problem}")))
        .collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// A small house without fault.
fn model() -> House {
    let package = |name: &str, layer: &str, dependencies: &[&str]| {
        let sentence = format!("About {name}.");
        let source = format!("//! {sentence}\n\nfn nothing() {{}}\n");
        let root = format!("crates/{name}/src/lib.rs");
        let row = format!("| `{name}` | {layer} | {sentence} |\n");
        (Package::new(name, &sentence, dependencies).with_source(&root, &source), row)
    };
    let (packages, rows): (Vec<Package>, Vec<String>) = [
        package("core", "L0", &["serde"]),
        package("sandbox", "L0", &["landlock"]),
        package("op-contract", "L1", &["kernsmith-core"]),
        package("planner", "L1", &["kernsmith-core", "petgraph"]),
        package("harness", "L3", &["kernsmith-core", "kernsmith-sandbox"]),
    ]
    .into_iter()
    .unzip();
    House { packages, readme: rows.concat(), top_level: checks::TOP_LEVEL.map(str::to_owned).to_vec() }
}

/// Names of the checks that find something.
fn complaints(house: &House) -> Vec<&'static str> {
    let complains = |(_, check): &&(&'static str, Check)| !check(house).is_empty();
    CHECKS.iter().filter(complains).map(|(name, _)| *name).collect()
}

fn with_line(package: &str, line: &str) -> House {
    let mut house = model();
    let sources = &mut house.package_mut(package).sources;
    sources[0].text.push_str(line);
    house
}

fn with_dependency(package: &str, dependency: &str) -> House {
    let mut house = model();
    house.package_mut(package).dependencies.push(dependency.to_owned());
    house
}

#[test]
fn a_house_in_order_is_not_blamed() {
    assert_eq!(complaints(&model()), Vec::<&str>::new());
}

#[test]
fn a_forbidden_edge_is_seen() {
    assert_eq!(complaints(&with_dependency("core", "kernsmith-harness")), ["layers"]);
    assert_eq!(complaints(&with_dependency("op-contract", "kernsmith-planner")), ["layers"], "same layer");
    assert_eq!(complaints(&with_dependency("harness", "kernsmith")), ["layers"], "the binary is on top");
    let mut house = model();
    house.package_mut("core").dev_dependencies.push("kernsmith-harness".to_owned());
    assert_eq!(complaints(&house), ["layers"], "tests do not look up either");
    house = model();
    house
        .packages
        .push(Package::new("attic", "About attic.", &[]).with_source("attic/src/lib.rs", "//! About attic."));
    house.readme.push_str("| `attic` | L1 | About attic. |\n");
    assert_eq!(complaints(&house), ["layers"], "a crate that no layer names");
}

#[test]
fn a_heavy_crate_in_foreign_hands_is_seen() {
    assert_eq!(complaints(&with_dependency("harness", "petgraph")), ["owners"]);
    assert_eq!(complaints(&with_dependency("op-contract", "indicatif")), ["owners"]);
}

#[test]
fn unsafe_outside_its_rooms_or_without_a_reason_is_seen() {
    assert_eq!(complaints(&with_line("core", "fn f() { unsafe { g() } }\n")), ["unsafe"]);
    assert_eq!(complaints(&with_line("sandbox", "fn f() { unsafe { g() } }\n")), ["unsafe"]);
    let reasoned = "// SAFETY: `g` has no conditions.\nfn f() { unsafe { g() } }\n";
    assert!(complaints(&with_line("sandbox", reasoned)).is_empty());
    assert!(complaints(&with_line("core", "// unsafe { }\nconst A: &str = \"unsafe { }\";\n")).is_empty());
}

#[test]
fn a_data_directory_in_foreign_hands_is_seen() {
    assert_eq!(
        complaints(&with_line("harness", "const D: &str = \"op-contracts/x\";\n")),
        ["data directories"]
    );
    assert!(complaints(&with_line("op-contract", "const D: &str = \"op-contracts\";\n")).is_empty());
    assert!(
        complaints(&with_line("harness", "const D: &str = \"see op-contracts/ for more\";\n")).is_empty()
    );
}

#[test]
fn input_output_clocks_and_dice_in_a_pure_crate_are_seen() {
    for line in [
        "use std::fs;\n",
        "use std::{fmt, fs::File};\n",
        "use std::time::{Duration, Instant};\n",
        "fn f() { std::net::TcpStream::connect(a); }\n",
        "fn f() { rand::rng(); }\n",
        "fn f() { std::env::var(a); }\n",
    ] {
        assert!(complaints(&with_line("planner", line)).contains(&"purity"), "{line}");
    }
    assert!(complaints(&with_line("planner", "use std::{fmt, mem};\n// std::fs\n")).is_empty());
    assert!(complaints(&with_line("planner", "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n")).is_empty());
    assert_eq!(complaints(&with_line("harness", "use std::net::TcpListener;\n")), ["network"]);
}

#[test]
fn an_allowed_lint_and_a_long_file_are_seen() {
    assert_eq!(complaints(&with_line("core", "#[allow(dead_code)]\nfn f() {}\n")), ["allow"]);
    assert_eq!(complaints(&with_line("core", "#![allow(dead_code)]\n")), ["allow"]);
    assert_eq!(complaints(&with_line("core", &"\n".repeat(500))), ["file length"]);
}

#[test]
fn three_sentences_that_differ_are_seen() {
    let mut house = model();
    house.package_mut("core").description.push_str(" And more.");
    assert_eq!(complaints(&house), ["sentences"]);
    let mut house = model();
    house.readme = house.readme.replace("About core.", "About something else.");
    assert_eq!(complaints(&house), ["sentences"]);
    let mut house = model();
    house.readme = house.readme.replace("| `core` | L0 |", "| `core` | L2 |");
    assert_eq!(complaints(&house), ["sentences"], "the layer stands in the same row");
}

#[test]
fn a_missing_and_a_new_top_level_entry_are_seen() {
    let mut house = model();
    house.top_level.retain(|entry| entry != "skills");
    assert_eq!(complaints(&house), ["top level"]);
    house = model();
    house.top_level.push("misc".to_owned());
    assert_eq!(complaints(&house), ["top level"]);
}
