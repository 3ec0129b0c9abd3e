//! What a template may know about a contract.

use kernsmith_op_contract::{AxisKind, Contract, TensorSpec};
use kernsmith_skill::{RenderContext, ScalarArgument, TensorArgument};

/// The contract in the words of a template: interface, constants and element expressions, no shapes of workloads.
pub fn render_context(contract: &Contract) -> RenderContext {
    let constants = contract.axes.iter().filter_map(|axis| match axis.kind {
        AxisKind::Const(value) => Some((axis.name.clone(), value)),
        AxisKind::Variable => None,
    });
    let variable = contract.axes.iter().filter(|axis| axis.kind == AxisKind::Variable);
    RenderContext {
        contract: contract.name.clone(),
        family: contract.family.clone(),
        inputs: contract.inputs.iter().map(tensor).collect(),
        outputs: contract.outputs.iter().map(tensor).collect(),
        axes: variable.map(|axis| axis.name.clone()).collect(),
        constants: constants.collect(),
        scalars: contract
            .scalars
            .iter()
            .map(|scalar| ScalarArgument {
                name: scalar.name.clone(),
                dtype: scalar.dtype.to_string(),
                value: scalar.value,
            })
            .collect(),
        elements: contract.element.clone().unwrap_or_default(),
    }
}

fn tensor(spec: &TensorSpec) -> TensorArgument {
    TensorArgument {
        name: spec.name.clone(),
        dtype: spec.dtype.to_string(),
        shape: spec.shape.iter().map(|extent| extent.text().to_owned()).collect(),
    }
}
