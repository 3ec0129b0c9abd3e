//! Instruction families by name: what a strategy promised, and what the compiler made of it.

use std::collections::BTreeMap;

use iced_x86::{
    CpuidFeature, Decoder, DecoderOptions, EncodingKind, FlowControl, Instruction, Mnemonic, OpKind, Register,
};

use super::spills::SpillCounter;

/// Every family with its meaning. One instruction may belong to several. Only x86-64 code is counted.
pub fn instruction_families() -> &'static [(&'static str, &'static str)] {
    FAMILIES
}

const FAMILIES: &[(&str, &str)] = &[
    ("scalar-float", "arithmetic on one float or double in a vector register"),
    ("scalar-fma", "fused multiply-add of one float or double"),
    ("x87", "arithmetic on the old floating-point stack"),
    ("sse", "128-bit vector instruction in the old encoding"),
    ("avx", "vector instruction of AVX, scalars not counted"),
    ("avx2", "vector instruction of AVX2"),
    ("avx512", "vector instruction of any AVX-512 feature"),
    ("vector-128", "vector instruction whose widest register has 128 bits"),
    ("vector-256", "vector instruction whose widest register has 256 bits"),
    ("vector-512", "vector instruction whose widest register has 512 bits"),
    ("sse-fma", "fused multiply-add on 128 bits"),
    ("avx2-fma", "fused multiply-add on 256 bits, whichever encoding"),
    ("avx512-fma", "fused multiply-add on 512 bits"),
    ("sse-load", "128-bit load"),
    ("avx2-load", "256-bit load"),
    ("avx512-load", "512-bit load"),
    ("sse-store", "128-bit store"),
    ("avx2-store", "256-bit store"),
    ("avx512-store", "512-bit store"),
    ("avx512-mask", "vector instruction under a mask register"),
    ("avx512-bf16", "bfloat16 dot product or conversion"),
    ("avx512-fp16", "half-precision arithmetic"),
    ("avx512-vnni", "8- or 16-bit integer dot product on vectors of AVX-512"),
    ("avx-vnni", "8- or 16-bit integer dot product in the VEX encoding"),
    ("f16c", "conversion between half and single precision"),
    ("amx", "tile instruction"),
    ("gather", "vector load from scattered addresses"),
    ("scatter", "vector store to scattered addresses"),
    ("nontemporal-store", "store that passes the caches by"),
    ("nontemporal-load", "load that passes the caches by"),
    ("prefetch", "prefetch"),
    ("rep-movs", "string copy"),
    ("rep-stos", "string fill"),
    ("permute", "moves elements within or across lanes"),
    ("horizontal", "adds neighbours within a register"),
    ("divide", "vector division"),
    ("square-root", "vector square root"),
    ("reciprocal", "approximate reciprocal or reciprocal square root"),
    ("convert", "vector conversion between element types"),
    ("zero-upper", "clears the upper halves of the vector registers"),
    ("atomic", "locked instruction"),
    ("fence", "memory fence"),
    ("pause", "spin-wait hint"),
    ("call", "call of a known function"),
    ("indirect-call", "call or jump through a register or memory"),
    ("branch", "conditional branch"),
    ("timestamp", "reads the time-stamp counter"),
    ("cpuid", "asks the processor what it is"),
    ("system-call", "enters the kernel directly"),
];

/// Counts over machine code.
#[derive(Debug, Default)]
pub(super) struct Census {
    pub(super) families: BTreeMap<&'static str, u64>,
    pub(super) vector_spills: u64,
    pub(super) raw_syscalls: u64,
}

impl Census {
    /// Decodes `code` linearly; with `own` false only system calls are counted.
    pub(super) fn count(&mut self, code: &[u8], address: u64, own: bool) {
        let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
        let mut spills = SpillCounter::default();
        let mut instruction = Instruction::default();
        while decoder.can_decode() {
            decoder.decode_out(&mut instruction);
            if instruction.is_invalid() {
                continue;
            }
            if is_system_call(&instruction) {
                self.raw_syscalls += 1;
                self.add("system-call");
            }
            if own {
                self.classify(&instruction);
                self.vector_spills += u64::from(spills.is_spill(&instruction));
            }
        }
    }

    fn add(&mut self, family: &'static str) {
        *self.families.entry(family).or_insert(0) += 1;
    }

    fn classify(&mut self, instruction: &Instruction) {
        self.classify_control(instruction);
        let name = format!("{:?}", instruction.mnemonic()).to_ascii_lowercase();
        if let Some(family) = family_of_name(&name) {
            self.add(family);
        }
        let Some(width) = vector_width(instruction) else { return };
        if is_scalar(&name) {
            if is_arithmetic(&name) {
                self.add(if is_fma(&name) { "scalar-fma" } else { "scalar-float" });
            }
            return;
        }
        self.classify_vector(instruction, &name, width);
    }

    fn classify_control(&mut self, instruction: &Instruction) {
        match instruction.flow_control() {
            FlowControl::Call => self.add("call"),
            FlowControl::IndirectCall | FlowControl::IndirectBranch => self.add("indirect-call"),
            FlowControl::ConditionalBranch => self.add("branch"),
            _ => {}
        }
        if instruction.has_lock_prefix()
            || (instruction.mnemonic() == Mnemonic::Xchg && has_memory(instruction))
        {
            self.add("atomic");
        }
        if instruction.has_rep_prefix() || instruction.has_repne_prefix() {
            match instruction.mnemonic() {
                Mnemonic::Movsb | Mnemonic::Movsw | Mnemonic::Movsd | Mnemonic::Movsq => self.add("rep-movs"),
                Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq => self.add("rep-stos"),
                _ => {}
            }
        }
    }

    fn classify_vector(&mut self, instruction: &Instruction, name: &str, width: u32) {
        let (by_width, fma, load, store) = match width {
            512 => ("vector-512", "avx512-fma", "avx512-load", "avx512-store"),
            256 => ("vector-256", "avx2-fma", "avx2-load", "avx2-store"),
            _ => ("vector-128", "sse-fma", "sse-load", "sse-store"),
        };
        self.add(by_width);
        for family in families_of_features(instruction) {
            self.add(family);
        }
        if is_fma(name) {
            self.add(fma);
        }
        if instruction.op_mask() != Register::None {
            self.add("avx512-mask");
        }
        let indexed = name.contains("gather") || name.contains("scatter");
        if has_memory(instruction) && !indexed && !name.starts_with("prefetch") {
            let stores = instruction.op_kind(0) == OpKind::Memory;
            self.add(if stores { store } else { load });
        }
    }
}

fn is_system_call(instruction: &Instruction) -> bool {
    match instruction.mnemonic() {
        Mnemonic::Syscall | Mnemonic::Sysenter => true,
        Mnemonic::Int => instruction.immediate8() == 0x80,
        _ => false,
    }
}

fn has_memory(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|index| instruction.op_kind(index) == OpKind::Memory)
}

/// Bits of the widest vector register, where there is one.
fn vector_width(instruction: &Instruction) -> Option<u32> {
    let registers =
        (0..instruction.op_count()).filter(|&index| instruction.op_kind(index) == OpKind::Register);
    registers
        .filter_map(|index| match instruction.op_register(index) {
            register if register.is_zmm() => Some(512),
            register if register.is_ymm() => Some(256),
            register if register.is_xmm() => Some(128),
            _ => None,
        })
        .max()
}

/// Instructions on one element carry it in their name: `addss`, `vfmadd231sd`, `vcvtsi2ss`.
fn is_scalar(name: &str) -> bool {
    let ends = ["ss", "sd", "sh"].iter().any(|end| name.ends_with(end));
    let broadcast = name.starts_with("vbroadcast");
    let converts = ["cvtsi2", "cvtss2", "cvtsd2", "cvttss2", "cvttsd2", "cvtusi2"]
        .iter()
        .any(|part| name.contains(part));
    let moves = ["movd", "movq", "vmovd", "vmovq"].contains(&name);
    (ends && !broadcast) || converts || moves
}

fn is_arithmetic(name: &str) -> bool {
    let name = name.strip_prefix('v').unwrap_or(name);
    !["mov", "cvt", "comi", "ucomi"].iter().any(|part| name.starts_with(part))
}

fn is_fma(name: &str) -> bool {
    name.starts_with("vfmadd") || name.starts_with("vfmsub") || name.starts_with("vfnm")
}

fn family_of_name(name: &str) -> Option<&'static str> {
    let plain = name.strip_prefix('v').unwrap_or(name);
    let starts = |parts: &[&str]| parts.iter().any(|part| plain.starts_with(part));
    let packed = !is_scalar(name);
    Some(match name {
        "pause" | "tpause" | "umwait" => "pause",
        "lfence" | "mfence" | "sfence" => "fence",
        "rdtsc" | "rdtscp" => "timestamp",
        "cpuid" => "cpuid",
        "vzeroupper" | "vzeroall" => "zero-upper",
        _ if starts(&["pgather", "gather"]) => "gather",
        _ if starts(&["pscatter", "scatter"]) => "scatter",
        _ if starts(&["movntdqa"]) => "nontemporal-load",
        _ if starts(&["movnt"]) => "nontemporal-store",
        _ if starts(&["prefetch"]) => "prefetch",
        _ if starts(&["tile", "tdp"]) || name == "ldtilecfg" => "amx",
        _ if starts(&["rcp", "rsqrt"]) => "reciprocal",
        _ if packed && starts(&["div"]) && name.len() <= 6 => "divide",
        _ if packed && starts(&["sqrt"]) => "square-root",
        _ if starts(&["hadd", "hsub", "phadd", "phsub", "dpps", "dppd"]) => "horizontal",
        _ if packed && starts(&["cvt", "pmovsx", "pmovzx"]) => "convert",
        _ if starts(PERMUTES) => "permute",
        _ => return None,
    })
}

const PERMUTES: &[&str] = &[
    "perm",
    "shuf",
    "pshuf",
    "unpck",
    "punpck",
    "palignr",
    "align",
    "insert",
    "extract",
    "broadcast",
    "pbroadcast",
    "movhlps",
    "movlhps",
    "movshdup",
    "movsldup",
    "movddup",
    "compress",
    "expand",
    "pcompress",
    "pexpand",
    "blend",
    "pblend",
];

fn families_of_features(instruction: &Instruction) -> Vec<&'static str> {
    use CpuidFeature as F;

    let mut families = Vec::new();
    let features = instruction.cpuid_features();
    let has = |feature: CpuidFeature| features.contains(&feature);
    if instruction.encoding() == EncodingKind::Legacy {
        families.push("sse");
    }
    if instruction.encoding() == EncodingKind::EVEX {
        families.push("avx512");
    }
    let named = [
        (F::AVX, "avx"),
        (F::AVX2, "avx2"),
        (F::AVX512_BF16, "avx512-bf16"),
        (F::AVX512_FP16, "avx512-fp16"),
        (F::AVX512_VNNI, "avx512-vnni"),
        (F::AVX_VNNI, "avx-vnni"),
        (F::F16C, "f16c"),
    ];
    families.extend(named.into_iter().filter(|(feature, _)| has(*feature)).map(|(_, family)| family));
    families
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(code: &[u8]) -> Census {
        let mut census = Census::default();
        census.count(code, 0, true);
        census
    }

    fn has(code: &[u8], family: &str) -> bool {
        census(code).families.contains_key(family)
    }

    #[test]
    fn families_are_told_apart_by_width_and_encoding() {
        let wide = [0x62, 0xf2, 0x75, 0x48, 0xb8, 0xc2]; // vfmadd231ps zmm0, zmm1, zmm2
        assert!(has(&wide, "avx512-fma") && has(&wide, "avx512") && !has(&wide, "avx2-fma"));
        let middle = [0xc4, 0xe2, 0x75, 0xb8, 0xc2]; // vfmadd231ps ymm0, ymm1, ymm2
        assert!(has(&middle, "avx2-fma") && !has(&middle, "avx512"));
        let fma_scalar = [0xc4, 0xe2, 0x71, 0xb9, 0xc2]; // vfmadd231ss xmm0, xmm1, xmm2
        assert!(has(&fma_scalar, "scalar-fma") && !has(&fma_scalar, "sse-fma"));
        let add = [0xf3, 0x0f, 0x58, 0xc1]; // addss xmm0, xmm1
        assert!(has(&add, "scalar-float") && !has(&add, "sse"));
        let stream = [0xc5, 0xfc, 0x2b, 0x07]; // vmovntps [rdi], ymm0
        assert!(has(&stream, "nontemporal-store") && has(&stream, "avx2-store"));
        let load = [0x62, 0xf1, 0x7c, 0x48, 0x10, 0x07]; // vmovups zmm0, [rdi]
        assert!(has(&load, "avx512-load"));
        let copy = [0xf3, 0x48, 0xa5]; // rep movsq
        assert!(has(&copy, "rep-movs"));
    }

    #[test]
    fn system_calls_are_counted_in_every_form() {
        assert_eq!(census(&[0x0f, 0x05, 0x0f, 0x34, 0xcd, 0x80, 0xcd, 0x03]).raw_syscalls, 3);
    }

    #[test]
    fn stores_to_the_stack_are_spills_and_stores_elsewhere_are_not() {
        let stack = [0xc5, 0xfc, 0x29, 0x44, 0x24, 0x20]; // vmovaps [rsp+32], ymm0
        assert_eq!(census(&stack).vector_spills, 1);
        let tensor = [0xc5, 0xfc, 0x29, 0x45, 0x20]; // vmovaps [rbp+32], ymm0
        assert_eq!(census(&tensor).vector_spills, 0);
        let frame = [&[0x48, 0x89, 0xe5][..], &tensor[..]].concat(); // mov rbp, rsp first
        assert_eq!(census(&frame).vector_spills, 1);
    }

    #[test]
    fn every_family_that_is_counted_is_on_the_list() {
        let listed: Vec<&str> = FAMILIES.iter().map(|(name, _)| *name).collect();
        let code: Vec<u8> = (0..200_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for family in census(&code).families.keys() {
            assert!(listed.contains(family), "{family}");
        }
    }
}
