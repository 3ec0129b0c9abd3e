//! Timed content that stays on the device: uploaded once a process, looked at before and after every use.
//!
//! Uploading the largest shapes takes longer than timing a candidate. So the content from which timed inputs are cut stays where it
//! is, in ranges of its own; each call takes another secret place of it. A sum over all of it, which only the worker's trusted
//! kernels compute, tells whether somebody wrote to it.

use std::time::Duration;

use kernsmith_core::FailureClass;
use kernsmith_wire::gpu::{Sensed, Step};

use super::runner::GpuRunner;
use super::timed::TimedPool;
use super::worker::Mode;
use crate::error::Stop;

/// Uploading is the harness's own work: this is for a machine that is very busy.
const TIMEOUT: Duration = Duration::from_secs(30);
/// All content of a process together takes at most this part of the device's memory; beyond it, what another shape needs goes.
const MEMORY_PART: u64 = 16;

/// One shape's content.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resident {
    /// A range an input.
    pub(crate) ranges: Vec<(u64, u64)>,
    /// Bytes that are in use, and a sum over them.
    used: Vec<u64>,
    sums: Vec<u64>,
}

impl Resident {
    fn bytes(&self) -> u64 {
        self.ranges.iter().map(|(_, bytes)| bytes).sum()
    }

    fn questions(&self) -> Vec<Step> {
        let used = self.ranges.iter().zip(&self.used);
        used.map(|((address, _), bytes)| Step::Sum { address: *address, bytes: *bytes }).collect()
    }
}

impl GpuRunner {
    /// Puts a shape's content on the device, unless it is there and unchanged.
    pub(crate) fn furnish(&mut self, index: usize, pool: &TimedPool) -> Result<(), Stop> {
        self.open_store(pool.store, &pool.inputs, &pool.outputs)?;
        if self.is_untouched(index)? {
            return Ok(());
        }
        let resident = match self.lanes.resident.remove(&index) {
            Some(resident) => resident,
            None => self.make_room(pool)?,
        };
        let (number, _) = self.pools(pool.store);
        let uploads = pool.content().into_iter().zip(&resident.ranges);
        let mut steps: Vec<Step> = uploads
            .filter(|((_, bytes), _)| *bytes > 0)
            .map(|((offset, bytes), (address, _))| Step::Upload {
                pool: number,
                offset,
                bytes,
                address: *address,
            })
            .collect();
        steps.extend(resident.questions());
        let lease = self.lease.clone();
        let sums = {
            let _alone = lease.lock();
            self.run(Vec::new(), steps, TIMEOUT)?.values
        };
        self.lanes.resident.insert(index, Resident { sums, ..resident });
        Ok(())
    }

    fn make_room(&mut self, pool: &TimedPool) -> Result<Resident, Stop> {
        let used: Vec<u64> = pool.content().into_iter().map(|(_, bytes)| bytes).collect();
        let there: u64 = self.lanes.resident.values().map(Resident::bytes).sum();
        if there + used.iter().sum::<u64>() > self.worker.device.memory_bytes / MEMORY_PART {
            for (_, resident) in std::mem::take(&mut self.lanes.resident) {
                self.worker.release(&resident.ranges)?;
            }
        }
        let ranges = self.worker.reserve(&used)?;
        Ok(Resident { ranges, used, sums: Vec::new() })
    }

    /// Whether a shape's content is there as it was uploaded.
    fn is_untouched(&mut self, index: usize) -> Result<bool, Stop> {
        self.look_at(index, Mode::default()).map(|(untouched, _)| untouched)
    }

    fn look_at(&mut self, index: usize, mode: Mode) -> Result<(bool, Option<Sensed>), Stop> {
        let Some(resident) = self.lanes.resident.get(&index) else { return Ok((false, None)) };
        let (questions, sums) = (resident.questions(), resident.sums.clone());
        let ran = self.run_as(mode, Vec::new(), questions, TIMEOUT)?;
        Ok((ran.values == sums, ran.sensed))
    }

    /// After timed calls: the content that they read is what it was. Tells what the device is like meanwhile.
    pub(crate) fn check_untouched(&mut self, index: usize, sense: bool) -> Result<Option<Sensed>, Stop> {
        let (untouched, sensed) = self.look_at(index, Mode { sense, ..Mode::default() })?;
        if untouched {
            return Ok(sensed);
        }
        let detail = "a timed call changed one of its inputs";
        Err(Stop::rejected(FailureClass::InputModified, detail))
    }
}
