//! Whether the cost expressions agree with the shapes.

use super::{Finding, error, warning};
use crate::{Contract, Role, Workload};

/// A `bytes` this many times the compulsory traffic counts something twice.
const MAX_BYTES_FACTOR: u64 = 2;

pub(super) fn check(contract: &Contract, findings: &mut Vec<Finding>) {
    for workload in contract.workloads(Role::Bench) {
        bytes(contract, workload, findings);
        flops(contract, workload, findings);
    }
    for workload in &contract.workloads {
        let negative = |value: i64| value < 0;
        if contract.flops.eval(&workload.axes).is_ok_and(negative)
            || contract.bytes.eval(&workload.axes).is_ok_and(negative)
        {
            let message = format!("`flops` or `bytes` is negative at workload `{}`", workload.name);
            error(findings, "negative_cost", message);
        }
    }
}

fn bytes(contract: &Contract, workload: &Workload, findings: &mut Vec<Finding>) {
    let (Ok(claimed), Ok(compulsory)) =
        (contract.bytes.eval(&workload.axes), contract.compulsory_bytes(&workload.axes))
    else {
        return;
    };
    let claimed = u64::try_from(claimed).unwrap_or(0);
    let name = &workload.name;
    if claimed < compulsory {
        let message = format!(
            "`bytes` is {claimed} at workload `{name}`, but the tensors have {compulsory}: count every input and output once"
        );
        error(findings, "bytes_below_compulsory", message);
    } else if claimed > compulsory.saturating_mul(MAX_BYTES_FACTOR) {
        let message = format!(
            "`bytes` is {claimed} at workload `{name}`, more than {MAX_BYTES_FACTOR} times the {compulsory} of the \
             tensors: count compulsory traffic only, or good kernels look impossible"
        );
        error(findings, "bytes_too_large", message);
    }
}

fn flops(contract: &Contract, workload: &Workload, findings: &mut Vec<Finding>) {
    let Ok(flops) = contract.flops.eval(&workload.axes) else { return };
    let outputs: u64 =
        contract.outputs.iter().filter_map(|output| contract.elements(output, &workload.axes).ok()).sum();
    let moves_only = contract.family == "transpose";
    if !moves_only && u64::try_from(flops).unwrap_or(0) < outputs / 2 {
        let message = format!(
            "`flops` is {flops} at workload `{}`, fewer than one for two output elements: correct the expression",
            workload.name
        );
        warning(findings, "flops_too_few", message);
    }
}
