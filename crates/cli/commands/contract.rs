//! `kernsmith contract`: list, show, check and make op contracts.

use std::path::PathBuf;

use clap::Subcommand;
use kernsmith_op_contract::{Contract, Finding, Role, Severity};
use serde_json::json;

use crate::args::{Format, Global};
use crate::console::data;
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session::{self, Bench};

/// What to do with contracts.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// All contracts that can be found, a line each.
    List,
    /// One contract: signature, workloads, tolerance, costs, baselines.
    Show {
        /// Name, or a folder with a contract.toml.
        contract: String,
    },
    /// Reads and lints a contract, then tries to fool it: zeros, constants, copies and lower precision must fail.
    Check {
        /// Name, or a folder with a contract.toml.
        contract: String,
        /// Only read and lint; nothing is compiled.
        #[arg(long = "static")]
        static_only: bool,
    },
    /// Writes a complete commented contract to start from.
    New {
        /// Name, such as `gelu_f32`.
        name: String,
        /// Folder to write it below.
        #[arg(long, default_value = kernsmith_op_contract::FOLDER)]
        dir: PathBuf,
    },
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, verb: Verb) -> Answer {
    match verb {
        Verb::List => list(global),
        Verb::Show { contract } => show(global, &contract),
        Verb::Check { contract, static_only } => check(global, &contract, static_only),
        Verb::New { name, dir } => new(global, &name, &dir),
    }
}

fn list(global: &Global) -> Answer {
    let library = session::library(global)?;
    let mut broken = false;
    for name in library.names() {
        match (library.find(name), global.format) {
            (Ok(contract), Format::Human) => data(&format!(
                "{name:18} v{} {:14} {}",
                contract.version, contract.family, contract.summary
            )),
            (Ok(contract), _) => data(&json!({
                "name": name, "version": contract.version, "family": contract.family, "summary": contract.summary,
                "directory": contract.directory,
            }).to_string()),
            (Err(error), _) => {
                broken = true;
                crate::console::note(&format!("{name}: {error}"));
            }
        }
    }
    Ok(if broken { Exit::BadInput } else { Exit::Done })
}

fn show(global: &Global, name: &str) -> Answer {
    let contract = session::contract(global, name)?;
    if global.format != Format::Human {
        data(&as_json(&contract).to_string());
        return Ok(Exit::Done);
    }
    data(&format!("{} v{} ({})", contract.name, contract.version, contract.family));
    data(&format!("  {}", contract.summary));
    data(&format!("  {}", contract.signature("kernel")));
    data(&format!("  flops = {}   bytes = {}", contract.flops, contract.bytes));
    data(&format!("  digest {}   folder {}", contract.digest.short(), contract.directory.display()));
    for baseline in &contract.baselines {
        data(&format!(
            "  baseline {} ({}, {}): {}",
            baseline.name,
            baseline.target_platform,
            baseline.role.as_str(),
            baseline.summary
        ));
    }
    for workload in &contract.workloads {
        data(&format!("  {:8} {:20} {:?}", role(workload.role), workload.name, workload.axes));
    }
    let cases: Vec<&str> = contract.cases.iter().map(|case| case.name.as_str()).collect();
    data(&format!("  input distributions: {}", cases.join(", ")));
    let invariants: Vec<&str> = contract.invariants.iter().map(|invariant| invariant.name.as_str()).collect();
    data(&format!("  invariants: {}", invariants.join(", ")));
    Ok(Exit::Done)
}

fn check(global: &Global, name: &str, static_only: bool) -> Answer {
    let contract = session::contract(global, name)?;
    let mut findings = contract.lint();
    if !static_only && !findings.iter().any(|finding| finding.severity == Severity::Error) {
        let bench = Bench::open(global, &contract.target_hint())?;
        findings.extend(bench.lint(&contract)?);
    }
    Ok(report_findings(global, &contract, &findings, static_only))
}

fn report_findings(global: &Global, contract: &Contract, findings: &[Finding], static_only: bool) -> Exit {
    let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
    if global.format == Format::Human {
        for finding in findings {
            data(&format!("{}: {} [{}]", finding.severity.as_str(), finding.message, finding.rule));
        }
        let how = if static_only { "read and linted" } else { "read, linted and attacked" };
        let end = if refused { "refused" } else { "ok" };
        data(&format!("{}: {how}: {end}", contract.name));
    } else {
        let rows: Vec<_> = findings
            .iter()
            .map(|f| json!({"severity": f.severity.as_str(), "rule": f.rule, "message": f.message}))
            .collect();
        data(
            &json!({"schema_version": 1, "contract": contract.name, "usable": !refused, "findings": rows})
                .to_string(),
        );
    }
    if refused { Exit::BadInput } else { Exit::Done }
}

fn new(global: &Global, name: &str, dir: &std::path::Path) -> Answer {
    let directory = kernsmith_op_contract::scaffold(name, dir).map_err(CliError::bad_input)?;
    if global.format == Format::Human {
        data(&format!("wrote {}", directory.display()));
        data("edit contract.toml, reference.cpp and scalar.cpp; then:");
        data(&format!("  kernsmith contract check {}", directory.display()));
        data(&format!("  kernsmith search {}", directory.display()));
    } else {
        data(&json!({"schema_version": 1, "directory": directory}).to_string());
    }
    Ok(Exit::Done)
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Bench => "bench",
        Role::Verify => "verify",
        Role::HeldOut => "held-out",
    }
}

fn as_json(contract: &Contract) -> serde_json::Value {
    let tensor = |tensor: &kernsmith_op_contract::TensorSpec| {
        let shape: Vec<&str> = tensor.shape.iter().map(kernsmith_core::Expr::text).collect();
        json!({"name": tensor.name, "dtype": tensor.dtype, "shape": shape})
    };
    json!({
        "schema_version": 1,
        "name": contract.name,
        "version": contract.version,
        "family": contract.family,
        "summary": contract.summary,
        "directory": contract.directory,
        "digest": contract.digest,
        "signature": contract.signature("kernel"),
        "inputs": contract.inputs.iter().map(tensor).collect::<Vec<_>>(),
        "outputs": contract.outputs.iter().map(tensor).collect::<Vec<_>>(),
        "axes": contract.variable_axes(),
        "flops": contract.flops.text(),
        "bytes": contract.bytes.text(),
        "workloads": contract.workloads.iter().map(|workload| json!({
            "name": workload.name, "role": role(workload.role), "weight": workload.weight, "axes": workload.axes,
        })).collect::<Vec<_>>(),
        "baselines": contract.baselines.iter().map(|baseline| json!({
            "name": baseline.name, "platform": baseline.target_platform, "role": baseline.role.as_str(),
        })).collect::<Vec<_>>(),
    })
}
