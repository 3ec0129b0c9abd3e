//! `kernsmith toolchain`: which compilers are there, and how to get one.

use clap::{Subcommand, ValueEnum};
use kernsmith_search_config::SearchConfig;
use kernsmith_toolchain::cuda::{self, CudaOptions, CudaToolkit};
use kernsmith_toolchain::{Toolchain, ToolchainError};
use serde_json::{Value, json};

use crate::args::{Format, Global};
use crate::console::{data, note};
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session;

/// What to do with toolchains.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Fetch a toolchain into the cache.
    Install {
        /// Which one.
        what: What,
        /// Leave the off-line compiler out, which only cross-checks need: half the download.
        #[arg(long)]
        without_nvcc: bool,
    },
    /// Name what was found, with versions and digests.
    Show,
}

/// What can be fetched.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum What {
    /// NVIDIA's compilers and tools, out of Python wheels.
    Cuda,
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, verb: &Verb) -> Answer {
    let config = session::config(global, &[])?.config;
    match verb {
        Verb::Install { what: What::Cuda, without_nvcc } => {
            let folder = CudaOptions::installed(&session::cache_folder(&config));
            note(&format!("fetching CUDA into {}", folder.display()));
            cuda::install(&folder, !without_nvcc).map_err(CliError::apparatus)?;
            let toolkit = CudaToolkit::find(Some(&folder), &folder).map_err(CliError::apparatus)?;
            print(global, None, &Ok(toolkit));
            Ok(Exit::Done)
        }
        Verb::Show => {
            let compiler = Toolchain::discover(&session::cpu_options(global, &config))
                .map_err(|error| error.to_string());
            let compiler = compiler.map(|toolchain| {
                let compiler = toolchain.compiler();
                json!({"kind": compiler.kind.as_str(), "version": compiler.version, "path": compiler.path, "digest": compiler.digest})
            });
            let toolkit = find(&config);
            let exit = if compiler.is_ok() || toolkit.is_ok() { Exit::Done } else { Exit::Apparatus };
            print(global, Some(&compiler), &toolkit);
            Ok(exit)
        }
    }
}

/// The CUDA toolkit that this configuration finds.
pub(crate) fn find(config: &SearchConfig) -> Result<CudaToolkit, ToolchainError> {
    CudaToolkit::find(None, &CudaOptions::installed(&session::cache_folder(config)))
}

type Described = Result<Value, String>;

fn print(global: &Global, compiler: Option<&Described>, toolkit: &Result<CudaToolkit, ToolchainError>) {
    if global.format != Format::Human {
        let described = |compiler: &Described| match compiler {
            Ok(compiler) => compiler.clone(),
            Err(problem) => json!({"problem": problem}),
        };
        let cuda = match toolkit {
            Ok(toolkit) => {
                let missing: Vec<Value> = toolkit
                    .missing()
                    .iter()
                    .map(|(name, loss)| json!({"name": name, "without_it": loss}))
                    .collect();
                json!({"toolkit": toolkit, "missing": missing})
            }
            Err(error) => json!({"problem": error.to_string()}),
        };
        data(&json!({"schema_version": 1, "cpp": compiler.map(described), "cuda": cuda}).to_string());
        return;
    }
    match compiler {
        Some(Ok(compiler)) => {
            let word = |key: &str| compiler[key].as_str().unwrap_or_default();
            data(&format!("C++   {} {}", word("kind"), word("version")));
            data(&part("compiler", word("digest"), word("path")));
        }
        Some(Err(problem)) => data(&format!("C++   {problem}")),
        None => {}
    }
    match toolkit {
        Ok(toolkit) => {
            data(&format!("CUDA  {} at {}", toolkit.version, toolkit.root.display()));
            for found in toolkit.parts() {
                data(&part(&found.name, &found.digest.to_string(), &found.path.display().to_string()));
            }
            for (name, loss) in toolkit.missing() {
                data(&format!("  {name:15} missing: {loss}"));
            }
        }
        Err(error) => data(&format!("CUDA  {error}")),
    }
}

fn part(name: &str, digest: &str, path: &str) -> String {
    format!("  {name:15} {}  {path}", digest.get(..12).unwrap_or(digest))
}
