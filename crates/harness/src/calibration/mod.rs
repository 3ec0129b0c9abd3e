//! What the machine can do: copy bandwidth at each bench workload's size, and multiply-adds a second.
//!
//! Ceilings are measured with trusted kernels through the very path on which candidates are timed, cold caches included,
//! and kept in the cache directory under the machine's and the compiler's fingerprint.

mod measure;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use kernsmith_core::score::sol_us;
use serde::{Deserialize, Serialize};

use crate::device::Device;
use crate::error::HarnessError;
use crate::setup::Setup;

pub(crate) use measure::raise;

/// Measured ceilings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Calibration {
    /// Single-precision operations a second with all cores; a multiply-add counts as two.
    pub flops_per_second: Option<f64>,
    /// Copy bandwidth by size.
    pub copies: Vec<CopyCeiling>,
}

/// The fastest copy of one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CopyCeiling {
    /// Bytes read and written together.
    pub bytes: f64,
    /// Bytes a second, reads and writes together, with cold caches.
    pub bytes_per_second: f64,
    /// The trusted kernel that reached it, such as `copy_stream x2`.
    pub kernel: String,
}

impl Calibration {
    /// The bandwidth at the size nearest to `bytes` on the logarithmic scale.
    pub fn copy_bytes_per_second(&self, bytes: f64) -> Option<f64> {
        let distance = |ceiling: &&CopyCeiling| (ceiling.bytes.ln() - bytes.max(1.0).ln()).abs();
        let nearest = self.copies.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
        nearest.map(|ceiling| ceiling.bytes_per_second)
    }

    /// The roofline bound in microseconds; `None` where nothing was measured.
    pub fn sol_us(&self, flops: f64, bytes: f64) -> Option<f64> {
        let bandwidth = self.copy_bytes_per_second(bytes)?;
        Some(sol_us(flops, bytes, self.flops_per_second?, bandwidth))
    }

    /// Whether a size has been measured itself.
    pub(crate) fn knows(&self, bytes: f64) -> bool {
        self.copies.iter().any(|ceiling| (ceiling.bytes / bytes - 1.0).abs() < 0.01)
    }

    /// Keeps the higher of two ceilings of one size.
    pub(crate) fn learn(&mut self, new: CopyCeiling) {
        let known = self.copies.iter_mut().find(|ceiling| (ceiling.bytes / new.bytes - 1.0).abs() < 0.01);
        match known {
            Some(known) if known.bytes_per_second < new.bytes_per_second => *known = new,
            Some(_) => {}
            None => self.copies.push(new),
        }
    }
}

/// Makes sure that ceilings are known at every bench workload's size: from the cache, or measured now.
pub(crate) fn ensure(setup: &Setup, device: &mut Device) -> Result<(), HarnessError> {
    if !setup.options.calibrate {
        return Ok(());
    }
    let path = cache_path(setup);
    if device.calibration.copies.is_empty() && !setup.options.recalibrate {
        device.calibration = load(setup, &path).unwrap_or_default();
    }
    if measure::complete(setup, device)? {
        store(&path, &device.calibration)?;
    }
    Ok(())
}

fn cache_path(setup: &Setup) -> PathBuf {
    let host = &setup.host;
    let parts = [
        host.model.clone(),
        host.cores.to_string(),
        host.os.clone(),
        setup.toolchain.fingerprint(),
        kernsmith_core::Digest::of(measure::SOURCE.as_bytes()).to_string(),
    ];
    let key = kernsmith_core::Digest::of_parts(parts.iter().map(String::as_bytes));
    setup.cache_dir.join(format!("ceilings-{}.json", key.short()))
}

/// `None` where there is nothing, it is too old, or cannot be read: then it is measured again.
pub(crate) fn load(setup: &Setup, path: &std::path::Path) -> Option<Calibration> {
    let written = std::fs::metadata(path).ok()?.modified().ok()?;
    let age = SystemTime::now().duration_since(written).ok()?;
    if age > Duration::from_secs(setup.options.calibration_hours * 3600) {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Keeps ceilings, in full or not at all.
pub(crate) fn store(path: &std::path::Path, calibration: &Calibration) -> Result<(), HarnessError> {
    let error = HarnessError::system("write the measured ceilings to the cache");
    let write = || -> std::io::Result<()> {
        let directory = path.parent().unwrap_or(std::path::Path::new("."));
        std::fs::create_dir_all(directory)?;
        let file = tempfile::NamedTempFile::new_in(directory)?;
        serde_json::to_writer(&file, calibration)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ceiling(bytes: f64, bytes_per_second: f64) -> CopyCeiling {
        CopyCeiling { bytes, bytes_per_second, kernel: "copy".into() }
    }

    #[test]
    fn the_nearest_size_counts_and_only_a_higher_ceiling_replaces_one() {
        let mut calibration = Calibration { flops_per_second: Some(1e11), copies: vec![] };
        assert_eq!(calibration.sol_us(1.0, 1.0), None);
        calibration.learn(ceiling(1e6, 4e10));
        calibration.learn(ceiling(1e8, 1e10));
        calibration.learn(ceiling(1e6, 3e10));
        assert_eq!(calibration.copy_bytes_per_second(2e6), Some(4e10));
        assert_eq!(calibration.copy_bytes_per_second(9e7), Some(1e10));
        assert!((calibration.sol_us(1e9, 1e6).unwrap() - 1e4).abs() < 1e-6, "compute-bound");
    }
}
