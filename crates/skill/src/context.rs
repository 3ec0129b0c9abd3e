//! The operation that a template is rendered for, in words that need no contract crate.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One tensor argument of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorArgument {
    /// Its name in the contract.
    pub name: String,
    /// Its element type by the contract's word, such as `f32`.
    pub dtype: String,
    /// One expression over the axes for each dimension, as text.
    pub shape: Vec<String>,
}

/// One scalar argument of the kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalarArgument {
    /// Its name in the contract.
    pub name: String,
    /// Its type by the contract's word.
    pub dtype: String,
    /// The value that every workload uses.
    pub value: f64,
}

/// What a template may know about the operation; the caller fills it from the contract.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RenderContext {
    /// Name of the contract, such as `rmsnorm_f32`.
    pub contract: String,
    /// Its family, such as `elementwise`.
    pub family: String,
    /// Inputs in call order.
    pub inputs: Vec<TensorArgument>,
    /// Outputs in call order.
    pub outputs: Vec<TensorArgument>,
    /// Variable axes in call order; each arrives as `int64_t`.
    pub axes: Vec<String>,
    /// Values of the constant axes.
    pub constants: BTreeMap<String, i64>,
    /// Scalars in call order.
    pub scalars: Vec<ScalarArgument>,
    /// For each output of an elementwise operation: a C++ `float` expression over the names of inputs and scalars.
    pub elements: BTreeMap<String, String>,
}

impl RenderContext {
    /// A context that knows no more than the contract's name: enough for templates written for that contract.
    pub fn named(contract: &str) -> Self {
        Self { contract: contract.to_owned(), ..Self::default() }
    }

    /// Whether every output is given by an element expression and every tensor is `f32` and has the shape of the first
    /// output, or, for an input, a trailing part of it that is repeated over the leading dimensions.
    pub fn is_elementwise_f32(&self) -> bool {
        let Some(first) = self.outputs.first() else { return false };
        let f32s = self.inputs.iter().chain(&self.outputs).all(|tensor| tensor.dtype == "f32");
        let given = self.outputs.iter().all(|output| self.elements.contains_key(&output.name));
        let equal = self.outputs.iter().all(|output| output.shape == first.shape);
        let fits = self.inputs.iter().all(|input| first.shape.ends_with(&input.shape));
        f32s && given && equal && fits
    }

    /// Elements of the first output that 16 bytes hold, the widest access of one GPU thread; where only the contract's name is
    /// known, its ending says the type.
    pub fn lanes(&self) -> u32 {
        let named = || self.contract.rsplit('_').next().unwrap_or_default();
        match self.outputs.first().map_or_else(named, |output| output.dtype.as_str()) {
            "f64" | "i64" => 2,
            "f16" | "bf16" | "i16" => 8,
            "f8e4m3fn" | "f8e5m2" | "i8" | "u8" | "bool" => 16,
            _ => 4,
        }
    }

    /// An elementwise example for lint.
    pub(crate) fn elementwise_example() -> Self {
        let tensor = |name: &str| TensorArgument {
            name: name.to_owned(),
            dtype: "f32".to_owned(),
            shape: vec!["rows".to_owned(), "cols".to_owned()],
        };
        Self {
            contract: "example_f32".to_owned(),
            family: "elementwise".to_owned(),
            inputs: vec![tensor("x")],
            outputs: vec![tensor("y")],
            axes: vec!["rows".to_owned(), "cols".to_owned()],
            elements: BTreeMap::from([("y".to_owned(), "x * expf(x)".to_owned())]),
            ..Self::default()
        }
    }
}
