//! The CUDA templates of the repository without a device: they compile, their plans fit their contracts, and the machine code
//! keeps what the templates promise.

use std::path::Path;

use kernsmith_autotune::render_context;
use kernsmith_core::launch::Names;
use kernsmith_op_contract::{Contract, Library};
use kernsmith_skill::{Machine, Skills, Template};
use kernsmith_toolchain::cuda::{CudaFacts, CudaJob};

use crate::cuda::{built, toolchain};

const ARCHITECTURES: [&str; 5] = ["sm_80", "sm_89", "sm_90a", "sm_100a", "sm_120"];

#[test]
fn every_cuda_template_compiles_for_its_targets_and_keeps_its_promises() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let skills = Skills::open([root.join("skills")]).expect("skills are read");
    let library = Library::open(vec![root.join("op-contracts")]).expect("contracts are read");
    let mut rendered = 0;
    for name in library.names() {
        let contract = &library.find(name).expect("a contract");
        for arch in ARCHITECTURES {
            let target = format!("cuda-{arch}").parse().expect("a target");
            let machine = Machine { target, ..Machine::reference() };
            for template in skills.templates_for(&render_context(contract), &machine) {
                check(&template, contract, arch);
                rendered += 1;
            }
        }
    }
    assert!(rendered >= 10, "{rendered}");
}

fn check(template: &Template, contract: &Contract, arch: &str) {
    let place = format!("{} for {} on {arch}", template.id(), contract.name);
    let rendered = template
        .render(&template.default_genome(), &render_context(contract))
        .unwrap_or_else(|e| panic!("{place}: {e}"));
    let axes: Vec<&str> = contract.axes.iter().map(|axis| axis.name.as_str()).collect();
    let tensors: Vec<&str> =
        contract.inputs.iter().chain(&contract.outputs).map(|t| t.name.as_str()).collect();
    let scalars: Vec<&str> = contract.scalars.iter().map(|scalar| scalar.name.as_str()).collect();
    rendered.plan.check(&axes).unwrap_or_else(|error| panic!("{place}: {error}"));
    let names = Names { axes: &axes, tensors: &tensors, scalars: &scalars };
    rendered.plan.check_for_gpu(names).unwrap_or_else(|error| panic!("{place}: {error}"));
    // What needs no compiler is looked at everywhere.
    let Some(toolchain) = toolchain() else { return };
    let job = CudaJob { flags: &rendered.plan.flags, ..CudaJob::new(&rendered.source, arch) };
    let facts = built(toolchain, &job).facts;
    promises(&facts, &rendered.plan.expected_instructions, &place);
    for symbol in rendered.plan.symbols() {
        assert!(facts.kernel(symbol).is_some(), "{place}: there is no kernel `{symbol}`");
    }
}

fn promises(facts: &CudaFacts, expected: &[String], place: &str) {
    for family in expected {
        let count: u64 = facts.kernels.iter().filter_map(|kernel| kernel.families.get(family)).sum();
        assert!(count > 0, "{place}: no {family}");
    }
    for kernel in &facts.kernels {
        assert_eq!(kernel.local_instructions, 0, "{place}: `{}` uses local memory", kernel.symbol);
    }
    assert!(facts.globals.iter().all(|global| !global.writable), "{place}: {:?}", facts.globals);
}
