//! The gates that need no device: admission and audit of GPU candidates.

use kernsmith_core::evidence::{KernelFacts, ObjectFacts};
use kernsmith_core::{Candidate, FailureClass, Language, Plan};
use kernsmith_toolchain::cuda::CudaFacts;
use kernsmith_wire::gpu::GpuDevice;

use super::resolve::{Addresses, Resolver};
use crate::error::Stop;
use crate::gates::admit;
use crate::gates::audit::promised;
use crate::setup::Setup;
use crate::static_gates::{audit, check_plan, policy};

/// G0: the text and the plan are legal for the contract and for the device.
pub(crate) fn admit(setup: &Setup, candidate: &Candidate, device: &GpuDevice) -> Result<String, Stop> {
    let proposal = &candidate.proposal;
    let (contract, plan) = (&setup.contract, &proposal.plan);
    policy::check(&proposal.source, &contract.forbidden, setup.options.source_bytes_max)?;
    if proposal.language != Language::Cuda || candidate.target.platform() != setup.target.platform() {
        let detail = format!("{} for {} cannot run on {}", proposal.language, candidate.target, setup.target);
        return Err(Stop::rejected(FailureClass::PlanInvalid, detail));
    }
    check_plan(contract, plan, true)?;
    let launches = numbers(setup, plan, device)?;
    let rules = admit::rules(setup, candidate)?;
    Ok(format!("{} bytes, {launches} launches over all shapes, {rules}", proposal.source.len()))
}

/// Evaluates the plan over every shape, with addresses that mean nothing.
fn numbers(setup: &Setup, plan: &Plan, device: &GpuDevice) -> Result<usize, Stop> {
    let resolver = Resolver { contract: &setup.contract, plan, device };
    let kernels = resolver.kernels(&setup.shapes)?;
    let tensors = setup.contract.inputs.iter().chain(&setup.contract.outputs).map(|tensor| &tensor.name);
    let names = tensors.chain(plan.workspaces.iter().map(|workspace| &workspace.name));
    let addresses = Addresses { by_name: names.map(|name| (name.clone(), 0)).collect() };
    let mut launches = 0;
    for shape in &setup.shapes {
        launches += resolver.call(shape, &addresses, &kernels)?.launches.len();
        admit::workspaces_fit(shape, &resolver.workspaces(shape)?)?;
    }
    Ok(launches)
}

/// G2: the object holds what it should and nothing else.
pub(crate) fn audit(setup: &Setup, candidate: &Candidate, facts: &CudaFacts) -> Result<String, Stop> {
    let plan = &candidate.proposal.plan;
    let promised = promised(&setup.contract, &setup.target, plan);
    let audited = audit::check(plan, &candidate.proposal.source, promised, facts)?;
    let notes = audited.notes.into_iter().map(|note| format!("; {note}"));
    Ok(notes.fold(audited.summary, |line, note| line + &note))
}

/// The facts in the words of the evidence packet.
pub(crate) fn object_facts(facts: &CudaFacts) -> ObjectFacts {
    ObjectFacts {
        text_bytes: facts.text_bytes,
        data_bytes: facts.globals.iter().filter(|global| global.writable).map(|global| global.bytes).sum(),
        exports: facts.kernels.iter().map(|kernel| kernel.symbol.clone()).collect(),
        imports: facts.undefined.clone(),
        families: facts.families.clone(),
        kernels: facts
            .kernels
            .iter()
            .map(|kernel| KernelFacts {
                symbol: kernel.symbol.clone(),
                registers: kernel.registers,
                spill_store_bytes: kernel.spill_store_bytes as u32,
                spill_load_bytes: kernel.spill_load_bytes as u32,
                stack_bytes: kernel.stack_bytes as u32,
                static_shared_bytes: kernel.static_shared_bytes as u32,
                barriers: kernel.barriers,
            })
            .collect(),
        ..ObjectFacts::default()
    }
}
