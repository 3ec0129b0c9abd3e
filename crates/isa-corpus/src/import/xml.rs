//! Reads AMD's machine-readable ISA as a stream: a file of tens of megabytes is never held as a tree.
//!
//! The elements are those of the schema's documentation (GPUOpen-Tools/isa_spec_manager): `Spec/Document` with `ReleaseDate` and
//! `SchemaVersion`, `Spec/ISA/Architecture/ArchitectureName`, and `Spec/ISA/Instructions/Instruction`. Elements that are
//! not known are passed over; another major schema version is refused.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use kernsmith_core::{Digest, Target};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::store;
use super::{ImportError, Imported, Instruction, Operand};

/// Major version of the schema that this version reads.
const SCHEMA_MAJOR: &str = "1";
/// What a description may take; longer ones are cut.
const MAX_DESCRIPTION_BYTES: usize = 600;

/// Architectures that the corpus has targets for.
const TARGETS: [(&str, &str); 2] = [("CDNA3", "hip-gfx942"), ("CDNA4", "hip-gfx950")];

/// Reads an XML file and keeps it below `folder`; returns what was read and where it is now.
///
/// `target` overrules the one that follows from the architecture's name.
pub fn import_xml(
    xml: &Path,
    folder: &Path,
    target: Option<&Target>,
) -> Result<(Imported, PathBuf), ImportError> {
    let shown = xml.display().to_string();
    let failed = |source| ImportError::File { action: "read", path: shown.clone(), source };
    let digest = digest_of_file(xml).map_err(failed)?;
    let file = File::open(xml).map_err(failed)?;
    let mut parser = Parser { path: &shown, ..Parser::default() };
    parser.run(Reader::from_reader(BufReader::new(file)))?;
    let imported = parser.finish(digest, target)?;
    let kept = store::write(folder, &imported)?;
    Ok((imported, kept))
}

fn digest_of_file(path: &Path) -> std::io::Result<Digest> {
    // The digest wants one slice, and a part at a time is enough to tell files apart.
    let mut file = File::open(path)?;
    let mut digest = Digest::ZERO;
    let mut part = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut part)?;
        if read == 0 {
            return Ok(digest);
        }
        digest = Digest::of_parts([digest.to_string().as_bytes(), &part[..read]]);
    }
}

#[derive(Default)]
struct Parser<'a> {
    path: &'a str,
    /// Names of the open elements.
    open: Vec<String>,
    text: String,
    architecture: String,
    schema_version: String,
    release_date: String,
    instruction: Instruction,
    operand: Operand,
    instructions: Vec<Instruction>,
    line: usize,
}

impl Parser<'_> {
    fn run(&mut self, mut reader: Reader<BufReader<File>>) -> Result<(), ImportError> {
        reader.config_mut().expand_empty_elements = true;
        let mut buffer = Vec::new();
        self.line = 1;
        loop {
            buffer.clear();
            let event = reader.read_event_into(&mut buffer);
            match event.map_err(|error| self.wrong(&error.to_string(), "is it the XML file itself?"))? {
                Event::Start(start) => self.start(&start)?,
                Event::End(_) => {
                    self.end()?;
                    self.open.pop();
                    if !self.in_description() {
                        self.text.clear();
                    }
                }
                Event::Text(text) => {
                    self.line += text.bytes().filter(|&byte| byte == b'\n').count();
                    self.text.push_str(&text);
                }
                Event::CData(text) => {
                    self.line += text.bytes().filter(|&byte| byte == b'\n').count();
                    self.text.push_str(&text);
                }
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().ok().flatten();
                    let named = match &*reference {
                        "lt" => Some('<'),
                        "gt" => Some('>'),
                        "amp" => Some('&'),
                        "quot" => Some('"'),
                        "apos" => Some('\''),
                        _ => None,
                    };
                    self.text.extend(character.or(named));
                }
                Event::Eof => return self.closed(),
                Event::Comment(text) => self.line += text.bytes().filter(|&byte| byte == b'\n').count(),
                _ => {}
            }
        }
    }

    fn closed(&self) -> Result<(), ImportError> {
        match self.open.last() {
            Some(open) => {
                let problem = format!("the file ends inside `{open}`");
                Err(self.wrong(&problem, "download it again: it is not whole"))
            }
            None => Ok(()),
        }
    }

    fn wrong(&self, problem: &str, help: &str) -> ImportError {
        ImportError::Wrong {
            path: self.path.to_owned(),
            line: self.line,
            problem: problem.to_owned(),
            help: help.to_owned(),
        }
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), ImportError> {
        let name = start.name().as_ref().to_owned();
        if self.open.is_empty() && name != "Spec" {
            let problem = format!("the root is `{name}`, not `Spec`");
            return Err(self.wrong(&problem, "give a machine-readable ISA file such as amdgpu_isa_cdna3.xml"));
        }
        // Paragraphs inside a description are part of its text.
        if self.in_description() {
            self.text.push(' ');
        } else {
            self.text.clear();
        }
        match name.as_str() {
            "Instruction" => self.instruction = Instruction::default(),
            "Operand" => {
                let is = |attribute: &str| {
                    let found = start.try_get_attribute(attribute).ok().flatten();
                    found.is_some_and(|found| found.value.as_ref().eq_ignore_ascii_case("true"))
                };
                self.operand = Operand { input: is("Input"), output: is("Output"), ..Operand::default() };
            }
            _ => {}
        }
        self.open.push(name);
        Ok(())
    }

    fn in_description(&self) -> bool {
        self.inside("Description") || self.inside("InstructionDescription")
    }

    fn inside(&self, name: &str) -> bool {
        self.open.iter().any(|open| open == name)
    }

    fn end(&mut self) -> Result<(), ImportError> {
        let depth = self.open.len();
        let (name, parent) = match &self.open[..] {
            [.., parent, name] => (name.as_str(), parent.as_str()),
            [name] => (name.as_str(), ""),
            [] => return Ok(()),
        };
        let text = self.text.trim();
        match (parent, name) {
            ("Document", "SchemaVersion") => {
                if text.split('.').next() != Some(SCHEMA_MAJOR) {
                    let problem = format!("schema version `{text}` is not known");
                    return Err(self
                        .wrong(&problem, &format!("this program reads {SCHEMA_MAJOR}.x; use a newer one")));
                }
                text.clone_into(&mut self.schema_version);
            }
            ("Document", "ReleaseDate") => text.clone_into(&mut self.release_date),
            ("Architecture", "ArchitectureName") => text.clone_into(&mut self.architecture),
            ("Instruction", "InstructionName") => text.clone_into(&mut self.instruction.name),
            ("Instruction", "Description" | "InstructionDescription") => {
                self.instruction.description = shortened(text);
            }
            ("InstructionEncoding", "EncodingName") => self.instruction.encodings.push(text.to_owned()),
            ("FunctionalGroup", "Name") if self.inside("Instruction") => {
                text.clone_into(&mut self.instruction.group);
            }
            (_, "Subgroup") if self.inside("Instruction") => {
                self.instruction.group.push('/');
                self.instruction.group.push_str(text);
            }
            ("Operand", "FieldName") => text.clone_into(&mut self.operand.field),
            ("Operand", "DataFormatName") => text.clone_into(&mut self.operand.format),
            ("Operand", "OperandType") => text.clone_into(&mut self.operand.kind),
            ("Operand", "OperandSize") => self.operand.bits = text.parse().unwrap_or(0),
            ("Operands", "Operand") if self.instruction.encodings.len() <= 1 => {
                self.instruction.operands.push(std::mem::take(&mut self.operand));
            }
            ("Instructions", "Instruction") if !self.instruction.name.is_empty() => {
                self.instructions.push(std::mem::take(&mut self.instruction));
            }
            _ => debug_assert!(depth > 0),
        }
        Ok(())
    }

    fn finish(mut self, digest: Digest, target: Option<&Target>) -> Result<Imported, ImportError> {
        if self.schema_version.is_empty() {
            return Err(
                self.wrong("there is no `SchemaVersion`", "give the vendor's file as it was downloaded")
            );
        }
        if self.instructions.is_empty() {
            return Err(
                self.wrong("there is no `Instruction`", "give the vendor's file as it was downloaded")
            );
        }
        let squeezed: String = self.architecture.chars().filter(char::is_ascii_alphanumeric).collect();
        let known = TARGETS.iter().find(|(name, _)| squeezed.to_uppercase().ends_with(name));
        let target = match (target, known) {
            (Some(target), _) => target.clone(),
            (None, Some((_, target))) => target.parse().map_err(|_| self.wrong("no target", ""))?,
            (None, None) => {
                let problem = format!("`{}` belongs to no target of the corpus", self.architecture);
                return Err(self.wrong(&problem, "name one with `--target hip-gfx<n>`"));
            }
        };
        let (architecture, instructions) =
            (std::mem::take(&mut self.architecture), std::mem::take(&mut self.instructions));
        let (schema_version, release_date) = (self.schema_version, self.release_date);
        Ok(Imported { architecture, target, schema_version, release_date, digest, instructions })
    }
}

/// Runs of white space become one blank; what is longer than allowed is cut.
fn shortened(text: &str) -> String {
    let mut short = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut end = short.len().min(MAX_DESCRIPTION_BYTES);
    while !short.is_char_boundary(end) {
        end -= 1;
    }
    short.truncate(end);
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::imported_in;

    /// Written by us after the schema's documentation.
    const XML: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<Spec>
  <Document>
    <Copyright>none: a sample</Copyright><Sensitivity>Public</Sensitivity>
    <ReleaseDate>2025-09-05</ReleaseDate><SchemaVersion>1.1.0</SchemaVersion>
  </Document>
  <ISA>
    <Architecture><ArchitectureName>AMD CDNA 3</ArchitectureName><ArchitectureId>3</ArchitectureId></Architecture>
    <Encodings><Encoding Order="1"><EncodingName>VOP3P_MFMA</EncodingName></Encoding></Encodings>
    <Instructions>
      <Instruction>
        <InstructionFlags><IsBranch>FALSE</IsBranch></InstructionFlags>
        <InstructionName>V_MFMA_SAMPLE</InstructionName>
        <Description><p>Sample of a &lt;matrix&gt; step.</p><p>Second
 paragraph.</p></Description>
        <InstructionEncodings>
          <InstructionEncoding>
            <EncodingName>VOP3P_MFMA</EncodingName><Opcode Radix="10">77</Opcode>
            <Operands>
              <Operand Input="False" Output="True" IsImplicit="False" IsBinaryMicrocodeRequired="True" Order="1">
                <FieldName>VDST</FieldName><DataFormatName>FMT_NUM_F32</DataFormatName>
                <OperandType>OPR_VGPR</OperandType><OperandSize>128</OperandSize>
              </Operand>
            </Operands>
          </InstructionEncoding>
          <InstructionEncoding>
            <EncodingName>SECOND</EncodingName>
            <Operands><Operand Input="True" Output="False"><OperandSize>32</OperandSize></Operand></Operands>
          </InstructionEncoding>
        </InstructionEncodings>
        <FunctionalGroup><Name>VALU</Name><Subgroup>MATRIX</Subgroup></FunctionalGroup>
        <SomethingNew><Name>ignored</Name></SomethingNew>
      </Instruction>
    </Instructions>
    <FunctionalGroups><FunctionalGroup><Name>VALU</Name></FunctionalGroup></FunctionalGroups>
  </ISA>
</Spec>
"#;

    fn import(text: &str) -> Result<(Imported, PathBuf), ImportError> {
        let folder = tempfile::tempdir().unwrap();
        let xml = folder.path().join("sample.xml");
        std::fs::write(&xml, text).unwrap();
        let result = import_xml(&xml, &folder.path().join("kept"), None);
        if let Ok((imported, _)) = &result {
            assert_eq!(imported_in(&folder.path().join("kept")).unwrap(), std::slice::from_ref(imported));
        }
        result
    }

    #[test]
    fn an_instruction_is_read_with_its_operands_and_kept() {
        let (imported, path) = import(XML).unwrap();
        assert_eq!(imported.target.to_string(), "hip-gfx942");
        assert!(path.ends_with("hip-gfx942.jsonl"));
        let [instruction] = &imported.instructions[..] else { panic!("{imported:?}") };
        assert_eq!(instruction.description, "Sample of a <matrix> step. Second paragraph.");
        assert_eq!((instruction.group.as_str(), instruction.encodings.len()), ("VALU/MATRIX", 2));
        let [operand] = &instruction.operands[..] else { panic!("{instruction:?}") };
        assert_eq!((operand.field.as_str(), operand.bits, operand.output), ("VDST", 128, true));
    }

    #[test]
    fn what_is_not_such_a_file_is_refused_with_the_reason() {
        let cases = [
            (XML.replace("1.1.0", "2.0.0"), "schema version `2.0.0`"),
            (XML.replace("AMD CDNA 3", "AMD RDNA 4"), "belongs to no target"),
            (XML.replace("Spec>", "Html>"), "not `Spec`"),
            (XML[..XML.len() / 2].to_owned(), "sample.xml:"),
            (XML.replace("InstructionName", "Other"), "there is no `Instruction`"),
        ];
        for (text, expected) in cases {
            let error = import(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
