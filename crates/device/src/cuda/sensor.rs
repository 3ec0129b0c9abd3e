//! Clocks, power and temperature, through the management library that comes with the driver.
//!
//! Source: NVML API Reference Guide (NVIDIA); names and numbers are those of `nvml.h`.
#![expect(unsafe_code, reason = "the management library is a C library")]

use std::ffi::{CString, c_char, c_int, c_uint, c_ulonglong, c_void};

use libloading::{Library, Symbol};

type Handle = *mut c_void;
/// `nvmlClockType_t` and `nvmlTemperatureSensors_t`.
const CLOCK_SM: c_uint = 1;
const CLOCK_MEMORY: c_uint = 2;
const TEMPERATURE_GPU: c_uint = 0;

/// What a device was like at one moment; 0 where the library does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// Clock of the multiprocessors in MHz.
    pub sm_mhz: u32,
    /// Clock of the memory in MHz.
    pub memory_mhz: u32,
    /// Power in milliwatts.
    pub power_mw: u32,
    /// Temperature in degrees Celsius.
    pub temperature_c: u32,
    /// Why the clocks are not higher, as bits of `nvmlClocksEventReasons`.
    pub reasons: u64,
}

/// One device as the management library sees it.
#[derive(Debug)]
pub struct Sensor {
    library: Library,
    device: Handle,
}

impl Sensor {
    /// Finds a device by its unique number in hexadecimal. `None` where there is no management library, or it does not know the
    /// device: then nothing is sensed.
    pub fn open(uuid: &str) -> Option<Self> {
        // SAFETY: opens a library by its well-known name; its initialisers are the driver's own.
        let library = unsafe { Library::new("libnvidia-ml.so.1") }.ok()?;
        let name = CString::new(dashed(uuid)?).ok()?;
        let mut device = std::ptr::null_mut();
        {
            // SAFETY: the signature is the one in `nvml.h`.
            let init: Symbol<'_, unsafe extern "C" fn() -> c_int> =
                unsafe { library.get(b"nvmlInit_v2\0") }.ok()?;
            // SAFETY: takes nothing.
            if unsafe { init() } != 0 {
                return None;
            }
            // SAFETY: the signature is the one in `nvml.h`.
            let find: Symbol<'_, unsafe extern "C" fn(*const c_char, *mut Handle) -> c_int> =
                unsafe { library.get(b"nvmlDeviceGetHandleByUUID\0") }.ok()?;
            // SAFETY: the name ends with zero; one handle is written.
            if unsafe { find(name.as_ptr(), &raw mut device) } != 0 {
                return None;
            }
        }
        Some(Self { library, device })
    }

    /// Asks for everything.
    pub fn sample(&self) -> Sample {
        let reasons = self
            .wide(b"nvmlDeviceGetCurrentClocksEventReasons\0")
            .or_else(|| self.wide(b"nvmlDeviceGetCurrentClocksThrottleReasons\0"));
        Sample {
            sm_mhz: self.of_kind(b"nvmlDeviceGetClockInfo\0", CLOCK_SM).unwrap_or(0),
            memory_mhz: self.of_kind(b"nvmlDeviceGetClockInfo\0", CLOCK_MEMORY).unwrap_or(0),
            power_mw: self.plain(b"nvmlDeviceGetPowerUsage\0").unwrap_or(0),
            temperature_c: self.of_kind(b"nvmlDeviceGetTemperature\0", TEMPERATURE_GPU).unwrap_or(0),
            reasons: reasons.unwrap_or(0),
        }
    }

    fn plain(&self, symbol: &[u8]) -> Option<u32> {
        let mut value: c_uint = 0;
        // SAFETY: the functions that are asked for have this signature in `nvml.h`.
        let ask: Symbol<'_, unsafe extern "C" fn(Handle, *mut c_uint) -> c_int> =
            unsafe { self.library.get(symbol) }.ok()?;
        // SAFETY: the handle is the library's own; one number is written.
        (unsafe { ask(self.device, &raw mut value) } == 0).then_some(value)
    }

    fn of_kind(&self, symbol: &[u8], kind: c_uint) -> Option<u32> {
        let mut value: c_uint = 0;
        // SAFETY: as above, with a kind.
        let ask: Symbol<'_, unsafe extern "C" fn(Handle, c_uint, *mut c_uint) -> c_int> =
            unsafe { self.library.get(symbol) }.ok()?;
        // SAFETY: as above.
        (unsafe { ask(self.device, kind, &raw mut value) } == 0).then_some(value)
    }

    fn wide(&self, symbol: &[u8]) -> Option<u64> {
        let mut value: c_ulonglong = 0;
        // SAFETY: as above, with a wide number.
        let ask: Symbol<'_, unsafe extern "C" fn(Handle, *mut c_ulonglong) -> c_int> =
            unsafe { self.library.get(symbol) }.ok()?;
        // SAFETY: as above.
        (unsafe { ask(self.device, &raw mut value) } == 0).then_some(value)
    }
}

/// A unique number the way the management library writes it: `GPU-` and groups of 8, 4, 4, 4 and 12 digits.
fn dashed(uuid: &str) -> Option<String> {
    if uuid.len() != 32 || !uuid.is_ascii() {
        return None;
    }
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|group| &uuid[group]);
    Some(format!("GPU-{}", groups.join("-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unique_number_is_written_as_the_management_library_writes_it() {
        let dashed = dashed("00112233445566778899aabbccddeeff");
        assert_eq!(dashed.as_deref(), Some("GPU-00112233-4455-6677-8899-aabbccddeeff"));
        assert!(super::dashed("short").is_none());
    }

    #[test]
    fn where_there_is_no_such_device_nothing_is_sensed_and_nothing_panics() {
        assert!(Sensor::open("00000000000000000000000000000000").is_none());
    }
}
