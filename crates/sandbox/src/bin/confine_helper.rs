//! The hidden verb as a program of its own, for tests.
//!
//! `confine-helper __confine <policy-json> -- program args…` is what the `kernsmith` binary answers as well.
//! `confine-helper call <policy-json> <library> <symbol>` plays a worker: it confines itself, loads the library under the load
//! profile, restricts itself to the run profile and calls `int symbol(void)`, whose result becomes the exit code.
#![expect(unsafe_code, reason = "loads and calls code that the tests compiled")]

use std::ffi::{CString, OsString};
use std::process::ExitCode;

use kernsmith_sandbox::{Policy, Profile, confine, hidden, restrict_syscalls};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(verb) if verb == hidden::VERB => hidden::run_confine(arguments),
        Some(verb) if verb == "call" => call(arguments).unwrap_or(ExitCode::from(99)),
        _ => ExitCode::from(2),
    }
}

fn call(arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let arguments: Vec<String> = arguments.filter_map(|argument| argument.into_string().ok()).collect();
    let [policy, library, symbol] = arguments.as_slice() else { return None };
    let (library, symbol) = (CString::new(library.as_str()).ok()?, CString::new(symbol.as_str()).ok()?);
    confine(&Policy::from_json(policy).ok()?).ok()?;
    restrict_syscalls(Profile::Load).ok()?;
    // SAFETY: the library is one that the test compiled.
    let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if handle.is_null() {
        return Some(ExitCode::from(98));
    }
    restrict_syscalls(Profile::Run).ok()?;
    // SAFETY: the handle is open and the name ends in NUL.
    let address = unsafe { libc::dlsym(handle, symbol.as_ptr()) };
    if address.is_null() {
        return Some(ExitCode::from(97));
    }
    // SAFETY: the test defines the symbol as a C function without arguments that returns an int.
    let function =
        unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> libc::c_int>(address) };
    Some(ExitCode::from(function() as u8))
}
