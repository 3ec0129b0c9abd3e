//! Every implementation of a port keeps the port's rules. (The engine's fakes are tested where they live.)

use std::path::Path;
use std::sync::Arc;

use kernsmith_autotune::{Autotune, AutotuneOptions};
use kernsmith_core::{Candidate, Entry, Plan, Proposal, RunId, Target, conformance};
use kernsmith_experiment_log::RunWriter;
use kernsmith_harness::{Harness, HarnessOptions, OpenRequest};
use kernsmith_op_contract::Contract;
use kernsmith_planner::Tree;
use kernsmith_skill::{Machine, Skills};
use kernsmith_toolchain::{Toolchain, ToolchainOptions};

use crate::support::{RMSNORM, SHIPPED, machine};

fn contract(name: &str) -> Contract {
    let roots = kernsmith_op_contract::default_roots();
    kernsmith_op_contract::Library::open(roots).expect("the folder").find(name).expect("a shipped contract")
}

#[tokio::test]
async fn the_experiment_log_is_a_recorder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run_id: RunId = "conformance".parse().expect("a name");
    let mut writer = RunWriter::create(folder.path(), &run_id).expect("a run");
    conformance::record(&mut writer, &run_id).await.expect("it conforms");
}

#[tokio::test]
async fn the_autotuner_is_a_proposer_for_every_shipped_contract() {
    let skills = Skills::open(kernsmith_skill::default_roots()).expect("the shipped skills");
    for name in SHIPPED {
        let contract = contract(name);
        let machine = Machine { cores: 2, ..Machine::reference() };
        let mut proposer = Autotune::new(&contract, &skills, machine, AutotuneOptions::default());
        let brief = |planned: &[Entry]| {
            let mut tree = Tree::default();
            for entry in planned {
                tree.apply(entry);
            }
            let node = tree.select(0, 1).expect("an open node");
            kernsmith_brief::build(&tree, &contract, node, 0, 1)
        };
        conformance::propose(&mut proposer, brief).await.unwrap_or_else(|rule| panic!("{name}: {rule}"));
    }
}

#[test]
fn the_harness_is_an_evaluator() {
    let _machine = machine();
    let cache_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/kernsmith");
    let self_exe = Path::new(env!("CARGO_BIN_EXE_kernsmith")).to_owned();
    let toolchain = Toolchain::discover(&ToolchainOptions {
        compiler: None,
        cache_dir: cache_dir.clone(),
        timeout_seconds: 20.0,
        memory_bytes: 4 << 30,
        self_exe: Some(self_exe.clone()),
    })
    .expect("a compiler");
    let harness = Harness::open(OpenRequest {
        contract: Arc::new(contract("rmsnorm_f32")),
        toolchain: Arc::new(toolchain),
        options: HarnessOptions::default(),
        rules: Arc::new(kernsmith_isa_corpus::Rules::none()),
        user_baseline: None,
        self_exe,
        seed: None,
        cache_dir,
        gpu: None,
    })
    .expect("a harness");
    let wrong = RMSNORM.replace("1e-6f", "1.0f");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let checked = runtime.block_on(conformance::evaluate(&harness, candidate(RMSNORM), candidate(&wrong)));
    checked.expect("it conforms");
}

fn candidate(source: &str) -> Candidate {
    Candidate::new("rmsnorm_f32", &Target::host(), Proposal::by_user(source, Plan::default()))
}
