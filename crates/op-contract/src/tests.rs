//! Facts about whole contracts: the shipped ones, the scaffold, and what mistakes look like.

use std::path::{Path, PathBuf};

use crate::parse::parse;
use crate::{Contract, ContractError, Problem, scaffold};

mod lint;
mod messages;
mod robustness;

const SHIPPED: [&str; 13] = [
    "cumsum_f32",
    "gemm_bf16",
    "gemm_f32",
    "gqa_decode_paged_bf16",
    "layernorm_f32",
    "merge_state_bf16",
    "rmsnorm_bf16",
    "rmsnorm_f32",
    "silu_mul_bf16",
    "silu_mul_f32",
    "softmax_bf16",
    "softmax_f32",
    "transpose_f32",
];

/// The scaffold's text under the name `sample`.
fn sample() -> String {
    include_str!("../scaffold/contract.toml").replace("@NAME@", "sample")
}

/// Reads a contract whose sources are the scaffold's.
fn read(text: &str) -> Result<Contract, Vec<Problem>> {
    parse("contract.toml", text, &|file| match file {
        "reference.cpp" => Ok(include_str!("../scaffold/reference.cpp").to_owned()),
        "scalar.cpp" => Ok(include_str!("../scaffold/scalar.cpp").to_owned()),
        _ => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
    })
}

fn shipped_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../op-contracts")
}

fn shipped(name: &str) -> Contract {
    Contract::load(&shipped_root().join(name)).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_shipped_contract_loads_and_lints_clean() {
    let library = crate::Library::open(vec![shipped_root()]).unwrap();
    for name in SHIPPED {
        assert!(library.names().any(|known| known == name), "{name} is missing");
    }
    for name in library.names() {
        let contract = library.find(name).unwrap_or_else(|error| panic!("{error}"));
        let findings = contract.lint();
        assert!(findings.is_empty(), "{name}: {findings:#?}");
        assert_eq!(contract.name, name);
    }
}

#[test]
fn the_signature_is_that_of_the_house_abi() {
    assert_eq!(
        shipped("rmsnorm_f32").signature("kernel"),
        "extern \"C\" void kernel(const float* x, const float* w, float* y, int64_t rows, int64_t cols)"
    );
    assert_eq!(shipped("gemm_f32").variable_axes(), ["m", "n", "k"]);
}

#[test]
fn sizes_follow_from_the_shapes() {
    let contract = shipped("transpose_f32");
    let workload = contract.workloads.iter().find(|workload| workload.name == "above_power").unwrap();
    let output = &contract.outputs[0];
    assert_eq!(contract.elements(output, &workload.axes).unwrap(), 257 * 129);
    assert_eq!(contract.row_elements(output, &workload.axes).unwrap(), 257);
    assert_eq!(contract.partition_extent(&workload.axes).unwrap(), 129);
    assert_eq!(contract.slice_elements(output, &workload.axes).unwrap(), 257);
    assert_eq!(contract.compulsory_bytes(&workload.axes).unwrap(), 2 * 4 * 257 * 129);
}

#[test]
fn a_platform_sees_its_own_workloads_under_the_same_digest() {
    let contract = std::sync::Arc::new(shipped("rmsnorm_bf16"));
    let names = |platform: &str| -> Vec<String> {
        let seen = contract.clone().for_platform(platform);
        assert_eq!(seen.digest, contract.digest);
        seen.workloads(crate::Role::Bench).map(|workload| workload.name.clone()).collect()
    };
    assert_eq!(names("cpu"), ["tokens_2048x2048", "decode_64x7168"]);
    assert!(names("cuda").contains(&"tokens_16384x8192".to_owned()) && names("cuda").len() == 4);
}

#[test]
fn element_wise_contracts_say_how_many_elements_there_are() {
    assert_eq!(shipped("silu_mul_f32").element_count().unwrap(), "(rows) * (cols)");
    assert_eq!(shipped("rmsnorm_f32").element_count(), None);
}

#[test]
fn the_scaffold_is_usable_at_once_and_never_overwrites() {
    let root = tempfile::tempdir().unwrap();
    let directory = scaffold("gelu_f32", root.path()).unwrap();
    let contract = Contract::load(&directory).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(contract.name, "gelu_f32");
    assert!(contract.lint().is_empty(), "{:#?}", contract.lint());
    assert!(contract.element.is_some());
    assert!(matches!(scaffold("gelu_f32", root.path()), Err(ContractError::Exists { .. })));
    assert!(matches!(scaffold("../evil", root.path()), Err(ContractError::BadName { .. })));
}

#[test]
fn following_the_scaffold_leads_to_gelu() {
    let root = tempfile::tempdir().unwrap();
    let directory = scaffold("gelu_f32", root.path()).unwrap();
    let edit = |file: &str, from: &str, to: &str| {
        let path = directory.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no `{from}`");
        std::fs::write(path, text.replace(from, to)).unwrap();
    };
    edit(
        "contract.toml",
        "y = \"x / (1.0f + fabsf(x))\"",
        "y = \"0.5f * x * (1.0f + erff(x * 0.70710678f))\"",
    );
    edit("reference.cpp", "v / (1.0 + std::fabs(v))", "0.5 * v * (1.0 + std::erf(v * 0.7071067811865476))");
    edit("reference.cpp", "std::fabs(y[index - begin])", "std::fabs(v)");
    edit("reference.cpp", "v < 0.0 ? -1.0 : 0.0", "std::fmin(v, 0.0) - 0.17");
    edit("reference.cpp", "v > 0.0 ? 1.0 : 0.0", "std::fmax(v, 0.0)");
    edit("scalar.cpp", "v / (1.0F + std::fabs(v))", "0.5F * v * (1.0F + std::erf(v * 0.70710678F))");
    let contract = Contract::load(&directory).unwrap_or_else(|error| panic!("{error}"));
    assert!(contract.lint().is_empty());
    assert_eq!(contract.element.unwrap()["y"], "0.5f * x * (1.0f + erff(x * 0.70710678f))");
}

#[test]
fn the_digest_covers_the_sources_and_not_the_notes() {
    let root = tempfile::tempdir().unwrap();
    let directory = scaffold("sample", root.path()).unwrap();
    let digest = || Contract::load(&directory).unwrap().digest;
    let before = digest();
    std::fs::write(directory.join("README.md"), "other notes").unwrap();
    assert_eq!(digest(), before);
    for file in ["contract.toml", "reference.cpp", "scalar.cpp"] {
        let earlier = digest();
        let path = directory.join(file);
        let mark = if file.ends_with("toml") { "\n# one more remark\n" } else { "\n// one more remark\n" };
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + mark).unwrap();
        assert_ne!(digest(), earlier, "{file}");
    }
}

#[test]
fn a_library_finds_by_name_and_path_and_suggests() {
    let library = crate::Library::open(vec![shipped_root(), PathBuf::from("/nonexistent")]).unwrap();
    assert_eq!(library.find("softmax_f32").unwrap().name, "softmax_f32");
    let path = shipped_root().join("gemm_f32");
    assert_eq!(library.find(&path.display().to_string()).unwrap().name, "gemm_f32");
    assert_eq!(library.find(&path.join("contract.toml").display().to_string()).unwrap().name, "gemm_f32");
    let Err(ContractError::Unknown { help, .. }) = library.find("softmx_f32") else { panic!("found") };
    assert!(help.contains("softmax_f32"), "{help}");
}
