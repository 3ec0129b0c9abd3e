//! The subcommands, one file each.

pub(crate) mod audit;
pub(crate) mod batch;
pub(crate) mod bench;
pub(crate) mod brief;
pub(crate) mod config;
pub(crate) mod contract;
pub(crate) mod doctor;
pub(crate) mod evaluate;
pub(crate) mod isa;
pub(crate) mod llm;
pub(crate) mod log;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod resume;
pub(crate) mod rivals;
pub(crate) mod search;
pub(crate) mod skill;
pub(crate) mod static_only;
pub(crate) mod toolchain;
pub(crate) mod tree;
