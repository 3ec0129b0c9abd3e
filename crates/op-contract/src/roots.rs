//! Where op-contracts/ is looked for.

use std::path::PathBuf;

/// The folder that holds contracts.
pub const FOLDER: &str = "op-contracts";

/// The folders called `op-contracts` that exist: below the working directory, below `$KERNSMITH_HOME`, and in the source tree that
/// the program was built from. Earlier ones win.
pub fn default_roots() -> Vec<PathBuf> {
    kernsmith_place::roots(FOLDER).into_iter().filter(|root| root.is_dir()).collect()
}
