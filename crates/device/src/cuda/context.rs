//! One device with one stream, and the events in it.
#![expect(unsafe_code, reason = "the driver is a C library")]

use std::time::{Duration, Instant};

use cudarc::driver::sys::{self, CUcontext, CUevent, CUresult, CUstream};

use super::driver::{CudaError, DeviceInfo, Driver, check};

/// How long a wait spins before it sleeps between looks.
const SPIN: Duration = Duration::from_micros(300);
const LOOK: Duration = Duration::from_micros(50);

/// A device's context with the stream that everything runs in. The process ends with it: nothing is torn down.
#[derive(Debug)]
pub struct Context {
    pub(super) device: i32,
    pub(super) stream: CUstream,
    info: DeviceInfo,
    _primary: CUcontext,
}

/// A point in the stream whose time is known afterwards.
#[derive(Debug)]
pub struct Event(CUevent);

impl Context {
    /// Makes a device ready.
    pub fn create(driver: Driver, ordinal: u32) -> Result<Self, CudaError> {
        let device = driver.device(ordinal)?;
        let info = driver.info(ordinal)?;
        let mut context = std::ptr::null_mut();
        let mut stream = std::ptr::null_mut();
        // SAFETY: writes one handle. The primary context is the one that costs least to make.
        check("cuDevicePrimaryCtxRetain", unsafe {
            sys::cuDevicePrimaryCtxRetain(&raw mut context, device)
        })?;
        // SAFETY: the handle was just made.
        check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(context) })?;
        let flags = sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: writes one handle.
        check("cuStreamCreate", unsafe { sys::cuStreamCreate(&raw mut stream, flags) })?;
        Ok(Self { device, stream, info, _primary: context })
    }

    /// The device.
    pub const fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Waits for everything in the stream.
    pub fn wait(&self, timeout: Duration) -> Result<(), CudaError> {
        let begin = Instant::now();
        loop {
            // SAFETY: the stream is alive.
            match unsafe { sys::cuStreamQuery(self.stream) } {
                CUresult::CUDA_ERROR_NOT_READY => {}
                done => return check("the stream", done),
            }
            let waited = begin.elapsed();
            if waited > timeout {
                return Err(CudaError::Timeout(timeout.as_millis() as u64));
            }
            if waited > SPIN {
                std::thread::sleep(LOOK);
            } else {
                std::hint::spin_loop();
            }
        }
    }

    /// Waits for everything on the device, whatever it is; returns how long that took after the stream had ended.
    pub fn drain(&self) -> Result<Duration, CudaError> {
        let begin = Instant::now();
        // SAFETY: takes nothing.
        check("cuCtxSynchronize", unsafe { sys::cuCtxSynchronize() })?;
        Ok(begin.elapsed())
    }

    /// Gives lines that were marked as persisting back to the ordinary cache.
    pub fn reset_persisting_cache(&self) -> Result<(), CudaError> {
        // SAFETY: takes nothing.
        check("cuCtxResetPersistingL2Cache", unsafe { sys::cuCtxResetPersistingL2Cache() })
    }

    /// A new event.
    pub fn event(&self) -> Result<Event, CudaError> {
        let mut event = std::ptr::null_mut();
        // SAFETY: writes one handle.
        check("cuEventCreate", unsafe { sys::cuEventCreate(&raw mut event, 0) })?;
        Ok(Event(event))
    }

    /// Puts an event into the stream.
    pub fn record(&self, event: &Event) -> Result<(), CudaError> {
        // SAFETY: both handles are alive.
        check("cuEventRecord", unsafe { sys::cuEventRecord(event.0, self.stream) })
    }

    /// Nanoseconds between two events that have passed.
    pub fn between_ns(&self, start: &Event, stop: &Event) -> Result<u64, CudaError> {
        let mut ms = 0.0_f32;
        // SAFETY: writes one number.
        let result = unsafe { sys::cuEventElapsedTime_v2(&raw mut ms, start.0, stop.0) };
        check("cuEventElapsedTime", result)?;
        Ok((f64::from(ms) * 1e6).round().max(0.0) as u64)
    }
}
