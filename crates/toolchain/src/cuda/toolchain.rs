//! The CUDA toolchain: a toolkit, a pool of compile helpers, a cache.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kernsmith_core::{Digest, FailureClass};
use kernsmith_sandbox::{Confinement, Exit};

use super::facts::CudaFacts;
use super::flags;
use super::helper::{Compiled, HelperSetup, Lost};
use super::image;
use super::job::{CudaBuild, CudaJob, CudaObject};
use super::log;
use super::nvcc;
use super::pool::{Outcome, Pool};
use super::protocol::CompileJob;
use super::shims;
use super::store::Store;
use super::toolkit::CudaToolkit;
use crate::cache::Cache;
use crate::diagnose;
use crate::error::ToolchainError;

/// Changes when the same request would give another object or other facts.
const RECIPE: &str = "kernsmith-cubin-1";
/// The name that messages and `__FILE__` carry.
const FILE_NAME: &str = "kernel.cu";
/// `nvrtcResult`: an option that the compiler does not know, such as an architecture that came later.
const INVALID_OPTION: i32 = 5;

/// How to set up a CUDA toolchain.
#[derive(Debug, Clone, PartialEq)]
pub struct CudaOptions {
    /// The toolkit; otherwise see [`CudaToolkit::find`].
    pub home: Option<PathBuf>,
    /// Where code objects and installed toolkits are kept; created when needed.
    pub cache_dir: PathBuf,
    /// Wall time that one compilation may take, where the job does not say.
    pub timeout_seconds: f64,
    /// Address space that one compile helper may take.
    pub memory_bytes: u64,
    /// Compilations at the same time.
    pub helpers: usize,
    /// The program that answers the hidden verbs `__nvrtc` and `__confine`.
    pub self_exe: PathBuf,
}

impl CudaOptions {
    /// Where `kernsmith toolchain install cuda` puts a toolkit.
    pub fn installed(cache_dir: &Path) -> PathBuf {
        cache_dir.join("cuda")
    }
}

/// A toolkit, a pool of compile helpers and a cache.
#[derive(Debug)]
pub struct CudaToolchain {
    toolkit: CudaToolkit,
    pool: Pool,
    store: Store,
    timeout: Duration,
    self_exe: PathBuf,
    memory_bytes: u64,
    version: String,
    confinement: Confinement,
    headers: Vec<(String, String)>,
    identity: Digest,
    helpers: usize,
}

impl CudaToolchain {
    /// Finds a toolkit, makes the cache ready, and starts the first compile helper: a compiler that cannot be loaded is found here.
    pub fn open(options: &CudaOptions) -> Result<Self, ToolchainError> {
        let toolkit =
            CudaToolkit::find(options.home.as_deref(), &CudaOptions::installed(&options.cache_dir))?;
        let store = Store::new(Cache::open(&options.cache_dir)?);
        let setup = HelperSetup::new(options.self_exe.clone(), options.memory_bytes, &toolkit);
        let pool = Pool::new(setup, options.helpers);
        let ((major, minor), confinement) = pool.probe()?;
        let headers = shims::headers();
        let shims: Vec<String> = headers.iter().map(|(name, text)| format!("{name}\n{text}")).collect();
        let identity =
            Digest::of_parts([RECIPE.as_bytes(), toolkit.digest.bytes(), shims.concat().as_bytes()]);
        let timeout = Duration::try_from_secs_f64(options.timeout_seconds).unwrap_or(Duration::from_hours(1));
        let version = format!("{major}.{minor}");
        Ok(Self {
            toolkit,
            pool,
            store,
            timeout,
            self_exe: options.self_exe.clone(),
            memory_bytes: options.memory_bytes,
            version,
            confinement,
            headers,
            identity,
            helpers: options.helpers,
        })
    }

    /// Compilations that can go on at the same time.
    pub const fn helpers(&self) -> usize {
        self.helpers
    }

    /// The toolkit.
    pub const fn toolkit(&self) -> &CudaToolkit {
        &self.toolkit
    }

    /// The compiler's version as it says itself, such as `13.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What the compile helpers' sandbox reaches on this machine.
    pub const fn confinement(&self) -> &Confinement {
        &self.confinement
    }

    /// Digest over compiler and headers: objects with different fingerprints do not mix.
    pub fn fingerprint(&self) -> String {
        self.identity.to_string()
    }

    /// Compiles one source text to a cubin. Blocks; may be called from several threads.
    pub fn build(&self, job: &CudaJob<'_>) -> Result<CudaBuild, ToolchainError> {
        if let Err(detail) = job.check() {
            let class = FailureClass::PlanInvalid;
            return Ok(CudaBuild::Refused { class, detail, log: String::new() });
        }
        let options = flags::options(job.arch, job.flags, job.defines);
        let key = Digest::of_parts([
            self.identity.bytes().as_slice(),
            options.join("\n").as_bytes(),
            job.source.as_bytes(),
        ]);
        if !job.fresh
            && let Some(object) = self.store.find(&key)
        {
            return Ok(CudaBuild::Built(Box::new(object)));
        }
        let time = job.deadline.unwrap_or(self.timeout);
        let (outcome, build_ms) = self.pool.compile(&self.compile_job(job.source, &options), time)?;
        match outcome {
            Outcome::Answered(compiled) if compiled.code == 0 => {
                self.finish(compiled, options, build_ms, &key)
            }
            Outcome::Answered(compiled) => self.refuse(&compiled, job.arch),
            Outcome::Lost(lost) => Ok(blame(&lost, build_ms)),
        }
    }

    /// Compiles the same job with the off-line compiler, never from the cache; `None` where the toolkit has none.
    pub fn cross_check(&self, job: &CudaJob<'_>) -> Result<Option<CudaBuild>, ToolchainError> {
        let Some(compiler) = &self.toolkit.nvcc else { return Ok(None) };
        if let Err(detail) = job.check() {
            let class = FailureClass::PlanInvalid;
            return Ok(Some(CudaBuild::Refused { class, detail, log: String::new() }));
        }
        let directory = self.store.build_directory()?;
        let mut options = flags::options(job.arch, job.flags, job.defines);
        options.retain(|option| option != flags::DEVICE_BY_DEFAULT);
        let time = job.deadline.unwrap_or(self.timeout);
        nvcc::compile(
            &compiler.path,
            &self.toolkit,
            &self.self_exe,
            self.memory_bytes,
            directory.path(),
            job,
            (options, time),
        )
        .map(Some)
    }

    fn compile_job(&self, source: &str, options: &[String]) -> CompileJob {
        let includes = self.toolkit.includes.iter().map(|path| format!("--include-path={}", path.display()));
        CompileJob {
            source: source.to_owned(),
            name: FILE_NAME.to_owned(),
            options: options.iter().cloned().chain(includes).collect(),
            headers: self.headers.clone(),
        }
    }

    fn finish(
        &self,
        compiled: Compiled,
        options: Vec<String>,
        build_ms: f64,
        key: &Digest,
    ) -> Result<CudaBuild, ToolchainError> {
        let facts = read_facts(&compiled.cubin, &compiled.log).map_err(ToolchainError::BadObject)?;
        let object = CudaObject {
            digest: Digest::of(&compiled.cubin),
            cubin: compiled.cubin,
            facts,
            log: diagnose::cap(&compiled.log),
            build_ms,
            options,
            cached: false,
        };
        self.store.keep(key, &object)?;
        Ok(CudaBuild::Built(Box::new(object)))
    }

    fn refuse(&self, compiled: &Compiled, arch: &str) -> Result<CudaBuild, ToolchainError> {
        if compiled.code == INVALID_OPTION {
            let problem = format!(
                "its compiler {} does not know `{arch}` or an option: {}",
                self.version,
                compiled.log.lines().next().unwrap_or(&compiled.message)
            );
            return Err(ToolchainError::BadCudaToolkit { path: self.toolkit.root.clone(), problem });
        }
        let (class, detail) = log::explain(&compiled.log, &compiled.message);
        Ok(CudaBuild::Refused { class, detail, log: diagnose::cap(&compiled.log) })
    }
}

/// Facts about a cubin that was built elsewhere; `log` is what the assembler said, where it is known.
pub fn read_facts(cubin: &[u8], log: &str) -> Result<CudaFacts, String> {
    let mut facts = image::read(cubin)?;
    let usage = log::usage(log);
    let mut unknown = 0;
    for kernel in &mut facts.kernels {
        match usage.get(kernel.symbol.as_str()) {
            Some(usage) => {
                kernel.spill_store_bytes = usage.spill_store_bytes;
                kernel.spill_load_bytes = usage.spill_load_bytes;
            }
            None => unknown += 1,
        }
    }
    if unknown > 0 {
        facts.missing.push(format!("spills of {unknown} kernels: the assembler's log does not name them"));
    }
    Ok(facts)
}

/// A source over which the compiler was lost.
fn blame(lost: &Lost, wall_ms: f64) -> CudaBuild {
    let (class, detail, log) = match lost {
        Lost::Timeout => {
            let detail = format!("the compiler had no result after {:.1} s", wall_ms / 1e3);
            (FailureClass::CompileTimeout, detail, String::new())
        }
        Lost::Died { exit, said } => {
            let memory = *exit == Exit::Signal(9) || said.contains("bad_alloc") || said.contains("memory");
            let class = if memory { FailureClass::CompileMemory } else { FailureClass::CompileError };
            let detail = match exit {
                Exit::Signal(signal) => {
                    format!("the compiler died of signal {signal} over this source, twice")
                }
                exit => format!("the compiler ended with {exit:?} over this source, twice"),
            };
            (class, detail, diagnose::cap(said))
        }
        Lost::Nonsense(what) => {
            let detail = format!("over this source the compiler answered what it cannot have meant: {what}");
            (FailureClass::CompileError, detail, String::new())
        }
    };
    CudaBuild::Refused { class, detail, log }
}
