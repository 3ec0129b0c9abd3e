//! Cubins by content, and what is known about them by request.

use std::path::PathBuf;

use kernsmith_core::Digest;
use serde::{Deserialize, Serialize};

use super::facts::CudaFacts;
use super::job::CudaObject;
use crate::cache::Cache;
use crate::error::ToolchainError;

/// What is kept of a build.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    cubin: Digest,
    facts: CudaFacts,
    log: String,
    build_ms: f64,
    options: Vec<String>,
}

/// The cubins of a cache.
#[derive(Debug)]
pub(super) struct Store {
    cache: Cache,
}

impl Store {
    pub(super) const fn new(cache: Cache) -> Self {
        Self { cache }
    }

    /// A directory for one build, gone when dropped.
    pub(super) fn build_directory(&self) -> Result<tempfile::TempDir, ToolchainError> {
        self.cache.build_directory()
    }

    /// The object that answers `request`; `None` where there is none, or it is damaged.
    pub(super) fn find(&self, request: &Digest) -> Option<CudaObject> {
        let record = std::fs::read(self.record_path(request)).ok()?;
        let record: Record = serde_json::from_slice(&record).ok()?;
        let cubin = std::fs::read(self.cubin_path(&record.cubin)).ok()?;
        (Digest::of(&cubin) == record.cubin).then_some(CudaObject {
            cubin,
            digest: record.cubin,
            facts: record.facts,
            log: record.log,
            build_ms: record.build_ms,
            options: record.options,
            cached: true,
        })
    }

    /// Keeps an object and what is known about it.
    pub(super) fn keep(&self, request: &Digest, object: &CudaObject) -> Result<(), ToolchainError> {
        self.cache.write(&self.cubin_path(&object.digest), &object.cubin)?;
        let record = Record {
            cubin: object.digest,
            facts: object.facts.clone(),
            log: object.log.clone(),
            build_ms: object.build_ms,
            options: object.options.clone(),
        };
        let text =
            serde_json::to_vec(&record).map_err(|error| ToolchainError::BadObject(error.to_string()))?;
        self.cache.write(&self.record_path(request), &text)
    }

    fn cubin_path(&self, digest: &Digest) -> PathBuf {
        self.cache.root().join("objects").join(format!("{digest}.cubin"))
    }

    fn record_path(&self, request: &Digest) -> PathBuf {
        self.cache.root().join("requests").join(format!("{request}.cuda.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_and_what_is_damaged_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(Cache::open(directory.path()).unwrap());
        let request = Digest::of(b"request");
        let object = CudaObject {
            cubin: b"code".to_vec(),
            digest: Digest::of(b"code"),
            facts: CudaFacts { arch: "sm_90".into(), ..CudaFacts::default() },
            log: "ptxas info".into(),
            build_ms: 12.5,
            options: vec!["--std=c++20".into()],
            cached: false,
        };
        assert!(store.find(&request).is_none());
        store.keep(&request, &object).unwrap();
        assert_eq!(store.find(&request), Some(CudaObject { cached: true, ..object.clone() }));
        std::fs::write(store.cubin_path(&object.digest), "cod").unwrap();
        assert!(store.find(&request).is_none());
    }
}
