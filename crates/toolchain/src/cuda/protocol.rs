//! What the toolchain and its compile helper say to each other: frames over a stream socket.
//!
//! ```text
//! toolchain ── Hello (policy, libraries) ─► helper      ◄── Ready, or Failed
//!           ── Compile (source, options) ─► helper      ◄── Compiled, then as many bytes of cubin as it says
//! ```
//! A frame is its length in four bytes, little end first, and that many bytes of JSON. The helper may be in the hands of a hostile
//! source: whatever it says is bounded, and believed no further than the source itself would be.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use kernsmith_core::Digest;
use kernsmith_sandbox::{Confinement, Policy};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The hidden verb of the program: `kernsmith __nvrtc SOCKET`.
pub const VERB: &str = "__nvrtc";
/// Longest frame: a source of a megabyte with every character escaped.
pub const FRAME_LIMIT_BYTES: usize = 16 << 20;
/// Longest log that a helper hands over.
pub const LOG_LIMIT_BYTES: usize = 1 << 20;
/// Largest cubin that is taken.
pub const CUBIN_LIMIT_BYTES: u64 = 256 << 20;

/// To the helper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToHelper {
    /// First: load the compiler, then confine yourself.
    Hello(Box<Hello>),
    /// Then, any number of times.
    Compile(CompileJob),
}

/// The greeting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// [`build_id`] of the toolchain.
    pub build: String,
    /// What the helper may do once the compiler is loaded.
    pub policy: Policy,
    /// The compiler.
    pub nvrtc: PathBuf,
    /// Its built-in functions, loaded before it.
    pub builtins: Option<PathBuf>,
}

/// One compilation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileJob {
    /// The source text.
    pub source: String,
    /// The name that messages carry.
    pub name: String,
    /// Options as the compiler takes them.
    pub options: Vec<String>,
    /// Headers by name.
    pub headers: Vec<(String, String)>,
}

/// From the helper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromHelper {
    /// The compiler is loaded and the helper confined.
    Ready {
        /// [`build_id`] of the helper.
        build: String,
        /// Major and minor version of the compiler.
        version: (i32, i32),
        /// What confinement reached.
        confinement: Confinement,
    },
    /// The apparatus failed.
    Failed {
        /// Why.
        reason: String,
    },
    /// The answer to a job.
    Compiled {
        /// `nvrtcResult`; 0 is success.
        code: i32,
        /// Its name.
        message: String,
        /// The log, its beginning where it is long.
        log: String,
        /// How many bytes of cubin follow the frame.
        cubin_bytes: u64,
    },
}

/// Differs between programs that speak different protocols.
pub fn build_id() -> String {
    Digest::of(include_bytes!("protocol.rs")).short()
}

/// Writes one frame.
pub fn write_frame<T: Serialize>(stream: &mut impl Write, frame: &T) -> io::Result<()> {
    let body = serde_json::to_vec(frame)?;
    if body.len() > FRAME_LIMIT_BYTES {
        return Err(io::Error::other(format!("a frame of {} bytes is too long", body.len())));
    }
    stream.write_all(&(body.len() as u32).to_le_bytes())?;
    stream.write_all(&body)?;
    stream.flush()
}

/// Reads one frame.
pub fn read_frame<T: DeserializeOwned>(stream: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_LIMIT_BYTES {
        return Err(io::Error::other(format!("a frame of {length} bytes is too long")));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_stream_and_long_ones_are_refused() {
        let job = CompileJob {
            source: "a\n\"b\"".into(),
            name: "kernel.cu".into(),
            options: vec!["--std=c++20".into()],
            headers: vec![("x.h".into(), String::new())],
        };
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &ToHelper::Compile(job.clone())).unwrap();
        assert_eq!(read_frame::<ToHelper>(&mut bytes.as_slice()).unwrap(), ToHelper::Compile(job));
        let long = u32::MAX.to_le_bytes();
        assert!(read_frame::<ToHelper>(&mut long.as_slice()).unwrap_err().to_string().contains("too long"));
        assert!(read_frame::<ToHelper>(&mut [2_u8, 0, 0, 0, b'x', b'y'].as_slice()).is_err());
    }
}
