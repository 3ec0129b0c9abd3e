//! The ELF side of a cubin: kernels, parameters, resources, variables.
//!
//! Codes of the attributes in `.nv.info` are not documented; those used here were read off objects for five architectures
//! beside what `cuobjdump -elf` calls them, and tests compare what comes out with what the assembler says.

use std::collections::BTreeMap;

use object::read::elf::{ElfFile64, FileHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, SectionIndex};

use super::facts::{CudaFacts, CudaGlobal, CudaKernelFacts, CudaParameter};
use super::sass::{self, Census};

/// `STO_CUDA_ENTRY` in a symbol's `st_other`: a kernel that can be launched.
const ENTRY: u8 = 0x10;
/// From this architecture on, objects count the shared memory that the system keeps for itself.
const RESERVES_SHARED: u32 = 90;
const RESERVED_SHARED_BYTES: u64 = 1024;

/// Attribute codes in `.nv.info`.
mod attribute {
    pub(super) const MAX_THREADS: u8 = 0x05;
    pub(super) const REQUIRED_THREADS: u8 = 0x10;
    pub(super) const FRAME_SIZE: u8 = 0x11;
    pub(super) const PARAMETER: u8 = 0x17;
    pub(super) const REGISTERS: u8 = 0x2f;
    pub(super) const CLUSTER: u8 = 0x3d;
    pub(super) const WIDE_PARAMETER: u8 = 0x45;
    pub(super) const BARRIERS: u8 = 0x4c;
}

type File<'data> = ElfFile64<'data, Endianness>;

/// Reads everything that the object itself says.
pub(super) fn read(cubin: &[u8]) -> Result<CudaFacts, String> {
    let file = File::parse(cubin).map_err(|error| error.to_string())?;
    let arch = arch(&file);
    let mut facts = CudaFacts { arch: format!("sm_{arch}"), ..CudaFacts::default() };
    let by_symbol = per_symbol(&file);
    let mut all = Census::default();
    for symbol in file.symbols() {
        let name = symbol.name().unwrap_or_default();
        let is_entry = symbol.elf_symbol().st_other.0 & ENTRY != 0 && symbol.is_definition();
        if is_entry && let Some(section) = symbol.section_index() {
            let resources = by_symbol.get(&symbol.index().0);
            let mut kernel = kernel(&file, name, section, arch)?;
            if let Some(resources) = resources {
                kernel.registers = resources.registers;
                kernel.stack_bytes = resources.stack_bytes;
            }
            facts.kernels.push(kernel);
        }
        if symbol.is_undefined() && !name.is_empty() && !name.starts_with(".nv.reservedSmem") {
            facts.undefined.push(name.to_owned());
        }
    }
    facts.globals = globals(&file);
    for section in
        file.sections().filter(|section| section.name().is_ok_and(|name| name.starts_with(".text.")))
    {
        facts.text_bytes += section.size();
        all.count(section.data().map_err(|error| error.to_string())?, arch);
    }
    facts.families = all.families();
    facts.missing.extend(all.note());
    facts.kernels.sort_by(|a, b| a.symbol.cmp(&b.symbol));
    facts.undefined.sort();
    Ok(facts)
}

/// The architecture's number. Version 8 of the ABI (CUDA 13) moved it by a byte.
fn arch(file: &File<'_>) -> u32 {
    let header = file.elf_header();
    let flags = header.e_flags(file.endian()).0;
    if header.e_ident().abi_version >= 8 { flags >> 8 & 0xff } else { flags & 0xff }
}

/// What `.nv.info` says about functions, by index of their symbol.
#[derive(Debug, Default)]
struct Resources {
    registers: u32,
    stack_bytes: u64,
}

fn per_symbol(file: &File<'_>) -> BTreeMap<usize, Resources> {
    let mut found: BTreeMap<usize, Resources> = BTreeMap::new();
    for (code, payload) in attributes(file, ".nv.info") {
        let (Some(symbol), Some(value)) = (word(payload, 0), word(payload, 4)) else { continue };
        let resources = found.entry(symbol as usize).or_default();
        match code {
            attribute::REGISTERS => resources.registers = value,
            attribute::FRAME_SIZE => resources.stack_bytes = value.into(),
            _ => {}
        }
    }
    found
}

fn kernel(file: &File<'_>, name: &str, section: SectionIndex, arch: u32) -> Result<CudaKernelFacts, String> {
    let text = file.section_by_index(section).map_err(|error| error.to_string())?;
    let code = text.data().map_err(|error| error.to_string())?;
    let mut census = Census::default();
    census.count(code, arch);
    let size_of = |prefix: &str| {
        let section = file.section_by_name(&format!("{prefix}.{name}"));
        section.map_or(0, |section| section.size())
    };
    let shared = size_of(".nv.shared");
    let reserved = if arch >= RESERVES_SHARED { RESERVED_SHARED_BYTES } else { 0 };
    let families = census.families();
    let local = [sass::LOCAL_LOAD, sass::LOCAL_STORE].iter().filter_map(|family| families.get(*family)).sum();
    let mut kernel = CudaKernelFacts {
        symbol: name.to_owned(),
        text_bytes: code.len() as u64,
        static_shared_bytes: shared.saturating_sub(reserved),
        constant_bytes: size_of(".nv.constant0") + size_of(".nv.constant2"),
        local_instructions: local,
        families,
        ..CudaKernelFacts::default()
    };
    let mut parameters: BTreeMap<u32, CudaParameter> = BTreeMap::new();
    for (code, payload) in attributes(file, &format!(".nv.info.{name}")) {
        let words: Vec<u32> = (0..payload.len() / 4).filter_map(|index| word(payload, 4 * index)).collect();
        match (code, words.as_slice()) {
            (attribute::MAX_THREADS | attribute::REQUIRED_THREADS, [x, y, z, ..]) => {
                kernel.max_threads = Some(x.saturating_mul(*y).saturating_mul(*z));
            }
            (attribute::CLUSTER, [x, y, z, ..]) => kernel.cluster = Some([*x, *y, *z]),
            (attribute::BARRIERS, _) => kernel.barriers = payload.first().copied().unwrap_or(0).into(),
            (attribute::PARAMETER | attribute::WIDE_PARAMETER, [_, place, size, ..]) => {
                // A narrow parameter's size stands above 18 other bits, a wide one's stands alone.
                let bytes = if code == attribute::PARAMETER { size >> 18 } else { *size };
                let parameter = CudaParameter { offset_bytes: place >> 16, bytes };
                parameters.insert(place & 0xffff, parameter);
            }
            _ => {}
        }
    }
    kernel.parameters = parameters.into_values().collect();
    Ok(kernel)
}

/// Tables that the compiler puts beside sine and cosine, with their sizes: the only values at module scope that a source does not
/// choose.
const COMPILERS_OWN: [(&str, u64); 3] =
    [("__cudart_i2opi_f", 24), ("__cudart_i2opi_d", 144), ("__cudart_sin_cos_coeffs", 128)];

fn is_the_compilers_own<'data>(symbol: &impl object::ObjectSymbol<'data>) -> bool {
    COMPILERS_OWN.iter().any(|own| symbol.name() == Ok(own.0) && symbol.size() == own.1)
}

/// Variables at module scope. What kernels declare as shared lies in sections of its own and is not among them.
fn globals(file: &File<'_>) -> Vec<CudaGlobal> {
    let reached = reaches_module_scope(file);
    let mut found: Vec<CudaGlobal> = file
        .symbols()
        .filter(|symbol| symbol.elf_symbol().st_type() == object::elf::STT_OBJECT)
        .filter_map(|symbol| {
            let section = file.section_by_index(symbol.section_index()?).ok()?;
            let place = section.name().ok()?;
            let constant = place.starts_with(".nv.constant");
            let global = place.starts_with(".nv.global") || place.starts_with(".nv.managed");
            let initialised = section.data().is_ok_and(|data| !data.is_empty());
            (constant || global).then(|| CudaGlobal {
                name: symbol.name().unwrap_or_default().to_owned(),
                bytes: symbol.size(),
                constant,
                writable: global && reached && !(initialised && is_the_compilers_own(&symbol)),
                initialised,
            })
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Whether the code can know an address at module scope: it reads the bank that holds them, or an address is written into it when
/// it is loaded. NVRTC keeps every constant that stands outside a function (`constexpr int tile = 64;`) as a variable, with an
/// address in that bank that nobody reads.
fn reaches_module_scope(file: &File<'_>) -> bool {
    let texts = file.sections().filter(|section| section.name().is_ok_and(|name| name.starts_with(".text.")));
    texts.into_iter().any(|section| {
        section.data().is_ok_and(|code| sass::reads_bank(code, ADDRESS_BANK))
            || section.relocations().any(|(_, relocation)| names_variable(file, &relocation))
    })
}

fn names_variable(file: &File<'_>, relocation: &object::Relocation) -> bool {
    let object::RelocationTarget::Symbol(index) = relocation.target() else { return true };
    file.symbol_by_index(index).is_ok_and(|symbol| symbol.elf_symbol().st_type() == object::elf::STT_OBJECT)
}

/// The bank of constant memory in which addresses of variables at module scope stand.
const ADDRESS_BANK: u64 = 4;

/// The attributes of a section as code and payload. What is cut off ends the list.
fn attributes<'data>(file: &File<'data>, section: &str) -> Vec<(u8, &'data [u8])> {
    let data = file.section_by_name(section).and_then(|section| section.data().ok()).unwrap_or_default();
    let mut rest = data;
    let mut found = Vec::new();
    while let [format, code, tail @ ..] = rest {
        let Some((value, after)) = tail.split_at_checked(2) else { break };
        if *format != LONG_FORMAT {
            found.push((*code, value));
            rest = after;
            continue;
        }
        let bytes = usize::from(u16::from_le_bytes([value[0], value[1]]));
        let Some((payload, after)) = after.split_at_checked(bytes) else { break };
        found.push((*code, payload));
        rest = after;
    }
    found
}

/// `EIFMT_SVAL`: a payload of its own follows. The other formats carry their value in the entry's own four bytes.
const LONG_FORMAT: u8 = 4;

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_cubin_is_an_error_and_no_panic() {
        assert!(read(b"").is_err());
        assert!(read(b"\x7fELF\x02\x01\x01").is_err());
    }
}
