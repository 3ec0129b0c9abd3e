//! Where isa-corpus/ is looked for.

use std::path::PathBuf;

/// The folder that holds the corpus.
pub const FOLDER: &str = "isa-corpus";

/// The first folder called `isa-corpus` with a manifest: below the working directory, below `$KERNSMITH_HOME`, or in the
/// source tree that the program was built from.
pub fn default_root() -> Option<PathBuf> {
    kernsmith_place::roots(FOLDER).into_iter().find(|root| root.join("manifest.json").is_file())
}
