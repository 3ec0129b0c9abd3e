//! Instruction families of NVIDIA's machine code, without a disassembler.
//!
//! From `sm_70` on an instruction has 128 bits, and the lowest nine name the operation (the next three say where its operands
//! are). The table was read off what the disassembler of CUDA 13 says about sources written for the purpose, for the
//! architectures 80, 89, 90a, 100a and 120a: 258 twelve-bit codes, which agree below but for [`AMBIGUOUS`] and the kinds of one
//! operation. A test compares counts with the disassembler's where that is installed. What is not in the table counts as `other`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Local memory, read.
pub(super) const LOCAL_LOAD: &str = "LDL";
/// Local memory, written.
pub(super) const LOCAL_STORE: &str = "STL";
const INDIRECT_CALL: &str = "CALL.ABS";
const OTHER: &str = "other";
const INSTRUCTION_BYTES: usize = 16;

/// Every family with its meaning. Names are the disassembler's; a load or store is also counted under its name with the width.
pub fn cuda_instruction_families() -> &'static [(&'static str, &'static str)] {
    FAMILIES
}

const FAMILIES: &[(&str, &str)] = &[
    ("HGMMA", "warp-group matrix product of 16-bit or tf32 numbers (wgmma)"),
    ("QGMMA", "warp-group matrix product of 8-bit floats (wgmma)"),
    ("IGMMA", "warp-group matrix product of 8-bit integers (wgmma)"),
    ("WARPGROUP", "fence or wait of warp-group products"),
    ("UTCMMA", "matrix product of the fifth generation of tensor cores (tcgen05.mma)"),
    ("UTCCP", "copy from shared to tensor memory"),
    ("UTCBAR", "commit of tensor-core work to a barrier"),
    ("LDTM", "load from tensor memory"),
    ("STTM", "store to tensor memory"),
    ("HMMA", "warp matrix product of 16-bit or tf32 numbers (mma.sync)"),
    ("QMMA", "warp matrix product of 8-bit or smaller floats (mma.sync)"),
    ("OMMA", "warp matrix product of 4-bit floats with block scales (mma.sync)"),
    ("IMMA", "warp matrix product of integers (mma.sync)"),
    ("DMMA", "warp matrix product of doubles (mma.sync)"),
    ("UTMALDG", "tensor load by the memory accelerator (TMA)"),
    ("UTMASTG", "tensor store by the memory accelerator (TMA)"),
    ("UTMAREDG", "tensor reduction by the memory accelerator (TMA)"),
    ("UTMAPF", "tensor prefetch by the memory accelerator (TMA)"),
    ("UBLKCP", "bulk copy by the memory accelerator"),
    ("UBLKRED", "bulk reduction by the memory accelerator"),
    ("UBLKPF", "bulk prefetch by the memory accelerator"),
    ("LDGSTS", "asynchronous copy from global to shared memory (cp.async)"),
    ("LDG", "load from global memory"),
    ("LDG.E.64", "of 8 bytes a thread"),
    ("LDG.E.128", "of 16 bytes a thread"),
    ("LDG.E.256", "of 32 bytes a thread"),
    ("STG", "store to global memory"),
    ("STG.E.64", "of 8 bytes a thread"),
    ("STG.E.128", "of 16 bytes a thread"),
    ("STG.E.256", "of 32 bytes a thread"),
    ("LDS", "load from shared memory"),
    ("LDS.64", "of 8 bytes a thread"),
    ("LDS.128", "of 16 bytes a thread"),
    ("STS", "store to shared memory"),
    ("STS.64", "of 8 bytes a thread"),
    ("STS.128", "of 16 bytes a thread"),
    ("LDSM", "matrix load from shared memory (ldmatrix)"),
    ("STSM", "matrix store to shared memory (stmatrix)"),
    ("MOVM", "transposes a matrix in registers (movmatrix)"),
    ("LDL", "load from local memory: spills, arrays with a variable index, stacks"),
    ("STL", "store to local memory"),
    ("LD", "load from an address of unknown space"),
    ("ST", "store to an address of unknown space"),
    ("LDC", "load from constant memory with an index"),
    ("ATOM", "atomic operation on global memory or an address of unknown space"),
    ("ATOMS", "atomic operation on shared memory"),
    ("RED", "reduction in global memory without an answer"),
    ("STAS", "asynchronous store or reduction to another block's shared memory"),
    ("TEX", "texture or surface access"),
    ("CCTL", "cache control"),
    ("MUFU", "special function: exponential, logarithm, reciprocal, square root, sine"),
    ("FFMA", "fused multiply-add of floats"),
    ("FADD", "addition of floats"),
    ("FMUL", "multiplication of floats"),
    ("HFMA2", "fused multiply-add of two 16-bit floats"),
    ("HADD2", "addition of two 16-bit floats"),
    ("DFMA", "fused multiply-add, addition or multiplication of doubles"),
    ("IMAD", "integer multiply-add"),
    ("IDP", "dot product of four 8-bit integers"),
    ("F2F", "conversion between float formats"),
    ("I2F", "conversion between integers and floats"),
    ("SHFL", "exchange within a warp"),
    ("REDUX", "reduction within a warp"),
    ("VOTE", "vote within a warp"),
    ("MATCH", "match within a warp"),
    ("ELECT", "election of one thread of a warp"),
    ("BAR", "barrier of a block"),
    ("SYNCS", "barrier object in shared memory (mbarrier)"),
    ("UCGABAR", "barrier of a cluster"),
    ("MEMBAR", "memory fence"),
    ("FENCE", "fence between kinds of access to memory (fence.proxy)"),
    ("ACQBULK", "waits for the kernel before (griddepcontrol.wait)"),
    ("PREEXIT", "lets the kernel after begin (griddepcontrol.launch_dependents)"),
    ("NANOSLEEP", "sleeps"),
    ("CLOCK", "reads the clock of a multiprocessor"),
    ("GLOBALTIMER", "reads the clock of the device"),
    ("SMID", "asks on which multiprocessor it runs"),
    ("PM", "reads a performance counter"),
    ("CALL", "call of a known function"),
    ("CALL.ABS", "call through a pointer, or of a function that the driver provides"),
    ("BRX", "jump through a table"),
    ("BRA", "branch"),
    ("BPT", "trap or breakpoint"),
    ("other", "what is not listed here"),
];

/// Operations by family.
const OPERATIONS: &[(&[u16], &str)] = &[
    (&[0x1f0], "HGMMA"),
    (&[0x1f3], "QGMMA"),
    (&[0x1f1], "IGMMA"),
    (&[0x1c5], "WARPGROUP"),
    // One code with the kind of numbers further up.
    (&[0x1ea], "UTCMMA"),
    (&[0x1e7], "UTCCP"),
    (&[0x1e9], "UTCBAR"),
    (&[0x1ee], "LDTM"),
    (&[0x1ed], "STTM"),
    (&[0x03c], "HMMA"),
    (&[0x07a], "QMMA"),
    (&[0x07f], "OMMA"),
    (&[0x037], "IMMA"),
    (&[0x03f], "DMMA"),
    (&[0x1b4], "UTMALDG"),
    (&[0x1b5], "UTMASTG"),
    (&[0x1b6], "UTMAREDG"),
    (&[0x1b8], "UTMAPF"),
    (&[0x1ba], "UBLKCP"),
    (&[0x1bb], "UBLKRED"),
    (&[0x1bc], "UBLKPF"),
    (&[0x1ae], "LDGSTS"),
    (&[0x181, 0x17e], "LDG"),
    (&[0x186, 0x17f], "STG"),
    (&[0x184], "LDS"),
    (&[0x188], "STS"),
    (&[0x03b], "LDSM"),
    (&[0x044], "STSM"),
    (&[0x03a], "MOVM"),
    (&[0x183], LOCAL_LOAD),
    (&[0x187], LOCAL_STORE),
    (&[0x180], "LD"),
    (&[0x185], "ST"),
    (&[0x182, 0x1ac, 0x0b9, 0x0bb], "LDC"),
    (&[0x18a, 0x1a2, 0x1a9, 0x1a3, 0x1a8], "ATOM"),
    (&[0x18c, 0x18d], "ATOMS"),
    (&[0x18e], "RED"),
    (&[0x1bd, 0x1be], "STAS"),
    (&[0x160, 0x166, 0x199, 0x19d], "TEX"),
    (&[0x140, 0x18f], "CCTL"),
    (&[0x108], "MUFU"),
    (&[0x023], "FFMA"),
    (&[0x021], "FADD"),
    (&[0x020, 0x056], "FMUL"),
    (&[0x031], "HFMA2"),
    (&[0x030], "HADD2"),
    (&[0x029, 0x02b, 0x028], "DFMA"),
    (&[0x024, 0x025, 0x027, 0x0a4], "IMAD"),
    (&[0x026], "IDP"),
    (&[0x110, 0x03e], "F2F"),
    (&[0x105, 0x111, 0x106, 0x112, 0x045, 0x05a, 0x05c, 0x05e], "I2F"),
    (&[0x189], "SHFL"),
    (&[0x1c4, 0x0cc], "REDUX"),
    (&[0x006, 0x086], "VOTE"),
    (&[0x1a1], "MATCH"),
    (&[0x02f], "ELECT"),
    (&[0x11d], "BAR"),
    (&[0x1a7, 0x1b2], "SYNCS"),
    // Arrival and waiting.
    (&[0x1c7], "UCGABAR"),
    (&[0x192], "MEMBAR"),
    (&[0x1c6], "FENCE"),
    (&[0x02e], "ACQBULK"),
    (&[0x02d], "PREEXIT"),
    (&[0x15d], "NANOSLEEP"),
    (&[0x144], "CALL"),
    (&[0x143], INDIRECT_CALL),
    (&[0x149], "BRX"),
    (&[0x147], "BRA"),
    (&[0x15c], "BPT"),
];

/// The family of an operation's nine bits, where it has one.
fn name(operation: u16) -> Option<&'static str> {
    static TABLE: LazyLock<[Option<&str>; 512]> = LazyLock::new(|| {
        let mut table = [None; 512];
        for (operations, family) in OPERATIONS {
            for operation in *operations {
                table[usize::from(*operation)] = Some(*family);
            }
        }
        table
    });
    TABLE[usize::from(operation & 0x1ff)]
}

/// Operations that are known and in no family: moves, integer arithmetic, comparisons, bookkeeping.
const PLAIN: &[u16] = &[
    0x002, 0x004, 0x005, 0x007, 0x008, 0x009, 0x00b, 0x00c, 0x010, 0x011, 0x012, 0x013, 0x014, 0x015, 0x016,
    0x017, 0x019, 0x01a, 0x01b, 0x01c, 0x02a, 0x034, 0x036, 0x040, 0x046, 0x048, 0x04c, 0x082, 0x087, 0x08c,
    0x090, 0x091, 0x092, 0x097, 0x099, 0x09b, 0x0bd, 0x0ca, 0x0cb, 0x100, 0x101, 0x102, 0x107, 0x109, 0x113,
    0x118, 0x119, 0x11a, 0x11b, 0x11c, 0x141, 0x145, 0x146, 0x148, 0x14d, 0x14e, 0x150, 0x152, 0x153, 0x155,
    0x156, 0x1aa, 0x1ab, 0x1af, 0x1b7, 0x1b9, 0x1c3, 0x1e3, 0x1e6,
];

/// Before `sm_100` a second form of the 16-bit multiply-add, from there on an integer addition.
const AMBIGUOUS: u16 = 0x035;
const AMBIGUOUS_FROM: u32 = 100;

/// A call relative to the program counter, by a constant or by a register.
const RELATIVE_CALL: u16 = 0x144;
const FROM_REGISTER: u64 = 1;

/// Reads of special registers: S2R, S2UR, CS2R, CS2UR.
const SPECIAL_REGISTER_READS: [u16; 4] = [0x119, 0x1c3, 0x005, 0x0cb];

/// The family of a special register's number.
const fn special_register(number: u8) -> Option<&'static str> {
    Some(match number {
        0x43 => "SMID",
        0x50 | 0x51 => "CLOCK",
        0x52 | 0x53 => "GLOBALTIMER",
        0x64..=0x6b => "PM",
        _ => return None,
    })
}

/// Counts over machine code.
#[derive(Debug, Default)]
pub(super) struct Census {
    counts: BTreeMap<&'static str, u64>,
    /// Operations that the table does not know.
    unknown: BTreeMap<u16, u64>,
}

impl Census {
    /// Counts the instructions of one section of machine code for an architecture's number.
    pub(super) fn count(&mut self, code: &[u8], arch: u32) {
        for instruction in code.chunks_exact(INSTRUCTION_BYTES) {
            let half = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| instruction[at + byte]));
            self.instruction(half(0), half(8), arch);
        }
    }

    fn instruction(&mut self, low: u64, high: u64, arch: u32) {
        let operation = (low & 0x1ff) as u16;
        if SPECIAL_REGISTER_READS.contains(&operation)
            && let Some(family) = special_register((high >> 8 & 0xff) as u8)
        {
            self.add(family);
        }
        if operation == AMBIGUOUS {
            if arch < AMBIGUOUS_FROM {
                self.add("HFMA2");
            }
            return;
        }
        if operation == RELATIVE_CALL && low >> 9 & 7 == FROM_REGISTER {
            self.add(INDIRECT_CALL);
            return;
        }
        let Some(family) = name(operation) else {
            if !PLAIN.contains(&operation) {
                self.add(OTHER);
                *self.unknown.entry(operation).or_default() += 1;
            }
            return;
        };
        self.add(family);
        if let Some(wide) = wide(operation, (high >> 9 & 7) as u8) {
            self.add(wide);
        }
    }

    fn add(&mut self, family: &'static str) {
        *self.counts.entry(family).or_default() += 1;
    }

    pub(super) fn families(&self) -> BTreeMap<String, u64> {
        self.counts.iter().map(|(&family, &count)| (family.to_owned(), count)).collect()
    }

    /// What was not recognised, in words.
    pub(super) fn note(&self) -> Option<String> {
        let codes: Vec<String> = self.unknown.keys().map(|code| format!("{code:#05x}")).collect();
        let total: u64 = self.unknown.values().sum();
        (total > 0).then(|| {
            format!("families of {total} instructions: operations {} are not known", codes.join(", "))
        })
    }
}

/// The name with the width of a wide load or store; bits 73 to 75 hold it.
const fn wide(operation: u16, size: u8) -> Option<&'static str> {
    Some(match (operation, size) {
        (0x181, 5) => "LDG.E.64",
        (0x181, 6) => "LDG.E.128",
        (0x17e, _) => "LDG.E.256",
        (0x186, 5) => "STG.E.64",
        (0x186, 6) => "STG.E.128",
        (0x17f, _) => "STG.E.256",
        (0x184, 5) => "LDS.64",
        (0x184, 6) => "LDS.128",
        (0x188, 5) => "STS.64",
        (0x188, 6) => "STS.128",
        _ => return None,
    })
}

/// Whether any instruction takes an operand from a bank of constant memory.
///
/// Of the three bits behind the operation, 3 and 5 say that an operand lies in constant memory; the bank then stands in bits 54 to
/// 58. Read off what the disassembler of CUDA 13 says about objects for `sm_80` to `sm_120`, beside the table above.
pub(super) fn reads_bank(code: &[u8], bank: u64) -> bool {
    code.chunks_exact(INSTRUCTION_BYTES).any(|instruction| {
        let (words, _) = instruction.as_chunks::<8>();
        let word = words.first().map_or(0, |word| u64::from_le_bytes(*word));
        matches!(word >> 9 & 7, 3 | 5) && word >> 54 & 31 == bank
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Instructions as the disassembler prints them: text, low half, high half.
    const EXAMPLES: &[(&str, u64, u64)] = &[
        ("HGMMA.64x8x16.F32.BF16 R28, gdesc[UR4], RZ, !UPT, gsb0", 0x41c_79f0, 0xf_ea00_0c00_18ff),
        ("HMMA.16816.F32 R4, R8.reuse, R4, RZ", 0x4_0804_723c, 0x44f_f000_0000_18ff),
        ("LDG.E R4, desc[UR6][R2.64+0x4]", 0x406_0204_7981, 0x1e_a800_0c1e_1900),
        ("LDGSTS.E.BYPASS.128 [R13], desc[UR6][R2.64]", 0x20d_7fae, 0x87_e800_0b98_1806),
        ("LDL R20, [R1+0x4]", 0x400_0114_7983, 0xe_a200_0010_0800),
        ("STL [R1+0x8], R21", 0x815_0100_7387, 0xf_e800_0010_0800),
        ("LDSM.16.M88.4 R16, [R13]", 0xd10_783b, 0xe_a800_0000_0200),
        ("MUFU.SIN R9, R14", 0xe_0009_7308, 0x6200_0000_0400),
        ("BAR.SYNC.DEFER_BLOCKING 0x0", 0x7b1d, 0xf_ec00_0001_0000),
        ("UTMALDG.2D [UR12], [UR16]", 0xc_1000_75b4, 0x5_f400_0800_8000),
        ("UTMASTG.2D [UR4], [UR16]", 0x4_1000_73b5, 0x3_e400_0800_8000),
        ("UBLKCP.S.G [UR12], [UR8], UR4", 0xc_0800_73ba, 0x43_d800_0800_0204),
        ("NANOSLEEP R0", 0x735d, 0xf_ea00_0380_0000),
        ("SHFL.IDX PT, R0, R7, R6, 0x1f", 0x1f06_0700_7589, 0x4e_2400_000e_0000),
    ];

    #[test]
    fn instructions_are_counted_in_their_families() {
        for (text, low, high) in EXAMPLES {
            let mut census = Census::default();
            census.instruction(*low, *high, 90);
            let name = text.split(' ').next().unwrap_or_default();
            assert!(census.counts.keys().any(|family| name.starts_with(family)), "{text}: {census:?}");
        }
    }

    #[test]
    fn every_family_that_is_counted_is_described_once() {
        let described: Vec<&str> = FAMILIES.iter().map(|(family, _)| *family).collect();
        for operation in 0..0x200 {
            let names = [name(operation), wide(operation, 5), wide(operation, 6)];
            for family in names.into_iter().flatten() {
                assert!(described.contains(&family), "{family}");
            }
            assert!(
                name(operation).is_none() || !PLAIN.contains(&operation),
                "{operation:#x} is in both lists"
            );
        }
        let mut unique = described.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), described.len());
    }

    #[test]
    fn what_is_not_known_is_said() {
        let mut census = Census::default();
        census.count(&[0xff; 32], 90);
        assert_eq!(census.families(), BTreeMap::from([("other".to_owned(), 2)]));
        assert!(census.note().unwrap().contains("0x1ff"));
    }
}
