//! Machine code as text, for whoever wants to see what the compiler made of a source.

use iced_x86::{Decoder, DecoderOptions, FastFormatter, Instruction};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

/// Instructions of one exported symbol, or of all code, one a line with its address.
pub(crate) fn disassemble(bytes: &[u8], symbol: Option<&str>) -> Result<Vec<String>, String> {
    let file = object::read::elf::ElfFile64::<object::Endianness>::parse(bytes)
        .map_err(|error| error.to_string())?;
    if file.architecture() != object::Architecture::X86_64 {
        return Err("only x86-64 code can be shown".to_owned());
    }
    let text = file.section_by_name(".text").ok_or("the object has no code")?;
    let (code, base) = (text.data().map_err(|error| error.to_string())?, text.address());
    let (begin, end) = match symbol {
        None => (0, code.len()),
        Some(name) => {
            let mut exports = file.dynamic_symbols().filter(object::ObjectSymbol::is_definition);
            let found = exports.find(|export| export.name() == Ok(name));
            let found = found.ok_or_else(|| format!("there is no exported symbol `{name}`"))?;
            let begin = found.address().checked_sub(base).ok_or("the symbol lies outside the code")?;
            (begin as usize, (begin + found.size()) as usize)
        }
    };
    let code = code.get(begin..end).ok_or("the symbol lies outside the code")?;
    let mut decoder = Decoder::with_ip(64, code, base + begin as u64, DecoderOptions::NONE);
    let mut formatter = FastFormatter::new();
    let mut instruction = Instruction::default();
    let mut lines = Vec::new();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        let mut line = format!("{:x}: ", instruction.ip());
        formatter.format(&instruction, &mut line);
        lines.push(line);
    }
    Ok(lines)
}
