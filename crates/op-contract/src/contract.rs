//! What a contract holds, and the questions that others ask of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use kernsmith_core::{Bindings, Digest, Expr, ExprError, Plan, Target};
use kernsmith_tensor::{DType, Distribution, Tolerance};

use crate::ContractError;
use crate::library::CONTRACT_FILE;

/// The newest contract format that this version reads.
pub(crate) const CONTRACT_FORMAT: i64 = 1;
/// The name of the file with notes.
pub(crate) const NOTES_FILE: &str = "README.md";

/// The known families with what each means; skills choose their templates by family.
pub const FAMILIES: &[(&str, &str)] = &[
    ("elementwise", "each output element depends on the input elements at the same index"),
    ("row_reduction", "each output row depends on one input row through sums or maxima over it"),
    ("scan", "each output element depends on all elements before it in its row"),
    ("transpose", "elements move and do not change"),
    ("gemm", "matrix product"),
    ("attention", "weighted means of values, with the softmax of scores as weights"),
];

/// The platforms for which a baseline may be written; the part of a target before the dash.
pub const PLATFORMS: &[&str] = &["cpu", "cuda", "hip"];

/// One operation: interface, meaning, inputs, costs, tolerances and baselines.
#[derive(Debug, Clone)]
pub struct Contract {
    /// Its name, a C identifier that is also the directory's name, such as `rmsnorm_f32`.
    pub name: String,
    /// Its version; raised when results of older versions no longer compare.
    pub version: u32,
    /// One of [`FAMILIES`].
    pub family: String,
    /// One or two sentences: the exact formula and its rounding order.
    pub summary: String,
    /// Where it was read from.
    pub directory: PathBuf,
    /// The content address of `contract.toml`, the oracle's source and every baseline's source, with their names.
    pub digest: Digest,
    /// The axes in call order.
    pub axes: Vec<Axis>,
    /// The inputs in call order.
    pub inputs: Vec<TensorSpec>,
    /// The outputs in call order.
    pub outputs: Vec<TensorSpec>,
    /// The scalar arguments in call order.
    pub scalars: Vec<Scalar>,
    /// What holds for the axes of every legal call.
    pub constraints: Vec<Expr>,
    /// The input distributions with which candidates are verified.
    pub cases: Vec<Case>,
    /// The shapes.
    pub workloads: Vec<Workload>,
    /// How far an output element may be from the oracle's.
    pub tolerance: Tolerance,
    /// Floating-point operations of one call.
    pub flops: Expr,
    /// Compulsory memory traffic of one call in bytes: each input read once, each output written once.
    pub bytes: Expr,
    /// The fp64 reference.
    pub oracle: Oracle,
    /// The laws that hold for every right output.
    pub invariants: Vec<Invariant>,
    /// What candidates are measured against.
    pub baselines: Vec<Baseline>,
    /// Whether two runs on one input must agree bit for bit.
    pub deterministic: bool,
    /// Instruction families that every binary must contain, keyed by target or platform.
    pub expected_instructions: BTreeMap<String, Vec<String>>,
    /// Words that a candidate's source may not contain, such as the names of vendor calls.
    pub forbidden: Vec<String>,
    /// For element-wise operations: per output, the C++ expression over the input and scalar names as `float`s.
    ///
    /// It states what the baseline computes so that generic templates can be filled in; the harness never trusts it.
    pub element: Option<BTreeMap<String, String>>,
    /// The text of `README.md`, empty when there is none; not part of the digest.
    pub notes: String,
}

/// One dimension name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    /// Its name, a C identifier.
    pub name: String,
    /// Whether it is an argument or a constant.
    pub kind: AxisKind,
    /// What it means; may be empty.
    pub summary: String,
}

/// Whether an axis is an argument of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AxisKind {
    /// Passed to the kernel as an `int64_t`.
    Variable,
    /// The same in every workload; not passed.
    Const(i64),
}

/// One tensor argument, dense and row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name, a C identifier.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its extents, slowest first; empty for a single element.
    pub shape: Vec<Expr>,
    /// The alignment in bytes that the caller guarantees for its base address.
    pub alignment_bytes: u32,
    /// For integers that are positions in another tensor: how many positions there are.
    pub limit: Option<Expr>,
}

/// One scalar argument, the same in every call.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    /// Its name, a C identifier.
    pub name: String,
    /// Its type in the kernel's signature; oracle and invariants take it as `double`.
    pub dtype: DType,
    /// Its value.
    pub value: f64,
}

/// One way to fill the inputs.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The distribution of each input, by the input's name; every input is present.
    pub inputs: BTreeMap<String, Distribution>,
}

/// What a workload is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Timed and verified; known to proposers.
    Bench,
    /// Verified; known to proposers.
    Verify,
    /// Verified; never shown to a proposer.
    HeldOut,
}

/// One shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its share in the weighted geometric mean; positive for bench workloads, 0 for others.
    pub weight: f64,
    /// The value of every axis, constant axes included.
    pub axes: Bindings,
    /// The [`PLATFORMS`] that it is for; empty: all of them.
    pub platforms: Vec<String>,
}

/// The fp64 reference, run in a process of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oracle {
    /// The C++ text; it also holds the invariants.
    pub source: String,
    /// The name of its file in the contract's directory.
    pub file: String,
    /// The exported function.
    pub symbol: String,
    /// The axis that is the leading dimension of every output; oracle calls compute slices along it.
    pub partition_axis: String,
}

/// A law of the operation, exported by the oracle's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invariant {
    /// Its name, for messages.
    pub name: String,
    /// The exported function.
    pub symbol: String,
}

/// What a candidate is compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    /// Its name.
    pub name: String,
    /// Its text.
    pub source: String,
    /// The name of its file in the contract's directory.
    pub file: String,
    /// How it is called.
    pub plan: Plan,
    /// One of [`PLATFORMS`].
    pub target_platform: String,
    /// Libraries that it is linked with, without the `lib` prefix.
    pub link: Vec<String>,
    /// Whether it is the reference point of every ratio.
    pub role: BaselineRole,
    /// What it is, in one sentence; may be empty.
    pub summary: String,
}

/// What a baseline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaselineRole {
    /// Measured first; every ratio is against it. At most one per platform.
    Frozen,
    /// Measured for comparison where it can be built.
    Rival,
}

impl Role {
    /// The word used in contract files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bench => "bench",
            Self::Verify => "verify",
            Self::HeldOut => "held_out",
        }
    }
}

impl Baseline {
    /// Whether it is a function of a Python file, which the harness calls through the libraries that it names.
    pub fn is_python(&self) -> bool {
        std::path::Path::new(&self.file).extension().is_some_and(|extension| extension == "py")
    }
}

impl BaselineRole {
    /// The word used in contract files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Rival => "rival",
        }
    }
}

impl Workload {
    /// Whether it is measured and verified on a platform.
    pub fn is_for(&self, platform: &str) -> bool {
        self.platforms.is_empty() || self.platforms.iter().any(|known| known == platform)
    }
}

impl Contract {
    /// The target on which the contract can be tried: this machine's processor where a baseline is written for one, or where
    /// there is none at all; otherwise a common architecture of the first baseline's platform.
    pub fn target_hint(&self) -> Target {
        let platform = self.baselines.first().map_or("cpu", |baseline| baseline.target_platform.as_str());
        match platform {
            "cuda" if self.baselines_for("cpu").next().is_none() => Target::Cuda("sm_90a".to_owned()),
            "hip" if self.baselines_for("cpu").next().is_none() => Target::Hip("gfx950".to_owned()),
            _ => Target::host(),
        }
    }

    /// The axes that are arguments of the kernel, in call order.
    pub fn variable_axes(&self) -> Vec<&str> {
        let variable = self.axes.iter().filter(|axis| axis.kind == AxisKind::Variable);
        variable.map(|axis| axis.name.as_str()).collect()
    }

    /// The contract without the workloads that are not for this platform; the digest stays.
    #[must_use]
    pub fn for_platform(self: Arc<Self>, platform: &str) -> Arc<Self> {
        if self.workloads.iter().all(|workload| workload.is_for(platform)) {
            return self;
        }
        let mut contract = Arc::unwrap_or_clone(self);
        contract.workloads.retain(|workload| workload.is_for(platform));
        Arc::new(contract)
    }

    /// How an input is drawn in a case at a shape; the standard Gaussian where the case has no such input.
    pub fn distribution(
        &self,
        case: &Case,
        input: &TensorSpec,
        axes: &Bindings,
    ) -> Result<Distribution, ExprError> {
        let drawn = case.inputs.get(&input.name).copied().unwrap_or(Distribution::STANDARD);
        Ok(match &input.limit {
            Some(limit) => drawn.with_limit(extent(std::slice::from_ref(limit), axes)?),
            None => drawn,
        })
    }

    /// The files that the contract is made of, as they are on disk now, and its README where it has one: name and bytes.
    pub fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, ContractError> {
        let baselines = self.baselines.iter().map(|baseline| baseline.file.as_str());
        let mut names: BTreeSet<&str> = baselines.chain([CONTRACT_FILE, self.oracle.file.as_str()]).collect();
        if !self.notes.is_empty() {
            names.insert(NOTES_FILE);
        }
        let read = |name: &str| {
            let path = self.directory.join(name);
            let bytes = std::fs::read(&path);
            let bytes = bytes.map_err(|cause| ContractError::File { action: "read", path, cause })?;
            Ok((name.to_owned(), bytes))
        };
        names.into_iter().map(read).collect()
    }

    /// The workloads of one role, in file order.
    pub fn workloads(&self, role: Role) -> impl Iterator<Item = &Workload> {
        self.workloads.iter().filter(move |workload| workload.role == role)
    }

    /// The baselines of one platform, in file order.
    pub fn baselines_for(&self, platform: &str) -> impl Iterator<Item = &Baseline> {
        self.baselines.iter().filter(move |baseline| baseline.target_platform == platform)
    }

    /// The baseline that every ratio on this platform is against.
    pub fn frozen_baseline(&self, platform: &str) -> Option<&Baseline> {
        self.baselines_for(platform).find(|baseline| baseline.role == BaselineRole::Frozen)
    }

    /// The number of elements of a tensor.
    pub fn elements(&self, tensor: &TensorSpec, axes: &Bindings) -> Result<u64, ExprError> {
        extent(&tensor.shape, axes)
    }

    /// The size of a tensor in bytes.
    pub fn tensor_bytes(&self, tensor: &TensorSpec, axes: &Bindings) -> Result<u64, ExprError> {
        Ok(tensor.dtype.bytes_for(self.elements(tensor, axes)?))
    }

    /// The length of the innermost dimension in elements, 1 for a single element; what distributions call a row.
    pub fn row_elements(&self, tensor: &TensorSpec, axes: &Bindings) -> Result<u64, ExprError> {
        extent(tensor.shape.last().map(std::slice::from_ref).unwrap_or_default(), axes)
    }

    /// The length of the partition axis: oracle slices are within `0..` this.
    pub fn partition_extent(&self, axes: &Bindings) -> Result<u64, ExprError> {
        let partition = Expr::parse(&self.oracle.partition_axis)?;
        extent(&[partition], axes)
    }

    /// The number of output elements that belong to one step of the partition axis.
    pub fn slice_elements(&self, output: &TensorSpec, axes: &Bindings) -> Result<u64, ExprError> {
        extent(output.shape.get(1..).unwrap_or_default(), axes)
    }

    /// Bytes that a call must move at least: every input read once, every output written once.
    pub fn compulsory_bytes(&self, axes: &Bindings) -> Result<u64, ExprError> {
        let tensors = self.inputs.iter().chain(&self.outputs);
        tensors.map(|tensor| self.tensor_bytes(tensor, axes)).sum()
    }

    /// Whether every constraint holds.
    pub fn is_legal(&self, axes: &Bindings) -> Result<bool, ExprError> {
        for constraint in &self.constraints {
            if !constraint.holds(axes)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The C declaration that a kernel must have, for prompts and messages.
    pub fn signature(&self, symbol: &str) -> String {
        let inputs =
            self.inputs.iter().map(|tensor| format!("const {}* {}", c_type(tensor.dtype), tensor.name));
        let outputs = self.outputs.iter().map(|tensor| format!("{}* {}", c_type(tensor.dtype), tensor.name));
        let axes = self.variable_axes().into_iter().map(|name| format!("int64_t {name}"));
        let scalars = self.scalars.iter().map(|scalar| format!("{} {}", c_type(scalar.dtype), scalar.name));
        let arguments: Vec<String> = inputs.chain(outputs).chain(axes).chain(scalars).collect();
        format!("extern \"C\" void {symbol}({})", arguments.join(", "))
    }

    /// For element-wise contracts with `[element]`: the number of elements as an expression over the axes.
    pub fn element_count(&self) -> Option<String> {
        self.element.as_ref()?;
        let shape = &self.outputs.first()?.shape;
        let factors: Vec<String> = shape.iter().map(|extent| format!("({extent})")).collect();
        Some(if factors.is_empty() { "1".to_owned() } else { factors.join(" * ") })
    }
}

/// The product of extents; a negative extent or an overflow is a range error.
pub(crate) fn extent(shape: &[Expr], axes: &Bindings) -> Result<u64, ExprError> {
    let mut product = 1_u64;
    for expr in shape {
        let range = || ExprError::Range { text: expr.text().to_owned(), bindings: format!("{axes:?}") };
        let value = u64::try_from(expr.eval(axes)?).map_err(|_| range())?;
        product =
            product.checked_mul(value).filter(|total| *total <= i64::MAX as u64 / 16).ok_or_else(range)?;
    }
    Ok(product)
}

/// The C++ type by which a kernel sees elements; packed and narrow floats are seen as raw words.
const fn c_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "double",
        DType::F32 => "float",
        DType::F16 | DType::Bf16 => "uint16_t",
        DType::I64 => "int64_t",
        DType::I32 => "int32_t",
        DType::I16 => "int16_t",
        DType::I8 => "int8_t",
        _ => "uint8_t",
    }
}
