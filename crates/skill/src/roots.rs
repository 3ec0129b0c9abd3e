//! Where skills/ is looked for.

use std::path::{Path, PathBuf};

/// The folders called `skills` that exist: below the working directory, below `$KERNSMITH_HOME`, and in the source tree that
/// the program was built from. Earlier ones win.
pub fn default_roots() -> Vec<PathBuf> {
    let home = std::env::var_os("KERNSMITH_HOME").map(PathBuf::from);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned);
    let bases = [Some(PathBuf::new()), home, source];
    let mut roots: Vec<PathBuf> = bases.into_iter().flatten().map(|base| base.join("skills")).collect();
    roots.retain(|root| root.is_dir());
    roots
}
