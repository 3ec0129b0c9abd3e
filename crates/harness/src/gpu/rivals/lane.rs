//! The Python process in which other people's libraries run.
//!
//! It is trusted, so it has the caller's environment and no sandbox; it sees no candidate, and no candidate sees it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::{Value, json};

const PROGRAM: &str = include_str!("lane.py");
/// Loading torch takes seconds; on a cold disk, many.
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// Compiling and autotuning one shape, or building a library's kernels on first use.
const OPEN_TIMEOUT: Duration = Duration::from_mins(5);
const CALLS_TIMEOUT: Duration = Duration::from_mins(1);
const LOG_BYTES_SHOWN: usize = 300;

/// Why something was not timed, in words.
pub(crate) type Skipped = String;

/// The process.
#[derive(Debug)]
pub(crate) struct PythonLane {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<String>,
    log: PathBuf,
    /// What it says of itself: Python, torch, device.
    pub(crate) facts: String,
}

/// What it runs on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct On<'a> {
    /// `cuda`; `cpu` only where the lane itself is tested.
    pub(crate) device: &'a str,
    /// Bytes that are overwritten before each call.
    pub(crate) flush_bytes: u64,
    /// Where its log and the libraries' own caches go.
    pub(crate) cache: &'a Path,
}

/// A tensor in a memory file.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) name: String,
    /// As torch calls it.
    pub(crate) dtype: &'static str,
    pub(crate) shape: Vec<u64>,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// One shape of one rival.
pub(crate) struct Work<'a> {
    /// The function's name.
    pub(crate) rival: &'a str,
    /// The file that it stands in, for tracebacks, and its text.
    pub(crate) file: &'a str,
    pub(crate) source: &'a str,
    pub(crate) axes: Value,
    pub(crate) scalars: Value,
    pub(crate) inputs: (&'a OwnedFd, Vec<Spec>),
    pub(crate) outputs: (&'a OwnedFd, Vec<Spec>),
}

impl PythonLane {
    /// Starts `$KERNSMITH_PYTHON`, or `python3`, and loads torch.
    pub(crate) fn start(on: On<'_>) -> Result<Self, Skipped> {
        let python = std::env::var_os("KERNSMITH_PYTHON").unwrap_or_else(|| "python3".into());
        let cannot = |what: &str, error: std::io::Error| format!("{what}: {error}");
        std::fs::create_dir_all(on.cache).map_err(|error| cannot("no folder for the rivals' log", error))?;
        let log = on.cache.join("rivals.log");
        let stderr = File::create(&log).map_err(|error| cannot("no log for the rivals", error))?;
        let mut command = Command::new(&python);
        command.args(["-u", "-c", PROGRAM]).env("PYTHONDONTWRITEBYTECODE", "1");
        if std::env::var_os("FLASHINFER_WORKSPACE_BASE").is_none() {
            command.env("FLASHINFER_WORKSPACE_BASE", on.cache);
        }
        // A group of its own: Ctrl-C is for the harness, which then ends the lane.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command
            .spawn()
            .map_err(|error| cannot(&format!("`{}` cannot be started", python.to_string_lossy()), error))?;
        let (Some(requests), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the rivals' process has no pipes".to_owned());
        };
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut lane = Self { child, requests, answers, log, facts: String::new() };
        let hello = json!({"do": "hello", "device": on.device, "flush_bytes": on.flush_bytes});
        let facts = lane.ask(&hello, START_TIMEOUT)?;
        let fact = |name: &str| facts[name].as_str().unwrap_or("?").to_owned();
        lane.facts = format!("torch {}, Python {}", fact("torch"), fact("python"));
        Ok(lane)
    }

    /// Puts a shape's inputs on the device and makes the rival ready; returns how it is called, with versions of its libraries.
    pub(crate) fn open(&mut self, work: &Work<'_>) -> Result<String, Skipped> {
        let place = |file: &OwnedFd| format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        let specs = |specs: &[Spec]| -> Vec<Value> {
            let row = |spec: &Spec| {
                json!({"name": spec.name, "dtype": spec.dtype, "shape": spec.shape, "offset": spec.offset,
                    "bytes": spec.bytes})
            };
            specs.iter().map(row).collect()
        };
        let request = json!({
            "do": "open", "rival": work.rival, "file": work.file, "source": work.source, "axes": work.axes,
            "scalars": work.scalars, "inputs_file": place(work.inputs.0), "inputs": specs(&work.inputs.1),
            "outputs_file": place(work.outputs.0), "outputs": specs(&work.outputs.1),
        });
        let answer = self.ask(&request, OPEN_TIMEOUT)?;
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        let versions = Some(text("versions")).filter(|versions| !versions.is_empty());
        Ok(versions.into_iter().fold(text("how"), |how, versions| format!("{how}, {versions}")))
    }

    /// Microseconds of so many calls.
    pub(crate) fn batch(&mut self, calls: u32) -> Result<Vec<f64>, Skipped> {
        let answer = self.ask(&json!({"do": "batch", "calls": calls}), CALLS_TIMEOUT)?;
        let times = answer["times_us"].as_array().map(Vec::as_slice).unwrap_or_default();
        let times: Vec<f64> = times.iter().filter_map(Value::as_f64).filter(|time| *time > 0.0).collect();
        if times.len() == calls as usize { Ok(times) } else { Err("it did not tell its times".to_owned()) }
    }

    /// Writes what the last call computed to the outputs' file.
    pub(crate) fn fetch(&mut self) -> Result<(), Skipped> {
        self.ask(&json!({"do": "fetch"}), CALLS_TIMEOUT).map(drop)
    }

    /// Gives the device's memory back.
    pub(crate) fn close(&mut self) -> Result<(), Skipped> {
        self.ask(&json!({"do": "close"}), CALLS_TIMEOUT).map(drop)
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn ask(&mut self, request: &Value, timeout: Duration) -> Result<Value, Skipped> {
        if writeln!(self.requests, "{request}").and_then(|()| self.requests.flush()).is_err() {
            return Err(self.ended());
        }
        let line = match self.answers.recv_timeout(timeout) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                // An answer that comes later would be taken for another one's.
                let _ = self.child.kill();
                return Err(format!("no answer in {} s", timeout.as_secs()));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
        };
        let mut answer: Value =
            serde_json::from_str(&line).map_err(|error| format!("its answer cannot be read: {error}"))?;
        match answer["skipped"].as_str() {
            Some(why) => Err(why.to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }

    /// The process is gone: its last words.
    fn ended(&mut self) -> Skipped {
        let _ = self.child.wait();
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_BYTES_SHOWN)..]).into_owned();
        format!("the Python process ended: {}", text.trim().lines().last().unwrap_or("without a word"))
    }
}

impl Drop for PythonLane {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use kernsmith_wire::Pool;

    use super::*;

    const RIVALS: &str = "
def double(kit):
    x = kit['x']
    print('libraries print as they like')
    return lambda: x + x

def absent(kit):
    kit.needs('no_such_library')

def wrong(kit):
    return lambda: (kit['x'], kit['x'])

def broken(kit):
    raise ValueError('three\\nlines\\nof trouble')

def fatal(kit):
    import os
    os._exit(7)
";

    fn lane(cache: &Path) -> Option<PythonLane> {
        match PythonLane::start(On { device: "cpu", flush_bytes: 1 << 16, cache }) {
            Ok(lane) => Some(lane),
            Err(why) => {
                println!("skipped: {why}");
                assert!(why.contains("torch") || why.contains("python3"), "{why}");
                None
            }
        }
    }

    fn spec(offset: u64) -> Spec {
        Spec { name: "x".to_owned(), dtype: "float32", shape: vec![2, 3], offset, bytes: 24 }
    }

    #[test]
    fn what_a_library_computes_is_timed_fetched_and_refused_in_words() {
        let cache = tempfile::tempdir().unwrap();
        let Some(mut lane) = lane(cache.path()) else { return };
        let mut inputs = Pool::create("test-in", 8192).unwrap();
        let outputs = Pool::create("test-out", 4096).unwrap();
        for (index, bytes) in inputs.bytes_mut()[4100..4124].chunks_exact_mut(4).enumerate() {
            bytes.copy_from_slice(&(index as f32).to_le_bytes());
        }
        // As in the harness, descriptors are open until there is an answer.
        let open = |lane: &mut PythonLane, rival| {
            let (reader, writer) = (inputs.reader().unwrap(), outputs.writer().unwrap());
            lane.open(&Work {
                rival,
                file: "rivals.py",
                source: RIVALS,
                axes: json!({}),
                scalars: json!({}),
                inputs: (&reader, vec![spec(4100)]),
                outputs: (&writer, vec![spec(8)]),
            })
        };
        assert_eq!(open(&mut lane, "double").unwrap(), "plain");
        assert_eq!(lane.batch(5).unwrap().len(), 5);
        lane.fetch().unwrap();
        let got: Vec<f32> = outputs.bytes()[8..32]
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        assert_eq!(got, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert!(open(&mut lane, "absent").unwrap_err().contains("no_such_library is not here"));
        open(&mut lane, "wrong").unwrap();
        assert!(lane.fetch().unwrap_err().contains("2 outputs, the contract has 1"));
        assert_eq!(open(&mut lane, "broken").unwrap_err(), "ValueError: three");
        assert!(open(&mut lane, "missing").unwrap_err().starts_with("KeyError"));
        lane.close().unwrap();
        assert!(lane.is_alive());
        assert!(open(&mut lane, "fatal").unwrap_err().starts_with("the Python process ended"));
        assert!(!lane.is_alive());
    }
}
