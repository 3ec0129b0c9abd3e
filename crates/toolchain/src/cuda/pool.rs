//! A few compile helpers, kept warm.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kernsmith_sandbox::Confinement;

use super::helper::{Compiled, Helper, HelperSetup, Lost};
use super::protocol::CompileJob;
use crate::error::ToolchainError;

/// A helper is replaced after so many jobs: compilers do not give all of their memory back.
const JOBS_MAX: u32 = 400;

/// Helpers that wait for work, and how many more there may be.
#[derive(Debug)]
pub(super) struct Pool {
    setup: HelperSetup,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug)]
struct State {
    idle: Vec<Helper>,
    /// Places that no helper takes.
    free: usize,
}

/// A place in the pool, given back when dropped.
struct Place<'a> {
    pool: &'a Pool,
    helper: Option<Helper>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock().unwrap_or_else(PoisonError::into_inner);
        match self.helper.take().filter(|helper| helper.jobs < JOBS_MAX) {
            Some(helper) => state.idle.push(helper),
            None => state.free += 1,
        }
        drop(state);
        self.pool.freed.notify_one();
    }
}

/// What a compilation came to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The compiler answered.
    Answered(Compiled),
    /// The compiler was lost over this source, twice where it died.
    Lost(Lost),
}

impl Pool {
    pub(super) fn new(setup: HelperSetup, helpers: usize) -> Self {
        let state = State { idle: Vec::new(), free: helpers.max(1) };
        Self { setup, state: Mutex::new(state), freed: Condvar::new() }
    }

    /// Starts the first helper, to learn whether the compiler works: its version, and what confines it.
    pub(super) fn probe(&self) -> Result<((i32, i32), Confinement), ToolchainError> {
        let mut place = self.place();
        let helper = match place.helper.take() {
            Some(helper) => helper,
            None => Helper::start(&self.setup)?,
        };
        let found = (helper.version, helper.confinement.clone());
        place.helper = Some(helper);
        Ok(found)
    }

    /// Compiles one text, and says how long that took. A helper that dies is tried once more with a fresh one: only a source
    /// that kills two is to blame.
    pub(super) fn compile(&self, job: &CompileJob, time: Duration) -> Result<(Outcome, f64), ToolchainError> {
        let mut place = self.place();
        let mut lives = 2;
        loop {
            let helper = match place.helper.take() {
                Some(helper) => helper,
                None => Helper::start(&self.setup)?,
            };
            let begin = Instant::now();
            lives -= 1;
            match helper.compile(job, time) {
                Ok((helper, compiled)) => {
                    place.helper = Some(helper);
                    return Ok((Outcome::Answered(compiled), begin.elapsed().as_secs_f64() * 1e3));
                }
                Err(Lost::Died { .. }) if lives > 0 => {}
                Err(lost) => return Ok((Outcome::Lost(lost), begin.elapsed().as_secs_f64() * 1e3)),
            }
        }
    }

    /// Waits for an idle helper, or for the right to start one.
    fn place(&self) -> Place<'_> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(helper) = state.idle.pop() {
                return Place { pool: self, helper: Some(helper) };
            }
            if state.free > 0 {
                state.free -= 1;
                return Place { pool: self, helper: None };
            }
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
