//! Comparison of a kernel's output with an oracle's answer.

use crate::dtype::DType;
use crate::tolerance::{Element, Mismatch, MismatchKind, Tolerance};

/// Elements that must have been compared before the error as a whole is judged: below it the mean says too little.
pub const RMS_MINIMUM_ELEMENTS: u64 = 256;
const BLOCK: usize = 256;
const LANES: usize = 8;

/// Compares an output piece by piece; the pieces may come in any order.
#[derive(Debug, Clone)]
pub struct Comparison {
    tolerance: Tolerance,
    checked: u64,
    failed: u64,
    /// Elements that count for the mean, and the sum of their squared `error_over_bound`.
    counted: u64,
    squares: f64,
    worst: Option<Element>,
    worst_failure: Option<(MismatchKind, Element)>,
}

/// What one call of [`Comparison::add`] needs for every element.
struct Rule {
    dtype: DType,
    /// Bound per unit of scale.
    per_scale: f64,
    /// Bound per unit of the expected value: storage coarser than the compute type rounds once more.
    per_value: f64,
    /// Bound near zero.
    floor: f64,
}

impl Rule {
    fn new(tolerance: &Tolerance, dtype: DType) -> Self {
        let storage = dtype.unit_roundoff();
        let coarser = storage > tolerance.compute.unit_roundoff();
        Self {
            dtype,
            per_scale: tolerance.ulps * tolerance.compute.unit_roundoff(),
            per_value: if coarser { storage } else { 0.0 },
            floor: dtype.underflow(),
        }
    }

    /// Error over bound of finite numbers; the rounding of coarser storage is not the kernel's error.
    #[inline]
    fn ratio(&self, got: f64, expected: f64, scale: f64) -> f64 {
        let excess = (got - expected).abs() - self.per_value * expected.abs();
        // Not `max`, which would swallow the NaN that the difference of two infinities makes.
        let error = if excess < 0.0 { 0.0 } else { excess };
        error / (self.per_scale * scale + self.floor)
    }
}

impl Comparison {
    /// Nothing compared yet.
    pub const fn new(tolerance: &Tolerance) -> Self {
        Self {
            tolerance: *tolerance,
            checked: 0,
            failed: 0,
            counted: 0,
            squares: 0.0,
            worst: None,
            worst_failure: None,
        }
    }

    /// Compares the elements `first_index`, `first_index + 1`, …; as many as there are in all three slices.
    pub fn add(&mut self, dtype: DType, got: &[u8], expected: &[f64], scale: &[f64], first_index: u64) {
        let rule = Rule::new(&self.tolerance, dtype);
        let count = (dtype.elements_in(got.len() as u64) as usize).min(expected.len()).min(scale.len());
        let block_bytes = dtype.bytes_for(BLOCK as u64) as usize;
        let mut values = [0.0; BLOCK];
        let mut index = first_index;
        for ((bytes, expected), scale) in
            got.chunks(block_bytes).zip(expected[..count].chunks(BLOCK)).zip(scale[..count].chunks(BLOCK))
        {
            let values = &mut values[..expected.len()];
            dtype.decode(bytes, values);
            self.add_block(&rule, values, expected, scale, index);
            index += expected.len() as u64;
        }
    }

    fn add_block(&mut self, rule: &Rule, got: &[f64], expected: &[f64], scale: &[f64], first_index: u64) {
        self.checked += got.len() as u64;
        let known = self.worst.map_or(-1.0, |worst| worst.error_over_bound);
        // Whole blocks of equal values are the rule where equality is asked for, and need no second look.
        if self.tolerance.exact && known >= 0.0 && are_equal(rule.dtype, got, expected) {
            return;
        }
        let summary = if self.tolerance.exact || rule.per_scale <= 0.0 {
            None
        } else {
            summarise(rule, got, expected, scale)
        };
        match summary {
            Some((worst, counted, squares)) => {
                self.counted += counted;
                self.squares += squares;
                if worst <= known {
                    return;
                }
                self.look_closely(rule, got, expected, scale, first_index, false);
            }
            None => self.look_closely(rule, got, expected, scale, first_index, true),
        }
    }

    /// Goes through a block element by element: it has a new worst one, or one that needs a rule of its own.
    #[cold]
    #[inline(never)]
    fn look_closely(
        &mut self,
        rule: &Rule,
        got: &[f64],
        expected: &[f64],
        scale: &[f64],
        first_index: u64,
        count: bool,
    ) {
        for (offset, ((&got, &expected), &scale)) in got.iter().zip(expected).zip(scale).enumerate() {
            let (ratio, kind) = self.judge(rule, got, expected, scale);
            let element =
                Element { index: first_index + offset as u64, got, expected, error_over_bound: ratio };
            if self.worst.is_none_or(|worst| ratio > worst.error_over_bound) {
                self.worst = Some(element);
            }
            if ratio > 1.0 {
                self.failed += 1;
                if self
                    .worst_failure
                    .is_none_or(|known| (rank(kind), ratio) > (rank(known.0), known.1.error_over_bound))
                {
                    self.worst_failure = Some((kind, element));
                }
            }
            if count && scale > 0.0 && ratio.is_finite() {
                self.counted += 1;
                self.squares += ratio * ratio;
            }
        }
    }

    /// Error over bound of any two numbers, and what it would be called if it were too large.
    fn judge(&self, rule: &Rule, got: f64, expected: f64, scale: f64) -> (f64, MismatchKind) {
        let whether = |same: bool| if same { 0.0 } else { f64::INFINITY };
        if !expected.is_finite() {
            let same = (expected.is_nan() && got.is_nan()) || got.total_cmp(&expected).is_eq();
            return (whether(same), MismatchKind::NonFinite);
        }
        if self.tolerance.exact || rule.per_scale <= 0.0 {
            let rounded = rule.dtype.round(expected);
            let same = got.partial_cmp(&rounded).is_some_and(std::cmp::Ordering::is_eq);
            let kind = if got.is_finite() { MismatchKind::Value } else { MismatchKind::NonFinite };
            return (whether(same), kind);
        }
        if !(0.0..=f64::MAX).contains(&scale) {
            return (f64::INFINITY, MismatchKind::Oracle);
        }
        if got.is_finite() {
            // A type without infinity keeps its largest value instead.
            let limit = if rule.dtype.has_infinity() { f64::INFINITY } else { rule.dtype.largest() };
            return (rule.ratio(got, expected.clamp(-limit, limit), scale), MismatchKind::Value);
        }
        let overflows = expected.abs() + rule.per_scale * scale > rule.dtype.largest();
        let same_side = got.is_nan() || got.is_sign_negative() == expected.is_sign_negative();
        let as_type_says = got.is_nan() != rule.dtype.has_infinity();
        (whether(overflows && same_side && as_type_says), MismatchKind::NonFinite)
    }

    /// The element closest to, or furthest beyond, its bound; `None` before the first element.
    pub const fn worst(&self) -> Option<Element> {
        self.worst
    }

    /// Elements compared so far.
    pub const fn checked(&self) -> u64 {
        self.checked
    }

    /// Root mean square of the error in rounding errors of the compute type; 0 where nothing counted yet.
    pub fn rms_ulps(&self) -> f64 {
        if self.counted == 0 {
            0.0
        } else {
            (self.squares / self.counted as f64).sqrt() * self.tolerance.ulps
        }
    }

    /// `None` when everything added so far passes.
    pub fn verdict(&self) -> Option<Mismatch> {
        let judged =
            self.tolerance.rms_ulps > 0.0 && !self.tolerance.exact && self.counted >= RMS_MINIMUM_ELEMENTS;
        let allowed = if judged { self.tolerance.rms_ulps } else { 0.0 };
        let (kind, element) = match (self.worst_failure, self.worst) {
            (Some(failure), _) => failure,
            (None, Some(worst)) if judged && self.rms_ulps() > allowed => (MismatchKind::Precision, worst),
            _ => return None,
        };
        Some(Mismatch {
            kind,
            element,
            failed: self.failed,
            checked: self.checked,
            rms_ulps: self.rms_ulps(),
            rms_ulps_allowed: allowed,
        })
    }
}

/// Whether all values of a block are equal after rounding to the type; blocks with NaN are not said to be.
fn are_equal(dtype: DType, got: &[f64], expected: &[f64]) -> bool {
    let (mut bytes, mut rounded) = ([0u8; BLOCK * 8], [0.0; BLOCK]);
    let bytes = &mut bytes[..dtype.bytes_for(expected.len() as u64) as usize];
    dtype.encode(expected, bytes);
    dtype.decode(bytes, &mut rounded);
    got.iter().zip(&rounded).fold(true, |equal, (got, rounded)| equal & (got - rounded).abs().le(&0.0))
}

/// Which failure to name first: a broken oracle makes every other judgement void, and NaN says more than a large error.
const fn rank(kind: MismatchKind) -> u8 {
    match kind {
        MismatchKind::Oracle => 2,
        MismatchKind::NonFinite => 1,
        MismatchKind::Value | MismatchKind::Precision => 0,
    }
}

/// Largest ratio, counted elements and sum of squares of a block in which every element passes by the plain rule.
///
/// `None` when one does not, or when a scale is not usable: [`Comparison::judge`] then looks at each element.
fn summarise(rule: &Rule, got: &[f64], expected: &[f64], scale: &[f64]) -> Option<(f64, u64, f64)> {
    let (mut worst, mut squares, mut counted) = ([0.0f64; LANES], [0.0f64; LANES], [0.0f64; LANES]);
    let mut fine = [true; LANES];
    let mut lane = |lane: usize, got: f64, expected: f64, scale: f64| {
        let ratio = rule.ratio(got, expected, scale);
        fine[lane] &= ratio <= 1.0;
        fine[lane] &= scale >= 0.0;
        fine[lane] &= scale < f64::INFINITY;
        worst[lane] = if ratio > worst[lane] { ratio } else { worst[lane] };
        let weight = if scale > 0.0 { 1.0 } else { 0.0 };
        counted[lane] += weight;
        squares[lane] += weight * ratio * ratio;
    };
    let (got, got_rest) = got.as_chunks::<LANES>();
    let (expected, expected_rest) = expected.as_chunks::<LANES>();
    let (scale, scale_rest) = scale.as_chunks::<LANES>();
    for ((got, expected), scale) in got.iter().zip(expected).zip(scale) {
        for place in 0..LANES {
            lane(place, got[place], expected[place], scale[place]);
        }
    }
    for (place, ((&got, &expected), &scale)) in got_rest.iter().zip(expected_rest).zip(scale_rest).enumerate()
    {
        lane(place, got, expected, scale);
    }
    let all_fine = fine.iter().all(|&fine| fine);
    let largest = worst.iter().fold(0.0f64, |a, &b| a.max(b));
    all_fine.then(|| (largest, counted.iter().sum::<f64>() as u64, squares.iter().sum()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Distribution, fill};

    const F32: Tolerance = Tolerance { compute: DType::F32, ulps: 4.0, rms_ulps: 1.0, exact: false };

    fn compare(
        tolerance: &Tolerance,
        dtype: DType,
        got: &[f64],
        expected: &[f64],
        scale: &[f64],
    ) -> Comparison {
        let mut bytes = vec![0u8; dtype.bytes_for(got.len() as u64) as usize];
        dtype.encode(got, &mut bytes);
        let mut comparison = Comparison::new(tolerance);
        comparison.add(dtype, &bytes, expected, scale, 0);
        comparison
    }

    fn kind(tolerance: &Tolerance, dtype: DType, got: f64, expected: f64) -> Option<MismatchKind> {
        compare(tolerance, dtype, &[got], &[expected], &[expected.abs()])
            .verdict()
            .map(|mismatch| mismatch.kind)
    }

    /// Random values and the same values with their last bits rounded away.
    fn rounded(count: usize, precision: DType) -> (Vec<f64>, Vec<f64>) {
        let mut bytes = vec![0u8; count * 8];
        fill(DType::F64, &Distribution::STANDARD, 3, count, &mut bytes);
        let mut exact = vec![0.0; count];
        DType::F64.decode(&bytes, &mut exact);
        (exact.iter().map(|&value| precision.round(value)).collect(), exact)
    }

    #[test]
    fn the_worst_element_is_found_wherever_it_is() {
        let (got, expected) = rounded(5000, DType::F32);
        for place in [0, 7, 8, 255, 256, 4321, 4999] {
            let mut got = got.clone();
            got[place] += 1e-3;
            let mut bytes = vec![0u8; 20_000];
            DType::F32.encode(&got, &mut bytes);
            let mut comparison = Comparison::new(&F32);
            let scale = vec![1.0; 5000];
            comparison.add(DType::F32, &bytes[..4000], &expected[..1000], &scale[..1000], 100);
            comparison.add(DType::F32, &bytes[4000..], &expected[1000..], &scale[1000..], 1100);
            let mismatch = comparison.verdict().unwrap();
            assert_eq!((mismatch.kind, mismatch.element.index), (MismatchKind::Value, place as u64 + 100));
            assert_eq!((mismatch.failed, mismatch.checked), (1, 5000));
            assert!(
                (mismatch.element.error_over_bound - 1e-3 / (4.0 * DType::F32.unit_roundoff())).abs() < 10.0
            );
        }
    }

    #[test]
    fn non_finite_values_must_match_exactly() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let fails = |got, expected| kind(&F32, DType::F32, got, expected) == Some(MismatchKind::NonFinite);
        for (got, expected) in
            [(nan, 1.0), (inf, 1.0), (1.0, nan), (1.0, inf), (-inf, inf), (nan, inf), (inf, nan)]
        {
            assert!(fails(got, expected), "{got} {expected}");
            assert_eq!(kind(&Tolerance::EXACT, DType::F32, got, expected), Some(MismatchKind::NonFinite));
        }
        for same in [nan, inf, -inf] {
            assert_eq!(kind(&F32, DType::F32, same, same), None);
            assert_eq!(kind(&Tolerance::EXACT, DType::F32, same, same), None);
        }
    }

    #[test]
    fn a_result_too_large_for_the_type_may_be_infinite() {
        assert_eq!(kind(&F32, DType::F32, f64::INFINITY, 1e39), None);
        assert_eq!(kind(&F32, DType::F32, f64::NEG_INFINITY, 1e39), Some(MismatchKind::NonFinite));
        assert_eq!(kind(&F32, DType::F32, f64::NAN, 1e39), Some(MismatchKind::NonFinite));
        assert_eq!(kind(&F32, DType::F8E4M3FN, 448.0, 1e4), None);
        assert_eq!(kind(&F32, DType::F16, f64::INFINITY, 1e4), Some(MismatchKind::NonFinite));
    }

    #[test]
    fn exact_means_equal_after_rounding_and_knows_one_zero() {
        assert_eq!(kind(&Tolerance::EXACT, DType::F32, 0.1f32.into(), 0.1), None);
        assert_eq!(kind(&Tolerance::EXACT, DType::F32, -0.0, 0.0), None);
        assert_eq!(kind(&Tolerance::EXACT, DType::I32, 3.0, 4.0), Some(MismatchKind::Value));
        let next = f64::from(0.1f32.next_up());
        assert_eq!(kind(&Tolerance::EXACT, DType::F32, next, 0.1), Some(MismatchKind::Value));
    }

    #[test]
    fn a_lower_precision_is_caught_by_the_mean_alone() {
        let tolerance = Tolerance { compute: DType::F32, ulps: 1e6, rms_ulps: 1.0, exact: false };
        for (precision, expected) in [
            (DType::F32, None),
            (DType::Bf16, Some(MismatchKind::Precision)),
            (DType::F16, Some(MismatchKind::Precision)),
        ] {
            let (got, exact) = rounded(4096, precision);
            let scale: Vec<f64> = exact.iter().map(|value| value.abs()).collect();
            let comparison = compare(&tolerance, DType::F32, &got, &exact, &scale);
            assert_eq!(comparison.verdict().map(|mismatch| mismatch.kind), expected, "{precision}");
        }
        let (got, exact) = rounded(4096, DType::F32);
        let rms = compare(&F32, DType::F32, &got, &exact, &vec![1.0; 4096]).rms_ulps();
        assert!(rms > 0.05 && rms < 0.6, "{rms}");
    }

    #[test]
    fn rounding_to_coarse_storage_is_not_the_kernels_error() {
        for dtype in [DType::F16, DType::Bf16, DType::F8E4M3FN, DType::F8E5M2] {
            let (got, exact) = rounded(4096, dtype);
            let scale: Vec<f64> = exact.iter().map(|value| value.abs()).collect();
            assert_eq!(compare(&F32, dtype, &got, &exact, &scale).verdict(), None, "{dtype}");
        }
    }

    #[test]
    fn without_a_scale_only_flushing_to_zero_is_forgiven() {
        assert_eq!(compare(&F32, DType::F32, &[0.0], &[1e-39], &[0.0]).verdict(), None);
        assert!(compare(&F32, DType::F32, &[1e-30], &[0.0], &[0.0]).verdict().is_some());
    }

    #[test]
    fn a_broken_oracle_is_not_blamed_on_the_kernel() {
        for scale in [-1.0, f64::NAN, f64::INFINITY] {
            let mismatch = compare(&F32, DType::F32, &[1.0], &[1.0], &[scale]).verdict().unwrap();
            assert_eq!(mismatch.kind, MismatchKind::Oracle);
        }
    }

    proptest! {
        #[test]
        fn exchanging_got_and_expected_does_not_change_the_error(a: f32, b: f32, scale in 0.0f64..1e6) {
            prop_assume!(a.is_finite() && b.is_finite());
            let (a, b) = (f64::from(a), f64::from(b));
            let error = |got, expected| compare(&F32, DType::F32, &[got], &[expected], &[scale]).worst().unwrap();
            prop_assert!(error(a, b).error_over_bound.total_cmp(&error(b, a).error_over_bound).is_eq());
            prop_assert!(error(-a, -b).error_over_bound.total_cmp(&error(a, b).error_over_bound).is_eq());
            prop_assert!(error(a, a).error_over_bound.abs() < 1e-300);
        }

        #[test]
        fn the_bound_is_where_it_is_said_to_be(expected in -1e3f64..1e3, scale in 0.1f64..1e3, share in 0.0f64..2.0) {
            let bound = F32.ulps * DType::F32.unit_roundoff() * scale;
            prop_assume!((share - 1.0).abs() > 1e-6);
            let tolerance = Tolerance { rms_ulps: 0.0, ..F32 };
            let verdict = compare(&tolerance, DType::F64, &[expected + share * bound], &[expected], &[scale]).verdict();
            prop_assert_eq!(verdict.is_some(), share > 1.0);
        }

        #[test]
        fn who_is_nowhere_further_from_the_oracle_than_a_kernel_that_passes_passes_too(
            elements in proptest::collection::vec((-1e3f64..1e3, -1.0f64..1.0, 0.0f64..=1.0), 1..200)
        ) {
            let unit = F32.ulps * DType::F32.unit_roundoff();
            let expected: Vec<f64> = elements.iter().map(|(value, ..)| *value).collect();
            let scale: Vec<f64> = expected.iter().map(|value| value.abs()).collect();
            let off = |share: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
                elements.iter().map(|(value, error, part)| value + share(*error, *part) * unit * value.abs()).collect()
            };
            let (naive, closer) = (off(&|error, _| error), off(&|error, part| error * part));
            let verdict = |got: &[f64]| compare(&F32, DType::F64, got, &expected, &scale).verdict();
            prop_assume!(verdict(&naive).is_none());
            prop_assert_eq!(verdict(&closer), None);
        }

        #[test]
        fn sums_in_double_and_compensated_sums_pass_wherever_the_plain_loop_does(
            terms in proptest::collection::vec((-1.0f32..1.0, -1.0f32..1.0), 1..3000)
        ) {
            let products = || terms.iter().map(|(a, b)| (a * b, f64::from(*a) * f64::from(*b)));
            let exact: f64 = products().map(|(_, exact)| exact).sum();
            let scale: f64 = products().map(|(_, exact)| exact.abs()).sum();
            let plain: f32 = products().map(|(rounded, _)| rounded).sum();
            let (kahan, _) = products().fold((0.0_f32, 0.0_f32), |(sum, lost), (rounded, _)| {
                let term = rounded - lost;
                let next = sum + term;
                (next, (next - sum) - term)
            });
            let verdict = |got: f64| compare(&F32, DType::F32, &[got], &[exact], &[scale]).verdict();
            prop_assume!(verdict(f64::from(plain)).is_none());
            prop_assert_eq!(verdict(f64::from(exact as f32)), None);
            prop_assert_eq!(verdict(f64::from(kahan)), None);
        }
    }
}
