//! Calls on file: a whole run can be had again without a network.
//!
//! One JSON object a line, the first one a head. A question is found by its digest; where a prompt has changed (measured times
//! do), the next unused call of the same role and purpose stands in, and the log says so.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use kernsmith_core::model::{CallTry, Usage};
use kernsmith_core::{CallClass, Digest};
use serde::{Deserialize, Serialize};

use crate::client::Called;
use crate::error::LlmError;

/// The newest format.
pub const CASSETTE_FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    cassette: u32,
}

/// One call.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Track {
    key: Digest,
    role: String,
    purpose: String,
    request: serde_json::Value,
    class: CallClass,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    detail: String,
    reply: Option<String>,
    usage: Usage,
    tries: Vec<CallTry>,
}

/// Where calls are written to.
#[derive(Debug)]
pub(crate) struct Recorder {
    path: PathBuf,
    file: Mutex<File>,
}

/// Where calls are read from.
#[derive(Debug)]
pub(crate) struct Player {
    left: Mutex<VecDeque<Track>>,
}

impl Recorder {
    /// Opens a file to append to; a new one gets its head.
    pub(crate) fn open(path: &Path) -> Result<Self, LlmError> {
        let fault =
            |error: std::io::Error| LlmError::Cassette { path: path.to_owned(), problem: error.to_string() };
        let mut file = OpenOptions::new().append(true).create(true).open(path).map_err(fault)?;
        if file.metadata().map_err(fault)?.len() == 0 {
            let head = serde_json::json!(Head { cassette: CASSETTE_FORMAT });
            writeln!(file, "{head}").map_err(fault)?;
        }
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    pub(crate) fn keep(
        &self,
        key: Digest,
        role: &str,
        purpose: &str,
        called: &Called,
    ) -> Result<(), LlmError> {
        let track = Track {
            key,
            role: role.to_owned(),
            purpose: purpose.to_owned(),
            request: serde_json::from_slice(&called.body).unwrap_or_default(),
            class: called.class,
            detail: called.detail.clone(),
            reply: called.reply.clone(),
            usage: called.usage,
            tries: called.tries.clone(),
        };
        let fault = |problem: String| LlmError::Cassette { path: self.path.clone(), problem };
        let line = serde_json::to_string(&track).map_err(|error| fault(error.to_string()))?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}").map_err(|error| fault(error.to_string()))
    }
}

impl Player {
    pub(crate) fn open(path: &Path) -> Result<Self, LlmError> {
        let fault = |problem: String| LlmError::Cassette { path: path.to_owned(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
        let mut lines = text.lines().enumerate();
        let head: Head = lines
            .next()
            .and_then(|(_, line)| serde_json::from_str(line).ok())
            .ok_or_else(|| fault("line 1 is not the head of a cassette".to_owned()))?;
        if head.cassette > CASSETTE_FORMAT {
            return Err(fault(format!("format {} is newer than this program", head.cassette)));
        }
        let tracks: Result<VecDeque<Track>, LlmError> = lines
            .map(|(number, line)| {
                serde_json::from_str(line).map_err(|error| fault(format!("line {}: {error}", number + 1)))
            })
            .collect();
        Ok(Self { left: Mutex::new(tracks?) })
    }

    /// The answer to a question; each recorded call is given once.
    pub(crate) fn play(&self, key: Digest, role: &str, purpose: &str, body: Vec<u8>) -> Called {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let exact = left.iter().position(|track| track.key == key);
        let similar = || left.iter().position(|track| track.role == role && track.purpose == purpose);
        let Some(track) = exact.or_else(similar).and_then(|at| left.remove(at)) else {
            return Called {
                class: CallClass::NotFound,
                detail: format!("the cassette holds no further call of {role} for {purpose}"),
                reply: None,
                body,
                tries: Vec::new(),
                usage: Usage::default(),
                wall_ms: 0.0,
            };
        };
        let mut detail = track.detail;
        if exact.is_none() {
            detail.insert_str(0, "from the cassette, recorded for another prompt. ");
        }
        let tries = track.tries;
        Called {
            class: track.class,
            detail,
            reply: track.reply,
            body,
            tries,
            usage: track.usage,
            wall_ms: 0.0,
        }
    }
}
