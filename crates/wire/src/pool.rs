//! Memory files in which tensors live.
#![expect(unsafe_code, reason = "a memory file is mapped and seen as bytes")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create, open};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Bytes of the pages that windows are made of.
pub const PAGE_BYTES: u64 = 4096;

/// A memory file that the harness owns and has mapped for reading and writing.
#[derive(Debug)]
pub struct Pool {
    file: OwnedFd,
    address: *mut u8,
    bytes: usize,
}

// SAFETY: the pool owns its mapping; access goes through `&self` and `&mut self` as for a `Vec<u8>`.
unsafe impl Send for Pool {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Pool {}

impl Pool {
    /// A memory file of at least `bytes` bytes, zeroed. Memory is taken from the system when it is touched first.
    pub fn create(name: &str, bytes: u64) -> io::Result<Self> {
        let bytes = bytes.max(1).div_ceil(PAGE_BYTES) * PAGE_BYTES;
        let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, bytes)?;
        let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let address = unsafe { mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, &file, 0)? };
        fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK)?;
        Ok(Self { file, address: address.cast(), bytes })
    }

    /// A descriptor that can only be read, now and later: writing is sealed for everybody but this mapping.
    pub fn reader(&self) -> io::Result<OwnedFd> {
        fcntl_add_seals(&self.file, SealFlags::FUTURE_WRITE)?;
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// A descriptor that can be read and written.
    pub fn writer(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }

    /// Takes all of its memory from the system now. That is only a matter of speed, so it may fail.
    pub fn populate(&self) {
        // SAFETY: populating does not change what the mapping holds.
        let _ = unsafe {
            rustix::mm::madvise(self.address.cast(), self.bytes, rustix::mm::Advice::LinuxPopulateWrite)
        };
    }

    /// The size in bytes; whole pages.
    pub fn len(&self) -> u64 {
        self.bytes as u64
    }

    /// Never: a pool has at least one page.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// What is in it. Only looked at between calls, when no worker has it mapped.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is that long and lives as long as the pool. A hostile worker that kept a mapping can
        // change bytes while they are read; any value is a legal byte, and the harness reads each output once.
        unsafe { std::slice::from_raw_parts(self.address, self.bytes) }
    }

    /// The same, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the borrow is unique in this process.
        unsafe { std::slice::from_raw_parts_mut(self.address, self.bytes) }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `create` and nothing borrowed from it is left.
        let _ = unsafe { munmap(self.address.cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_can_never_write() {
        let mut pool = Pool::create("test", 5000).unwrap();
        assert_eq!(pool.len(), 2 * PAGE_BYTES);
        pool.bytes_mut()[4999] = 7;
        let reader = pool.reader().unwrap();
        assert!(rustix::io::pwrite(&reader, b"x", 0).is_err());
        let again = format!("/proc/self/fd/{}", reader.as_raw_fd());
        let writer = open(again, OFlags::RDWR, Mode::empty()).unwrap();
        assert!(rustix::io::pwrite(&writer, b"x", 0).is_err(), "the seal holds for descriptors opened later");
        pool.bytes_mut()[0] = 9;
        let mut seen = [0_u8; 1];
        rustix::io::pread(&reader, &mut seen, 0).unwrap();
        assert_eq!(seen, [9]);
    }
}
