//! Vector registers that the compiler had to put on the stack.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// Recognises stores of vector registers to the stack, in one linear pass.
///
/// The stack is what `rsp` points to, and `rbp` once it was set from `rsp`. An array of the source that lives on the stack
/// counts too: both are traffic that the loop pays for.
#[derive(Debug, Default)]
pub(super) struct SpillCounter {
    frame_pointer: bool,
}

impl SpillCounter {
    /// Whether this instruction is such a store.
    pub(super) fn is_spill(&mut self, instruction: &Instruction) -> bool {
        self.follow_frame_pointer(instruction);
        let stores_vector = instruction.op_count() >= 2
            && instruction.op_kind(0) == OpKind::Memory
            && (1..instruction.op_count()).any(|index| {
                instruction.op_kind(index) == OpKind::Register
                    && instruction.op_register(index).is_vector_register()
            });
        let base = instruction.memory_base();
        stores_vector && (base == Register::RSP || (base == Register::RBP && self.frame_pointer))
    }

    fn follow_frame_pointer(&mut self, instruction: &Instruction) {
        let writes = instruction.op_count() == 2
            && instruction.op_kind(0) == OpKind::Register
            && instruction.op_register(0) == Register::RBP;
        if !writes {
            return;
        }
        match instruction.mnemonic() {
            Mnemonic::Mov => {
                self.frame_pointer =
                    instruction.op_kind(1) == OpKind::Register && instruction.op_register(1) == Register::RSP;
            }
            Mnemonic::Lea => self.frame_pointer = instruction.memory_base() == Register::RSP,
            Mnemonic::Cmp | Mnemonic::Test => {}
            _ => self.frame_pointer = false,
        }
    }
}
