//! What the correctness gate asks, drawn and answered ahead of time.
//!
//! Drawing inputs and computing what the oracle says of them needs no device and no candidate. So a *sheet* of checked calls is made
//! ready by threads of its own, with oracle processes of its own, while the device works for the candidate before. A sheet serves one
//! judgement and is then drawn anew: no content is ever seen twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use kernsmith_core::Lane;
use kernsmith_wire::Pool;
use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;

use super::checked::Job;
use super::gates::correctness;
use crate::arena::{Arena, ArenaCall, Placed, Store};
use crate::check;
use crate::device::build_oracle;
use crate::error::HarnessError;
use crate::inputs;
use crate::layout::{Shape, Side};
use crate::oracle::{Answers, Oracle, Slice};
use crate::setup::Setup;

/// The sheets' own numbers among the stores of a runner, above those of timed sets.
const FIRST_STORE: Store = 1 << 20;
/// Oracle processes of the full sheet and of the screen's, at most, and processors that each of them takes for granted.
const ORACLES: usize = 4;
const SCREEN_ORACLES: usize = 2;
const CORES_AN_ORACLE: usize = 4;

/// Checked calls with everything that is known before a candidate runs.
#[derive(Debug)]
pub(crate) struct Sheet {
    screen: bool,
    pub(crate) store: Store,
    pub(crate) inputs: Pool,
    pub(crate) outputs: Pool,
    /// Each knows the two pools as its first store.
    pub(crate) oracles: Vec<Mutex<Oracle>>,
    pub(crate) calls: Vec<Drawn>,
    rng: ChaCha12Rng,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Drawn {
    pub(crate) job: Job,
    pub(crate) call: ArenaCall,
    /// What is compared, and what the oracle says of it.
    pub(crate) slices: Vec<Slice>,
    pub(crate) answers: Answers,
}

impl Drawn {
    /// The call as a sheet's own oracle knows it.
    pub(crate) fn for_oracle(&self) -> Placed {
        Placed { store: 0, ..self.call.placed.clone() }
    }
}

impl Sheet {
    /// Makes room, starts the oracles and draws the first calls.
    fn open(setup: &Setup, screen: bool, mut rng: ChaCha12Rng) -> Result<Self, HarnessError> {
        let jobs = correctness::jobs(setup, screen, &mut rng);
        let shapes = || jobs.iter().map(|job| &setup.shapes[job.shape]);
        let create =
            |name, bytes| Pool::create(name, bytes).map_err(HarnessError::system("make a memory file"));
        let inputs = create("kernsmith-sheet-in", shapes().map(Shape::input_bytes).sum())?;
        let outputs = create("kernsmith-sheet-out", shapes().map(Shape::output_bytes).sum())?;
        let cores = setup.host.cores as usize;
        let count = (cores / CORES_AN_ORACLE).clamp(1, if screen { SCREEN_ORACLES } else { ORACLES });
        let object = build_oracle(setup)?.path;
        let mut oracles = Vec::new();
        for _ in 0..count {
            let mut oracle = Oracle::start(&setup.contract, &setup.spawner, object.clone(), setup.rng())?;
            oracle.add_store(&inputs, &outputs)?;
            oracles.push(Mutex::new(oracle));
        }
        let store = FIRST_STORE + usize::from(screen);
        let mut sheet = Self { screen, store, inputs, outputs, oracles, calls: Vec::new(), rng };
        sheet.outputs.populate();
        sheet.draw(setup)?;
        Ok(sheet)
    }

    /// Draws all calls anew and asks the oracles about them.
    fn draw(&mut self, setup: &Setup) -> Result<(), HarnessError> {
        let jobs = correctness::jobs(setup, self.screen, &mut self.rng);
        let mut bases = (0, 0);
        let mut calls = Vec::new();
        for job in jobs {
            let shape = &setup.shapes[job.shape];
            let (mut call, next) = Arena::place(shape, Side::Left, bases);
            call.placed.store = self.store;
            bases = next;
            let slices = check::sample(shape, &setup.options, &mut self.rng);
            calls.push(Drawn { job, call, slices, answers: Answers::default() });
        }
        let answers = self.ask(setup, &calls)?;
        for (index, answers) in answers {
            calls[index].answers = answers;
        }
        self.calls = calls;
        Ok(())
    }

    /// Fills the inputs and answers the calls, one thread an oracle, the costly ones first.
    fn ask(&mut self, setup: &Setup, calls: &[Drawn]) -> Result<Vec<(usize, Answers)>, HarnessError> {
        let mut rest = self.inputs.bytes_mut();
        let mut parts = Vec::new();
        for drawn in calls {
            let bytes = setup.shapes[drawn.job.shape].input_bytes() as usize;
            let (mine, others) = rest.split_at_mut(bytes.min(rest.len()));
            rest = others;
            parts.push(Mutex::new((mine, ChaCha12Rng::from_rng(&mut self.rng))));
        }
        let mut order: Vec<usize> = (0..calls.len()).collect();
        order.sort_by_key(|index| {
            let shape = &setup.shapes[calls[*index].job.shape];
            std::cmp::Reverse(shape.output_elements() + shape.input_bytes())
        });
        let next = AtomicUsize::new(0);
        let work = |oracle: &mut Oracle| -> Result<Vec<(usize, Answers)>, HarnessError> {
            let mut done = Vec::new();
            while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut part = parts[index].lock().unwrap_or_else(PoisonError::into_inner);
                let (bytes, rng) = &mut *part;
                done.push((index, answer(setup, &calls[index], bytes, rng, oracle)?));
            }
            Ok(done)
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .oracles
                .iter_mut()
                .map(|oracle| scope.spawn(|| work(oracle.get_mut().unwrap_or_else(PoisonError::into_inner))))
                .collect();
            let mut answers = Vec::new();
            for thread in threads {
                answers.extend(thread.join().unwrap_or_else(|_| Err(broke_off()))?);
            }
            Ok(answers)
        })
    }
}

/// Draws one call's inputs and asks what is right.
fn answer(
    setup: &Setup,
    drawn: &Drawn,
    bytes: &mut [u8],
    rng: &mut ChaCha12Rng,
    oracle: &mut Oracle,
) -> Result<Answers, HarnessError> {
    let (contract, shape) = (&setup.contract, &setup.shapes[drawn.job.shape]);
    let case = &contract.cases[drawn.job.case];
    let base = drawn.call.input_windows.first().map_or(0, |window| window.offset);
    for (index, (span, layout)) in drawn.call.placed.inputs.iter().zip(&shape.inputs).enumerate() {
        let first = (span.offset - base) as usize;
        inputs::draw(contract, case, index, layout, rng, &mut bytes[first..first + span.bytes as usize]);
    }
    if drawn.slices.is_empty() {
        return Ok(Answers::default());
    }
    oracle.begin(contract, shape, &drawn.for_oracle(), &drawn.slices)?;
    oracle.finish(contract, shape, &drawn.slices)
}

fn broke_off() -> HarnessError {
    HarnessError::CutOff("drawing a sheet of checks panicked".to_owned())
}

/// The two sheets, on their way.
#[derive(Debug)]
pub(crate) struct Sheets {
    setup: Arc<Setup>,
    screen: Option<JoinHandle<Result<Sheet, HarnessError>>>,
    full: Option<JoinHandle<Result<Sheet, HarnessError>>>,
}

impl Sheets {
    /// Begins with the sheet of full judgements; that of the screen is made when it is asked for first.
    pub(crate) fn begin(setup: Arc<Setup>) -> Self {
        let (own, rng) = (setup.clone(), setup.rng());
        let full = Some(std::thread::spawn(move || Sheet::open(&own, false, rng)));
        Self { setup, screen: None, full }
    }

    const fn slot(&mut self, screen: bool) -> &mut Option<JoinHandle<Result<Sheet, HarnessError>>> {
        if screen { &mut self.screen } else { &mut self.full }
    }

    /// A sheet that nobody has seen; waits where it is not ready yet.
    pub(crate) fn take(&mut self, lane: Lane) -> Result<Sheet, HarnessError> {
        let screen = lane == Lane::Screen;
        match self.slot(screen).take() {
            Some(making) => making.join().unwrap_or_else(|_| Err(broke_off())),
            None => Sheet::open(&self.setup, screen, self.setup.rng()),
        }
    }

    /// Takes a used sheet back, and has it drawn anew meanwhile.
    pub(crate) fn renew(&mut self, mut sheet: Sheet) {
        let setup = self.setup.clone();
        let screen = sheet.screen;
        *self.slot(screen) = Some(std::thread::spawn(move || sheet.draw(&setup).map(|()| sheet)));
    }
}
