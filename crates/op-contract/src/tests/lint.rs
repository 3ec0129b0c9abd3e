//! What the static lint finds, one weakness at a time.

use super::shipped;
use crate::{Axis, AxisKind, BaselineRole, Contract, Role};
use kernsmith_core::Expr;

/// Changes a clean contract and gives the rules that it breaks then.
fn rules(change: impl FnOnce(&mut Contract)) -> Vec<&'static str> {
    let mut contract = shipped("silu_mul_f32");
    change(&mut contract);
    contract.lint().iter().map(|finding| finding.rule).collect()
}

fn without(role: Role) -> impl FnOnce(&mut Contract) {
    move |contract| contract.workloads.retain(|workload| workload.role != role)
}

#[test]
fn too_few_cases_and_missing_roles_are_found() {
    assert_eq!(rules(|contract| contract.cases.truncate(5)), ["few_cases"]);
    assert_eq!(rules(without(Role::Bench)), ["no_bench"]);
    assert_eq!(rules(without(Role::HeldOut)), ["no_held_out"]);
    assert!(rules(without(Role::Verify)).contains(&"no_verify"));
}

#[test]
fn a_platform_without_bench_workloads_of_its_own_is_found() {
    let cpu_only = |contract: &mut Contract| {
        for workload in &mut contract.workloads {
            workload.platforms = vec!["cpu".to_owned()];
        }
        contract.baselines.retain(|baseline| baseline.target_platform == "cuda");
    };
    assert_eq!(rules(cpu_only), ["no_bench", "no_verify", "no_held_out"]);
}

#[test]
fn missing_edge_shapes_are_found_only_where_they_are_legal() {
    let drop =
        |name: &'static str| move |contract: &mut Contract| contract.workloads.retain(|w| w.name != name);
    assert_eq!(rules(drop("empty")), ["missing_edge"]);
    assert_eq!(rules(drop("long_row")), Vec::<&str>::new());
    let no_odd = |contract: &mut Contract| {
        contract.workloads.retain(|w| w.role != Role::Verify || w.axes["cols"] <= 16);
    };
    assert!(rules(no_odd).contains(&"missing_non_multiple"));
    let aligned = |contract: &mut Contract| {
        contract.constraints.push(Expr::parse("rows >= 1 && rows % 2 == 1").unwrap());
        contract.workloads.retain(|workload| workload.axes["rows"] != 0);
    };
    assert!(!rules(aligned).contains(&"missing_edge"));
}

#[test]
fn costs_that_disagree_with_the_shapes_are_found() {
    let bytes =
        |text: &'static str| move |contract: &mut Contract| contract.bytes = Expr::parse(text).unwrap();
    assert_eq!(rules(bytes("4 * 2 * rows * cols")), ["bytes_below_compulsory"; 2]);
    assert_eq!(rules(bytes("4 * 30 * rows * cols")), ["bytes_too_large"; 2]);
    let flops = |contract: &mut Contract| contract.flops = Expr::parse("rows").unwrap();
    assert_eq!(rules(flops), ["flops_too_few"; 2]);
}

#[test]
fn the_partition_axis_leads_every_output() {
    assert_eq!(rules(|contract| contract.oracle.partition_axis = "cols".to_owned()), ["partition_axis"]);
}

#[test]
fn unused_axes_and_shown_held_out_shapes_are_found() {
    let unused = |contract: &mut Contract| {
        contract.axes.push(Axis { name: "depth".into(), kind: AxisKind::Const(3), summary: String::new() });
    };
    assert_eq!(rules(unused), ["unused_axis"]);
    let shown = |contract: &mut Contract| {
        let axes = contract.workloads[0].axes.clone();
        contract.workloads.last_mut().unwrap().axes = axes;
    };
    assert_eq!(rules(shown), ["held_out_is_shown"]);
    assert_eq!(rules(|contract| contract.workloads[0].weight = 0.0), ["weight"]);
}

#[test]
fn every_platform_needs_one_frozen_baseline() {
    assert_eq!(rules(|contract| contract.baselines.clear()), ["no_baseline"]);
    assert_eq!(rules(|contract| contract.baselines[0].role = BaselineRole::Rival), ["no_frozen_baseline"]);
}

#[test]
fn sources_are_looked_at() {
    let symbol = |contract: &mut Contract| contract.invariants[0].symbol = "bound".to_owned();
    assert_eq!(rules(symbol), ["missing_symbol"]);
    let include = |contract: &mut Contract| contract.oracle.source.push_str("\n # include \"x.h\"\n");
    assert_eq!(rules(include), ["local_include"]);
    assert_eq!(rules(|contract| contract.invariants.clear()), ["no_invariant"]);
}

#[test]
fn element_expressions_must_fit_the_tensors() {
    assert_eq!(rules(|contract| contract.family = "scan".to_owned()), ["element_family"]);
    let forgets = |contract: &mut Contract| {
        contract.element.as_mut().unwrap().insert("y".to_owned(), "gate * upper".to_owned());
    };
    assert_eq!(rules(forgets), ["element_input"]);
    let shape = |contract: &mut Contract| contract.inputs[1].shape = vec![Expr::parse("cols").unwrap()];
    assert!(rules(shape).contains(&"element_shape"));
}

#[test]
fn bounds_that_refuse_nothing_are_found() {
    assert_eq!(rules(|contract| contract.tolerance.ulps = 1e6), ["loose_tolerance"]);
    assert_eq!(rules(|contract| contract.tolerance.rms_ulps = 100.0), ["useless_rms"]);
}

#[test]
fn a_rival_in_python_is_a_function_of_its_name() {
    let mut contract = shipped("rmsnorm_bf16");
    let rivals = contract.baselines.iter().filter(|baseline| baseline.is_python()).count();
    assert!(rivals >= 2 && contract.lint().is_empty(), "{:?}", contract.lint());
    for baseline in &mut contract.baselines {
        if baseline.name == "torch_compile" {
            baseline.name = "torch_compiles".to_owned();
        }
    }
    let rules: Vec<&str> = contract.lint().iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["missing_symbol"]);
}
