//! Reads op-contracts/: what an operation is.
//!
//! A contract is a directory with a `contract.toml`, the fp64 oracle (`reference.cpp`), the sources of its
//! baselines and a `README.md` with notes. [`Contract::load`] reads one and reports every independent mistake in one
//! go, each with file, line, field and remedy; [`Contract::lint`] says where a legal contract is weak;
//! [`scaffold`] writes a new one that is usable at once. The written format is described in `docs/contract-format.md`.
//!
//! **Invariant:** a contract that loaded has a value for every shape, cost and constraint at every workload.

mod contract;
mod document;
mod error;
mod library;
mod lint;
mod parse;
mod roots;
mod scaffold;
#[cfg(test)]
mod tests;

pub use contract::{
    Axis, AxisKind, Baseline, BaselineRole, Case, Contract, FAMILIES, Invariant, Oracle, PLATFORMS, Role,
    Scalar, TensorSpec, Workload,
};
pub use error::{ContractError, Problem};
pub use library::Library;
pub use lint::{Finding, Severity};
pub use roots::{FOLDER, default_roots};
pub use scaffold::scaffold;
