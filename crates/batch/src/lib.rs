//! Carries candidates to another machine and evidence back.
//!
//! [`Export`] collects candidates with everything that judging them takes, [`open_bundle`] unpacks them elsewhere, [`Handout`]
//! is the proposer that hands them to a search, [`write_result`] packs the runs that came of it, and [`open_result`] checks them
//! against the bundle. Both file formats are in `docs/batch.md`; the container is that of the experiment log.

mod bundle;
mod error;
mod export;
mod handout;
mod manifest;
mod result;
mod unpack;
mod verify;

pub use bundle::{Bundle, open_bundle, read_manifest};
pub use error::BatchError;
pub use export::{Export, Given};
pub use handout::Handout;
pub use manifest::{BATCH_FORMAT, Item, Job, Kernel, Manifest};
pub use result::{BUNDLE_FACT, JOB_FACT, Returned, ReturnedRun, write_result};
pub use unpack::{Holds, holds};
pub use verify::{Checked, CheckedRun, open_result};
