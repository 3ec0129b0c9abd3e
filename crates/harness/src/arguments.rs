//! Argument lists: of kernels, of the oracle's reference, of its invariants.

use kernsmith_core::Bindings;
use kernsmith_op_contract::Contract;
use kernsmith_tensor::DType;
use kernsmith_wire::{Batch, Word};

/// Where a tensor is in the worker, and what is added from call to call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pointer {
    pub(crate) first: u64,
    pub(crate) stride: u64,
}

impl Pointer {
    pub(crate) const fn fixed(first: u64) -> Self {
        Self { first, stride: 0 }
    }

    const fn word(self) -> Word {
        Word::Address { first: self.first, stride: self.stride }
    }
}

/// Calls of a kernel: inputs, outputs, variable axes, scalars, workspaces.
pub(crate) fn kernel(
    contract: &Contract,
    axes: &Bindings,
    symbol: u16,
    calls: u32,
    tensors: &[Pointer],
    workspaces: &[Pointer],
) -> Batch {
    let mut words: Vec<Word> = tensors.iter().map(|pointer| pointer.word()).collect();
    words.extend(axis_words(contract, axes));
    let mut floats = Vec::new();
    for scalar in &contract.scalars {
        match scalar.dtype {
            DType::F64 => floats.push(scalar.value.to_bits()),
            DType::F32 => floats.push(u64::from((scalar.value as f32).to_bits())),
            dtype => words.push(Word::Value(integer_class(dtype, scalar.value))),
        }
    }
    words.extend(workspaces.iter().map(|pointer| pointer.word()));
    Batch { symbol, calls, words, floats }
}

/// One slice of the reference: inputs, values and scale of each output, variable axes, scalars, begin, end.
pub(crate) fn reference(
    contract: &Contract,
    axes: &Bindings,
    symbol: u16,
    inputs: &[Pointer],
    answers: &[Pointer],
    slice: (u64, u64),
) -> Batch {
    let mut words: Vec<Word> = inputs.iter().chain(answers).map(|pointer| pointer.word()).collect();
    words.extend(axis_words(contract, axes));
    words.extend([Word::Value(slice.0), Word::Value(slice.1)]);
    Batch { symbol, calls: 1, words, floats: doubles(contract) }
}

/// One invariant: inputs, outputs, variable axes, scalars.
pub(crate) fn invariant(contract: &Contract, axes: &Bindings, symbol: u16, tensors: &[Pointer]) -> Batch {
    let mut words: Vec<Word> = tensors.iter().map(|pointer| pointer.word()).collect();
    words.extend(axis_words(contract, axes));
    Batch { symbol, calls: 1, words, floats: doubles(contract) }
}

/// Calls of any function that takes pointers and then numbers.
pub(crate) fn plain(symbol: u16, calls: u32, tensors: &[Pointer], numbers: &[u64]) -> Batch {
    let mut words: Vec<Word> = tensors.iter().map(|pointer| pointer.word()).collect();
    words.extend(numbers.iter().map(|number| Word::Value(*number)));
    Batch { symbol, calls, words, floats: Vec::new() }
}

fn axis_words(contract: &Contract, axes: &Bindings) -> Vec<Word> {
    let value = |name: &str| axes.get(name).copied().unwrap_or(0);
    contract.variable_axes().into_iter().map(|name| Word::Value(value(name) as u64)).collect()
}

fn doubles(contract: &Contract) -> Vec<u64> {
    contract.scalars.iter().map(|scalar| scalar.value.to_bits()).collect()
}

/// A scalar that travels in an integer register, sign-extended; narrow floats travel as raw words.
fn integer_class(dtype: DType, value: f64) -> u64 {
    let mut bytes = [0_u8; 8];
    let length = dtype.bytes_for(1) as usize;
    dtype.encode(&[value], &mut bytes[..length]);
    let raw = u64::from_le_bytes(bytes);
    match dtype {
        DType::I32 => i64::from(raw as u32 as i32) as u64,
        DType::I16 => i64::from(raw as u16 as i16) as u64,
        DType::I8 => i64::from(raw as u8 as i8) as u64,
        _ => raw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_integers_are_sign_extended() {
        assert_eq!(integer_class(DType::I32, -3.0), (-3_i64) as u64);
        assert_eq!(integer_class(DType::I8, -1.0), u64::MAX);
        assert_eq!(integer_class(DType::U8, 200.0), 200);
        assert_eq!(integer_class(DType::F16, 1.0), 0x3c00);
    }
}
