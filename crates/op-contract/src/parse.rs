//! From `contract.toml` to a [`Contract`].
//!
//! Reading goes in two passes: the sections first, each on its own, so that a mistake in one does not hide those in the
//! others; then, when all of them could be read, what only holds between sections.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Read};
use std::path::Path;

use kernsmith_core::Digest;
use toml::de::DeTable;

use crate::contract::CONTRACT_FORMAT;
use crate::document::{Place, Report, Section, nearest};
use crate::library::CONTRACT_FILE;
use crate::{Contract, ContractError, Problem};

mod code;
mod shapes;
mod work;

/// No file of a contract is larger; a stray binary is refused before it is read.
const MAX_FILE_BYTES: u64 = 1 << 20;
const ROOT_KEYS: &[&str] = &[
    "format",
    "name",
    "version",
    "family",
    "summary",
    "deterministic",
    "forbidden",
    "axis",
    "input",
    "output",
    "scalar",
    "constraints",
    "flops",
    "bytes",
    "tolerance",
    "oracle",
    "invariant",
    "case",
    "workload",
    "baseline",
    "element",
    "expected_instructions",
];

/// Reads a file of the contract's directory by its name.
pub(crate) type ReadFile<'a> = dyn Fn(&str) -> std::io::Result<String> + 'a;

impl Contract {
    /// Reads the contract in a directory, and every source that it names.
    ///
    /// All independent mistakes are reported in one [`ContractError::Invalid`].
    pub fn load(directory: &Path) -> Result<Self, ContractError> {
        let path = directory.join(CONTRACT_FILE);
        let read = |name: &str| read_limited(&directory.join(name));
        let text = read(CONTRACT_FILE).map_err(|cause| ContractError::File {
            action: "read",
            path: path.clone(),
            cause,
        })?;
        let mut contract = parse(&path.display().to_string(), &text, &read)
            .map_err(|problems| ContractError::Invalid { path, problems })?;
        directory.clone_into(&mut contract.directory);
        contract.notes = read(crate::contract::NOTES_FILE).unwrap_or_default();
        Ok(contract)
    }
}

fn read_limited(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::new(ErrorKind::FileTooLarge, "more than 1 MiB"));
    }
    Ok(text)
}

/// Reads a contract's text; `file` is the name for messages.
pub(crate) fn parse(file: &str, text: &str, read: &ReadFile<'_>) -> Result<Contract, Vec<Problem>> {
    let mut report = Report::new(file, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let place = Place { field: String::new(), span: error.span().unwrap_or(0..0) };
        report.add(&place, format!("not TOML: {}", error.message().trim()), "");
    }
    if !report.is_clean() {
        return Err(report.into_problems());
    }
    let root = Section::root(&mut report, &document, ROOT_KEYS);
    let contract = read_sections(&mut report, &root, read);
    match contract {
        Some(contract) if report.is_clean() => {
            work::check_workloads(&mut report, &contract, &root);
            work::check_structure(&mut report, &contract, &root);
            check_arity(&mut report, &contract, &root.place);
            if report.is_clean() { Ok(contract) } else { Err(report.into_problems()) }
        }
        _ => Err(report.into_problems()),
    }
}

/// Every section once; `None` when a required part is missing or wrong, which is in the report then.
fn read_sections(report: &mut Report, root: &Section<'_>, read: &ReadFile<'_>) -> Option<Contract> {
    let identity = identity(report, root);
    let axes = shapes::axes(report, root);
    let inputs = shapes::tensors(report, root, "input", &axes);
    let outputs = shapes::tensors(report, root, "output", &axes);
    let scalars = shapes::scalars(report, root);
    shapes::unique_arguments(report, root);
    let constraints = shapes::constraints(report, root, &axes);
    let flops = shapes::required_expr(report, root, "flops", &axes);
    let bytes = shapes::required_expr(report, root, "bytes", &axes);
    let tolerance = work::tolerance(report, root);
    let cases = work::cases(report, root);
    let workloads = work::workloads(report, root, &axes);
    let oracle = code::oracle(report, root, &axes, read);
    let invariants = code::invariants(report, root);
    let baselines = code::baselines(report, root, &axes, read);
    let element = code::element(report, root);
    let expected_instructions = code::expected_instructions(report, root);
    let deterministic = root.flag(report, "deterministic");
    let forbidden = root.texts(report, "forbidden").into_iter().map(|word| word.value).collect();
    let (name, version, family, summary) = identity?;
    let mut contract = Contract {
        name,
        version,
        family,
        summary,
        directory: std::path::PathBuf::new(),
        digest: Digest::ZERO,
        axes,
        inputs,
        outputs,
        scalars,
        constraints,
        cases,
        workloads,
        tolerance: tolerance?,
        flops: flops?,
        bytes: bytes?,
        oracle: oracle?,
        invariants,
        baselines,
        deterministic,
        expected_instructions,
        forbidden,
        element,
        notes: String::new(),
    };
    contract.digest = digest(&contract, report.text());
    Some(contract)
}

fn identity(report: &mut Report, root: &Section<'_>) -> Option<(String, u32, String, String)> {
    if let Some(format) = root.optional_integer(report, "format")
        && !(1..=CONTRACT_FORMAT).contains(&format.value)
    {
        let message = format!("format {} is not known", format.value);
        report.add(&format.place, message, format!("this program reads formats 1 to {CONTRACT_FORMAT}"));
    }
    let name = root.text(report, "name", "\"rmsnorm_f32\"");
    if let Some(name) = &name
        && !is_contract_name(&name.value)
    {
        let message = format!("`{}` is not a contract name", name.value);
        report.add(&name.place, message, "use lower-case letters, digits and `_`, at most 64 bytes");
    }
    let version = root.optional_integer(report, "version");
    let number = version.as_ref().map_or(Some(1), |version| u32::try_from(version.value).ok());
    if let (Some(version), None | Some(0)) = (&version, number) {
        report.add(&version.place, format!("version {} is out of range", version.value), "count from 1");
    }
    let family = root.text(report, "family", "\"elementwise\"");
    let summary = root.text(report, "summary", "\"the exact formula\"");
    Some((name?.value, number?, family?.value, summary?.value))
}

/// The content address: every named file with its name, in a fixed order.
fn digest(contract: &Contract, text: &str) -> Digest {
    let mut files = BTreeMap::from([(CONTRACT_FILE, text)]);
    files.insert(&contract.oracle.file, &contract.oracle.source);
    files
        .extend(contract.baselines.iter().map(|baseline| (baseline.file.as_str(), baseline.source.as_str())));
    Digest::of_parts(files.into_iter().flat_map(|(name, content)| [name.as_bytes(), content.as_bytes()]))
}

/// The universal call takes at most 24 integer words and 8 floating-point words; the oracle needs the most.
fn check_arity(report: &mut Report, contract: &Contract, place: &Place) {
    let words = contract.inputs.len() + 2 * contract.outputs.len() + contract.variable_axes().len() + 2;
    if words > 24 || contract.scalars.len() > 8 {
        let message = format!("the oracle would take {words} words and {} scalars", contract.scalars.len());
        report.add(place, message, "the limits are 24 and 8: use fewer tensors or scalars");
    }
}

/// Whether a word is a usable contract name.
pub(crate) fn is_contract_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Whether a word can be a C++ argument or function name.
fn is_identifier(name: &str) -> bool {
    const RESERVED: &[&str] = &[
        "auto", "bool", "break", "case", "char", "class", "const", "continue", "default", "delete", "do",
        "double", "else", "enum", "extern", "float", "for", "if", "inline", "int", "long", "new", "return",
        "short", "signed", "sizeof", "static", "struct", "switch", "this", "union", "unsigned", "using",
        "void", "volatile", "while",
    ];
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !RESERVED.contains(&name)
}

fn check_identifier(report: &mut Report, place: &Place, name: &str) {
    if !is_identifier(name) {
        report.add(place, format!("`{name}` is not a C++ name"), "use letters, digits and `_`, no keyword");
    }
}

/// Reports the second and later uses of a name.
fn check_unique<'a>(report: &mut Report, names: impl IntoIterator<Item = (&'a str, &'a Place)>) {
    let mut first = BTreeMap::new();
    for (name, place) in names {
        match first.get(name) {
            None => drop(first.insert(name, place.field.clone())),
            Some(earlier) => {
                let message = format!("the name `{name}` is taken by `{earlier}`");
                report.add(place, message, "give each its own name");
            }
        }
    }
}

/// A remedy that names the nearest known word, or all of them.
fn suggest(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`? legal: {}", known.join(", ")),
        None => format!("legal: {}", known.join(", ")),
    }
}
