//! Where skills/ is looked for.

use std::path::PathBuf;

/// The folders called `skills` that exist: below the working directory, below `$KERNSMITH_HOME`, and in the source tree that
/// the program was built from. Earlier ones win.
pub fn default_roots() -> Vec<PathBuf> {
    kernsmith_place::roots("skills").into_iter().filter(|root| root.is_dir()).collect()
}
