//! Map, call, unmap, answer.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use kernsmith_device::cpu::{self, FloatState, MAX_FLOATS, MAX_WORDS, Symbol};
use kernsmith_wire::{Batch, FromWorker, Run, ToWorker, Word, encode};

use crate::start::{Worker, WorkerError};

/// How long a gated run looks for `go` before it sleeps: the harness needs about this long to note the time.
const SPIN: Duration = Duration::from_micros(200);

/// Serves until the harness hangs up.
pub(crate) fn serve(mut worker: Worker) -> Result<(), WorkerError> {
    loop {
        let (frame, files) = worker.channel.receive::<ToWorker>(None)?;
        let answer = match frame {
            ToWorker::Run(run) => execute(&worker, files, &run)?,
            ToWorker::Bye => return Ok(()),
            ToWorker::Hello { .. } | ToWorker::Load { .. } => return Err(WorkerError::Unexpected),
        };
        worker.channel.send(&answer, &[])?;
    }
}

/// One run. When it returns, nothing is mapped any more: a thread that still works on a tensor faults.
fn execute(worker: &Worker, files: Vec<OwnedFd>, run: &Run) -> Result<FromWorker, WorkerError> {
    let calls = match prepare(worker, run) {
        Ok(calls) => calls,
        Err(reason) => return Ok(refused(&reason)),
    };
    // The files are closed here: a mapping is all that the kernel gets.
    let windows = match map(&files, run) {
        Ok(windows) => windows,
        Err(reason) => return Ok(refused(&reason)),
    };
    drop(files);
    let returned = encode(&FromWorker::Returned { sequence: run.sequence })?;
    if run.gated {
        worker.channel.send(&FromWorker::Ready { sequence: run.sequence }, &[])?;
        worker.control.wait_released(run.sequence, SPIN);
    }
    FloatState::STANDARD.set();
    let mut values = Vec::new();
    if run.measure {
        for call in &calls {
            let value = call.symbol.measure(&call.words, &call.floats);
            values.push(value.map_or(f64::NAN.to_bits(), f64::to_bits));
        }
    } else {
        for call in &calls {
            call.symbol.call_padded(&call.words, &call.floats);
        }
    }
    let state = FloatState::read();
    FloatState::STANDARD.set();
    if run.gated {
        worker.channel.send_encoded(&returned, &[])?;
    }
    drop(windows);
    let state = (state != FloatState::STANDARD).then_some((state.vector, state.x87));
    Ok(FromWorker::Ran { sequence: run.sequence, state, values })
}

fn refused(reason: &str) -> FromWorker {
    FromWorker::Refused { missing_symbol: false, reason: reason.to_owned() }
}

/// One call with all its arguments, laid out before the clock starts.
struct Call {
    symbol: Symbol,
    words: [u64; MAX_WORDS],
    floats: [u64; MAX_FLOATS],
}

fn prepare(worker: &Worker, run: &Run) -> Result<Vec<Call>, String> {
    let total = run.batches.iter().map(|batch| batch.calls as usize).sum();
    let mut calls = Vec::with_capacity(total);
    for batch in &run.batches {
        let symbol = *worker.symbols.get(batch.symbol as usize).ok_or("no such symbol")?;
        if batch.words.len() > MAX_WORDS || batch.floats.len() > MAX_FLOATS {
            return Err(format!(
                "{} words and {} floats are too many",
                batch.words.len(),
                batch.floats.len()
            ));
        }
        calls.extend((0..u64::from(batch.calls)).map(|index| arguments(symbol, batch, index)));
    }
    Ok(calls)
}

fn arguments(symbol: Symbol, batch: &Batch, index: u64) -> Call {
    let mut call = Call { symbol, words: [0; MAX_WORDS], floats: [0; MAX_FLOATS] };
    for (slot, word) in call.words.iter_mut().zip(&batch.words) {
        *slot = match *word {
            Word::Value(value) => value,
            Word::Address { first, stride } => first.wrapping_add(stride.wrapping_mul(index)),
        };
    }
    call.floats[..batch.floats.len()].copy_from_slice(&batch.floats);
    call
}

fn map(files: &[OwnedFd], run: &Run) -> Result<Vec<cpu::Window>, String> {
    run.windows
        .iter()
        .map(|window| {
            let file = files.get(window.pool as usize).ok_or("no such file")?;
            cpu::Window::map(file.as_fd(), window.offset, window.bytes, window.address, window.writable)
                .map_err(|error| format!("cannot map {window:?}: {error}"))
        })
        .collect()
}
