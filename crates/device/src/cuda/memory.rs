//! Device memory between ranges that fault, and host memory that is shared with the harness.
#![expect(unsafe_code, reason = "addresses are handed to the driver and to the kernel")]

use std::os::fd::AsFd;

use cudarc::driver::sys::{
    self, CUmemAccess_flags_enum, CUmemAccessDesc, CUmemAllocationGranularity_flags_enum,
    CUmemAllocationProp, CUmemAllocationProp_st__bindgen_ty_1, CUmemAllocationType_enum, CUmemLocation,
    CUmemLocationType_enum,
};
use rustix::mm::{MapFlags, ProtFlags, mmap};

use super::context::Context;
use super::driver::{CudaError, check};

/// Device memory with a range on either side that is reserved and never mapped: a kernel that runs over an end faults.
#[derive(Debug)]
pub struct Range {
    /// First byte.
    pub address: u64,
    /// Length: at least what was asked for, in whole granules.
    pub bytes: u64,
}

impl Context {
    const fn location(&self) -> CUmemLocation {
        CUmemLocation { type_: CUmemLocationType_enum::CU_MEM_LOCATION_TYPE_DEVICE, id: self.device }
    }

    const fn properties(&self) -> CUmemAllocationProp {
        CUmemAllocationProp {
            type_: CUmemAllocationType_enum::CU_MEM_ALLOCATION_TYPE_PINNED,
            requestedHandleTypes: sys::CUmemAllocationHandleType_enum(0),
            location: self.location(),
            win32HandleMetaData: std::ptr::null_mut(),
            allocFlags: CUmemAllocationProp_st__bindgen_ty_1 {
                compressionType: 0,
                gpuDirectRDMACapable: 0,
                usage: 0,
                reserved: [0; 4],
            },
        }
    }

    /// Reserves a range of addresses and maps all but its first and its last granule.
    pub fn reserve(&self, bytes: u64) -> Result<Range, CudaError> {
        let properties = self.properties();
        let mut granule = 0_usize;
        let option = CUmemAllocationGranularity_flags_enum::CU_MEM_ALLOC_GRANULARITY_MINIMUM;
        // SAFETY: writes one number; the properties live through the call.
        check("cuMemGetAllocationGranularity", unsafe {
            sys::cuMemGetAllocationGranularity(&raw mut granule, &raw const properties, option)
        })?;
        let granule = granule.max(1);
        let size = (bytes.max(1) as usize).next_multiple_of(granule);
        let (mut base, mut handle) = (0, 0);
        // SAFETY: writes one address; the driver chooses it.
        check("cuMemAddressReserve", unsafe {
            sys::cuMemAddressReserve(&raw mut base, size + 2 * granule, 0, 0, 0)
        })?;
        // SAFETY: writes one handle.
        check("cuMemCreate", unsafe { sys::cuMemCreate(&raw mut handle, size, &raw const properties, 0) })?;
        let address = base + granule as u64;
        // SAFETY: the addresses lie within what was just reserved.
        check("cuMemMap", unsafe { sys::cuMemMap(address, size, 0, handle, 0) })?;
        // SAFETY: the mapping keeps the memory alive.
        check("cuMemRelease", unsafe { sys::cuMemRelease(handle) })?;
        let access = CUmemAccessDesc {
            location: self.location(),
            flags: CUmemAccess_flags_enum::CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
        };
        // SAFETY: the range was just mapped.
        check("cuMemSetAccess", unsafe { sys::cuMemSetAccess(address, size, &raw const access, 1) })?;
        Ok(Range { address, bytes: size as u64 })
    }

    /// Unmaps a range for good; its addresses are not used again.
    pub fn release(&self, range: &Range) -> Result<(), CudaError> {
        // SAFETY: the range was mapped by `reserve`, and the stream is idle when the worker frees anything.
        check("cuMemUnmap", unsafe { sys::cuMemUnmap(range.address, range.bytes as usize) })
    }

    /// Copies from the host, in the stream. The source may be reused when this returns.
    pub fn upload(&self, address: u64, bytes: &[u8]) -> Result<(), CudaError> {
        // SAFETY: the source is readable for its length; the driver checks the destination. Pageable memory is staged before
        // the call returns.
        check("cuMemcpyHtoDAsync", unsafe {
            sys::cuMemcpyHtoDAsync_v2(address, bytes.as_ptr().cast(), bytes.len(), self.stream)
        })
    }

    /// Copies to the host and waits for it.
    pub fn download(&self, address: u64, bytes: &mut [u8]) -> Result<(), CudaError> {
        // SAFETY: the destination is writable for its length, and the stream is waited for before it is looked at.
        check("cuMemcpyDtoHAsync", unsafe {
            sys::cuMemcpyDtoHAsync_v2(bytes.as_mut_ptr().cast(), address, bytes.len(), self.stream)
        })?;
        // SAFETY: the stream is alive.
        check("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(self.stream) })
    }

    /// Fills memory with a 32-bit word.
    pub fn fill(&self, address: u64, word: u32, words: u64) -> Result<(), CudaError> {
        // SAFETY: the driver checks the destination.
        check("cuMemsetD32Async", unsafe {
            sys::cuMemsetD32Async(address, word, words as usize, self.stream)
        })
    }
}

/// A memory file of the harness, mapped whole for as long as the process lives.
#[derive(Debug)]
pub struct HostPool {
    address: *mut u8,
    bytes: usize,
}

impl HostPool {
    /// Maps a file, for writing too where the descriptor allows it.
    pub fn map(file: impl AsFd, writable: bool) -> std::io::Result<Self> {
        let bytes = rustix::fs::fstat(&file)?.st_size as usize;
        let protection = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        if bytes == 0 {
            return Ok(Self { address: std::ptr::null_mut(), bytes });
        }
        // SAFETY: a new mapping at an address of the kernel's choice.
        let address = unsafe { mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, file, 0)? };
        Ok(Self { address: address.cast(), bytes })
    }

    /// Some of its bytes.
    pub fn bytes(&self, offset: u64, bytes: u64) -> Result<&[u8], CudaError> {
        let (begin, length) = self.within(offset, bytes)?;
        // SAFETY: the range lies within the mapping, which is never unmapped. The harness does not write to it meanwhile.
        Ok(unsafe { std::slice::from_raw_parts(self.address.add(begin), length) })
    }

    /// The same, to be written.
    pub fn bytes_mut(&mut self, offset: u64, bytes: u64) -> Result<&mut [u8], CudaError> {
        let (begin, length) = self.within(offset, bytes)?;
        // SAFETY: as above; the file was mapped for writing, or the write faults and ends the worker.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.address.add(begin), length) })
    }

    fn within(&self, offset: u64, bytes: u64) -> Result<(usize, usize), CudaError> {
        let end = offset.checked_add(bytes).filter(|end| *end <= self.bytes as u64);
        match end {
            Some(_) if !self.address.is_null() => Ok((offset as usize, bytes as usize)),
            _ => Err(CudaError::Invalid(format!(
                "{bytes} bytes at {offset} lie outside a pool of {}",
                self.bytes
            ))),
        }
    }
}
