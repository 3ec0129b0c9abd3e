//! How fast inputs are made and outputs are compared: `cargo run --release -p kernsmith-tensor --example speed`.
#![expect(clippy::print_stdout, reason = "the numbers are its output")]

use std::hint::black_box;
use std::time::Instant;

use kernsmith_tensor::{
    Comparison, DType, Distribution, Tolerance, fill, first_non_finite, first_poison, poison,
};

const ELEMENTS: usize = 4 << 20;

/// Best of five, in millions of elements and in gigabytes a second.
fn report(name: &str, bytes: usize, mut work: impl FnMut()) {
    let best = (0..5)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    let millions = ELEMENTS as f64 / best / 1e6;
    println!("{name:28} {millions:8.0} M elements/s {:7.2} GB/s", bytes as f64 / best / 1e9);
}

fn main() {
    let mut bytes = vec![0u8; ELEMENTS * 4];
    let cases = [
        Distribution::STANDARD,
        Distribution::Uniform { low: -1.0, high: 1.0 },
        Distribution::HeavyTail { scale: 1.0, degrees: 3.0 },
        Distribution::Spikes { std: 1.0, spike: 1e3, every: 64 },
        Distribution::ZeroRows { std: 1.0, every: 4 },
        Distribution::Integers { low: -8, high: 8 },
        Distribution::Zipf { count: 50_000, exponent: 1.0 },
    ];
    for distribution in &cases {
        let size = bytes.len();
        report(&format!("fill f32 {}", distribution.kind()), size, || {
            fill(DType::F32, distribution, 1, 1024, black_box(&mut bytes));
        });
    }
    for dtype in [DType::Bf16, DType::F16, DType::F8E4M3FN, DType::F4E2M1] {
        let size = dtype.bytes_for(ELEMENTS as u64) as usize;
        report(&format!("fill {dtype} normal"), size, || {
            fill(dtype, &Distribution::STANDARD, 1, 1024, black_box(&mut bytes[..size]));
        });
    }
    for variant in 0..2 {
        let size = bytes.len();
        report(&format!("poison f32 {variant}"), size, || {
            poison(DType::F32, variant, 1, black_box(&mut bytes));
        });
        fill(DType::F32, &Distribution::STANDARD, 1, 1024, &mut bytes);
        report(&format!("first_poison f32 {variant}"), size, || {
            black_box(first_poison(DType::F32, variant, 1, black_box(&bytes)));
        });
    }
    report("first_non_finite f32", bytes.len(), || {
        black_box(first_non_finite(DType::F32, black_box(&bytes)));
    });
    let mut expected = vec![0.0; ELEMENTS];
    DType::F32.decode(&bytes, &mut expected);
    let scale: Vec<f64> = expected.iter().map(|value: &f64| value.abs()).collect();
    let tolerance = Tolerance { compute: DType::F32, ulps: 4.0, rms_ulps: 1.0, exact: false };
    for (name, tolerance) in [("compare f32", tolerance), ("compare f32 exact", Tolerance::EXACT)] {
        report(name, bytes.len() * 5, || {
            let mut comparison = Comparison::new(&tolerance);
            comparison.add(DType::F32, black_box(&bytes), &expected, &scale, 0);
            black_box(comparison.verdict());
        });
    }
}
