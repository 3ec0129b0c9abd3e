//! Code objects and their kernels.
#![expect(unsafe_code, reason = "the driver is a C library")]

use std::ffi::CString;

use cudarc::driver::sys::{self, CUfunction, CUfunction_attribute_enum as Attribute, CUmodule, CUresult};

use super::context::Context;
use super::driver::{CudaError, check};

/// A loaded code object.
#[derive(Debug)]
pub struct Module(CUmodule);

/// One kernel of a module.
#[derive(Debug, Clone, Copy)]
pub struct Function(pub(super) CUfunction);

/// What a kernel takes, as the driver sees it after loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Registers of a thread.
    pub registers: u32,
    /// Local memory of a thread in bytes: stack and spills.
    pub local_bytes: u32,
    /// Static shared memory of a block in bytes.
    pub static_shared_bytes: u32,
    /// Most threads of a block.
    pub max_threads: u32,
    /// Sizes of the parameters in bytes.
    pub parameters: Vec<u32>,
}

/// A launch never has more parameters than this.
const PARAMETERS_MAX: usize = 256;

impl Context {
    /// Loads a code object.
    pub fn load(&self, image: &[u8]) -> Result<Module, CudaError> {
        let mut module = std::ptr::null_mut();
        // SAFETY: the image is a whole ELF file in memory; the driver reads its length from its headers. The harness has parsed
        // those headers before it handed the image over.
        check("cuModuleLoadData", unsafe { sys::cuModuleLoadData(&raw mut module, image.as_ptr().cast()) })?;
        Ok(Module(module))
    }

    /// Unloads a code object whose kernels have all ended.
    pub fn unload(&self, module: &Module) -> Result<(), CudaError> {
        // SAFETY: the handle is alive; the caller has waited for the stream.
        check("cuModuleUnload", unsafe { sys::cuModuleUnload(module.0) })
    }

    /// Finds a kernel.
    pub fn function(&self, module: &Module, symbol: &str) -> Result<Function, CudaError> {
        let name = CString::new(symbol).map_err(|error| CudaError::Invalid(error.to_string()))?;
        let mut function = std::ptr::null_mut();
        // SAFETY: the name ends with zero; one handle is written.
        check("cuModuleGetFunction", unsafe {
            sys::cuModuleGetFunction(&raw mut function, module.0, name.as_ptr())
        })?;
        Ok(Function(function))
    }

    /// Describes a kernel.
    pub fn describe(&self, function: Function) -> Result<FunctionInfo, CudaError> {
        let of = |attribute| {
            let mut value = 0;
            // SAFETY: writes one number.
            let result = unsafe { sys::cuFuncGetAttribute(&raw mut value, attribute, function.0) };
            check("cuFuncGetAttribute", result).map(|()| value as u32)
        };
        let mut parameters = Vec::new();
        while parameters.len() < PARAMETERS_MAX {
            let (mut offset, mut size) = (0, 0);
            // SAFETY: writes two numbers.
            let result = unsafe {
                sys::cuFuncGetParamInfo(function.0, parameters.len(), &raw mut offset, &raw mut size)
            };
            if result == CUresult::CUDA_ERROR_INVALID_VALUE {
                break;
            }
            check("cuFuncGetParamInfo", result)?;
            parameters.push(size as u32);
        }
        Ok(FunctionInfo {
            registers: of(Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?,
            local_bytes: of(Attribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)?,
            static_shared_bytes: of(Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?,
            max_threads: of(Attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?,
            parameters,
        })
    }

    /// Lets a kernel have so much dynamic shared memory, and clusters larger than the portable size where it needs them.
    pub fn opt_in(&self, function: Function, shared_bytes: u32, cluster: bool) -> Result<(), CudaError> {
        let set = |attribute, value| {
            // SAFETY: takes two numbers.
            check("cuFuncSetAttribute", unsafe { sys::cuFuncSetAttribute(function.0, attribute, value) })
        };
        set(Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared_bytes as i32)?;
        if cluster {
            set(Attribute::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1)?;
        }
        Ok(())
    }
}
