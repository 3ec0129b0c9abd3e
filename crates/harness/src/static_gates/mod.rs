//! The gates of a CUDA candidate that need no device: `policy` looks at the text, `audit` at the cubin.
//!
//! Together with the build they are all that `kernsmith evaluate --static-only` runs. They reject what a device would only find
//! out later, and report what each kernel takes.

pub(crate) mod audit;
pub(crate) mod policy;

use std::time::Instant;

use kernsmith_core::evidence::{EVIDENCE_SCHEMA, GateReport, Verdict};
use kernsmith_core::launch::Names;
use kernsmith_core::{Bindings, Digest, Failure, FailureClass, Gate, Language, Plan, Target};
use kernsmith_isa_corpus::{Inspection, Rules};
use kernsmith_op_contract::Contract;
use kernsmith_toolchain::cuda::{CudaBuild, CudaFacts, CudaJob, CudaObject, CudaToolchain};
use serde::Serialize;

use crate::error::{HarnessError, Stop};
use crate::gates::audit::promised;

/// What is judged without a device.
#[derive(Debug, Clone, Copy)]
pub struct StaticRequest<'a> {
    /// What the operation is.
    pub contract: &'a Contract,
    /// What is built for: a CUDA target.
    pub target: &'a Target,
    /// The candidate's text.
    pub source: &'a str,
    /// Its launch plan; one that launches nothing is not held against the object.
    pub plan: &'a Plan,
    /// Hard rules of the target.
    pub rules: &'a Rules,
    /// The compiler.
    pub toolchain: &'a CudaToolchain,
    /// Largest source text in bytes.
    pub source_bytes_max: u64,
}

/// What the gates without a device found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StaticReport {
    /// [`EVIDENCE_SCHEMA`].
    pub schema_version: u32,
    /// Whether all of these gates let it through. It may still be wrong, or slow.
    pub verdict: Verdict,
    /// Why not, where rejected.
    pub failure: Option<Failure>,
    /// What was built for.
    pub target: Target,
    /// The compiler, such as `nvrtc 13.0`.
    pub compiler: String,
    /// All options of the build.
    pub options: Vec<String>,
    /// One line a gate.
    pub gates: Vec<GateReport>,
    /// Digest of the cubin.
    pub code_object: Option<Digest>,
    /// Time of compiling.
    pub build_ms: Option<f64>,
    /// Facts read from the cubin.
    pub facts: Option<CudaFacts>,
    /// Observations that are no failures.
    pub notes: Vec<String>,
    /// The compiler's log.
    pub build_log: String,
    /// What confines the compiler, such as `namespaces+landlock+seccomp+limits`.
    pub sandbox: String,
}

/// Runs admission, build and audit.
pub fn evaluate_static(request: &StaticRequest<'_>) -> Result<StaticReport, HarnessError> {
    let mut report = StaticReport {
        schema_version: EVIDENCE_SCHEMA,
        verdict: Verdict::Accepted,
        failure: None,
        target: request.target.clone(),
        compiler: format!("nvrtc {}", request.toolchain.version()),
        options: Vec::new(),
        gates: Vec::new(),
        code_object: None,
        build_ms: None,
        facts: None,
        notes: Vec::new(),
        build_log: String::new(),
        sandbox: request.toolchain.confinement().summary(),
    };
    if report.gate(Gate::Admit, |_| admit(request))?
        && report.gate(Gate::Build, |report| build(request, report))?
    {
        report.gate(Gate::Audit, |report| {
            let Some(facts) = &report.facts else { return Ok(String::new()) };
            let audited = audit::check(
                request.plan,
                request.source,
                promised(request.contract, request.target, request.plan),
                facts,
            )?;
            report.notes.extend(audited.notes);
            Ok(audited.summary)
        })?;
    }
    Ok(report)
}

impl StaticReport {
    /// Runs one gate; the answer says whether to go on.
    fn gate(
        &mut self,
        gate: Gate,
        check: impl FnOnce(&mut Self) -> Result<String, Stop>,
    ) -> Result<bool, HarnessError> {
        let begin = Instant::now();
        let outcome = check(self);
        let wall_ms = begin.elapsed().as_secs_f64() * 1e3;
        let (passed, note) = match outcome {
            Ok(note) => (true, note),
            Err(Stop::Apparatus(error)) => return Err(error),
            Err(Stop::Rejected(rejection)) => {
                self.verdict = Verdict::Rejected;
                self.failure = Some(Failure::new(gate, rejection.class, rejection.detail));
                (false, String::new())
            }
        };
        self.gates.push(GateReport { gate, passed, wall_ms, note });
        Ok(passed)
    }
}

/// G0: text and plan are legal, as far as that can be said without knowing the device.
fn admit(request: &StaticRequest<'_>) -> Result<String, Stop> {
    let StaticRequest { contract, target, source, plan, rules, source_bytes_max, .. } = *request;
    let invalid = |problem: String| Stop::rejected(FailureClass::PlanInvalid, problem);
    if !matches!(target, Target::Cuda(_)) {
        return Err(invalid(format!("`{target}` is no CUDA target")));
    }
    policy::check(source, &contract.forbidden, source_bytes_max)?;
    check_plan(contract, plan, false)?;
    let tensors = contract.inputs.iter().chain(&contract.outputs);
    let numbers: Bindings = tensors.map(|tensor| (format!("dtype_{}", tensor.dtype), 1)).collect();
    let language = Language::Cuda;
    let checked = rules.check(&Inspection { target, language, source, plan, features: None, numbers });
    if let Some(violation) = checked.refusal() {
        return Err(Stop::rejected(FailureClass::RuleBroken, violation.to_string()));
    }
    let launches = if plan.is_for_gpu() { "plan legal" } else { "no plan: launches are not looked at" };
    Ok(format!("{} bytes, {launches}, {} rules decided", source.len(), checked.decided))
}

/// Holds a plan against the contract's names. One that launches nothing is refused where it is going to be run.
pub(crate) fn check_plan(contract: &Contract, plan: &Plan, run: bool) -> Result<(), Stop> {
    let axes: Vec<&str> = contract.axes.iter().map(|axis| axis.name.as_str()).collect();
    let tensors = contract.inputs.iter().chain(&contract.outputs);
    let tensors: Vec<&str> = tensors.map(|tensor| tensor.name.as_str()).collect();
    let scalars: Vec<&str> = contract.scalars.iter().map(|scalar| scalar.name.as_str()).collect();
    let names = Names { axes: &axes, tensors: &tensors, scalars: &scalars };
    let launches = || if run || plan.is_for_gpu() { plan.check_for_gpu(names) } else { Ok(()) };
    let legal = plan.check(&axes).and_then(|()| launches());
    legal.map_err(|error| Stop::rejected(FailureClass::PlanInvalid, error.to_string()))
}

/// G1: it compiles inside the build sandbox.
fn build(request: &StaticRequest<'_>, report: &mut StaticReport) -> Result<String, Stop> {
    let job = CudaJob { flags: &request.plan.flags, ..CudaJob::new(request.source, request.target.arch()) };
    match request.toolchain.build(&job).map_err(HarnessError::from)? {
        CudaBuild::Built(object) => {
            let CudaObject { digest, facts, log, build_ms, options, cached, .. } = *object;
            report.code_object = Some(digest);
            report.facts = Some(facts);
            (report.build_log, report.build_ms, report.options) = (log, Some(build_ms), options);
            Ok(format!("{build_ms:.0} ms{}", if cached { ", cached" } else { "" }))
        }
        CudaBuild::Refused { class, detail, log } => {
            report.build_log = log;
            Err(Stop::rejected(class, detail))
        }
    }
}
