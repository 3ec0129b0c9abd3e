//! What the process and its run take.

use std::path::Path;

/// Peak resident memory of this process so far, from `/proc/self/status`; `None` where there is no such file.
pub(crate) fn peak_rss_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes / 1024.0)
}

/// Processor time of this process so far, all threads together.
pub(crate) fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Bytes of a run's files.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DiskUse {
    pub(crate) history: u64,
    pub(crate) pack: u64,
    pub(crate) all: u64,
}

impl DiskUse {
    pub(crate) fn of(directory: &Path) -> std::io::Result<Self> {
        let mut used = Self::default();
        for file in std::fs::read_dir(directory)? {
            let file = file?;
            let bytes = file.metadata()?.len();
            used.all += bytes;
            match file.file_name().to_str() {
                Some(kernsmith_experiment_log::HISTORY_FILE) => used.history = bytes,
                Some(kernsmith_experiment_log::PACK_FILE) => used.pack = bytes,
                _ => {}
            }
        }
        Ok(used)
    }
}
