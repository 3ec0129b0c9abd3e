//! The contracts below some roots, by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::document::nearest;
use crate::{Contract, ContractError};

/// The name of the file that makes a directory a contract.
pub(crate) const CONTRACT_FILE: &str = "contract.toml";

/// The contracts below some roots. Opening reads directory listings only; finding reads one contract.
#[derive(Debug, Clone, Default)]
pub struct Library {
    directories: BTreeMap<String, PathBuf>,
}

impl Library {
    /// Lists the roots. A root that does not exist holds nothing; where two hold the same name, the earlier root wins.
    pub fn open(roots: Vec<PathBuf>) -> Result<Self, ContractError> {
        let mut directories = BTreeMap::new();
        for root in roots {
            for directory in contract_directories(&root)? {
                if let Some(name) = directory.file_name().and_then(|name| name.to_str()) {
                    directories.entry(name.to_owned()).or_insert(directory);
                }
            }
        }
        Ok(Self { directories })
    }

    /// The names of all contracts, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.directories.keys().map(String::as_str)
    }

    /// Loads a contract by its name, by its directory or by its `contract.toml`.
    pub fn find(&self, name_or_path: &str) -> Result<Contract, ContractError> {
        if let Some(directory) = self.directories.get(name_or_path) {
            return Contract::load(directory);
        }
        let path = Path::new(name_or_path);
        if path.is_dir() {
            return Contract::load(path);
        }
        if path.ends_with(CONTRACT_FILE) && path.is_file() {
            return Contract::load(path.parent().unwrap_or(Path::new(".")));
        }
        Err(ContractError::Unknown { name: name_or_path.to_owned(), help: self.help(name_or_path) })
    }

    fn help(&self, name: &str) -> String {
        let known: Vec<&str> = self.names().collect();
        match nearest(name, &known) {
            Some(near) => format!("did you mean `{near}`? `kernsmith contract list` shows all"),
            None if known.is_empty() => {
                "no root holds a contract; `kernsmith contract new NAME` writes one".to_owned()
            }
            None => format!("known contracts: {}", known.join(", ")),
        }
    }
}

fn contract_directories(root: &Path) -> Result<Vec<PathBuf>, ContractError> {
    let file_error = |cause| ContractError::File { action: "read", path: root.to_owned(), cause };
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(file_error(cause)),
    };
    let mut directories = Vec::new();
    for entry in entries {
        let path = entry.map_err(file_error)?.path();
        if path.join(CONTRACT_FILE).is_file() {
            directories.push(path);
        }
    }
    Ok(directories)
}
