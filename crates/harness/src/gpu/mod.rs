//! Judging candidates for an NVIDIA GPU.
//!
//! A GPU candidate is device code and a launch plan, so the frame of the CPU harness holds with less to defend: no foreign host
//! code, no threads, no files. `worker` is the process that owns a context, `lanes` says where tensors lie in it, `resolve` turns
//! a plan into launches, `runner` is a loaded code object, `checked` a call that is looked at from all sides, `ahead` draws sheets of
//! such calls while the device is busy and `exam` runs them, `resident` keeps timed content on the device, `clock` times, `gates/` are the gates that need a device, `fixed` those that need none, and `harness` runs them in order.

mod ahead;
mod ceilings;
mod checked;
mod clock;
mod exam;
mod fixed;
mod gates;
mod harness;
mod lanes;
mod resident;
mod resolve;
mod rivals;
mod runner;
mod sensed;
mod sheet;
mod timed;
mod tool_logs;
mod tools;
mod trial;
mod worker;

pub use harness::{GpuFacts, gpu_facts, gpu_target};
pub(crate) use harness::{Inner, evaluate_fully, freeze, judge, open, prepare, rivals_of_baseline};
pub use tools::Tool;
pub(crate) use tools::watch;
