//! Writes a new contract.

use std::path::{Path, PathBuf};

use crate::ContractError;
use crate::parse::is_contract_name;

/// The files of a new contract; `@NAME@` stands for its name.
const FILES: [(&str, &str); 4] = [
    ("contract.toml", include_str!("../scaffold/contract.toml")),
    ("reference.cpp", include_str!("../scaffold/reference.cpp")),
    ("scalar.cpp", include_str!("../scaffold/scalar.cpp")),
    ("README.md", include_str!("../scaffold/README.md")),
];

/// Writes a complete element-wise example contract called `name` below `root` and returns its directory.
///
/// Refuses to touch anything that exists.
pub fn scaffold(name: &str, root: &Path) -> Result<PathBuf, ContractError> {
    if !is_contract_name(name) {
        return Err(ContractError::BadName { name: name.to_owned() });
    }
    let directory = root.join(name);
    let file_error =
        |path: &Path, cause| ContractError::File { action: "write", path: path.to_owned(), cause };
    std::fs::create_dir_all(root).map_err(|cause| file_error(root, cause))?;
    match std::fs::create_dir(&directory) {
        Ok(()) => {}
        Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(ContractError::Exists { path: directory });
        }
        Err(cause) => return Err(file_error(&directory, cause)),
    }
    for (file, template) in FILES {
        let path = directory.join(file);
        std::fs::write(&path, template.replace("@NAME@", name)).map_err(|cause| file_error(&path, cause))?;
    }
    Ok(directory)
}
