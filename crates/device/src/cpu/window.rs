//! Placing part of a memory file between two guard pages, at an address that the parent chose.
#![expect(unsafe_code, reason = "memory is mapped at given addresses")]

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// Bytes of the pages that mappings are made of.
pub const PAGE_BYTES: u64 = 4096;

/// A mapped window of a memory file with a page that faults on either side; unmapped when dropped.
#[derive(Debug)]
pub struct Window {
    reserved: usize,
    reserved_bytes: usize,
}

impl Window {
    /// Maps `bytes` (whole pages) of `file` from `offset` at `address`; fails when anything is mapped there already.
    ///
    /// All pages are present when this returns, so that the first touch costs nothing.
    pub fn map(
        file: BorrowedFd<'_>,
        offset: u64,
        bytes: u64,
        address: u64,
        writable: bool,
    ) -> io::Result<Self> {
        let page = PAGE_BYTES as usize;
        let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
        let start = usize::try_from(address).map_err(|_| io::ErrorKind::InvalidInput)?;
        let aligned = [start, bytes, offset as usize].iter().all(|value| value % page == 0);
        if !aligned || bytes == 0 || start < 2 * page || bytes > isize::MAX as usize - start - 2 * page {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let window = Self::reserve(start - page, bytes + 2 * page)?;
        let protection = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        let flags = MapFlags::SHARED | MapFlags::POPULATE | MapFlags::FIXED;
        // SAFETY: the range lies inside the reservation that this window owns, so nothing else is replaced.
        unsafe { mmap(ptr::with_exposed_provenance_mut(start), bytes, protection, flags, file, offset)? };
        Ok(window)
    }

    /// Claims the window and both guards without access.
    fn reserve(start: usize, bytes: usize) -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE | MapFlags::NORESERVE;
        // SAFETY: `FIXED_NOREPLACE` never replaces an existing mapping.
        let got = unsafe {
            mmap_anonymous(ptr::with_exposed_provenance_mut(start), bytes, ProtFlags::empty(), flags)?
        };
        let window = Self { reserved: got.expose_provenance(), reserved_bytes: bytes };
        // Kernels before 4.17 take the flag for a hint.
        if window.reserved == start { Ok(window) } else { Err(io::ErrorKind::AddrInUse.into()) }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the range was reserved by this window and by nobody else. Whoever still uses it shall fault.
        let _ = unsafe { munmap(ptr::with_exposed_provenance_mut(self.reserved), self.reserved_bytes) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn file(bytes: u64) -> rustix::fd::OwnedFd {
        let file = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, bytes).unwrap();
        file
    }

    #[test]
    fn a_window_shows_its_part_of_the_file_and_an_occupied_address_is_refused() {
        let file = file(4 * PAGE_BYTES);
        rustix::io::pwrite(&file, b"there", 2 * PAGE_BYTES).unwrap();
        let address = 0x2345_0000_0000;
        let window = Window::map(file.as_fd(), 2 * PAGE_BYTES, PAGE_BYTES, address, true).unwrap();
        // SAFETY: the page was just mapped and the test is the only user of it.
        let seen =
            unsafe { std::slice::from_raw_parts(ptr::with_exposed_provenance::<u8>(address as usize), 5) };
        assert_eq!(seen, b"there");
        assert!(Window::map(file.as_fd(), 0, PAGE_BYTES, address, true).is_err());
        drop(window);
        assert!(Window::map(file.as_fd(), 0, PAGE_BYTES, address, true).is_ok());
    }

    #[test]
    fn offsets_that_are_no_pages_are_refused() {
        let file = file(PAGE_BYTES);
        assert!(Window::map(file.as_fd(), 8, PAGE_BYTES, 0x2346_0000_0000, true).is_err());
        assert!(Window::map(file.as_fd(), 0, 8, 0x2346_0000_0000, true).is_err());
        assert!(Window::map(file.as_fd(), 0, PAGE_BYTES, 0x1000, true).is_err());
    }
}
