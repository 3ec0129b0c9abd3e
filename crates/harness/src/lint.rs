//! Is a contract strong enough to judge with? Its own oracle, laws and baseline, and cheap cheats, are run against it.

use kernsmith_op_contract::{Contract, Finding, Severity};
use kernsmith_tensor::{Comparison, DType, Distribution, fill};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use crate::arena::{Arena, ArenaCall};
use crate::check;
use crate::device::Device;
use crate::error::HarnessError;
use crate::evaluate;
use crate::layout::{Shape, Side};
use crate::oracle::{Answers, Slice};
use crate::setup::Setup;

/// The baseline's worst error may use this part of the bound: a better kernel needs room too.
const MARGIN: f64 = 0.5;
/// Shapes up to this many output elements are used for cheats.
const ELEMENTS_MAX: u64 = 1 << 16;

const fn finding(severity: Severity, rule: &'static str, message: String) -> Finding {
    Finding { severity, rule, message }
}

/// All rules.
pub(crate) fn lint(setup: &Setup, device: &mut Device) -> Result<Vec<Finding>, HarnessError> {
    let mut findings = Vec::new();
    costs(setup, &mut findings)?;
    baseline(setup, device, &mut findings)?;
    let mut rng = setup.rng();
    let mut score = Score::new(&setup.contract);
    for index in shapes(setup) {
        for case in 0..setup.contract.cases.len() {
            cheats(setup, device, index, case, &mut rng, &mut score)?;
        }
    }
    score.report(&setup.contract, &mut findings);
    Ok(findings)
}

/// Non-empty shapes that are small enough, largest first; two are enough.
fn shapes(setup: &Setup) -> Vec<usize> {
    let size = |index: usize| setup.shapes[index].output_elements();
    let cheap = |index: usize| setup.shapes[index].flops <= setup.options.oracle_flops_max * 4.0;
    let mut shapes: Vec<usize> =
        (0..setup.shapes.len()).filter(|&i| (2..=ELEMENTS_MAX).contains(&size(i)) && cheap(i)).collect();
    shapes.sort_by_key(|&index| std::cmp::Reverse(size(index)));
    shapes.truncate(2);
    shapes
}

fn costs(setup: &Setup, findings: &mut Vec<Finding>) -> Result<(), HarnessError> {
    let contract = &setup.contract;
    for shape in setup.shapes.iter().filter(|shape| shape.output_elements() > 0) {
        let compulsory = contract.compulsory_bytes(&shape.axes)? as f64;
        if shape.bytes < compulsory {
            let message = format!(
                "`bytes` is {} at `{}`, but inputs and outputs alone are {compulsory}",
                shape.bytes, shape.name
            );
            findings.push(finding(Severity::Error, "bytes_below_compulsory", message));
        }
        if shape.flops < 0.0 || (shape.flops < 1.0 && !contract.tolerance.exact) {
            let message = format!("`flops` is {} at `{}`", shape.flops, shape.name);
            findings.push(finding(Severity::Error, "flops_not_positive", message));
        }
    }
    Ok(())
}

fn baseline(setup: &Setup, device: &mut Device, findings: &mut Vec<Finding>) -> Result<(), HarnessError> {
    match evaluate::verify_baseline(setup, device) {
        Ok(tally) => {
            if let Some(worst) = tally.worst.filter(|worst| worst.error_over_bound > MARGIN) {
                let message = format!(
                    "the baseline uses {:.2} of the bound at element {} of `{}` ({}); at most {MARGIN} leaves room",
                    worst.error_over_bound, worst.index, worst.tensor, worst.case
                );
                findings.push(finding(Severity::Warning, "baseline_margin", message));
            }
            Ok(())
        }
        Err(HarnessError::Baseline { problem, .. }) => {
            findings.push(finding(Severity::Error, "baseline_fails", problem));
            Ok(())
        }
        Err(other) => Err(other),
    }
}

/// What cheats achieved.
struct Score {
    /// Name, tries, passes.
    cheats: Vec<(String, u32, u32)>,
    /// By invariant: how often the reference broke it, and how often garbage did not.
    laws: Vec<(u32, u32)>,
}

impl Score {
    fn new(contract: &Contract) -> Self {
        Self { cheats: Vec::new(), laws: vec![(0, 0); contract.invariants.len()] }
    }

    fn note(&mut self, name: &str, passed: bool) {
        if !self.cheats.iter().any(|(known, ..)| known == name) {
            self.cheats.push((name.to_owned(), 0, 0));
        }
        if let Some((_, tries, passes)) = self.cheats.iter_mut().find(|(known, ..)| known == name) {
            *tries += 1;
            *passes += u32::from(passed);
        }
    }

    fn report(&self, contract: &Contract, findings: &mut Vec<Finding>) {
        for (name, tries, passes) in &self.cheats {
            let (severity, what) = match passes {
                passes if passes == tries => (Severity::Error, "every"),
                passes if 2 * passes > *tries => (Severity::Warning, "most"),
                _ => continue,
            };
            let message = format!(
                "{name} passes {what} case ({passes} of {tries}): tighten the tolerance or add a distribution"
            );
            findings.push(finding(severity, "cheat_passes", message));
        }
        for (invariant, (broken, blind)) in contract.invariants.iter().zip(&self.laws) {
            if *broken > 0 {
                let message = format!("`{}` does not hold for the reference itself", invariant.name);
                findings.push(finding(Severity::Error, "invariant_breaks_reference", message));
            }
            if *blind > 0 {
                let message = format!("`{}` lets random numbers pass ({blind} times)", invariant.name);
                findings.push(finding(Severity::Warning, "invariant_blind", message));
            }
        }
    }
}

/// One shape in one case: every cheat's outputs against the oracle.
fn cheats(
    setup: &Setup,
    device: &mut Device,
    index: usize,
    case: usize,
    rng: &mut ChaCha12Rng,
    score: &mut Score,
) -> Result<(), HarnessError> {
    let contract = &setup.contract;
    let shape = &setup.shapes[index];
    let (mut call, _) = Arena::place(shape, Side::Left, device.arena.slot(0));
    device.arena.fill(contract, &contract.cases[case], shape, &mut call, rng);
    let slices = check::everything(shape);
    let answers = ask(setup, device, shape, &call, &slices)?;
    let constants = constants(shape, &answers);
    for (name, value) in [("zeros", None), ("the mean", Some(constants))] {
        let outputs: Vec<Vec<f64>> = shape
            .outputs
            .iter()
            .enumerate()
            .map(|(output, layout)| {
                vec![value.as_ref().map_or(0.0, |means| means[output]); layout.elements as usize]
            })
            .collect();
        score.note(name, passes(contract, shape, &answers, &outputs));
    }
    for (input, layout) in shape.inputs.iter().enumerate() {
        if shape.outputs.iter().all(|output| output.elements == layout.elements) {
            let copy =
                decode(layout.dtype, call.placed.inputs[input].of(&device.arena.inputs), layout.elements);
            let outputs = vec![copy; shape.outputs.len()];
            score.note(&format!("a copy of `{}`", layout.name), passes(contract, shape, &answers, &outputs));
        }
    }
    laws(setup, device, shape, &mut call, &answers, rng, score)?;
    downgrades(setup, device, shape, &call, &slices, &answers, score)
}

fn ask(
    setup: &Setup,
    device: &mut Device,
    shape: &Shape,
    call: &ArenaCall,
    slices: &[Slice],
) -> Result<Answers, HarnessError> {
    device.oracle.begin(&setup.contract, shape, &call.placed, slices)?;
    device.oracle.finish(&setup.contract, shape, slices)
}

/// The mean of each output's finite values.
fn constants(shape: &Shape, answers: &Answers) -> Vec<f64> {
    let mean = |output: usize| {
        let parts = answers.parts.iter().filter(|part| part.output == output);
        let finite = parts.flat_map(|part| part.expected.iter()).filter(|value| value.is_finite());
        let (count, sum) = finite.fold((0_u64, 0.0), |(count, sum), value| (count + 1, sum + value));
        sum / count.max(1) as f64
    };
    (0..shape.outputs.len()).map(mean).collect()
}

/// Whether outputs would be accepted.
fn passes(contract: &Contract, shape: &Shape, answers: &Answers, outputs: &[Vec<f64>]) -> bool {
    shape.outputs.iter().enumerate().all(|(output, layout)| {
        let bytes = encode(layout.dtype, &outputs[output]);
        let mut comparison = Comparison::new(&contract.tolerance);
        for part in answers.parts.iter().filter(|part| part.output == output) {
            comparison.add(layout.dtype, &bytes, &part.expected, &part.scale, part.first_element);
        }
        comparison.verdict().is_none()
    })
}

/// The laws must hold for the reference's own answer and must not hold for random numbers.
fn laws(
    setup: &Setup,
    device: &mut Device,
    shape: &Shape,
    call: &mut ArenaCall,
    answers: &Answers,
    rng: &mut ChaCha12Rng,
    score: &mut Score,
) -> Result<(), HarnessError> {
    if setup.contract.invariants.is_empty() {
        return Ok(());
    }
    for (output, layout) in shape.outputs.iter().enumerate() {
        let parts = answers.parts.iter().filter(|part| part.output == output);
        let values: Vec<f64> = parts.flat_map(|part| part.expected.iter().copied()).collect();
        let bytes = encode(layout.dtype, &values);
        call.placed.outputs[output].of_mut(&mut device.arena.outputs).copy_from_slice(&bytes);
    }
    let of_reference = device.oracle.violations(&setup.contract, shape, &call.placed)?;
    for (output, layout) in shape.outputs.iter().enumerate() {
        let bytes = call.placed.outputs[output].of_mut(&mut device.arena.outputs);
        fill(layout.dtype, &Distribution::STANDARD, rng.random(), layout.row_elements as usize, bytes);
    }
    let of_garbage = device.oracle.violations(&setup.contract, shape, &call.placed)?;
    for (law, (reference, garbage)) in score.laws.iter_mut().zip(of_reference.iter().zip(&of_garbage)) {
        law.0 += u32::from(reference.is_nan() || *reference > 1.0);
        law.1 += u32::from(*garbage <= 1.0);
    }
    Ok(())
}

/// The narrower types that a kernel could quietly round its inputs to: those below the widest input.
fn lower_types(shape: &Shape) -> &'static [DType] {
    let floats = shape.inputs.iter().map(|input| input.dtype).filter(|dtype| dtype.is_float());
    match floats.max_by_key(|dtype| dtype.bits()) {
        Some(DType::F32) => &[DType::F16, DType::Bf16],
        Some(DType::F16 | DType::Bf16) => &[DType::F8E4M3FN, DType::F8E5M2],
        _ => &[],
    }
}

/// Inputs rounded to a lower precision, then computed in fp64: the best that a downgrade can do. It must not pass.
fn downgrades(
    setup: &Setup,
    device: &mut Device,
    shape: &Shape,
    call: &ArenaCall,
    slices: &[Slice],
    answers: &Answers,
    score: &mut Score,
) -> Result<(), HarnessError> {
    let lower = lower_types(shape);
    if setup.contract.tolerance.exact || setup.contract.tolerance.compute != DType::F32 || lower.is_empty() {
        return Ok(());
    }
    let kept: Vec<Vec<u8>> =
        call.placed.inputs.iter().map(|span| span.of(&device.arena.inputs).to_vec()).collect();
    for &lower in lower {
        for ((span, layout), bytes) in call.placed.inputs.iter().zip(&shape.inputs).zip(&kept) {
            if layout.dtype.is_float() {
                let values = decode(layout.dtype, bytes, layout.elements);
                let rounded: Vec<f64> = values.iter().map(|value| lower.round(*value)).collect();
                span.of_mut(&mut device.arena.inputs).copy_from_slice(&encode(layout.dtype, &rounded));
            }
        }
        let got = ask(setup, device, shape, call, slices)?;
        let outputs: Vec<Vec<f64>> = (0..shape.outputs.len())
            .map(|output| {
                let parts = got.parts.iter().filter(|part| part.output == output);
                parts.flat_map(|part| part.expected.iter().copied()).collect()
            })
            .collect();
        score.note(&format!("rounding inputs to {lower}"), passes(&setup.contract, shape, answers, &outputs));
    }
    for (span, bytes) in call.placed.inputs.iter().zip(&kept) {
        span.of_mut(&mut device.arena.inputs).copy_from_slice(bytes);
    }
    Ok(())
}

fn decode(dtype: DType, bytes: &[u8], elements: u64) -> Vec<f64> {
    let mut values = vec![0.0; elements as usize];
    dtype.decode(bytes, &mut values);
    values
}

fn encode(dtype: DType, values: &[f64]) -> Vec<u8> {
    let mut bytes = vec![0; dtype.bytes_for(values.len() as u64) as usize];
    dtype.encode(values, &mut bytes);
    bytes
}
