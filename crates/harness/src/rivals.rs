//! The candidate against the contract's other baselines, in the same run.

use kernsmith_core::Lane;
use kernsmith_core::evidence::Rival;
use kernsmith_op_contract::{Baseline, BaselineRole};
use kernsmith_stats::{Workload, median, weighted_geometric_mean};

use crate::device::build_trusted;
use crate::error::{HarnessError, Stop};
use crate::process::WorkerRole;
use crate::runner::Runner;
use crate::setup::Setup;
use crate::timing::{Meter, PairRules, Series, joint, pairs, quiet};
use crate::trial::Trial;

/// Times every rival of this platform, in pairs with the candidate.
pub(crate) fn measure(trial: &mut Trial<'_>) -> Result<Vec<Rival>, Stop> {
    let setup = trial.setup;
    let platform = setup.target.platform();
    let rivals: Vec<&Baseline> =
        setup.contract.baselines_for(platform).filter(|rival| rival.role == BaselineRole::Rival).collect();
    rivals.into_iter().map(|rival| one(trial, rival)).collect()
}

fn one(trial: &mut Trial<'_>, rival: &Baseline) -> Result<Rival, Stop> {
    let setup = trial.setup;
    let skipped =
        |reason: String| Rival { name: rival.name.clone(), skipped: Some(reason), ..Rival::default() };
    if rival.is_python() {
        return Ok(skipped("rivals in Python are timed on a GPU only".to_owned()));
    }
    let started = build_trusted(setup, &rival.source, &rival.plan, &rival.link)
        .and_then(|object| Runner::start(setup, WorkerRole::Trusted, &object.path, &rival.plan, setup.rng()));
    let mut runner = match started {
        Ok(runner) => runner,
        Err(Stop::Rejected(rejection)) => {
            return Ok(skipped(format!("{}: {}", rejection.class, rejection.detail)));
        }
        Err(Stop::Apparatus(HarnessError::Toolchain(error))) => return Ok(skipped(error.to_string())),
        Err(Stop::Apparatus(HarnessError::Worker { problem, .. })) => return Ok(skipped(problem)),
        Err(other) => return Err(other),
    };
    match all_workloads(trial, &mut runner) {
        Ok(measured) => summary(setup, rival, &measured).map_err(Stop::from),
        Err(Stop::Apparatus(HarnessError::Worker { problem, .. })) => Ok(skipped(problem)),
        Err(other) => Err(other),
    }
}

fn all_workloads(trial: &mut Trial<'_>, rival: &mut Runner) -> Result<Vec<(usize, Series)>, Stop> {
    let setup = trial.setup;
    let options = &setup.options;
    let rules = PairRules::of(setup, Lane::Confirm);
    let mut measured = Vec::new();
    for index in trial.device.open_all_timed(setup)? {
        let timeout = trial.timeout(index) * 4;
        let Some(mut set) = trial.device.timed.remove(&index) else {
            continue;
        };
        let meter = Meter::Kernel(&setup.contract, &setup.shapes[index]);
        let ours = trial.kernel.open_store(set.store, &set.inputs, &set.outputs);
        let theirs = ours.and_then(|()| rival.open_store(set.store, &set.inputs, &set.outputs));
        let outcome = theirs.and_then(|()| {
            let runners = (&mut trial.kernel, &mut *rival);
            pairs((&meter, &meter), &mut set, runners, rules, options, timeout, &mut quiet())
        });
        trial.device.timed.insert(index, set);
        measured.push((index, outcome?));
    }
    Ok(measured)
}

fn summary(setup: &Setup, rival: &Baseline, measured: &[(usize, Series)]) -> Result<Rival, HarnessError> {
    let weight = |index: usize| setup.contract.workloads[index].weight;
    let workloads: Vec<Workload<'_>> = measured
        .iter()
        .map(|(index, series)| Workload {
            weight: weight(*index),
            baseline: &series.baseline,
            candidate: &series.candidate,
            paired: series.paired,
        })
        .collect();
    let joint = joint(setup, &workloads, 1)?;
    let medians = measured.iter().map(|(index, series)| (weight(*index), median(&series.baseline)));
    Ok(Rival {
        name: rival.name.clone(),
        skipped: None,
        median_us: Some(weighted_geometric_mean(medians)),
        ratio: Some(joint.ratio),
        ci_low: Some(joint.low),
        ci_high: Some(joint.high),
        ..Rival::default()
    })
}
