//! `kernsmith evaluate --static-only`: a CUDA candidate through the gates that need no device.

use std::process::{Command, Stdio};

use kernsmith_core::evidence::Verdict;
use kernsmith_core::{Plan, Target};
use kernsmith_harness::{StaticReport, StaticRequest, evaluate_static};
use kernsmith_op_contract::Contract;
use kernsmith_toolchain::cuda::CudaToolchain;

use crate::args::{Format, Global};
use crate::console::data;
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session;

/// What is built for where `cuda` names no architecture and no device does.
pub(crate) const DEFAULT_ARCHITECTURE: &str = "sm_90a";

/// Judges text, plan and cubin, and prints what was found.
pub(crate) fn run(global: &Global, word: &str, contract: &Contract, source: &str, plan: &Plan) -> Answer {
    let target = target(word)?;
    let config = session::config(global, &[])?.config;
    let options = session::cuda_options(&config)?;
    let toolchain = CudaToolchain::open(&options).map_err(CliError::apparatus)?;
    let rules = session::rules()?;
    let request = StaticRequest {
        contract,
        target: &target,
        source,
        plan,
        rules: &rules,
        toolchain: &toolchain,
        source_bytes_max: config.build.source_bytes.0,
    };
    let report = evaluate_static(&request).map_err(CliError::apparatus)?;
    if global.format == Format::Human {
        print(&report);
    } else {
        data(&serde_json::to_string(&report).map_err(CliError::internal)?);
    }
    Ok(if report.verdict == Verdict::Accepted { Exit::Done } else { Exit::No })
}

/// `cuda` is what the first device is, and Hopper where there is none: nothing is run.
fn target(word: &str) -> Result<Target, CliError> {
    if word == "cuda" {
        return Ok(Target::Cuda(first_device().unwrap_or_else(|| DEFAULT_ARCHITECTURE.to_owned())));
    }
    let target: Target = word.parse().map_err(|error| CliError::usage(format!("{error}")))?;
    if matches!(target, Target::Cuda(_)) {
        return Ok(target);
    }
    Err(CliError::usage(format!("--static-only judges CUDA candidates; `{target}` is judged by running it")))
}

/// The architecture of the first device, as the driver's own tool names it.
pub(crate) fn first_device() -> Option<String> {
    let output = Command::new("nvidia-smi")
        .args(["--query-gpu=compute_cap", "--format=csv,noheader", "--id=0"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let (major, minor) = text.split_once('.')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    // From 9.0 on, tensor-core instructions are there only under the architecture's own letter.
    let own = if major >= 9 { "a" } else { "" };
    Some(format!("sm_{}{own}", major * 10 + minor))
}

fn print(report: &StaticReport) {
    for gate in &report.gates {
        let mark = if gate.passed { "pass" } else { "FAIL" };
        data(&format!("  {mark}  {:14} {:8.1} ms  {}", gate.gate, gate.wall_ms, gate.note));
    }
    if let Some(facts) = &report.facts {
        data(&format!(
            "  {:24} {:>9} {:>7} {:>14} {:>8} {:>8}",
            "kernel", "registers", "stack", "spilled st/ld", "shared", "barriers"
        ));
        for kernel in &facts.kernels {
            data(&format!(
                "  {:24} {:>9} {:>7} {:>14} {:>8} {:>8}",
                kernel.symbol,
                kernel.registers,
                kernel.stack_bytes,
                format!("{}/{}", kernel.spill_store_bytes, kernel.spill_load_bytes),
                kernel.static_shared_bytes,
                kernel.barriers
            ));
        }
        let families: Vec<String> =
            facts.families.iter().map(|(family, count)| format!("{family} {count}")).collect();
        data(&format!("  instructions: {}", families.join(", ")));
    }
    for note in &report.notes {
        data(&format!("  note: {note}"));
    }
    match &report.failure {
        Some(failure) => {
            data(&format!("rejected: {} at {}", failure.class, failure.gate));
            data(&format!("  {}", failure.detail.replace('\n', "\n  ")));
        }
        None => data(&format!(
            "accepted by the gates without a device, for {} with {}; nothing was run",
            report.target, report.compiler
        )),
    }
    data(&format!("sandbox: {}", report.sandbox));
}
