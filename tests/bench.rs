//! `kernsmith bench` from outside: tables, plots, and the engine alone.

use std::fmt::Write;

use crate::support::Place;

/// A small recorded space of two parameters, in which the last configuration fails.
fn recorded() -> String {
    let mut rows = String::new();
    for (x, y) in (1..=6).flat_map(|x| (1..=4).map(move |y| (x, y))) {
        let time = 1.0 + 0.1 * f64::from((x - 4_i32).abs() + (y - 2_i32).abs());
        let word = if (x, y) == (6, 4) { "runtime" } else { "correct" };
        let comma = if rows.is_empty() { "" } else { "," };
        write!(
            rows,
            r#"{comma}{{"configuration": {{"x": {x}, "y": {y}}}, "invalidity": "{word}",
            "measurements": [{{"name": "time", "value": {time}, "unit": "ms"}}], "objectives": ["time"]}}"#
        )
        .expect("a string takes it");
    }
    format!(r#"{{"results": [{rows}]}}"#)
}

#[test]
fn a_recorded_space_is_searched_tabled_and_drawn() {
    let place = Place::new();
    place.write("grid.t4.json", &recorded());
    let arguments = ["bench", "planner", "grid.t4.json", "--seeds", "3", "--budgets", "5,24"];
    let drawn = [&arguments[..], &["--plot", "grid.svg", "--format", "json"]].concat();
    let report = place.run(&drawn).expect(0).json();
    let space = &report["recorded"]["spaces"][0];
    assert_eq!((space["configurations"].as_u64(), space["failing"].as_u64()), (Some(24), Some(1)));
    assert_eq!(space["mean"][1].as_f64(), Some(1.0), "a space searched to its end is solved");
    let svg = std::fs::read_to_string(place.path("grid.svg")).expect("the plot");
    assert!(svg.starts_with("<svg") && svg.contains("grid") && svg.contains("polyline"), "{svg}");
    let table = place.run(&[&arguments[..], &["--format", "csv"]].concat()).expect(0).stdout;
    assert_eq!(table.lines().count(), 5, "{table}");
    place
        .run(&[&arguments[..], &["--plot", "no/such/folder.svg"]].concat())
        .expect(3)
        .complains(&["cannot write"]);
}

#[test]
fn synthetic_landscapes_are_searched_and_drawn() {
    let place = Place::new();
    let arguments = ["bench", "planner", "--seeds", "2", "--evaluations", "12", "--plot", "regret.svg"];
    let said = place.run(&[&arguments[..], &["--policies", "world-model,random"]].concat()).expect(0);
    assert!(said.stdout.contains("world-model") && said.stdout.contains("adversarial"), "{}", said.stdout);
    let svg = std::fs::read_to_string(place.path("regret.svg")).expect("the plot");
    assert!(svg.starts_with("<svg") && svg.contains("world-model, good scores"), "{svg}");
}

#[test]
fn the_engine_alone_leaves_a_run_that_is_whole() {
    let place = Place::new();
    let arguments = ["bench", "engine", "--candidates", "200", "--source-bytes", "500", "--dir", "here"];
    let report = place.run(&[&arguments[..], &["--format", "json"]].concat()).expect(0).json();
    assert!(report["engine"]["cpu_ms_last_tenth"].as_f64().is_some_and(|time| time > 0.0), "{report}");
    place.run(&["log", "verify", "bench-engine", "--log-dir", "here"]).expect(0);
}

#[test]
fn the_cost_of_judging_is_told_gate_by_gate() {
    let place = Place::new();
    let report =
        place.run(&["bench", "harness", "rmsnorm_f32", "--runs", "1", "--format", "json"]).expect(0).json();
    let courses = report["harness"]["courses"].as_array().expect("courses");
    assert_eq!(courses.len(), 2, "{report}");
    for (course, name, passes) in [(&courses[0], "screen", 1), (&courses[1], "full", 2)] {
        assert_eq!(course["course"], name, "{report}");
        assert!(course["wall_ms"].as_f64().is_some_and(|time| time > 0.0), "{report}");
        let gates = course["gates"].as_array().expect("gates");
        let met = |gate: &str| gates.iter().filter(|row| row["gate"] == gate).count();
        assert_eq!((met("build"), met("correctness"), met("timing")), (1, passes, 1), "{report}");
    }
    let refused = place.run(&["bench", "harness", "rmsnorm_f32", "--runs", "0"]).expect(2);
    assert!(refused.stderr.contains("--runs 0"), "{}", refused.stderr);
}
