//! What is fed with hostile bytes: every reader of files and frames that others may have written.
//!
//! Each function takes any bytes. An error is a fine answer; a panic, an endless loop or a value that does not survive being
//! written and read again is a defect. The fuzz targets run them, and so do the everyday tests (`tests/fuzzed.rs`).

use std::path::{Path, PathBuf};

use kernsmith_core::{Bindings, Entry, Plan};
use kernsmith_experiment_log::{HISTORY_FILE, RunReader, verify};
use kernsmith_op_contract::Contract;
use kernsmith_sandbox::{Confinement, Policy};
use kernsmith_wire::{FromWorker, ToWorker, decode, encode};
use tempfile::TempDir;

/// A folder that is used again by every call of a thread.
struct Scratch(TempDir);

impl Scratch {
    /// In memory where there is such a file system: a fuzzer writes thousands of files a second.
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self(made.expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("a file in the temporary folder");
    }
}

thread_local! {
    static CONTRACT: Scratch = contract_folder();
    static RUN: Scratch = Scratch::new();
}

/// The sources that a contract names, so that a legal text is a whole contract.
fn contract_folder() -> Scratch {
    let scratch = Scratch::new();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("op-contracts"));
    let shipped = shipped.into_iter().find(|folder| folder.is_dir()).expect("the shipped contracts");
    for contract in std::fs::read_dir(shipped).expect("a folder").flatten() {
        for file in std::fs::read_dir(contract.path()).into_iter().flatten().flatten() {
            let name = file.file_name();
            if Path::new(&name).extension().is_some_and(|extension| extension == "cpp") {
                std::fs::copy(file.path(), scratch.0.path().join(name)).expect("a copy");
            }
        }
    }
    scratch
}

/// `contract.toml`: read, and where it is legal, everything that is computed from it.
pub(crate) fn contract(bytes: &[u8]) {
    CONTRACT.with(|folder| {
        folder.write("contract.toml", bytes);
        match Contract::load(folder.0.path()) {
            Ok(contract) => {
                let _ = (contract.lint(), contract.signature("kernel"), contract.element_count());
                for workload in &contract.workloads {
                    for tensor in contract.inputs.iter().chain(&contract.outputs) {
                        contract
                            .tensor_bytes(tensor, &workload.axes)
                            .expect("a legal contract has a size for it");
                    }
                    contract.flops.eval(&workload.axes).expect("a legal contract has a cost for it");
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
}

/// A launch plan: as TOML from a file, as JSON from a log.
pub(crate) fn plan(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let plans = [toml::from_str::<Plan>(text).ok(), serde_json::from_str::<Plan>(text).ok()];
    for plan in plans.into_iter().flatten() {
        let axes = ["rows", "cols", "m", "n", "k"];
        if let Err(error) = plan.check(&axes) {
            assert!(!error.problem.is_empty());
            continue;
        }
        let written = serde_json::to_string(&plan).expect("a plan has a JSON form");
        assert_eq!(serde_json::from_str::<Plan>(&written).ok().as_ref(), Some(&plan), "{written}");
        for value in [0, 1, 7, 4096, i64::MAX] {
            let bindings: Bindings = axes.iter().map(|axis| ((*axis).to_owned(), value)).collect();
            let _ = plan.launch_for(&bindings);
            for workspace in &plan.workspaces {
                let _ = workspace.bytes.eval(&bindings);
            }
        }
        assert!(!plan.symbols().is_empty());
    }
}

/// Frames between harness and worker: what a worker that was taken over may send, and what it may be sent.
pub(crate) fn frames(bytes: &[u8]) {
    if let Ok(frame) = decode::<FromWorker>(bytes) {
        let written = encode(&frame).expect("a frame can be written");
        assert_eq!(decode::<FromWorker>(&written).ok(), Some(frame.clone()));
        if let FromWorker::Hello { confinement, .. } = frame
            && let Ok(confinement) = serde_json::from_value::<Confinement>(confinement)
        {
            let _ = (confinement.summary(), confinement.missing_lines());
        }
    }
    if let Ok(frame) = decode::<ToWorker>(bytes) {
        let written = encode(&frame).expect("a frame can be written");
        assert_eq!(decode::<ToWorker>(&written).ok(), Some(frame.clone()));
        if let ToWorker::Hello { policy, .. } = frame {
            let _ = serde_json::from_value::<Policy>(policy);
        }
    }
}

/// The history of a run: the reader, the verifier, and single entries.
pub(crate) fn log(bytes: &[u8]) {
    RUN.with(|folder| {
        folder.write(HISTORY_FILE, bytes);
        if let Ok(reader) = RunReader::open(folder.0.path()) {
            let entries = reader.entries().expect("it could be opened a moment ago");
            let whole = entries.take_while(Result::is_ok).count();
            assert!(whole > 0, "a run that opens has a first entry");
        }
        if let Ok(report) = verify(folder.0.path()) {
            let _ = (report.is_intact(), report.passed());
        }
    });
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(entry) = serde_json::from_slice::<Entry>(line) {
            let written = serde_json::to_vec(&entry).expect("an entry can be written");
            serde_json::from_slice::<Entry>(&written).expect("and read again");
        }
    }
}
