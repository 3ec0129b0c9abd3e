//! Precompiled headers: what takes most of a small kernel's compile time is reading the same headers again.
//!
//! There is one for each compiler, set of flags, and size of the set. A source that includes only the small headers gets the
//! small one, which loads faster. `docs/toolchain.md` has the measurements.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use kernsmith_core::Digest;
use kernsmith_sandbox::Exit;

use crate::cache::Cache;
use crate::compiler::CompilerKind;
use crate::error::ToolchainError;
use crate::run::Runner;

const HEADER: &str = "kernsmith_prelude.h";

const SMALL: &[&str] = &["cstddef", "cstdint", "cstdlib", "cstring", "cmath", "limits"];
const LARGE: &[&str] = &[
    "algorithm",
    "array",
    "atomic",
    "bit",
    "chrono",
    "condition_variable",
    "functional",
    "memory",
    "mutex",
    "numeric",
    "thread",
    "type_traits",
    "utility",
    "vector",
];

/// The precompiled headers that this process knows to be sound; `None` where making one failed.
#[derive(Debug, Default)]
pub(crate) struct Precompiled {
    known: Mutex<BTreeMap<Digest, Option<PathBuf>>>,
}

impl Precompiled {
    /// The header to force-include for `source`, made on first use of these flags.
    pub(crate) fn header(
        &self,
        source: &str,
        identity: &Digest,
        flags: &[String],
        runner: &Runner,
        cache: &Cache,
    ) -> Result<Option<PathBuf>, ToolchainError> {
        let text = prelude(source);
        let parts = [identity.bytes().as_slice(), text.as_bytes()];
        let key = Digest::of_parts(parts.into_iter().chain(flags.iter().map(String::as_bytes)));
        // Held while one is made, so that no two builds make the same.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(header) = known.get(&key) {
            return Ok(header.clone());
        }
        let place = cache.headers().join(key.to_string());
        let header = place.join(HEADER);
        let sound = is_sound(&header, runner.compiler().kind) || make(&place, &text, flags, runner, cache)?;
        let header = sound.then_some(header);
        known.insert(key, header.clone());
        Ok(header)
    }
}

/// The headers that a source is likely to need, as one text.
fn prelude(source: &str) -> String {
    let large = included(source).any(|header| LARGE.contains(&header));
    let headers = SMALL.iter().chain(LARGE.iter().filter(|_| large));
    let lines: String = headers.flat_map(|header| ["#include <", header, ">\n"]).collect();
    format!("#pragma once\n#if defined(__x86_64__)\n#include <immintrin.h>\n#endif\n{lines}")
}

/// Names in angle brackets after `#include`.
fn included(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix('#')?.trim_start().strip_prefix("include")?;
        rest.trim_start().strip_prefix('<')?.split_once('>').map(|(name, _)| name.trim())
    })
}

const fn ending(kind: CompilerKind) -> &'static str {
    match kind {
        CompilerKind::Gcc => "gch",
        CompilerKind::Clang => "pch",
    }
}

fn compiled(header: &Path, kind: CompilerKind) -> PathBuf {
    header.with_extension(format!("h.{}", ending(kind)))
}

/// A damaged header would make the compiler crash on every candidate, so its digest is checked once a process.
fn is_sound(header: &Path, kind: CompilerKind) -> bool {
    let Ok(bytes) = std::fs::read(compiled(header, kind)) else { return false };
    let told = std::fs::read_to_string(header.with_extension("digest")).unwrap_or_default();
    header.is_file() && told == Digest::of(&bytes).to_string()
}

/// Whether it worked; a compiler that cannot is used without.
fn make(
    place: &Path,
    text: &str,
    flags: &[String],
    runner: &Runner,
    cache: &Cache,
) -> Result<bool, ToolchainError> {
    let failed = |source| cache.write_error(source);
    let kind = runner.compiler().kind;
    let header = place.join(HEADER);
    std::fs::create_dir_all(place).map_err(failed)?;
    // Clang remembers the place and the time of the header, so it is written where it stays, and only once.
    if std::fs::read_to_string(&header).ok().as_deref() != Some(text) {
        std::fs::write(&header, text).map_err(failed)?;
    }
    let unfinished = place.join(format!("unfinished-{}", std::process::id()));
    let mut arguments: Vec<OsString> = flags.iter().map(OsString::from).collect();
    arguments.extend(["-x", "c++-header", HEADER, "-o"].map(OsString::from));
    arguments.push(unfinished.clone().into());
    let ended = runner.run(place, &[], &arguments)?;
    if ended.exit != Exit::Code(0) {
        let _ = std::fs::remove_file(&unfinished);
        if cache.is_full() {
            return Err(ToolchainError::DiskFull { path: cache.root().to_owned() });
        }
        return Ok(false);
    }
    let digest = Digest::of(&std::fs::read(&unfinished).map_err(failed)?);
    std::fs::rename(&unfinished, compiled(&header, kind)).map_err(failed)?;
    std::fs::write(header.with_extension("digest"), digest.to_string()).map_err(failed)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sources_that_use_the_large_headers_get_them() {
        assert!(!prelude("#include <immintrin.h>\n#include <cmath>\n").contains("thread"));
        assert!(prelude("  #  include <thread> // pool\n").contains("thread"));
        assert!(!prelude("// #include <thread>\n").contains("thread"));
    }
}
