//! Where a kernel died: a handler that writes the faulting address to a page that outlives the process.
#![expect(unsafe_code, reason = "signal handlers are installed and run")]

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Where the handler writes.
#[derive(Debug, Clone, Copy)]
pub struct FaultSlots {
    /// The signal's number; written last.
    pub signal: &'static AtomicU32,
    /// 1 for a write, 0 for a read, 2 where the processor does not say.
    pub access: &'static AtomicU32,
    /// The address that was touched.
    pub address: &'static AtomicU64,
}

static SLOTS: OnceLock<FaultSlots> = OnceLock::new();
const SIGNALS: [libc::c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];
const STACK_BYTES: usize = 64 * 1024;

/// Installs the handler for memory faults, illegal instructions and integer division by zero.
///
/// The process still dies of the signal: the handler notes the place and steps aside.
pub fn watch_faults(slots: FaultSlots) -> io::Result<()> {
    if SLOTS.set(slots).is_err() {
        return Err(io::Error::other("faults are watched already"));
    }
    let stack = Box::leak(vec![0_u8; STACK_BYTES].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK_BYTES };
    // SAFETY: the stack is leaked and used by nobody else.
    check(unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) })?;
    for signal in SIGNALS {
        // SAFETY: all-zero is a legal `sigaction`; handler and flags are set before it is used.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = note as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
        // SAFETY: the handler only does what is async-signal-safe.
        check(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) })?;
    }
    Ok(())
}

fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Notes the fault. `SA_RESETHAND` has put the default action back, so returning repeats the instruction and dies.
extern "C" fn note(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if let Some(slots) = SLOTS.get() {
        // SAFETY: the kernel passes a valid siginfo to an `SA_SIGINFO` handler.
        let address = unsafe { (*info).si_addr() } as usize as u64;
        slots.address.store(address, Ordering::Relaxed);
        slots.access.store(access(context), Ordering::Relaxed);
        slots.signal.store(signal as u32, Ordering::Release);
    }
    // SAFETY: as above. A signal that somebody sent does not repeat by itself.
    if unsafe { (*info).si_code } <= 0 {
        // SAFETY: raising a signal in the own thread; it is pending until this handler returns.
        unsafe { libc::raise(signal) };
    }
}

#[cfg(target_arch = "x86_64")]
fn access(context: *mut libc::c_void) -> u32 {
    // SAFETY: the kernel passes a valid ucontext; bit 1 of the page-fault error code says "write" (Intel SDM 3, 4.7).
    let error = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_ERR as usize] };
    u32::from(error & 2 != 0)
}

#[cfg(not(target_arch = "x86_64"))]
fn access(_context: *mut libc::c_void) -> u32 {
    2
}
