//! Cheats and odd but honest kernels for a GPU: what needs no device is judged everywhere, the rest where there is one.
#![expect(clippy::print_stdout, reason = "what is skipped is said")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernsmith_core::{Candidate, Language, Plan, Proposal, Target};
use kernsmith_harness::{
    GpuRequest, Harness, HarnessError, HarnessOptions, OpenRequest, StaticRequest, evaluate_static,
    gpu_target,
};
use kernsmith_isa_corpus::Rules;
use kernsmith_op_contract::Contract;
use kernsmith_toolchain::cuda::CudaToolchain;
use kernsmith_toolchain::{Toolchain, ToolchainOptions};

use crate::support::Place;

const CONTRACT: &str = "rmsnorm_bf16";

/// A kernel with what its first lines say about it.
struct Fixture {
    name: String,
    source: String,
    plan: Plan,
    honest: bool,
    /// Classes of which one must be named.
    classes: Vec<String>,
    /// Whether it is found out without a device.
    at_rest: bool,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpu").join(CONTRACT)
}

fn fixtures() -> Vec<Fixture> {
    let folder = folder();
    let plan = |path: PathBuf| -> Option<Plan> {
        let text = std::fs::read_to_string(&path).ok()?;
        Some(toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    let default = plan(folder.join("default.plan.toml")).expect("the default plan");
    let mut found: Vec<Fixture> = std::fs::read_dir(&folder)
        .expect("the fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cu"))
        .map(|path| {
            let source = std::fs::read_to_string(&path).expect("a source");
            let line =
                |word: &str| source.lines().take(3).find_map(|line| line.strip_prefix(word)).map(str::trim);
            let classes = line("// class:").unwrap_or_default().split(' ').filter(|class| *class != "-");
            Fixture {
                name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
                plan: plan(path.with_extension("toml")).unwrap_or_else(|| default.clone()),
                honest: line("// honest:").is_some(),
                classes: classes.map(str::to_owned).collect(),
                at_rest: line("// static").is_some(),
                source: source.clone(),
            }
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn contract() -> Arc<Contract> {
    let roots = kernsmith_op_contract::default_roots();
    let library = kernsmith_op_contract::Library::open(roots).expect("the folder");
    Arc::new(library.find(CONTRACT).expect("a shipped contract"))
}

#[test]
fn there_are_as_many_gpu_fixtures_as_promised_and_each_says_what_it_is() {
    let fixtures = fixtures();
    let cheats = fixtures.iter().filter(|fixture| !fixture.honest).count();
    assert!(cheats >= 20 && fixtures.len() - cheats >= 8, "{cheats} cheats of {}", fixtures.len());
    assert!(fixtures.iter().all(|fixture| fixture.honest == fixture.classes.is_empty()));
}

#[test]
fn gpu_fixtures_meet_the_gates_that_need_no_device() {
    let Some(toolchain) = crate::cuda::toolchain() else { return };
    let (contract, target) = (contract(), Target::Cuda("sm_90a".to_owned()));
    let rules = Rules::none();
    for fixture in fixtures() {
        let report = evaluate_static(&StaticRequest {
            contract: &contract,
            target: &target,
            source: &fixture.source,
            plan: &fixture.plan,
            rules: &rules,
            toolchain,
            source_bytes_max: 1 << 20,
        })
        .expect("the apparatus works");
        let class = report.failure.as_ref().map(|failure| failure.class.to_string());
        match class {
            Some(class) => {
                let told = fixture.at_rest && fixture.classes.contains(&class);
                assert!(told, "{}: {:?}", fixture.name, report.failure);
            }
            None => assert!(!fixture.at_rest, "{} was let through", fixture.name),
        }
    }
}

/// A harness on the first GPU; `None`, with a word about it, where there is none.
fn harness(place: &Place, toolchain: Arc<CudaToolchain>) -> Option<(Harness, Target)> {
    let self_exe = PathBuf::from(env!("CARGO_BIN_EXE_kernsmith"));
    let target = match gpu_target(&self_exe, 0) {
        Ok(target) => target,
        Err(HarnessError::NoGpu { reason }) => {
            println!("skipped: no CUDA device: {reason}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let host_toolchain = Toolchain::discover(&ToolchainOptions {
        compiler: None,
        cache_dir: place.path("cache"),
        timeout_seconds: 60.0,
        memory_bytes: 4 << 30,
        self_exe: Some(self_exe.clone()),
    })
    .expect("a C++ compiler");
    let opened = Harness::open(OpenRequest {
        contract: contract(),
        toolchain: Arc::new(host_toolchain),
        options: HarnessOptions::default(),
        rules: Arc::new(Rules::none()),
        user_baseline: None,
        self_exe,
        seed: None,
        cache_dir: place.path("cache"),
        gpu: Some(GpuRequest { target: target.clone(), toolchain, ordinals: vec![0] }),
    });
    Some((opened.expect("the apparatus works"), target))
}

#[test]
fn a_gpu_lets_no_cheat_through_and_refuses_no_honest_kernel() {
    let Some(toolchain) = crate::cuda::open_toolchain() else { return };
    let place = Place::new();
    let Some((harness, target)) = harness(&place, Arc::new(toolchain)) else { return };
    let mut wrong = Vec::new();
    for fixture in fixtures() {
        let proposal = Proposal {
            language: Language::Cuda,
            ..Proposal::by_user(fixture.source.clone(), fixture.plan.clone())
        };
        let candidate = Candidate::new(CONTRACT, &target, proposal);
        let evidence = harness.evaluate_fully(candidate).expect("the apparatus works");
        // What fails only when it is confirmed is named by the class that it failed with.
        let told = evidence.failure.as_ref().map(ToString::to_string).unwrap_or_default();
        let right = match &evidence.failure {
            None => fixture.honest,
            Some(failure) => fixture
                .classes
                .iter()
                .any(|class| failure.class.as_str() == class || failure.detail.contains(class.as_str())),
        };
        println!("{:24} {}", fixture.name, if told.is_empty() { "accepted" } else { &told });
        if !right {
            wrong.push(format!("{}: {told}", fixture.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
