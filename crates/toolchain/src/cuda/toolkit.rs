//! Finding a CUDA toolkit, and naming its parts.

use std::path::{Path, PathBuf};

use kernsmith_core::Digest;
use serde::{Deserialize, Serialize};

use crate::error::ToolchainError;

/// The variable that names a toolkit; a wish is final.
pub(crate) const HOME_VARIABLE: &str = "KERNSMITH_CUDA_HOME";
/// Below the toolkit's root, where libraries may be.
const LIBRARY_FOLDERS: [&str; 3] = ["lib64", "lib", "targets/x86_64-linux/lib"];

/// Who named the toolkit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The caller, or `$KERNSMITH_CUDA_HOME`.
    Explicit,
    /// `$CUDA_HOME` or `$CUDA_PATH`.
    Environment,
    /// `/usr/local/cuda`.
    System,
    /// `kernsmith toolchain install cuda`.
    Installed,
}

/// One file of a toolkit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name, such as `nvrtc`.
    pub name: String,
    /// The file, links resolved.
    pub path: PathBuf,
    /// Its version as far as its name or the toolkit tells, otherwise empty.
    pub version: String,
    /// Digest of the file.
    pub digest: Digest,
}

/// A toolkit: the run-time compiler, its headers, and the tools that are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CudaToolkit {
    /// The folder that holds `include` and the libraries.
    pub root: PathBuf,
    /// Who named it.
    pub origin: Origin,
    /// The version of its run-time compiler, such as `13.0`.
    pub version: String,
    /// The run-time compiler.
    pub nvrtc: Part,
    /// Its built-in functions.
    pub builtins: Part,
    /// Folders of headers, in the order in which they are searched.
    pub includes: Vec<PathBuf>,
    /// The off-line compiler, for cross-checks.
    pub nvcc: Option<Part>,
    /// The tool that lists what an object holds.
    pub cuobjdump: Option<Part>,
    /// The disassembler.
    pub nvdisasm: Option<Part>,
    /// Digest over compiler and headers: objects of different toolkits do not mix.
    pub digest: Digest,
}

impl CudaToolkit {
    /// Looks where toolkits are: the wish, `$KERNSMITH_CUDA_HOME`, `$CUDA_HOME`, `$CUDA_PATH`, `/usr/local/cuda`, and `installed`,
    /// where `kernsmith toolchain install cuda` puts one. A wish is final; of the others the first that is complete is taken.
    pub fn find(wish: Option<&Path>, installed: &Path) -> Result<Self, ToolchainError> {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(wish) = wish.map(Path::to_owned).or_else(|| variable(HOME_VARIABLE)) {
            return Self::examine(&wish, Origin::Explicit, installed)
                .map_err(|problem| ToolchainError::BadCudaToolkit { path: wish, problem });
        }
        let named = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(variable);
        let places = named
            .map(|path| (path, Origin::Environment))
            .chain([("/usr/local/cuda".into(), Origin::System), (installed.to_owned(), Origin::Installed)]);
        let mut tried = Vec::new();
        for (path, origin) in places {
            match Self::examine(&path, origin, installed) {
                Ok(toolkit) => return Ok(toolkit),
                Err(problem) => tried.push(format!("{}: {problem}", path.display())),
            }
        }
        Err(ToolchainError::NoCudaToolkit { tried: tried.join("; ") })
    }

    /// The toolkit in a folder: one that holds `include`, or a folder of wheels with `nvidia/cu13` in it.
    fn examine(folder: &Path, origin: Origin, installed: &Path) -> Result<Self, String> {
        let root = root_of(folder).ok_or_else(|| {
            if folder.is_dir() { "it has no include/cuda.h" } else { "it does not exist" }.to_owned()
        })?;
        let (nvrtc, version) = library(&root, "libnvrtc.so.").ok_or("it has no libnvrtc")?;
        let (builtins, _) = library(&root, "libnvrtc-builtins.so.").ok_or("it has no libnvrtc-builtins")?;
        let include = root.join("include");
        let cccl = include.join("cccl");
        let includes: Vec<PathBuf> =
            [Some(include), cccl.is_dir().then_some(cccl)].into_iter().flatten().collect();
        let version = header_version(&includes[0]).unwrap_or(version);
        let nvrtc = Part::read("nvrtc", &nvrtc)?;
        let builtins = Part::read("nvrtc-builtins", &builtins)?;
        let digest = identity(&nvrtc, &builtins, &includes);
        let mut tools = vec![root.join("bin")];
        tools.extend(root_of(installed).map(|root| root.join("bin")));
        let tool = |name: &str, folders: &[PathBuf]| {
            let path = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file())?;
            Part::read(name, &path).ok()
        };
        Ok(Self {
            nvcc: tool("nvcc", &tools[..1]),
            cuobjdump: tool("cuobjdump", &tools),
            nvdisasm: tool("nvdisasm", &tools),
            root,
            origin,
            version,
            nvrtc,
            builtins,
            includes,
            digest,
        })
    }

    /// Every part that is there.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        let tools = [self.nvcc.as_ref(), self.cuobjdump.as_ref(), self.nvdisasm.as_ref()];
        [&self.nvrtc, &self.builtins].into_iter().chain(tools.into_iter().flatten())
    }

    /// Names of parts that are not there, and what goes without them.
    pub fn missing(&self) -> Vec<(&'static str, &'static str)> {
        let parts = [
            (&self.nvcc, "nvcc", "no cross-checks with the off-line compiler"),
            (&self.cuobjdump, "cuobjdump", "no second reading of resource usage"),
            (&self.nvdisasm, "nvdisasm", "no disassembly in words; instruction families are read without it"),
        ];
        parts.into_iter().filter(|(part, ..)| part.is_none()).map(|(_, name, loss)| (name, loss)).collect()
    }
}

impl std::fmt::Display for CudaToolkit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CUDA {} at {}", self.version, self.root.display())
    }
}

impl Part {
    fn read(name: &str, path: &Path) -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
        let path = path.canonicalize().map_err(cannot)?;
        let bytes = std::fs::read(&path).map_err(cannot)?;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let version = file.split_once(".so.").map_or("", |(_, version)| version).to_owned();
        Ok(Self { name: name.to_owned(), path, version, digest: Digest::of(&bytes) })
    }
}

fn root_of(folder: &Path) -> Option<PathBuf> {
    let wheels = ["nvidia/cu13", "nvidia/cu14"].map(|below| folder.join(below));
    let root = std::iter::once(folder.to_owned())
        .chain(wheels)
        .find(|root| root.join("include/cuda.h").is_file())?;
    root.canonicalize().ok()
}

/// The library of the highest version, and that version. The alternative builds beside it (`.alt.`) are another library.
fn library(root: &Path, prefix: &str) -> Option<(PathBuf, String)> {
    let folders = LIBRARY_FOLDERS.map(|folder| root.join(folder));
    let files = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
    let versions = files.filter_map(|file| {
        let name = file.file_name().to_string_lossy().into_owned();
        let version = name.strip_prefix(prefix)?.to_owned();
        let numbers: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
        Some((numbers?, file.path(), version))
    });
    versions.max_by(|a, b| a.0.cmp(&b.0)).map(|(_, path, version)| (path, version))
}

/// `#define CUDA_VERSION 13000` is 13.0.
fn header_version(include: &Path) -> Option<String> {
    let text = std::fs::read_to_string(include.join("cuda.h")).ok()?;
    let number = text.lines().find_map(|line| line.strip_prefix("#define CUDA_VERSION "))?;
    let number: u32 = number.trim().parse().ok()?;
    Some(format!("{}.{}", number / 1000, number % 1000 / 10))
}

/// Headers are known by name and size: reading all of them would take longer than compiling with them.
fn identity(nvrtc: &Part, builtins: &Part, includes: &[PathBuf]) -> Digest {
    let mut headers: Vec<String> = includes
        .iter()
        .filter_map(|folder| folder.read_dir().ok())
        .flatten()
        .flatten()
        .filter_map(|file| {
            let metadata = file.metadata().ok()?;
            Some(format!(
                "{} {}",
                file.file_name().to_string_lossy(),
                if metadata.is_file() { metadata.len() } else { 0 }
            ))
        })
        .collect();
    headers.sort();
    let headers = headers.join("\n");
    Digest::of_parts([nvrtc.digest.bytes().as_slice(), builtins.digest.bytes(), headers.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like a toolkit.
    fn toolkit(root: &Path, library: &str) {
        for folder in ["include", "bin", library] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("include/cuda.h"), "/* */\n#define CUDA_VERSION 13010\n").unwrap();
        for name in ["libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc.alt.so.13", "libnvrtc-builtins.so.13.1"] {
            std::fs::write(root.join(library).join(name), name).unwrap();
        }
    }

    #[test]
    fn both_layouts_are_understood_and_the_newest_library_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("nowhere");
        toolkit(&folder.path().join("system"), "lib64");
        toolkit(&folder.path().join("wheels/nvidia/cu13"), "lib");
        for place in ["system", "wheels"] {
            let found = CudaToolkit::find(Some(&folder.path().join(place)), &nowhere).unwrap();
            assert_eq!((found.version.as_str(), found.nvrtc.version.as_str()), ("13.1", "13"), "{place}");
            assert_eq!(found.origin, Origin::Explicit);
            assert_eq!(found.missing().len(), 3);
        }
    }

    #[test]
    fn tools_of_the_installed_wheels_complete_a_toolkit_that_lacks_them() {
        let folder = tempfile::tempdir().unwrap();
        let (system, wheels) = (folder.path().join("system"), folder.path().join("wheels"));
        toolkit(&system, "lib64");
        toolkit(&wheels.join("nvidia/cu13"), "lib");
        for tool in ["nvcc", "nvdisasm"] {
            std::fs::write(wheels.join("nvidia/cu13/bin").join(tool), "").unwrap();
        }
        let found = CudaToolkit::find(Some(&system), &wheels).unwrap();
        assert!(found.nvdisasm.is_some(), "the disassembler reads every version");
        assert!(found.nvcc.is_none(), "a compiler of another toolkit would cross-check nothing");
    }

    #[test]
    fn a_wish_is_final_and_its_problem_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = CudaToolkit::find(Some(folder.path()), folder.path()).unwrap_err().to_string();
        assert!(error.contains("include/cuda.h") && error.contains("toolchain install cuda"), "{error}");
    }
}
