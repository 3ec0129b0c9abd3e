//! The stricter harness: no gate left out, more of every output compared, and shapes that are in no contract file.

use std::sync::Arc;

use kernsmith_core::{Bindings, Digest};
use kernsmith_harness::{Harness, HarnessOptions};
use kernsmith_op_contract::{AxisKind, Contract, Role, Workload};

use crate::error::CliError;
use crate::session::Bench;

/// Shapes that are added.
const MORE_SHAPES: usize = 16;
/// Draws until enough of them are legal and small.
const MAX_DRAWS: u64 = 2000;
/// Compulsory traffic of an added shape, at most.
const MAX_BYTES: u64 = 4 << 20;
/// How much more of a sampled output is compared.
const MORE_ELEMENTS: u64 = 4;

/// A strict harness for a contract; seeds of inputs are drawn from the system.
pub(super) fn open(bench: &Bench, contract: &Contract, seed: u64) -> Result<Harness, CliError> {
    let usual = bench.harness_options()?;
    let defaults = HarnessOptions::default();
    let options = HarnessOptions {
        skip: Vec::new(),
        cold_cache: true,
        oracle_elements_max: defaults.oracle_elements_max * MORE_ELEMENTS,
        oracle_flops_max: defaults.oracle_flops_max * MORE_ELEMENTS as f64,
        rivals: false,
        ..usual
    };
    bench.harness_with(Arc::new(widened(contract, bench.target.platform(), seed)), options)
}

/// The contract with more shapes to verify: near the known ones, and between the smallest and the largest.
fn widened(contract: &Contract, platform: &str, seed: u64) -> Contract {
    let bases: Vec<&Workload> =
        contract.workloads.iter().filter(|workload| workload.is_for(platform)).collect();
    let mut wide = contract.clone();
    let variable: Vec<&str> = contract
        .axes
        .iter()
        .filter(|axis| axis.kind == AxisKind::Variable)
        .map(|axis| axis.name.as_str())
        .collect();
    for draw in 0..MAX_DRAWS {
        if wide.workloads.len() == contract.workloads.len() + MORE_SHAPES {
            break;
        }
        let mut dice = Dice::new(seed, draw);
        let Some(base) = bases.get(dice.below(bases.len() as u64) as usize) else { break };
        let mut axes: Bindings = base.axes.clone();
        for name in &variable {
            if let Some(value) = axes.get_mut(*name) {
                *value = vary(*value, &mut dice);
            }
        }
        let known = wide.workloads.iter().any(|workload| workload.axes == axes);
        let small = wide.compulsory_bytes(&axes).is_ok_and(|bytes| bytes <= MAX_BYTES);
        if !known && small && wide.is_legal(&axes).unwrap_or(false) {
            let name = format!("audit_{}", wide.workloads.len() - contract.workloads.len());
            wide.workloads.push(Workload {
                name,
                role: Role::Verify,
                weight: 0.0,
                axes,
                platforms: Vec::new(),
            });
        }
    }
    wide
}

/// A step beside a value, a part of it, or any smaller one.
fn vary(value: i64, dice: &mut Dice) -> i64 {
    let any = |dice: &mut Dice, most: i64| dice.below(most.max(0) as u64 + 1) as i64;
    match dice.below(4) {
        0 => value,
        1 => value + any(dice, 4) - 2,
        2 => value / 2 + any(dice, value / 2),
        _ => any(dice, value.min(2048)),
    }
}

/// Numbers out of a seed, the same for the same seed.
struct Dice {
    seed: [u8; 16],
    drawn: u64,
}

impl Dice {
    fn new(seed: u64, draw: u64) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..].copy_from_slice(&draw.to_le_bytes());
        Self { seed: bytes, drawn: 0 }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.drawn += 1;
        let digest = Digest::of_parts([self.seed.as_slice(), self.drawn.to_le_bytes().as_slice()]);
        u64::from_le_bytes(std::array::from_fn(|index| digest.bytes()[index])) % end.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_shapes_are_legal_new_small_and_the_same_for_a_seed() {
        for name in crate::session::audit::tests::CONTRACTS {
            let contract = crate::session::audit::tests::contract(name);
            let wide = widened(&contract, "cpu", 7);
            let added = &wide.workloads[contract.workloads.len()..];
            assert!(added.len() >= 8, "{name}: {}", added.len());
            for workload in added {
                assert!(wide.is_legal(&workload.axes).unwrap(), "{name}: {:?}", workload.axes);
                assert!(contract.workloads.iter().all(|known| known.axes != workload.axes));
                assert_eq!((workload.role, workload.weight > 0.0), (Role::Verify, false));
            }
            assert_eq!(added, &widened(&contract, "cpu", 7).workloads[contract.workloads.len()..]);
        }
    }
}
