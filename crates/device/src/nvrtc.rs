//! The run-time compiler for CUDA, loaded by explicit path.
//!
//! Only the confined compile helper uses it: sources are hostile, and a compiler is a large program. Signatures and error
//! codes are those of the NVRTC documentation, "User Interface".
#![expect(unsafe_code, reason = "NVRTC is a C library")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::path::{Path, PathBuf};
use std::ptr;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};

/// `nvrtcResult` of a source that does not compile.
pub const COMPILATION_ERROR: i32 = 6;
const SUCCESS: c_int = 0;

type Program = *mut std::ffi::c_void;

/// Why the compiler cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum NvrtcError {
    /// A library cannot be loaded.
    #[error("cannot load {path}: {reason}")]
    Load {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// The library lacks a function.
    #[error("{path} has no `{symbol}`")]
    Symbol {
        /// The library.
        path: PathBuf,
        /// The function.
        symbol: &'static str,
    },
    /// A text holds a zero byte.
    #[error("a zero byte in {0}")]
    ZeroByte(&'static str),
}

/// One source text and how to compile it.
#[derive(Debug, Clone, Copy)]
pub struct Compilation<'a> {
    /// The text.
    pub source: &'a str,
    /// The name that messages and `__FILE__` carry.
    pub name: &'a str,
    /// Options as NVRTC takes them.
    pub options: &'a [String],
    /// Headers by name, found before those on the include path.
    pub headers: &'a [(String, String)],
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// `nvrtcResult`; 0 is success.
    pub code: i32,
    /// Its name.
    pub message: String,
    /// The compiler's log, that of the assembler included.
    pub log: String,
    /// The object; empty where there is none.
    pub cubin: Vec<u8>,
}

/// The functions of the library, named as in its header.
#[derive(Debug)]
#[expect(non_snake_case, reason = "the names of the library's own header")]
struct Functions {
    nvrtcVersion: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int,
    nvrtcGetErrorString: unsafe extern "C" fn(c_int) -> *const c_char,
    nvrtcCreateProgram: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    nvrtcCompileProgram: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    nvrtcDestroyProgram: unsafe extern "C" fn(*mut Program) -> c_int,
    nvrtcGetProgramLogSize: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    nvrtcGetProgramLog: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    nvrtcGetCUBINSize: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    nvrtcGetCUBIN: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
}

/// The compiler. It stays loaded for as long as this lives.
#[derive(Debug)]
pub struct Nvrtc {
    functions: Functions,
    _library: Library,
    _builtins: Option<Library>,
}

/// Asks for the size of something, then for the thing.
type SizeOf = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type ReadInto = unsafe extern "C" fn(Program, *mut c_char) -> c_int;

impl Nvrtc {
    /// Loads the compiler, its built-in functions first: it looks for them by bare name, which a wheel's folder does not answer.
    pub fn open(library: &Path, builtins: Option<&Path>) -> Result<Self, NvrtcError> {
        let builtins = builtins.map(|path| load(path, RTLD_NOW | RTLD_GLOBAL)).transpose()?;
        let path = library;
        let library = load(path, RTLD_NOW | RTLD_LOCAL)?;
        macro_rules! function {
            ($name:ident) => {
                // SAFETY: the type is the one that the library's header declares.
                *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }
                    .map_err(|_| NvrtcError::Symbol { path: path.to_owned(), symbol: stringify!($name) })?
            };
        }
        let functions = Functions {
            nvrtcVersion: function!(nvrtcVersion),
            nvrtcGetErrorString: function!(nvrtcGetErrorString),
            nvrtcCreateProgram: function!(nvrtcCreateProgram),
            nvrtcCompileProgram: function!(nvrtcCompileProgram),
            nvrtcDestroyProgram: function!(nvrtcDestroyProgram),
            nvrtcGetProgramLogSize: function!(nvrtcGetProgramLogSize),
            nvrtcGetProgramLog: function!(nvrtcGetProgramLog),
            nvrtcGetCUBINSize: function!(nvrtcGetCUBINSize),
            nvrtcGetCUBIN: function!(nvrtcGetCUBIN),
        };
        Ok(Self { functions, _library: library, _builtins: builtins })
    }

    /// Major and minor version; zeros where the library does not tell.
    pub fn version(&self) -> (i32, i32) {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both pointers are to live integers.
        unsafe { (self.functions.nvrtcVersion)(&raw mut major, &raw mut minor) };
        (major, minor)
    }

    /// Compiles one text. A source that does not compile is a [`Compiled`] with a code, and no error.
    pub fn compile(&self, job: &Compilation<'_>) -> Result<Compiled, NvrtcError> {
        let source = text(job.source, "the source")?;
        let name = text(job.name, "the name of the source")?;
        let includes = texts(job.headers.iter().map(|(name, _)| name), "the name of a header")?;
        let headers = texts(job.headers.iter().map(|(_, header)| header), "a header")?;
        let options = texts(job.options.iter(), "an option")?;
        let (includes_of, headers_of) = (pointers(&includes), pointers(&headers));
        let mut program: Program = ptr::null_mut();
        // SAFETY: all texts end in zero and outlive the call, which copies them; the two lists have the count that is passed.
        let created = unsafe {
            (self.functions.nvrtcCreateProgram)(
                &raw mut program,
                source.as_ptr(),
                name.as_ptr(),
                headers.len() as c_int,
                headers_of.as_ptr(),
                includes_of.as_ptr(),
            )
        };
        if created != SUCCESS {
            return Ok(self.failed(created, String::new()));
        }
        let options_of = pointers(&options);
        // SAFETY: the program was just created, and the list has the count that is passed.
        let code = unsafe {
            (self.functions.nvrtcCompileProgram)(program, options.len() as c_int, options_of.as_ptr())
        };
        let log =
            Self::read(program, self.functions.nvrtcGetProgramLogSize, self.functions.nvrtcGetProgramLog);
        let log = String::from_utf8_lossy(&log).trim_end_matches('\0').to_owned();
        let compiled = if code == SUCCESS {
            let cubin = Self::read(program, self.functions.nvrtcGetCUBINSize, self.functions.nvrtcGetCUBIN);
            Compiled { code, message: self.name_of(code), log, cubin }
        } else {
            self.failed(code, log)
        };
        // SAFETY: the program is destroyed once, here.
        unsafe { (self.functions.nvrtcDestroyProgram)(&raw mut program) };
        Ok(compiled)
    }

    fn failed(&self, code: c_int, log: String) -> Compiled {
        Compiled { code, message: self.name_of(code), log, cubin: Vec::new() }
    }

    fn name_of(&self, code: c_int) -> String {
        // SAFETY: the library answers every number with a text of its own that lives for ever, or with null.
        let name = unsafe { (self.functions.nvrtcGetErrorString)(code) };
        if name.is_null() {
            return format!("nvrtcResult {code}");
        }
        // SAFETY: it is not null and ends in zero.
        unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
    }

    fn read(program: Program, size_of: SizeOf, read_into: ReadInto) -> Vec<u8> {
        let mut bytes = 0_usize;
        // SAFETY: the program is live and the pointer is to a live integer.
        if unsafe { size_of(program, &raw mut bytes) } != SUCCESS || bytes == 0 {
            return Vec::new();
        }
        let mut buffer = vec![0_u8; bytes];
        // SAFETY: the buffer has the size that the library has just named.
        if unsafe { read_into(program, buffer.as_mut_ptr().cast()) } != SUCCESS {
            return Vec::new();
        }
        buffer
    }
}

fn load(path: &Path, flags: c_int) -> Result<Library, NvrtcError> {
    // SAFETY: the libraries of an installed toolkit are trusted; their initialisers have no conditions.
    unsafe { Library::open(Some(path), flags) }
        .map_err(|error| NvrtcError::Load { path: path.to_owned(), reason: error.to_string() })
}

fn text(text: &str, what: &'static str) -> Result<CString, NvrtcError> {
    CString::new(text).map_err(|_| NvrtcError::ZeroByte(what))
}

fn texts<'a>(list: impl Iterator<Item = &'a String>, what: &'static str) -> Result<Vec<CString>, NvrtcError> {
    list.map(|item| text(item, what)).collect()
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_an_error_and_no_panic() {
        let error = Nvrtc::open(Path::new("/no/libnvrtc.so"), None).unwrap_err();
        assert!(error.to_string().contains("/no/libnvrtc.so"), "{error}");
    }

    #[test]
    fn a_library_that_is_no_compiler_is_named_with_what_it_lacks() {
        let Some(other) = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/libm.so.6", "/usr/lib/libm.so.6"]
            .into_iter()
            .map(Path::new)
            .find(|path| path.exists())
        else {
            return;
        };
        let error = Nvrtc::open(other, None).unwrap_err();
        assert!(matches!(error, NvrtcError::Symbol { symbol: "nvrtcVersion", .. }), "{error}");
    }
}
