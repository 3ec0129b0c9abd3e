//! Where isa-corpus/ is looked for.

use std::path::{Path, PathBuf};

/// The folder that holds the corpus.
pub const FOLDER: &str = "isa-corpus";

/// The first folder called `isa-corpus` with a manifest: below the working directory, below `$KERNSMITH_HOME`, or in the
/// source tree that the program was built from.
pub fn default_root() -> Option<PathBuf> {
    let home = std::env::var_os("KERNSMITH_HOME").map(PathBuf::from);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned);
    let bases = [Some(PathBuf::new()), home, source];
    let mut roots = bases.into_iter().flatten().map(|base| base.join(FOLDER));
    roots.find(|root| root.join("manifest.json").is_file())
}
