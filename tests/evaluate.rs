//! `kernsmith evaluate`: verdicts, exit codes and the JSON object.

use crate::support::{Place, RMSNORM, machine};

#[test]
fn an_honest_kernel_is_accepted_with_numbers() {
    let place = Place::new();
    let source = place.write("kernel.cpp", RMSNORM);
    let _machine = machine();
    let said =
        place.run(&["evaluate", "rmsnorm_f32", source.to_str().unwrap(), "--format", "json"]).expect(0);
    let json = said.json();
    assert_eq!(json["verdict"], "accepted");
    assert!(json["failure"].is_null());
    for field in ["median_us", "baseline_us", "ratio", "ci_low", "ci_high"] {
        assert!(json["performance"][field].as_f64().is_some_and(|value| value > 0.0), "{field} in {json}");
    }
    assert!(json["performance"]["sol_score"].as_f64().is_some_and(|score| (0.0..=1.0).contains(&score)));
}

#[test]
fn a_source_that_does_not_compile_is_rejected_with_the_first_error() {
    let place = Place::new();
    let source = place.write("kernel.cpp", "extern \"C\" void kernel() { return 1 +; }\n");
    let said =
        place.run(&["evaluate", "rmsnorm_f32", source.to_str().unwrap(), "--format", "json"]).expect(1);
    let json = said.json();
    assert_eq!(json["verdict"], "rejected");
    assert_eq!(json["failure"]["class"], "compile_error");
    assert_eq!(json["failure"]["gate"], "build");
    assert!(json["performance"].is_null());
    assert!(
        json["failure"]["detail"].as_str().is_some_and(|detail| detail.contains("kernel.cpp:1:38")),
        "{json}"
    );
}

#[test]
fn an_unknown_axis_in_a_plan_is_named_with_its_field() {
    let place = Place::new();
    let source = place.write("kernel.cpp", RMSNORM);
    let plan = place.write("plan.toml", "[[launch]]\nsymbol = \"kernel\"\nwhen = \"depth > 1\"\n");
    place
        .run(&["evaluate", "rmsnorm_f32", source.to_str().unwrap(), "--plan", plan.to_str().unwrap()])
        .expect(3)
        .complains(&["plan.toml", "launch[0].when", "depth", "rows, cols"]);
    let plan = place.write("plan.toml", "threads = 1\nthraeds = 2\n");
    place
        .run(&["evaluate", "rmsnorm_f32", source.to_str().unwrap(), "--plan", plan.to_str().unwrap()])
        .expect(3)
        .complains(&["plan.toml:2", "thraeds"]);
}

#[test]
fn a_missing_compiler_and_a_missing_source_have_their_own_codes() {
    let place = Place::new();
    let source = place.write("kernel.cpp", RMSNORM);
    place
        .run(&["evaluate", "rmsnorm_f32", source.to_str().unwrap(), "--compiler", "/nowhere/g++"])
        .expect(4)
        .complains(&["/nowhere/g++"]);
    place.run(&["evaluate", "rmsnorm_f32", "nothing.cpp"]).expect(2).complains(&["nothing.cpp"]);
    place
        .run(&["evaluate", "rmsnorm_f32", "nothing.cpp", "--target", "tpu-1"])
        .expect(2)
        .complains(&["tpu-1"]);
}
