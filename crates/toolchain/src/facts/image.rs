//! The ELF side: symbols, libraries, constructors, segments.

use std::collections::{BTreeMap, BTreeSet};

use object::elf::{
    DF_TEXTREL, DT_FLAGS, DT_NEEDED, DT_TEXTREL, PF_W, PF_X, PT_GNU_STACK, PT_LOAD, R_X86_64_IRELATIVE,
    STT_GNU_IFUNC,
};
use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags, RelocationTarget,
};

/// What the ELF structures say.
pub(super) struct Image {
    pub(super) exports: Vec<String>,
    pub(super) imports: Vec<String>,
    pub(super) libraries: Vec<String>,
    pub(super) constructors: u64,
    pub(super) writable_code: bool,
}

type File<'data> = ElfFile64<'data, Endianness>;

pub(super) fn read(file: &File<'_>) -> Result<Image, String> {
    let (libraries, text_relocations) = dynamic_section(file)?;
    let names = |defined: bool| -> Vec<String> {
        let symbols =
            file.dynamic_symbols().filter(|symbol| symbol.is_definition() == defined && !symbol.is_local());
        let names: BTreeSet<String> = symbols
            .filter_map(|symbol| symbol.name().ok().filter(|name| !name.is_empty()).map(str::to_owned))
            .collect();
        names.into_iter().collect()
    };
    Ok(Image {
        exports: names(true),
        imports: names(false),
        libraries,
        constructors: constructors(file),
        writable_code: text_relocations || has_writable_code(file),
    })
}

/// Needed libraries, and whether loading writes into the machine code.
fn dynamic_section(file: &File<'_>) -> Result<(Vec<String>, bool), String> {
    let text = |error: object::Error| error.to_string();
    let endian = file.endian();
    let sections = file.elf_header().sections(endian, file.data()).map_err(text)?;
    let mut libraries = Vec::new();
    let mut text_relocations = false;
    if let Some((entries, link)) = sections.dynamic(endian, file.data()).map_err(text)? {
        let strings = sections.strings(endian, file.data(), link).map_err(text)?;
        for entry in entries {
            let tag = entry.d_tag(endian);
            if tag == DT_NEEDED {
                let name = entry.string(endian, strings).map_err(text)?;
                libraries.push(String::from_utf8_lossy(name).into_owned());
            }
            let flagged = tag == DT_FLAGS && entry.d_val(endian) & DF_TEXTREL.0 != 0;
            text_relocations |= flagged || tag == DT_TEXTREL;
        }
    }
    Ok((libraries, text_relocations))
}

/// Code that the loader would run: entries of the constructor and destructor tables that are not the compiler's own, and
/// resolvers of indirect functions.
fn constructors(file: &File<'_>) -> u64 {
    let own: BTreeSet<u64> = file
        .symbols()
        .filter(|symbol| matches!(symbol.name(), Ok("frame_dummy" | "__do_global_dtors_aux")))
        .map(|symbol| symbol.address())
        .collect();
    let targets = relocation_targets(file);
    let mut count = 0;
    for section in file.sections() {
        let is_table = section.name().is_ok_and(|name| {
            [".init_array", ".fini_array", ".preinit_array", ".ctors", ".dtors"].iter().any(|table| {
                name.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        });
        if is_table {
            let slots = (section.address()..section.address() + section.size()).step_by(8);
            let (own, others): (Vec<u64>, Vec<u64>) =
                slots.partition(|slot| targets.get(slot).is_some_and(|target| own.contains(target)));
            // The compiler's own function stands once in a table; a second one only bears its name.
            count += (others.len() + own.len().saturating_sub(1)) as u64;
        }
    }
    let resolvers = file
        .dynamic_relocations()
        .into_iter()
        .flatten()
        .filter(|(_, relocation)| {
            matches!(relocation.flags(), RelocationFlags::Elf { r_type: R_X86_64_IRELATIVE })
        })
        .count();
    let indirect = file
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition() && symbol.elf_symbol().st_type() == STT_GNU_IFUNC)
        .count();
    count + resolvers as u64 + indirect as u64
}

/// Where each relocated slot points to, as far as it points into the object itself.
fn relocation_targets(file: &File<'_>) -> BTreeMap<u64, u64> {
    let relocations = file.dynamic_relocations().into_iter().flatten();
    relocations
        .filter(|(_, relocation)| matches!(relocation.target(), RelocationTarget::Absolute))
        .map(|(slot, relocation)| (slot, relocation.addend().cast_unsigned()))
        .collect()
}

fn has_writable_code(file: &File<'_>) -> bool {
    let endian = file.endian();
    file.elf_program_headers().iter().any(|header| {
        let flags = header.p_flags(endian);
        match header.p_type(endian) {
            PT_LOAD => flags.0 & PF_W.0 != 0 && flags.0 & PF_X.0 != 0,
            PT_GNU_STACK => flags.0 & PF_X.0 != 0,
            _ => false,
        }
    })
}
