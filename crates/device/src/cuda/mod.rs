//! Device code on NVIDIA GPUs, through the driver alone.
//!
//! `driver` finds the driver and names what fails, `context` is one device with one stream, `memory` places tensors between
//! ranges that fault, `module` loads code objects, `launch` starts kernels, `sensor`
//! asks for clocks, power and temperature. The driver is loaded when it is first used:
//! without one, [`Driver::open`] says so and nothing panics.

mod context;
mod driver;
mod launch;
mod memory;
mod module;
mod sensor;

pub use context::{Context, Event};
pub use driver::{CudaError, DeviceInfo, Driver};
pub use launch::{Element, Graph, KernelCall, Map, Promotion, Swizzle, TensorMapBytes};
pub use memory::{HostPool, Range};
pub use module::{Function, FunctionInfo, Module};
pub use sensor::{Sample, Sensor};
