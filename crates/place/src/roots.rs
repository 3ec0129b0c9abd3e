//! Where a data folder is looked for.

use std::path::{Path, PathBuf};

/// Where a folder of that name may lie, whether it exists or not: below the working directory, below `$KERNSMITH_HOME`, and in
/// the source tree that the program was built from. Earlier ones win.
pub fn roots(folder: &str) -> Vec<PathBuf> {
    let home = std::env::var_os("KERNSMITH_HOME").map(PathBuf::from);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned);
    let bases = [Some(PathBuf::new()), home, source];
    bases.into_iter().flatten().map(|base| base.join(folder)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_working_directory_comes_first_and_the_source_tree_last() {
        let roots = roots("skills");
        assert_eq!(roots.first(), Some(&PathBuf::from("skills")));
        assert!(roots.last().is_some_and(|root| root.is_dir()), "{roots:?}");
    }
}
