//! The calling thread's floating-point environment: a kernel that changes it changes everybody's arithmetic.
#![expect(unsafe_code, reason = "control registers are read and written with single instructions")]

/// Rounding, flushing and exception control of the calling thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FloatState {
    /// MXCSR without its sticky exception flags on x86-64, FPCR on `AArch64`, else 0.
    pub vector: u32,
    /// The x87 control word on x86-64, else 0.
    pub x87: u16,
}

#[cfg(target_arch = "x86_64")]
impl FloatState {
    /// The state that the System V ABI prescribes at the start of a process.
    pub const STANDARD: Self = Self { vector: 0x1f80, x87: 0x037f };

    /// Reads the state of this thread.
    pub fn read() -> Self {
        let (mut vector, mut x87) = (0_u32, 0_u16);
        // SAFETY: both instructions only store to the two locals.
        unsafe {
            std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut vector, options(nostack, preserves_flags));
            std::arch::asm!("fnstcw [{}]", in(reg) &raw mut x87, options(nostack, preserves_flags));
        }
        Self { vector: vector & !0x3f, x87 }
    }

    /// Sets the state of this thread.
    pub fn set(self) {
        // SAFETY: both instructions only load control bits; every value used here was read before or is the standard.
        unsafe {
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const self.vector, options(nostack, readonly, preserves_flags));
            std::arch::asm!("fldcw [{}]", in(reg) &raw const self.x87, options(nostack, readonly, preserves_flags));
        }
    }
}

#[cfg(target_arch = "aarch64")]
impl FloatState {
    /// The state at the start of a process.
    pub const STANDARD: Self = Self { vector: 0, x87: 0 };

    /// Reads the state of this thread.
    pub fn read() -> Self {
        let control: u64;
        // SAFETY: the instruction only reads a control register.
        unsafe {
            std::arch::asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack, preserves_flags))
        };
        Self { vector: control as u32, x87: 0 }
    }

    /// Sets the state of this thread.
    pub fn set(self) {
        // SAFETY: the instruction only writes control bits that were read before or are the standard ones.
        unsafe { std::arch::asm!("msr fpcr, {}", in(reg) u64::from(self.vector), options(nomem, nostack)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
impl FloatState {
    /// Nothing is known about this processor.
    pub const STANDARD: Self = Self { vector: 0, x87: 0 };

    /// Reads nothing.
    pub fn read() -> Self {
        Self::STANDARD
    }

    /// Sets nothing.
    pub fn set(self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn flushing_to_zero_is_seen_and_can_be_undone() {
        FloatState::STANDARD.set();
        let flushing = FloatState { vector: 0x9f80, ..FloatState::STANDARD };
        flushing.set();
        assert_eq!(FloatState::read(), flushing);
        FloatState::STANDARD.set();
        assert_eq!(FloatState::read(), FloatState::STANDARD);
    }
}
