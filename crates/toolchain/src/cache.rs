//! The object cache: content-addressed, written atomically, rebuilt where damaged.
//!
//! ```text
//! <cache>/objects/<digest of the object>.so    never changed after it got its name
//! <cache>/requests/<digest of the request>.json   which object answers a request, and what is known about it
//!                                                 (cubins: .cubin and .cuda.json)
//! <cache>/headers/<digest of the flags>/          precompiled headers
//! <cache>/builds/…                                directories of builds that are running
//! ```

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kernsmith_core::Digest;
use kernsmith_core::evidence::ObjectFacts;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::build::CodeObject;
use crate::error::ToolchainError;

/// Builds take seconds; what is older than this was left by a program that was killed.
const STALE: Duration = Duration::from_hours(1);

/// The directory that holds everything that can be rebuilt.
#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    object: Digest,
    facts: ObjectFacts,
    build_ms: f64,
    log: String,
    flags: Vec<String>,
}

impl Cache {
    /// Makes the directories, and checks that they can be written.
    pub(crate) fn open(root: &Path) -> Result<Self, ToolchainError> {
        let unwritable = |source| ToolchainError::CacheNotWritable { path: root.to_owned(), source };
        std::fs::create_dir_all(root).map_err(unwritable)?;
        let root = root.canonicalize().map_err(unwritable)?;
        for part in ["objects", "requests", "headers", "builds"] {
            std::fs::create_dir_all(root.join(part)).map_err(unwritable)?;
        }
        let cache = Self { root };
        cache.sweep();
        drop(cache.build_directory()?);
        Ok(cache)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn headers(&self) -> PathBuf {
        self.root.join("headers")
    }

    /// A directory for one build, gone when dropped.
    pub(crate) fn build_directory(&self) -> Result<TempDir, ToolchainError> {
        let builds = self.root.join("builds");
        tempfile::Builder::new()
            .prefix("build-")
            .tempdir_in(&builds)
            .map_err(|source| self.write_error(source))
    }

    /// Removes what killed programs left. Another program may do the same, so that errors mean nothing here.
    fn sweep(&self) {
        for entry in std::fs::read_dir(self.root.join("builds")).into_iter().flatten().flatten() {
            let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
            if matches!(age, Ok(Ok(age)) if age > STALE) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// The object that answers `request`; `None` where there is none, or it is damaged.
    pub(crate) fn find(&self, request: &Digest) -> Option<CodeObject> {
        let record = std::fs::read(self.record_path(request)).ok()?;
        let record: Record = serde_json::from_slice(&record).ok()?;
        let path = self.object_path(&record.object);
        if Digest::of(&std::fs::read(&path).ok()?) != record.object {
            return None;
        }
        Some(CodeObject {
            path,
            digest: record.object,
            facts: record.facts,
            build_ms: record.build_ms,
            log: record.log,
            flags: record.flags,
            cached: true,
        })
    }

    /// Where an object of this content lives.
    pub(crate) fn object_path(&self, object: &Digest) -> PathBuf {
        self.root.join("objects").join(format!("{object}.so"))
    }

    fn record_path(&self, request: &Digest) -> PathBuf {
        self.root.join("requests").join(format!("{request}.json"))
    }

    /// Keeps an object and what is known about it; `object.path` names its place afterwards.
    pub(crate) fn keep(
        &self,
        request: &Digest,
        object: &mut CodeObject,
        bytes: &[u8],
    ) -> Result<(), ToolchainError> {
        object.path = self.object_path(&object.digest);
        self.write(&object.path, bytes)?;
        let record = Record {
            object: object.digest,
            facts: object.facts.clone(),
            build_ms: object.build_ms,
            log: object.log.clone(),
            flags: object.flags.clone(),
        };
        let text =
            serde_json::to_vec(&record).map_err(|error| ToolchainError::BadObject(error.to_string()))?;
        self.write(&self.record_path(request), &text)
    }

    /// A reader sees the old file or the new one, never a part. Nothing is synced: a torn file is found by its digest.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), ToolchainError> {
        let write = || {
            // A worker may be another user, so everybody may read.
            let everybody_reads = std::fs::Permissions::from_mode(0o644);
            let mut file = tempfile::Builder::new()
                .permissions(everybody_reads)
                .tempfile_in(self.root.join("builds"))?;
            file.write_all(bytes)?;
            file.persist(path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|source| self.write_error(source))
    }

    pub(crate) fn write_error(&self, source: std::io::Error) -> ToolchainError {
        let path = self.root.clone();
        if matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
            return ToolchainError::DiskFull { path };
        }
        ToolchainError::CacheNotWritable { path, source }
    }

    /// Whether so little space is left that a compiler would fail for want of it.
    pub(crate) fn is_full(&self) -> bool {
        const NEEDED_BYTES: u64 = 1 << 20;
        rustix::fs::statvfs(&self.root).is_ok_and(|disk| {
            // Some file systems make files as they go and count none.
            let no_files = disk.f_files > 0 && disk.f_favail == 0;
            disk.f_bavail.saturating_mul(disk.f_frsize) < NEEDED_BYTES || no_files
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(bytes: &[u8]) -> CodeObject {
        CodeObject {
            path: PathBuf::new(),
            digest: Digest::of(bytes),
            facts: ObjectFacts { exports: vec!["kernel".into()], ..ObjectFacts::default() },
            build_ms: 1.5,
            log: "warning".into(),
            flags: vec!["-O3".into()],
            cached: false,
        }
    }

    #[test]
    fn what_is_kept_is_found_and_what_is_damaged_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let request = Digest::of(b"request");
        assert!(cache.find(&request).is_none());
        let mut kept = object(b"code");
        cache.keep(&request, &mut kept, b"code").unwrap();
        assert_eq!(cache.find(&request), Some(CodeObject { cached: true, ..kept.clone() }));
        std::fs::write(&kept.path, "cod").unwrap();
        assert!(cache.find(&request).is_none());
    }

    #[test]
    fn a_cache_that_cannot_be_made_is_named_with_the_remedy() {
        let error = Cache::open(Path::new("/proc/no/cache")).unwrap_err();
        assert!(
            error.to_string().contains("/proc/no/cache") && error.to_string().contains("--cache-dir"),
            "{error}"
        );
    }
}
