//! `kernsmith contract`, and what it says about mistakes.

use crate::support::{Place, SHIPPED, machine};

#[test]
fn all_shipped_contracts_are_listed_and_shown() {
    let place = Place::new();
    let listed = place.run(&["contract", "list"]).expect(0).stdout;
    for name in SHIPPED {
        assert!(listed.contains(name), "{name} is not in:\n{listed}");
        let shown = place.run(&["contract", "show", name, "--format", "json"]).expect(0).json();
        assert_eq!(shown["name"], name);
        assert!(shown["signature"].as_str().is_some_and(|text| text.contains("int64_t")));
    }
}

#[test]
fn a_new_contract_passes_its_own_check() {
    let place = Place::new();
    place.run(&["contract", "new", "gelu_f32"]).expect(0);
    place.run(&["contract", "new", "gelu_f32"]).expect(3).complains(&["exists already"]);
    let _machine = machine();
    place.run(&["contract", "check", "op-contracts/gelu_f32"]).expect(0);
}

#[test]
fn a_wrong_dtype_is_named_with_file_line_field_and_fix() {
    let place = Place::new();
    place.run(&["contract", "new", "wrong_f32"]).expect(0);
    let path = place.path("op-contracts/wrong_f32/contract.toml");
    let text = std::fs::read_to_string(&path).expect("the scaffold");
    let line = text.lines().position(|line| line.contains("\"f32\"")).expect("a dtype") + 1;
    std::fs::write(&path, text.replacen("\"f32\"", "\"f33\"", 1)).expect("written");
    place.run(&["contract", "check", "op-contracts/wrong_f32"]).expect(3).complains(&[
        "contract.toml",
        &format!(":{line}"),
        "dtype",
        "f33",
        "f32",
    ]);
}

#[test]
fn an_unknown_contract_suggests_the_nearest() {
    Place::new().run(&["search", "rmsnrom_f32"]).expect(3).complains(&["rmsnorm_f32"]);
}

#[test]
fn a_contract_that_zeros_pass_is_refused() {
    let place = Place::new();
    place.run(&["contract", "new", "weak_f32"]).expect(0);
    let path = place.path("op-contracts/weak_f32/contract.toml");
    let text = std::fs::read_to_string(&path).expect("the scaffold");
    let (before, after) = ("ulps = 16, rms_ulps = 4", "ulps = 1e9, rms_ulps = 1e9");
    assert!(text.contains(before), "{text}");
    std::fs::write(&path, text.replace(before, after)).expect("written");
    let _machine = machine();
    let said = place.run(&["contract", "check", "op-contracts/weak_f32"]).expect(3);
    assert!(said.stdout.contains("zeros") && said.stdout.contains("refused"), "{}", said.stdout);
}

/// Outputs that anybody can write without reading the input, or by copying it, are no operation to search a kernel for.
#[test]
fn contracts_that_zeros_a_constant_or_a_copied_input_pass_are_refused() {
    for (name, formula, word) in
        [("nought_f32", "0.0", "zeros"), ("three_f32", "3.0", "the mean"), ("copy_f32", "v", "a copy of `x`")]
    {
        let place = Place::new();
        place.run(&["contract", "new", name]).expect(0);
        let folder = format!("op-contracts/{name}");
        edit(&place, &format!("{folder}/reference.cpp"), "v / (1.0 + std::fabs(v))", formula);
        edit(&place, &format!("{folder}/reference.cpp"), "v < 0.0 ? -1.0 : 0.0", formula);
        edit(&place, &format!("{folder}/reference.cpp"), "v > 0.0 ? 1.0 : 0.0", formula);
        edit(&place, &format!("{folder}/scalar.cpp"), "v / (1.0F + std::fabs(v))", formula);
        let _machine = machine();
        let said = place.run(&["contract", "check", &folder]).expect(3);
        let finding =
            said.stdout.lines().find(|line| line.contains(word) && line.contains("passes every case"));
        assert!(finding.is_some() && said.stdout.contains("refused"), "{name}: {}", said.stdout);
    }
}

fn edit(place: &Place, file: &str, before: &str, after: &str) {
    let path = place.path(file);
    let text = std::fs::read_to_string(&path).expect("the scaffold");
    assert!(text.contains(before), "no `{before}` in {file}");
    std::fs::write(&path, text.replacen(before, after, 1)).expect("written");
}
