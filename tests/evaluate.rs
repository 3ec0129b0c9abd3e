//! `kernsmith evaluate`: verdicts, exit codes and the JSON object.

use crate::support::{Place, RMSNORM, Said, machine};

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

/// Inside the sandbox's own profile for tools nobody can make namespaces: a machine that reaches less.
#[test]
fn a_machine_that_confines_too_little_runs_nothing() {
    let place = Place::new();
    place.write("kernel.cpp", RMSNORM);
    let program = env!("CARGO_BIN_EXE_kernsmith");
    let policy = kernsmith_sandbox::Policy {
        namespaces: false,
        filesystem: false,
        environment: place
            .command()
            .get_envs()
            .filter_map(pair)
            .chain(std::env::var("PATH").map(|path| ("PATH".to_owned(), path)))
            .collect(),
        syscalls: Some(kernsmith_sandbox::Profile::Tool),
        ..kernsmith_sandbox::Policy::default()
    };
    let inside = |arguments: &[&str]| {
        let mut command = place.command();
        command.args(["__confine", &policy.to_json(), "--", program]).args(arguments);
        Said::of(&command.output().expect("the binary runs"))
    };
    let demand = ["--set", "harness.minimum_sandbox=namespaces"];
    for command in [&["evaluate", "rmsnorm_f32", "kernel.cpp"][..], &["search", "rmsnorm_f32"]] {
        let said = inside(&[command, &demand].concat()).expect(4);
        let said = said.complains(&["namespaces", "user-namespace", "harness.minimum_sandbox", "sysctl"]);
        assert!(said.stdout.is_empty(), "{}", said.stdout);
    }
    assert!(!place.path("experiment-log").exists(), "a search that was refused has begun a log");
    let doctor = inside(&[&["doctor", "--format", "json"], &demand[..]].concat()).expect(4).json();
    let sandbox =
        doctor["checks"].as_array().expect("checks").iter().find(|check| check["name"] == "sandbox");
    let found = sandbox.expect("a check").to_string();
    assert!(found.contains("level landlock (namespaces is demanded)"), "{found}");
    inside(&["doctor", "--set", "harness.minimum_sandbox=landlock"]).expect(0);
}

fn pair((name, value): (&std::ffi::OsStr, Option<&std::ffi::OsStr>)) -> Option<(String, String)> {
    Some((name.to_str()?.to_owned(), value?.to_str()?.to_owned()))
}

#[test]
fn warm_caches_are_marked_in_the_evidence() {
    let place = Place::new();
    let source = place.write("kernel.cpp", RMSNORM);
    let source = source.to_str().expect("utf-8");
    let _machine = machine();
    let arguments =
        ["evaluate", "rmsnorm_f32", source, "--format", "json", "--set", "harness.cold_cache=false"];
    let evidence = place.run(&arguments).expect(0).json();
    assert!(evidence["environment"]["weakened"].to_string().contains("cold_cache = false"), "{evidence}");
    let rows = evidence["performance"]["workloads"].as_array().expect("workloads");
    // The other shape alone is larger than any cache.
    let small = rows.iter().find(|row| row["workload"] == "decode_64x7168").expect("a workload");
    assert_eq!(small["cold"], false, "{evidence}");
}
