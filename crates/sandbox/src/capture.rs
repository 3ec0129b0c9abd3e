//! Reading a child's output without ever blocking it or filling memory.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::spawn::Output;

/// What a child wrote to one stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captured {
    /// The first bytes, up to the cap.
    pub bytes: Vec<u8>,
    /// All bytes that it wrote.
    pub total_bytes: u64,
}

impl Captured {
    /// Whether something was dropped.
    pub fn is_truncated(&self) -> bool {
        self.total_bytes > self.bytes.len() as u64
    }

    /// The bytes as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

#[derive(Debug, Default)]
struct State {
    captured: Captured,
    finished: bool,
}

/// A thread that drains one stream.
#[derive(Debug)]
pub(crate) struct Capture {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Capture {
    pub(crate) fn start(stream: OwnedFd, output: Output) -> Self {
        let cap_bytes = match output {
            Output::Null => 0,
            Output::Capture { cap_bytes } => cap_bytes,
        };
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || drain(File::from(stream), cap_bytes, &theirs));
        Self { shared }
    }

    /// What has been read when the stream ends, or after `patience`: a process that left the group may hold it open.
    pub(crate) fn finish(&self, patience: Duration) -> Captured {
        let (state, ended) = &*self.shared;
        let waited = ended.wait_timeout_while(lock(state), patience, |state| !state.finished);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.captured.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn drain(mut stream: File, cap_bytes: usize, shared: &(Mutex<State>, Condvar)) {
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        let read = match stream.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        let mut state = lock(&shared.0);
        if read == 0 {
            state.finished = true;
            shared.1.notify_all();
            return;
        }
        let kept = read.min(cap_bytes.saturating_sub(state.captured.bytes.len()));
        state.captured.bytes.extend_from_slice(&buffer[..kept]);
        state.captured.total_bytes += read as u64;
    }
}
