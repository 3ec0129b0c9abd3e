//! `kernsmith rivals`: other people's kernels beside the frozen baseline, and what is said where they are missing.

use crate::support::{Place, RMSNORM, machine};

const CONTRACT: &str = "op-contracts/rmsnorm_f32";

/// The shipped contract with small bench shapes and three rivals: one that works, one that does not compile, one in Python.
fn with_rivals(place: &Place) {
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(CONTRACT);
    for file in std::fs::read_dir(shipped).expect("the contract").flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let mut text = std::fs::read_to_string(file.path()).expect("text");
        if name == "contract.toml" {
            for (rival, source) in [("plain", "plain.cpp"), ("broken", "broken.cpp"), ("snake", "rivals.py")]
            {
                let rival = format!(
                    "\n[[baseline]]\nname = \"{rival}\"\nsource = \"{source}\"\nplatform = \"cpu\"\nrole = \"rival\"\n"
                );
                text.push_str(&rival);
            }
        }
        place.write(&format!("mine/rmsnorm_f32/{name}"), &text);
    }
    place.write("mine/rmsnorm_f32/plain.cpp", RMSNORM);
    place.write("mine/rmsnorm_f32/broken.cpp", "extern \"C\" void kernel() { return 1 +; }\n");
    place.write("mine/rmsnorm_f32/rivals.py", "def snake(kit):\n    return None\n");
}

#[test]
fn rivals_are_timed_against_the_frozen_baseline_or_skipped_with_a_reason() {
    let place = Place::new();
    with_rivals(&place);
    let _machine = machine();
    let said = place
        .run(&["rivals", "rmsnorm_f32", "--target", "cpu", "--contracts", "mine", "--format", "json"])
        .expect(0);
    let json = said.json();
    let rival = |name: &str| {
        let rivals = json["rivals"].as_array().expect("rivals");
        rivals
            .iter()
            .find(|rival| rival["name"] == name)
            .unwrap_or_else(|| panic!("no {name} in {json}"))
            .clone()
    };
    assert!(rival("plain")["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{json}");
    assert!(rival("broken")["skipped"].as_str().is_some_and(|why| why.contains("compile_error")), "{json}");
    assert!(rival("snake")["skipped"].as_str().is_some_and(|why| why.contains("GPU only")), "{json}");
    assert!(json["baseline"]["performance"]["median_us"].as_f64().is_some_and(|time| time > 0.0), "{json}");
}
