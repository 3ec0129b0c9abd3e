//! Outputs against poison, canaries' neighbours and the oracle.

use kernsmith_core::FailureClass;
use kernsmith_core::evidence::WorstElement;
use kernsmith_op_contract::Contract;
use kernsmith_tensor::{Comparison, Element, MismatchKind, first_non_finite};
use kernsmith_wire::Pool;

use crate::arena::Placed;
use crate::check::Poison;
use crate::error::{HarnessError, Stop};
use crate::layout::Shape;
use crate::oracle::Answers;

/// What has been compared so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) elements: u64,
    pub(crate) worst: Option<WorstElement>,
}

impl Tally {
    /// Takes over what another one has counted.
    pub(crate) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.elements += other.elements;
        let further = |worst: &WorstElement| {
            self.worst.as_ref().is_none_or(|known| worst.error_over_bound > known.error_over_bound)
        };
        if other.worst.as_ref().is_some_and(further) {
            self.worst = other.worst;
        }
    }

    fn note(&mut self, tensor: &str, element: Element, case: &str) {
        if self.worst.as_ref().is_none_or(|worst| element.error_over_bound > worst.error_over_bound) {
            self.worst = Some(WorstElement {
                tensor: tensor.to_owned(),
                index: element.index,
                got: format!("{:e}", element.got),
                expected: format!("{:e}", element.expected),
                error_over_bound: element.error_over_bound,
                case: case.to_owned(),
            });
        }
    }
}

/// Compares a call's outputs with the oracle's answers.
pub(crate) fn compare(
    contract: &Contract,
    shape: &Shape,
    outputs: &Pool,
    placed: &Placed,
    answers: &Answers,
    case: &str,
    tally: &mut Tally,
) -> Result<(), Stop> {
    tally.calls += 1;
    for (index, layout) in shape.outputs.iter().enumerate() {
        let bytes = placed.outputs[index].of(outputs);
        let mut comparison = Comparison::new(&contract.tolerance);
        for part in answers.parts.iter().filter(|part| part.output == index) {
            let begin = layout.dtype.bytes_for(part.first_element) as usize;
            let end = layout.dtype.bytes_for(part.first_element + part.expected.len() as u64) as usize;
            let got = &bytes[begin..end];
            comparison.add(layout.dtype, got, &part.expected, &part.scale, part.first_element);
        }
        tally.elements += comparison.checked();
        if let Some(worst) = comparison.worst() {
            tally.note(&layout.name, worst, case);
        }
        if let Some(mismatch) = comparison.verdict() {
            let class = match mismatch.kind {
                MismatchKind::Value => FailureClass::WrongResult,
                MismatchKind::NonFinite => FailureClass::NonFinite,
                MismatchKind::Precision => FailureClass::PrecisionDowngrade,
                MismatchKind::Oracle => {
                    let problem = format!("{case}: {mismatch}");
                    return Err(HarnessError::Oracle { contract: contract.name.clone(), problem }.into());
                }
            };
            return Err(Stop::rejected(class, format!("{case}: `{}` {mismatch}", layout.name)));
        }
    }
    Ok(())
}

/// Looks through whole outputs for remaining poison; returns the first element of each that is not finite.
pub(crate) fn scan(
    shape: &Shape,
    outputs: &Pool,
    placed: &Placed,
    poison: Poison,
    case: &str,
) -> Result<Vec<Option<u64>>, Stop> {
    let mut odd = Vec::new();
    for (layout, span) in shape.outputs.iter().zip(&placed.outputs) {
        let bytes = span.of(outputs);
        if let Some(first) = poison.first(layout.dtype, bytes) {
            let detail =
                format!("{case}: element {first} of `{}` still holds what was there before", layout.name);
            return Err(Stop::rejected(FailureClass::UnwrittenOutput, detail));
        }
        odd.push(first_non_finite(layout.dtype, bytes));
    }
    Ok(odd)
}
