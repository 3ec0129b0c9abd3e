//! Finding the driver, and errors by name.
#![expect(unsafe_code, reason = "the driver is a C library")]

use std::ffi::CStr;

use cudarc::driver::sys::{self, CUdevice, CUdevice_attribute_enum as Attribute, CUresult};

/// The oldest driver interface that has everything used here; the newest of it, the sizes of parameters, came with CUDA 12.4.
const OLDEST: i32 = 12_040;

/// What the driver refused, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    /// No driver library.
    #[error("no NVIDIA driver: libcuda.so.1 cannot be loaded; install the driver, or run where a GPU is")]
    NoDriver,
    /// The driver is too old.
    #[error("the NVIDIA driver speaks CUDA {}.{}; 12.4 or newer is needed", .0 / 1000, .0 % 1000 / 10)]
    OldDriver(i32),
    /// No device of this number.
    #[error("there is no CUDA device {ordinal}; the driver sees {count}")]
    NoDevice {
        /// The number asked for.
        ordinal: u32,
        /// How many there are.
        count: u32,
    },
    /// A call failed.
    #[error("{call} failed: {name} ({text})")]
    Call {
        /// The driver's function.
        call: &'static str,
        /// Its result.
        code: u32,
        /// The result's name, such as `CUDA_ERROR_ILLEGAL_ADDRESS`.
        name: String,
        /// What the driver says of it.
        text: String,
    },
    /// The work did not end in time.
    #[error("the device did not finish in {0} ms")]
    Timeout(u64),
    /// Something was asked for that cannot be.
    #[error("{0}")]
    Invalid(String),
}

impl CudaError {
    /// The driver's number of the failure; `None` where no call failed.
    pub const fn code(&self) -> Option<u32> {
        match self {
            Self::Call { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// Turns a result into an error with its names.
pub(super) fn check(call: &'static str, result: CUresult) -> Result<(), CudaError> {
    if result == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    let told = |which: unsafe fn(CUresult, *mut *const std::ffi::c_char) -> CUresult| {
        let mut text = std::ptr::null();
        // SAFETY: the pointer is writable; the driver's texts are constants.
        let found = unsafe { which(result, &raw mut text) } == CUresult::CUDA_SUCCESS && !text.is_null();
        // SAFETY: a text that was found ends with zero and lives for ever.
        if found { unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned() } else { String::new() }
    };
    Err(CudaError::Call {
        call,
        code: result as u32,
        name: told(sys::cuGetErrorName),
        text: told(sys::cuGetErrorString),
    })
}

/// The driver, ready to be used.
#[derive(Debug, Clone, Copy)]
pub struct Driver {
    version: i32,
    devices: u32,
}

/// A device, as the driver describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its name.
    pub name: String,
    /// Its unique number, in hexadecimal.
    pub uuid: String,
    /// Compute capability.
    pub capability: (u32, u32),
    /// Multiprocessors.
    pub sm_count: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Last-level cache in bytes.
    pub l2_bytes: u64,
    /// Dynamic shared memory that one block may opt in to, in bytes.
    pub shared_optin_bytes: u32,
    /// Highest clock of the multiprocessors in kHz, as the driver states it.
    pub clock_khz: u32,
    /// Highest clock of the memory in kHz.
    pub memory_clock_khz: u32,
    /// Width of the memory bus in bits.
    pub memory_bus_bits: u32,
    /// The interface version of the driver, as 13000 for 13.0.
    pub driver_version: u32,
}

impl DeviceInfo {
    /// The architecture that code objects for it are built for, such as `sm_90a`: with the features of this very
    /// architecture where it has a name of its own for them.
    pub fn arch(&self) -> String {
        let (major, minor) = self.capability;
        let suffix = if major >= 9 { "a" } else { "" };
        format!("sm_{major}{minor}{suffix}")
    }
}

impl Driver {
    /// Loads and starts the driver.
    pub fn open() -> Result<Self, CudaError> {
        // SAFETY: opens a library by its well-known name; its initialisers are the driver's own.
        if !unsafe { sys::is_culib_present() } {
            return Err(CudaError::NoDriver);
        }
        // SAFETY: the library is there; the call takes no memory.
        check("cuInit", unsafe { sys::cuInit(0) })?;
        let (mut version, mut devices) = (0, 0);
        // SAFETY: both calls write one number.
        check("cuDriverGetVersion", unsafe { sys::cuDriverGetVersion(&raw mut version) })?;
        // SAFETY: as above.
        check("cuDeviceGetCount", unsafe { sys::cuDeviceGetCount(&raw mut devices) })?;
        if version < OLDEST {
            return Err(CudaError::OldDriver(version));
        }
        Ok(Self { version, devices: devices as u32 })
    }

    /// How many devices it sees.
    pub const fn devices(&self) -> u32 {
        self.devices
    }

    pub(super) fn device(self, ordinal: u32) -> Result<CUdevice, CudaError> {
        if ordinal >= self.devices {
            return Err(CudaError::NoDevice { ordinal, count: self.devices });
        }
        let mut device = 0;
        // SAFETY: writes one number.
        check("cuDeviceGet", unsafe { sys::cuDeviceGet(&raw mut device, ordinal as i32) })?;
        Ok(device)
    }

    /// Describes a device.
    pub fn info(self, ordinal: u32) -> Result<DeviceInfo, CudaError> {
        let device = self.device(ordinal)?;
        let mut name = [0_u8; 256];
        let mut uuid = sys::CUuuid { bytes: [0; 16] };
        let mut memory_bytes = 0_usize;
        // SAFETY: the buffer's length is handed over; the driver ends the name with zero.
        check("cuDeviceGetName", unsafe { sys::cuDeviceGetName(name.as_mut_ptr().cast(), 255, device) })?;
        // SAFETY: writes sixteen bytes.
        check("cuDeviceGetUuid", unsafe { sys::cuDeviceGetUuid_v2(&raw mut uuid, device) })?;
        // SAFETY: writes one number.
        check("cuDeviceTotalMem", unsafe { sys::cuDeviceTotalMem_v2(&raw mut memory_bytes, device) })?;
        let of = |attribute| attribute_of(device, attribute);
        let name = CStr::from_bytes_until_nul(&name).map(|name| name.to_string_lossy().into_owned());
        Ok(DeviceInfo {
            name: name.unwrap_or_default(),
            uuid: hexadecimal(&uuid),
            capability: (
                of(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                of(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            sm_count: of(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            memory_bytes: memory_bytes as u64,
            l2_bytes: u64::from(of(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?),
            shared_optin_bytes: of(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
            clock_khz: of(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?,
            memory_clock_khz: of(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)?,
            memory_bus_bits: of(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?,
            driver_version: self.version as u32,
        })
    }
}

fn hexadecimal(uuid: &sys::CUuuid) -> String {
    let number = uuid.bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte as u8));
    format!("{number:032x}")
}

fn attribute_of(device: CUdevice, attribute: Attribute) -> Result<u32, CudaError> {
    let mut value = 0;
    // SAFETY: writes one number.
    check("cuDeviceGetAttribute", unsafe { sys::cuDeviceGetAttribute(&raw mut value, attribute, device) })?;
    Ok(value as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_driver_gets_an_error_with_a_remedy_and_no_panic() {
        match Driver::open() {
            Ok(driver) => assert!(driver.info(driver.devices()).is_err(), "one more than there are"),
            Err(CudaError::NoDriver) => {
                assert!(CudaError::NoDriver.to_string().contains("install the driver"));
            }
            Err(error) => assert!(error.code().is_some(), "{error}"),
        }
    }
}
