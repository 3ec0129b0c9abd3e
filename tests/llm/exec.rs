//! A program that proposes.

use std::time::{Duration, Instant};

use kernsmith_core::port::{Answer, PlanOccasion, PlanRequest};
use kernsmith_core::{Event, NodeId, Propose};
use kernsmith_llm::Exec;
use kernsmith_planner::Tree;
use kernsmith_search_config::ExecConfig;

use super::model;
use crate::support::Place;

fn exec(place: &Place, script: &str) -> Exec {
    exec_within(place, script, 60.0)
}

fn exec_within(place: &Place, script: &str, timeout_seconds: f64) -> Exec {
    let path = place.write("propose.sh", script);
    let config =
        ExecConfig { command: vec!["/bin/sh".to_owned(), path.display().to_string()], timeout_seconds };
    Exec::new(&config, vec!["rows".to_owned(), "cols".to_owned()]).expect("a program")
}

fn request() -> PlanRequest {
    PlanRequest {
        occasion: PlanOccasion::Start,
        tree: String::new(),
        nodes: Vec::new(),
        refused: Vec::new(),
        details: None,
    }
}

#[tokio::test]
async fn a_program_plans_and_proposes_over_pipes() {
    let place = Place::new();
    place.write("plan.json", &model::plan());
    place.write("code.json", &serde_json::json!({"source": model::good(8), "rationale": "mine"}).to_string());
    let folder = place.folder.path().display().to_string();
    let script = format!(
        "#!/bin/sh\nread -r question\ncase \"$question\" in\n*'\"question\":\"plan\"'*) cat {folder}/plan.json;;\n*) cat {folder}/code.json;;\nesac\n"
    );
    let mut exec = exec(&place, &script);
    let Answer::Ready(edits) = exec.plan(&request()).await.expect("it runs") else { panic!("a plan") };
    let mut tree = Tree::default();
    tree.validate(&edits).expect("a legal plan");
    let event = Event::TreeEdited { author: "exec".to_owned(), edits };
    let prev = kernsmith_core::Digest::ZERO;
    tree.apply(&kernsmith_core::Entry { seq: kernsmith_core::Seq(0), time: String::new(), prev, event });
    let roots = kernsmith_op_contract::default_roots();
    let contract =
        kernsmith_op_contract::Library::open(roots).expect("a library").find("rmsnorm_f32").expect("it");
    let brief = kernsmith_brief::build(&tree, &contract, NodeId(1), 0, 1);
    let Answer::Ready(proposal) = exec.propose(&brief).await.expect("it runs") else { panic!("a proposal") };
    assert_eq!((proposal.source, proposal.rationale.as_str()), (model::good(8), "mine"));
    assert_eq!(proposal.origin.proposer, "exec");
}

#[tokio::test]
async fn a_program_that_hangs_fails_or_babbles_is_a_miss_with_its_reason() {
    let place = Place::new();
    let cases = [
        ("#!/bin/sh\nsleep 600 & sleep 600\n", "no answer within 1 s", 1.0),
        ("#!/bin/sh\necho out of credit >&2\nexit 3\n", "out of credit", 60.0),
        ("#!/bin/sh\necho hello\n", "not one JSON object", 60.0),
    ];
    for (script, reason, timeout_seconds) in cases {
        let started = Instant::now();
        let answer = exec_within(&place, script, timeout_seconds).plan(&request()).await.expect("it runs");
        let Answer::Missed(said) = answer else { panic!("{script}: {answer:?}") };
        assert!(said.contains(reason), "{said}");
        assert!(started.elapsed() < Duration::from_mins(2), "what it started was waited for");
    }
    let config = ExecConfig { command: vec!["/no/such/program".to_owned()], timeout_seconds: 1.0 };
    let error =
        Exec::new(&config, Vec::new()).expect("named").plan(&request()).await.expect_err("it is not there");
    assert!(
        error.to_string().contains("/no/such/program") && error.to_string().contains("exec.command"),
        "{error}"
    );
}
