//! Facts read from a shared object: what it exports, imports and runs when loaded, and what its machine code is made of.

mod disassembly;
mod families;
mod image;
mod spills;

use std::collections::BTreeMap;

use kernsmith_core::evidence::ObjectFacts;
use object::{Architecture, Object as _, ObjectSection as _, SectionKind};

pub(crate) use self::disassembly::disassemble;
use self::families::Census;
pub use self::families::instruction_families;

/// Reads the facts of an ELF shared object.
pub(crate) fn read(bytes: &[u8]) -> Result<ObjectFacts, String> {
    let file = object::read::elf::ElfFile64::<object::Endianness>::parse(bytes)
        .map_err(|error| error.to_string())?;
    let image = image::read(&file)?;
    let mut text_bytes = 0;
    let mut data_bytes = 0;
    let mut census = Census::default();
    for section in file.sections() {
        match section.kind() {
            SectionKind::Text => {
                text_bytes += section.size();
                if file.architecture() == Architecture::X86_64 {
                    let code = section.data().map_err(|error| error.to_string())?;
                    // The start-up and linkage sections are the compiler's own; only system calls count there.
                    census.count(code, section.address(), section.name() == Ok(".text"));
                }
            }
            SectionKind::Data
            | SectionKind::UninitializedData
            | SectionKind::Tls
            | SectionKind::UninitializedTls => {
                data_bytes += section.size();
            }
            _ => {}
        }
    }
    let families: BTreeMap<String, u64> =
        census.families.iter().map(|(&family, &count)| (family.to_owned(), count)).collect();
    Ok(ObjectFacts {
        text_bytes,
        data_bytes,
        exports: image.exports,
        imports: image.imports,
        libraries: image.libraries,
        families,
        vector_spills: census.vector_spills,
        raw_syscalls: census.raw_syscalls,
        constructors: image.constructors,
        writable_code: image.writable_code,
        kernels: Vec::new(),
    })
}
