//! The toolchain: a compiler, a sandbox, a cache.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kernsmith_core::{Digest, FailureClass};
use kernsmith_sandbox::{Confinement, Exit};

use crate::build::{BuildOutcome, BuildRequest, BuildRole, CodeObject};
use crate::cache::Cache;
use crate::compiler::{Compiler, Runtime};
use crate::diagnose::{self, Diagnosis};
use crate::error::ToolchainError;
use crate::facts;
use crate::flags;
use crate::host::Host;
use crate::precompiled::Precompiled;
use crate::run::{Compiled, Runner};

/// Changes when the same request would give another object or other facts.
const RECIPE: &str = "kernsmith-object-2";
const OBJECT: &str = "object.so";
const EXPORTS: &str = "exports.map";
const DEPENDENCIES: &str = "dependencies.d";
const END_FILES: &str = "end-files.specs";

/// How to set up a toolchain.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolchainOptions {
    /// The compiler; otherwise `$KERNSMITH_CXX`, `$CXX`, `g++`, `clang++`, the first that is there.
    pub compiler: Option<PathBuf>,
    /// Where code objects and precompiled headers are kept; created when needed.
    pub cache_dir: PathBuf,
    /// Wall time that one compilation may take.
    pub timeout_seconds: f64,
    /// Address space that one compiler process may take.
    pub memory_bytes: u64,
    /// The program that answers the hidden verb `__confine`; `None` builds without a sandbox, and says so.
    pub self_exe: Option<PathBuf>,
}

/// A compiler, a sandbox and a cache.
#[derive(Debug)]
pub struct Toolchain {
    runner: Runner,
    cache: Cache,
    precompiled: Precompiled,
    identity: Digest,
}

impl Toolchain {
    /// Finds a compiler and makes the cache ready.
    pub fn discover(options: &ToolchainOptions) -> Result<Self, ToolchainError> {
        let compiler = Compiler::discover(options.compiler.as_deref())?;
        let host = Host::detect();
        let identity = Digest::of_parts([
            RECIPE.as_bytes(),
            compiler.to_string().as_bytes(),
            compiler.digest.bytes(),
            host.model.as_bytes(),
            host.features_digest().bytes(),
            compiler.runtime.recipe().as_bytes(),
        ]);
        let cache = Cache::open(&options.cache_dir)?;
        let timeout = Duration::try_from_secs_f64(options.timeout_seconds).unwrap_or(Duration::from_hours(1));
        let runner = Runner::new(compiler, options.self_exe.clone(), timeout, options.memory_bytes)?;
        Ok(Self { runner, cache, precompiled: Precompiled::default(), identity })
    }

    /// The compiler.
    pub const fn compiler(&self) -> &Compiler {
        self.runner.compiler()
    }

    /// What the build sandbox reaches on this machine; nothing, with the reason, where builds are not sandboxed.
    pub const fn confinement(&self) -> &Confinement {
        self.runner.confinement()
    }

    /// Digest over compiler, processor and its features: objects with different fingerprints do not mix.
    pub fn fingerprint(&self) -> String {
        self.identity.to_string()
    }

    /// Compiles and links one source text. Blocks; may be called from several threads.
    pub fn build(&self, request: &BuildRequest<'_>) -> Result<BuildOutcome, ToolchainError> {
        if let Err(detail) = request.check() {
            let class = FailureClass::PlanInvalid;
            return Ok(BuildOutcome::Refused { class, detail, log: String::new() });
        }
        let compile_flags = flags::compile_flags(request.role, self.compiler().kind, request.flags);
        let key = self.key(request, &compile_flags);
        if !request.fresh
            && let Some(object) = self.cache.find(&key)
        {
            return Ok(BuildOutcome::Built(Box::new(object)));
        }
        self.compile(request, compile_flags, &key)
    }

    fn key(&self, request: &BuildRequest<'_>, compile_flags: &[String]) -> Digest {
        let join = |words: &mut dyn Iterator<Item = &str>| words.collect::<Vec<_>>().join("\n");
        Digest::of_parts([
            self.identity.bytes().as_slice(),
            request.role.as_str().as_bytes(),
            join(&mut compile_flags.iter().map(String::as_str).chain(flags::LINK_FLAGS.iter().copied()))
                .as_bytes(),
            join(&mut request.symbols.iter().copied()).as_bytes(),
            join(&mut request.link.iter().map(String::as_str)).as_bytes(),
            request.source.as_bytes(),
        ])
    }

    fn compile(
        &self,
        request: &BuildRequest<'_>,
        compile_flags: Vec<String>,
        key: &Digest,
    ) -> Result<BuildOutcome, ToolchainError> {
        let header = match request.role {
            // References and baselines are compiled once a contract: a precompiled header would cost more than it saves.
            BuildRole::Oracle | BuildRole::Trusted => None,
            BuildRole::Kernel => self.precompiled.header(
                request.source,
                &self.identity,
                &compile_flags,
                &self.runner,
                &self.cache,
            )?,
        };
        let directory = self.cache.build_directory()?;
        let file = request.role.file_name();
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).map_err(|error| self.cache.write_error(error))
        };
        write(file, request.source)?;
        write(EXPORTS, &export_map(request.symbols))?;
        let mut flags = compile_flags;
        flags.extend(flags::LINK_FLAGS.iter().map(|&flag| flag.to_owned()));
        let libraries = request.link.iter().map(|library| format!("-l{library}"));
        let mut arguments: Vec<OsString> = flags.iter().map(OsString::from).collect();
        if flags::needs_end_files(self.compiler().kind, &flags) {
            write(END_FILES, flags::END_FILES)?;
            arguments.push(format!("-specs={END_FILES}").into());
        }
        // No intermediate files: their random names would stand in messages.
        arguments.push("-pipe".into());
        if let Some(header) = &header {
            arguments.extend(["-include".into(), header.clone().into()]);
        }
        if !self.runner.hides_files() {
            arguments.extend(["-MD".into(), "-MF".into(), DEPENDENCIES.into()]);
        }
        arguments.extend(
            [format!("-Wl,--version-script={EXPORTS}"), file.into(), "-o".into(), OBJECT.into()]
                .map(OsString::from),
        );
        if let Runtime::Named(library) = &self.compiler().runtime {
            // What it defines is not looked for in the archive, which the compiler names last.
            arguments.push(library.into());
            flags.push(library.display().to_string());
        }
        arguments.extend(libraries.clone().map(OsString::from));
        flags.extend(libraries);
        let readable: Vec<&Path> = header.as_deref().and_then(Path::parent).into_iter().collect();
        let compiled = self.runner.run(directory.path(), &readable, &arguments)?;
        if let Some(refused) = self.judge(request, &compiled, directory.path())? {
            return Ok(refused);
        }
        self.finish(&directory.path().join(OBJECT), &compiled, flags, key)
    }

    /// `Some` where the build failed on account of its source.
    fn judge(
        &self,
        request: &BuildRequest<'_>,
        compiled: &Compiled,
        directory: &Path,
    ) -> Result<Option<BuildOutcome>, ToolchainError> {
        let log = diagnose::cap(&compiled.log);
        let refused = |class, detail| Ok(Some(BuildOutcome::Refused { class, detail, log: log.clone() }));
        match compiled.exit {
            Exit::Code(0) => match self.foreign_file(directory) {
                None => Ok(None),
                Some(file) => refused(
                    FailureClass::ForbiddenSource,
                    format!("the source includes `{file}`, which is not one of the system's headers"),
                ),
            },
            Exit::Timeout | Exit::Signal(24) => {
                let detail = format!("the compiler had no result after {:.1} s", compiled.wall_ms / 1e3);
                refused(FailureClass::CompileTimeout, detail)
            }
            Exit::Signal(9) => refused(
                FailureClass::CompileMemory,
                "the compiler was killed, as when memory runs out".to_owned(),
            ),
            Exit::Signal(signal) => {
                Err(ToolchainError::CompilerBroke { problem: format!("it died of signal {signal}") })
            }
            Exit::Code(_) => match diagnose::explain(&compiled.log, request.link) {
                Diagnosis::LibraryNotFound(library) => Err(ToolchainError::LibraryNotFound { library }),
                Diagnosis::PerhapsDiskFull(_) if self.cache.is_full() => {
                    Err(ToolchainError::DiskFull { path: self.cache.root().to_owned() })
                }
                Diagnosis::PerhapsDiskFull(detail) => refused(FailureClass::CompileError, detail),
                Diagnosis::Source { class, detail } => refused(class, detail),
            },
        }
    }

    /// A file outside the system roots that the source included. The sandbox makes that impossible where it hides files.
    fn foreign_file(&self, directory: &Path) -> Option<String> {
        if self.runner.hides_files() {
            return None;
        }
        let text = std::fs::read_to_string(directory.join(DEPENDENCIES)).ok()?.replace("\\\n", " ");
        let (_, files) = text.split_once(':')?;
        let mut roots = self.runner.readable_roots();
        roots.extend([directory.to_owned(), self.cache.headers()]);
        let foreign = files.split_whitespace().find(|file| {
            let path = directory.join(file).canonicalize().unwrap_or_else(|_| PathBuf::from(file));
            !roots.iter().any(|root| path.starts_with(root))
        });
        foreign.map(str::to_owned)
    }

    fn finish(
        &self,
        built: &Path,
        compiled: &Compiled,
        flags: Vec<String>,
        key: &Digest,
    ) -> Result<BuildOutcome, ToolchainError> {
        let bytes = std::fs::read(built).map_err(|source| ToolchainError::File {
            action: "read",
            path: built.to_owned(),
            source,
        })?;
        let mut object = CodeObject {
            path: PathBuf::new(),
            digest: Digest::of(&bytes),
            facts: facts::read(&bytes).map_err(ToolchainError::BadObject)?,
            build_ms: compiled.wall_ms,
            log: diagnose::cap(&compiled.log),
            flags,
            cached: false,
        };
        self.cache.keep(key, &mut object, &bytes)?;
        Ok(BuildOutcome::Built(Box::new(object)))
    }
}

/// Exports exactly these symbols, so that a candidate can neither replace nor offer anything else.
fn export_map(symbols: &[&str]) -> String {
    let global = if symbols.is_empty() { String::new() } else { format!("global: {};", symbols.join("; ")) };
    format!("{{ {global} local: *; }};\n")
}
