//! The frozen baseline: measured first, against itself, and kept.

use std::collections::BTreeMap;
use std::time::Duration;

use kernsmith_core::{Lane, Performance};

use crate::calibration::{self, Calibration};
use crate::device::Device;
use crate::error::{HarnessError, Stop};
use crate::options::HarnessOptions;
use crate::runner::Runner;
use crate::setup::Setup;
use crate::timing::{Meter, PairRules, SLOW_CALL_US, Series, alone, pairs, quiet, summarise};

/// Samples of a baseline that is too slow to be measured against itself.
const SLOW_SAMPLES: u32 = 3;

/// What the baseline did against itself.
#[derive(Debug, Clone)]
pub(crate) struct Frozen {
    samples: BTreeMap<usize, Vec<f64>>,
    pub(crate) noise_floor: f64,
    pub(crate) performance: Performance,
}

impl Frozen {
    /// Out of what was measured against itself; its noise floor is the far end of that interval.
    pub(crate) fn new(
        setup: &Setup,
        calibration: &Calibration,
        measured: Vec<(usize, Series)>,
    ) -> Result<Self, HarnessError> {
        let ratios = summarise(setup, calibration, &measured, 1.0, 1)?;
        let noise_floor = ratios.ci_high.ln().abs().max(ratios.ci_low.ln().abs()).exp();
        let performance = Performance { noise_floor, ..ratios };
        let samples = measured.into_iter().map(|(index, series)| (index, series.baseline)).collect();
        Ok(Self { samples, noise_floor, performance })
    }

    /// Samples of a bench shape in microseconds.
    pub(crate) fn samples(&self, shape: usize) -> Option<Vec<f64>> {
        self.samples.get(&shape).cloned()
    }

    /// Median time of one call.
    pub(crate) fn median_us(&self, shape: usize) -> Option<f64> {
        self.samples.get(&shape).map(|samples| kernsmith_stats::median(samples))
    }
}

impl Device {
    /// Times the baseline against itself, each side in a process of its own, and keeps what came out.
    pub(crate) fn freeze(&mut self, setup: &Setup) -> Result<(), HarnessError> {
        calibration::ensure(setup, self)?;
        let mut first = self.take_baseline(setup)?;
        let mut second = self.start_baseline(setup)?;
        let mut measured = Vec::new();
        for index in self.open_all_timed(setup)? {
            let series = self
                .against_itself(setup, index, &mut first, &mut second)
                .map_err(|stop| stop.trusted(&setup.baseline.name))?;
            measured.push((index, series));
        }
        self.baseline = Some(first);
        self.frozen = Some(Frozen::new(setup, &self.calibration, measured)?);
        Ok(())
    }

    fn against_itself(
        &mut self,
        setup: &Setup,
        index: usize,
        first: &mut Runner,
        second: &mut Runner,
    ) -> Result<Series, Stop> {
        let options = &HarnessOptions { screen_samples: SLOW_SAMPLES, ..setup.options.clone() };
        let rules = PairRules::of(setup, Lane::Verify);
        let Some(mut set) = self.timed.remove(&index) else {
            return Err(HarnessError::Statistics("no timed buffers".to_owned()).into());
        };
        let meter = Meter::Kernel(&setup.contract, &setup.shapes[index]);
        // Nothing is known yet about how long it takes: a minute is for the slowest of baselines.
        let timeout = Duration::from_mins(1);
        let outcome = first
            .open_store(set.store, &set.inputs, &set.outputs)
            .and_then(|()| second.open_store(set.store, &set.inputs, &set.outputs))
            .and_then(|()| {
                let (series, _) = alone(&meter, &mut set, first, options, timeout, None, &mut quiet())?;
                if kernsmith_stats::median(&series.candidate) >= SLOW_CALL_US {
                    // Against itself it would take minutes; its own spread has to serve.
                    return Ok(Series { baseline: series.candidate.clone(), ..series });
                }
                let meters = (&meter, &meter);
                pairs(meters, &mut set, (second, first), rules, options, timeout, &mut quiet())
            });
        let cold = set.is_cold(setup);
        self.timed.insert(index, set);
        outcome.map(|series| Series { cold, ..series })
    }
}
