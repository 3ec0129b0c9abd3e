//! A run that is made beside the others and moved in when it is whole.

use std::fs::File;
use std::path::{Path, PathBuf};

use kernsmith_core::RunId;

use crate::seal::sync_directory;
use crate::{LogError, RUNS_FOLDER, run_directory};

/// A log folder of its own below the real one; it is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Staging {
    target: PathBuf,
    root: PathBuf,
}

impl Staging {
    /// Makes an empty one; refuses where the real log folder has a run of that name already.
    pub(crate) fn create(root: &Path, run: &RunId) -> Result<Self, LogError> {
        refuse_existing(root, run)?;
        Self::beside(root, run)
    }

    /// The same, for a run that is there already.
    pub(crate) fn beside(root: &Path, run: &RunId) -> Result<Self, LogError> {
        let place = root.join(format!(".staging-{run}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir_all(place.join(RUNS_FOLDER)).map_err(LogError::io("create", &place))?;
        Ok(Self { target: root.to_owned(), root: place })
    }

    /// Its folder, to be used as a log folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Moves the finished run into the real log folder, durably.
    pub(crate) fn publish(self, run: &RunId) -> Result<PathBuf, LogError> {
        refuse_existing(&self.target, run)?;
        let staged = self.settle(run)?;
        let directory = run_directory(&self.target, run);
        let runs = self.target.join(RUNS_FOLDER);
        std::fs::create_dir_all(&runs).map_err(LogError::io("create", &runs))?;
        std::fs::rename(&staged, &directory).map_err(LogError::io("create", &directory))?;
        sync_directory(&runs)?;
        sync_directory(&self.target)?;
        Ok(directory)
    }

    /// Moves the finished run into the place of one that is there, durably.
    pub(crate) fn replace(self, run: &RunId) -> Result<PathBuf, LogError> {
        let staged = self.settle(run)?;
        let directory = run_directory(&self.target, run);
        let old = self.root.join("replaced");
        std::fs::rename(&directory, &old).map_err(LogError::io("replace", &directory))?;
        std::fs::rename(&staged, &directory).map_err(LogError::io("create", &directory))?;
        sync_directory(&self.target.join(RUNS_FOLDER))?;
        Ok(directory)
    }

    /// Everything of the staged run is on disk.
    fn settle(&self, run: &RunId) -> Result<PathBuf, LogError> {
        let staged = run_directory(&self.root, run);
        for file in std::fs::read_dir(&staged).map_err(LogError::io("list", &staged))? {
            let path = file.map_err(LogError::io("list", &staged))?.path();
            File::open(&path).and_then(|file| file.sync_all()).map_err(LogError::io("sync", &path))?;
        }
        sync_directory(&staged)?;
        Ok(staged)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

fn refuse_existing(root: &Path, run: &RunId) -> Result<(), LogError> {
    let directory = run_directory(root, run);
    if directory.exists() {
        return Err(LogError::Exists { directory, run: run.to_string() });
    }
    Ok(())
}
