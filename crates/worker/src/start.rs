//! From the first frame to a loaded code object.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use kernsmith_device::cpu::{CodeObject, FaultSlots, Symbol, watch_faults};
use kernsmith_sandbox::{Policy, Profile, SandboxError, confine, restrict_syscalls};
use kernsmith_wire::{Channel, Control, FromWorker, ToWorker, WireError, build_id};

/// A confined worker that knows its code object's symbols.
pub(crate) struct Worker {
    pub(crate) channel: Channel,
    pub(crate) control: Control,
    pub(crate) symbols: Vec<Symbol>,
    /// Kept so that the object stays loaded.
    _object: CodeObject,
}

/// The apparatus failed in the worker; the harness sees it as an end without an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    System(#[from] std::io::Error),
    #[error("an unexpected frame")]
    Unexpected,
}

/// Confines the process, then loads what it is told to load, then closes the door behind it.
pub(crate) fn begin(mut channel: Channel) -> Result<Worker, WorkerError> {
    let (frame, files) = channel.receive::<ToWorker>(None)?;
    let ToWorker::Hello { build, policy, profile } = frame else {
        return Err(WorkerError::Unexpected);
    };
    if build != build_id() {
        channel.send(&FromWorker::Hello { build: build_id(), confinement: serde_json::Value::Null }, &[])?;
        return Err(WorkerError::Unexpected);
    }
    let policy: Policy = serde_json::from_value(policy).map_err(|_| WorkerError::Unexpected)?;
    let profile: Profile = serde_json::from_value(profile).map_err(|_| WorkerError::Unexpected)?;
    let control = attach(files)?;
    let confinement = confine(&policy)?;
    let confinement = serde_json::to_value(confinement).map_err(|_| WorkerError::Unexpected)?;
    let (signal, access, address) = control.fault_words();
    watch_faults(FaultSlots { signal, access, address })?;
    channel.send(&FromWorker::Hello { build: build_id(), confinement }, &[])?;
    // Initialisers run while the object is loaded; from here on nobody can change what happens on a fault.
    restrict_syscalls(Profile::Load)?;
    let (object, symbols) = load(&mut channel)?;
    restrict_syscalls(profile)?;
    channel.send(&FromWorker::Loaded, &[])?;
    Ok(Worker { channel, control, symbols, _object: object })
}

/// Maps the control page and closes its file.
fn attach(files: Vec<OwnedFd>) -> Result<Control, WorkerError> {
    let file = files.into_iter().next().ok_or(WorkerError::Unexpected)?;
    Ok(Control::attach(file.as_fd())?)
}

fn load(channel: &mut Channel) -> Result<(CodeObject, Vec<Symbol>), WorkerError> {
    let (frame, _) = channel.receive::<ToWorker>(None)?;
    let ToWorker::Load { path, symbols } = frame else {
        return Err(WorkerError::Unexpected);
    };
    let loaded = CodeObject::open(Path::new(&path)).and_then(|object| {
        let found = symbols.iter().map(|name| object.symbol(name)).collect::<Result<Vec<_>, _>>()?;
        Ok((object, found))
    });
    match loaded {
        Ok(loaded) => Ok(loaded),
        Err(error) => {
            let missing_symbol = matches!(error, kernsmith_device::cpu::LoadError::Symbol { .. });
            channel.send(&FromWorker::Refused { missing_symbol, reason: error.to_string() }, &[])?;
            Err(WorkerError::Unexpected)
        }
    }
}
