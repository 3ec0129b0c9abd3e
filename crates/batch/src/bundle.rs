//! Opening a bundle: everything is verified before anything is judged.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernsmith_core::{Digest, Plan};
use kernsmith_op_contract::Contract;

use crate::error::BatchError;
use crate::manifest::{BATCH_FORMAT, Job, Manifest, contract_folder, source_file};
use crate::unpack::{Holds, unpack};

/// The name of the manifest in a bundle.
pub(crate) const MANIFEST_FILE: &str = "manifest.json";

/// A bundle that was unpacked.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The digest of its manifest.
    pub number: Digest,
    /// What it says of itself.
    pub manifest: Manifest,
    folder: PathBuf,
}

/// Unpacks a bundle into a folder and verifies that it holds what it says, nothing more and nothing else.
pub fn open_bundle(path: &Path, into: &Path) -> Result<Bundle, BatchError> {
    let names = unpack(path, Holds::Candidates, into)?;
    let (number, manifest) = read_manifest(&into.join(MANIFEST_FILE), path)?;
    let bundle = Bundle { number, manifest, folder: into.to_owned() };
    let mut expected = BTreeSet::from([MANIFEST_FILE.to_owned()]);
    for job in &bundle.manifest.jobs {
        let contract = bundle.contract(job)?;
        if contract.digest != job.contract_digest {
            let problem = format!(
                "the files of contract `{}` have the digest {}, its manifest says {}",
                job.contract, contract.digest, job.contract_digest
            );
            return Err(BatchError::refused(path, problem));
        }
        let folder = contract_folder(&job.contract_digest, &job.contract);
        expected.extend(contract.files()?.into_keys().map(|name| format!("{folder}/{name}")));
    }
    for source in bundle.manifest.sources() {
        let text = bundle.source(&source)?;
        if Digest::of(text.as_bytes()) != source {
            let problem =
                format!("source {} is another one: {}", source.short(), Digest::of(text.as_bytes()));
            return Err(BatchError::refused(path, problem));
        }
        expected.insert(source_file(&source));
    }
    match names.iter().find(|name| !expected.contains(*name)) {
        Some(stranger) => {
            Err(BatchError::refused(path, format!("no candidate and no contract needs `{stranger}`")))
        }
        None => Ok(bundle),
    }
}

/// Reads a manifest and its digest; `path` is the file that is blamed.
pub fn read_manifest(manifest: &Path, path: &Path) -> Result<(Digest, Manifest), BatchError> {
    let bytes = std::fs::read(manifest).map_err(BatchError::io("read", manifest))?;
    let read: Manifest = serde_json::from_slice(&bytes)
        .map_err(|error| BatchError::refused(path, format!("its manifest cannot be read: {error}")))?;
    if read.format > BATCH_FORMAT {
        let problem = format!("its format {} is newer than {BATCH_FORMAT}", read.format);
        return Err(BatchError::refused(path, problem));
    }
    Ok((Digest::of(&bytes), read))
}

impl Bundle {
    /// The contract of a job, from the bundle's own files.
    pub fn contract(&self, job: &Job) -> Result<Arc<Contract>, BatchError> {
        let folder = self.folder.join(contract_folder(&job.contract_digest, &job.contract));
        Ok(Arc::new(Contract::load(&folder)?))
    }

    /// The user's own kernel of a job, where it has one.
    pub fn baseline(&self, job: &Job) -> Result<Option<(String, Plan)>, BatchError> {
        let read = |kernel: &crate::Kernel| Ok((self.source(&kernel.source)?, kernel.plan.clone()));
        job.baseline.as_ref().map(read).transpose()
    }

    /// A source text.
    pub fn source(&self, digest: &Digest) -> Result<String, BatchError> {
        let path = self.folder.join(source_file(digest));
        std::fs::read_to_string(&path).map_err(BatchError::io("read", &path))
    }

    /// Where the manifest was unpacked.
    pub fn manifest_path(&self) -> PathBuf {
        self.folder.join(MANIFEST_FILE)
    }
}
