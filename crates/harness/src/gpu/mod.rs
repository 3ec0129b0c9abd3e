//! Judging candidates for an NVIDIA GPU.
//!
//! A GPU candidate is device code and a launch plan, so the frame of the CPU harness holds with less to defend: no foreign host
//! code, no threads, no files. `worker` is the process that owns a context, `lanes` says where tensors lie in it, `resolve` turns
//! a plan into launches, `runner` is a loaded code object, `checked` a call that is looked at from all sides, `clock` times,
//! `gates/` are the gates that need a device, `fixed` those that need none, and `harness` runs them in order.

mod ceilings;
mod checked;
mod clock;
mod fixed;
mod gates;
mod harness;
mod lanes;
mod resolve;
mod rivals;
mod runner;
mod sheet;
mod timed;
mod trial;
mod worker;

pub use harness::{GpuFacts, gpu_facts, gpu_target};
pub(crate) use harness::{Inner, evaluate_fully, freeze, judge, open, prepare, rivals_of_baseline};
