//! The one integration-test binary: the command from outside, the ports' conformance, and the house rules.

mod adversarial;
mod architecture;
mod batch;
mod bench;
mod conformance;
mod contracts;
mod cuda;
mod cuda_skills;
mod evaluate;
mod fuzzed;
mod gpu;
mod gpu_host;
mod isa;
mod llm;
mod memory;
mod resilience;
mod rivals;
mod search;
mod siege;
mod support;
mod toolchain;
