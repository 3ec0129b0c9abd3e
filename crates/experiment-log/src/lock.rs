//! One writer a run: an advisory lock on a file that names its holder.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::{LOCK_FILE, LogError};

/// A process that was killed while it started a child leaves that child with the open lock until it has called exec: so long is
/// waited for one whose parent is gone.
const ORPHAN_MAX: Duration = Duration::from_secs(10);
/// Between two looks.
const ORPHAN_PAUSE: Duration = Duration::from_millis(20);

/// The lock; it ends with the process at the latest, however that ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock, or names the process that holds it.
    pub(crate) fn take(directory: &Path) -> Result<Self, LogError> {
        let path = directory.join(LOCK_FILE);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(LogError::io("open", &path))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(&mut file);
                    if is_alive(&holder) || begun.elapsed() > ORPHAN_MAX {
                        return Err(LogError::Locked { directory: directory.to_owned(), holder });
                    }
                    std::thread::sleep(ORPHAN_PAUSE);
                }
                Err(TryLockError::Error(source)) => return Err(LogError::io("lock", &path)(source)),
            }
        }
        // The number is for people only: on a full disk the lock still holds without it.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { file })
    }
}

/// What the holder wrote down of itself; it may be between taking the lock and writing its number.
fn holder(file: &mut File) -> String {
    let mut holder = String::new();
    let known = file.rewind().is_ok() && file.read_to_string(&mut holder).is_ok();
    if known && !holder.trim().is_empty() { holder.trim().to_owned() } else { "(unknown)".to_owned() }
}

/// Whether that process is there; one whose number is not known counts as there, and so does any where nobody can say.
fn is_alive(holder: &str) -> bool {
    let processes = Path::new("/proc");
    holder.parse::<u32>().is_err() || !processes.join("self").exists() || processes.join(holder).exists()
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread is just starting shares the open file until it has called exec.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_outlives_its_dead_holder_for_a_moment_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let held = File::create(folder.path().join(LOCK_FILE)).unwrap();
        held.lock().unwrap();
        writeln!(&held, "{}", gone.id()).unwrap();
        let ends = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(held);
        });
        Lock::take(folder.path()).unwrap();
        ends.join().unwrap();
    }

    #[test]
    fn a_living_holder_is_named_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let _held = Lock::take(folder.path()).unwrap();
        let refused = Lock::take(folder.path()).unwrap_err().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
    }
}
