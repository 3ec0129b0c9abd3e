//! The gates of a GPU candidate that need its device, one file each; those that need none are in `crate::gpu::fixed`.

pub(crate) mod correctness;
pub(crate) mod dense;
pub(crate) mod phase;
pub(crate) mod plausibility;
pub(crate) mod quiescence;
pub(crate) mod smoke;
pub(crate) mod timing;
