//! `kernsmith doctor`: what this machine can do, what it lacks, and what to do about it.

use std::path::PathBuf;

use kernsmith_isa_corpus::{Corpus, CorpusError};
use kernsmith_sandbox::Level;
use kernsmith_toolchain::{Host, Runtime, Toolchain};
use serde_json::{Value, json};

use crate::args::{Format, Global};
use crate::commands::toolchain;
use crate::console::data;
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session;

/// Nothing to choose.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// One thing that was looked at.
struct Check {
    name: &'static str,
    /// Whether a search can run as things are.
    usable: bool,
    found: String,
    remedy: Option<String>,
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, _: &Args) -> Answer {
    let checks =
        vec![host(), compiler(global)?, sandbox(global)?, log(global)?, corpus(), cuda(global)?, gpu()];
    let usable = checks.iter().all(|check| check.usable);
    if global.format == Format::Human {
        for check in &checks {
            data(&format!("{} {:9} {}", if check.usable { "ok  " } else { "FAIL" }, check.name, check.found));
            if let Some(remedy) = &check.remedy {
                data(&format!("               remedy: {remedy}"));
            }
        }
    } else {
        let rows: Vec<Value> = checks
            .iter()
            .map(|c| json!({"name": c.name, "usable": c.usable, "found": c.found, "remedy": c.remedy}))
            .collect();
        data(&json!({"schema_version": 1, "usable": usable, "checks": rows}).to_string());
    }
    Ok(if usable { Exit::Done } else { Exit::Apparatus })
}

fn host() -> Check {
    let host = Host::detect();
    let has = |feature: &str| host.features.contains(feature);
    let vector = if has("avx512f") {
        "AVX-512"
    } else if has("avx2") {
        "AVX2"
    } else {
        "no AVX2"
    };
    let found = format!(
        "{}, {} cores, {vector}, L1d {} KiB, L2 {} KiB, L3 {} KiB, {}",
        host.model,
        host.cores,
        host.l1d_bytes >> 10,
        host.l2_bytes >> 10,
        host.l3_bytes >> 10,
        host.os
    );
    Check { name: "host", usable: true, found, remedy: None }
}

fn compiler(global: &Global) -> Result<Check, CliError> {
    let config = session::config(global, &[])?.config;
    Ok(match Toolchain::discover(&session::cpu_options(global, &config)) {
        Ok(toolchain) => {
            let compiler = toolchain.compiler();
            let mut found =
                format!("{compiler} at {}, digest {}", compiler.path.display(), compiler.digest.short());
            let mut remedy = None;
            match &compiler.runtime {
                Runtime::Shared => {}
                Runtime::Named(library) => {
                    found = format!("{found}; C++ runtime from {}", library.display());
                }
                Runtime::Archive => {
                    found = format!("{found}; C++ runtime only as an archive");
                    remedy = Some(
                        "install the shared C++ library (libstdc++.so.6): kernels that throw, allocate or start threads \
                         are refused without it"
                            .to_owned(),
                    );
                }
            }
            Check { name: "compiler", usable: true, found, remedy }
        }
        Err(error) => Check {
            name: "compiler",
            usable: false,
            found: error.to_string(),
            remedy: Some("install one (`apt-get install g++`), or name it with --compiler PATH".to_owned()),
        },
    })
}

/// The CUDA toolkit; only GPU targets need one.
fn cuda(global: &Global) -> Result<Check, CliError> {
    let config = session::config(global, &[])?.config;
    Ok(match toolchain::find(&config) {
        Ok(toolkit) => {
            let missing: Vec<&str> = toolkit.missing().iter().map(|(name, _)| *name).collect();
            let lacks =
                if missing.is_empty() { String::new() } else { format!("; without {}", missing.join(", ")) };
            let found = format!("{toolkit}, nvrtc digest {}{lacks}", toolkit.nvrtc.digest.short());
            Check { name: "cuda", usable: true, found, remedy: None }
        }
        Err(error) => Check {
            name: "cuda",
            usable: true,
            found: format!("skipped: {error}"),
            remedy: Some("for GPU targets: `kernsmith toolchain install cuda`".to_owned()),
        },
    })
}

/// The level that is reached, what it is made of, and whether it is the one that the configuration demands.
fn sandbox(global: &Global) -> Result<Check, CliError> {
    let least = session::minimum_sandbox(&session::config(global, &[])?.config)?;
    let unreachable = |error: String| Check {
        name: "sandbox",
        usable: false,
        found: error,
        remedy: Some(
            "run from a file system that allows execution, as a user that may start processes".to_owned(),
        ),
    };
    let Ok(self_exe) = std::env::current_exe() else {
        return Ok(unreachable("this program cannot find itself".to_owned()));
    };
    Ok(match kernsmith_sandbox::probe_with(&self_exe) {
        Ok(confinement) => {
            let missing: Vec<String> =
                confinement.missing.iter().map(|(layer, reason)| format!("{layer} ({reason})")).collect();
            let reached: Vec<String> = confinement.reached.iter().map(ToString::to_string).collect();
            let level = confinement.level();
            let mut found = format!("level {level} ({least} is demanded); reached {}", reached.join(", "));
            if !missing.is_empty() {
                found = format!("{found}; missing {}", missing.join(", "));
            }
            // What is missing is worth a remedy also where it is not demanded.
            let next = Level::ALL.into_iter().find(|next| *next > level);
            let remedy = next.map(|next| {
                format!("for `{next}`: {}; `harness.minimum_sandbox` says what is demanded", next.remedy())
            });
            Check { name: "sandbox", usable: level >= least, found, remedy }
        }
        Err(error) => unreachable(error.to_string()),
    })
}

/// Facts and hard rules; a search runs without them, but nothing is refused by rule then.
fn corpus() -> Check {
    match Corpus::open_default() {
        Ok(corpus) => {
            let (facts, rules) = (corpus.facts().count(), corpus.rules.iter().count());
            let found = format!("{}: {facts} facts, {rules} rules", corpus.root.display());
            Check { name: "corpus", usable: true, found, remedy: None }
        }
        Err(error) => Check {
            name: "corpus",
            usable: matches!(error, CorpusError::Missing),
            found: error.to_string(),
            remedy: Some("set KERNSMITH_HOME to the source tree; `kernsmith isa check` says more".to_owned()),
        },
    }
}

/// Whether runs can be kept: a file is made and removed.
fn log(global: &Global) -> Result<Check, CliError> {
    let root: PathBuf = session::log_root(global)?;
    let mut existing = root.as_path();
    while !existing.exists() {
        existing = match existing.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => std::path::Path::new("."),
        };
    }
    let trial = existing.join(format!(".kernsmith-doctor-{}", std::process::id()));
    let outcome = std::fs::write(&trial, b"").and_then(|()| std::fs::remove_file(&trial));
    Ok(match outcome {
        Ok(()) => Check {
            name: "log",
            usable: true,
            found: format!("{} can be written", root.display()),
            remedy: None,
        },
        Err(error) => Check {
            name: "log",
            usable: false,
            found: format!("{} cannot be written: {error}", root.display()),
            remedy: Some("choose another folder with --log-dir DIR".to_owned()),
        },
    })
}

/// The first GPU, as the driver describes it and as it is known by its name.
fn gpu() -> Check {
    let check = |found: String, remedy: Option<&str>| Check {
        name: "gpu",
        usable: true,
        found,
        remedy: remedy.map(str::to_owned),
    };
    let Ok(self_exe) = std::env::current_exe() else {
        return check("skipped: this program cannot find itself".to_owned(), None);
    };
    match kernsmith_harness::gpu_facts(&self_exe, session::FIRST_GPU) {
        Ok(facts) if facts.differences.is_empty() => {
            check(format!("{}; worker behind {}", facts.description, facts.sandbox), None)
        }
        Ok(facts) => check(
            format!(
                "{}; worker behind {}; {}",
                facts.description,
                facts.sandbox,
                facts.differences.join("; ")
            ),
            Some(
                "a slice of a device, a limit on power or clocks, or another part under that name: ratios hold, SOL scores \
                 compare only with the same device",
            ),
        ),
        Err(error) => check(
            format!("skipped: {error}"),
            Some(
                "none is needed to compile and audit (`evaluate --static-only`) or to send candidates elsewhere (`batch \
                 export`)",
            ),
        ),
    }
}
