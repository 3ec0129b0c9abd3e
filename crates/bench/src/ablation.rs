//! What the planner role is worth: the same scripted model with and without it, through the real engine and the real proposer.
//!
//! The scripted model knows a synthetic landscape as well as its scores are good. With the planner role it writes strategies
//! with predictions, and the world model decides what is worked on; without it, it picks what to write by the same scores and
//! then goes on from the best. Every call is recorded, and each run is had again from its cassette without the model.
//! This measures what the machinery makes of a plan; it says nothing about how well a real model plans.

mod log;
mod model;

use std::path::PathBuf;
use std::sync::Arc;

use kernsmith_core::event::{LOG_FORMAT, Opened};
use kernsmith_core::{Plan, RunId, Target};
use kernsmith_engine::{Engine, FrozenBaseline, Genesis, Parts, Silent, StopSignal};
use kernsmith_llm::{ApiKey, Llm};
use kernsmith_op_contract::Contract;
use kernsmith_search_config::SearchConfig;
use kernsmith_stats::{median, paired_difference};
use serde::Serialize;

use crate::BenchError;
use crate::landscape::{Landscape, ScoreQuality, Terrain};
use crate::simulate::performance;
use crate::threads::in_parallel;
use log::MemoryLog;
use model::{Judge, Model, render};

/// The contract that is searched for: the scaffold of `kernsmith contract new`.
const CONTRACT: &str = "scripted_f32";
/// Draws of the paired test and of its interval.
const PAIRED_DRAWS: u32 = 20_000;

/// What is measured.
#[derive(Debug, Clone)]
pub struct AblationOptions {
    /// Landscapes of each terrain.
    pub seeds: u64,
    /// The first of their seeds; landscapes on which nothing was tried out before have seeds of their own.
    pub first_seed: u64,
    /// Candidates of one run.
    pub proposals: u64,
    /// Share of the optimum, on the logarithmic scale, that counts as reached.
    pub share: f64,
    /// Runs at the same time.
    pub threads: usize,
    /// Where cassettes and the scaffold are written.
    pub folder: PathBuf,
}

/// With or without the planner role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// A planner, and the world model.
    Planner,
    /// A planner, and strategies chosen at random.
    RandomChoice,
    /// No planner: the coder chooses.
    NoPlanner,
}

/// One arm with one quality of scores.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationRow {
    /// How the model's scores relate to the truth.
    pub scores: ScoreQuality,
    /// Which arm.
    pub arm: Arm,
    /// Runs.
    pub runs: u64,
    /// Runs that reached the share of the optimum.
    pub reached: u64,
    /// Median proposals until then; a run that did not get there counts as its whole budget and one.
    pub median_proposals: f64,
    /// Landscapes on which this arm took fewer proposals than the arm without a planner, and more.
    pub fewer: u64,
    /// As above.
    pub more: u64,
    /// Proposals saved a landscape against the arm without a planner; nothing in that arm's own row.
    pub saved: Option<Saved>,
    /// Mean proposals of one run: a run that ends before its budget would not compare.
    pub mean_proposals: f64,
    /// Mean share of the optimum that was reached in the end, on the logarithmic scale.
    pub mean_share: f64,
    /// Mean tokens of one run, estimated.
    pub mean_tokens: f64,
}

/// Proposals to the share of the optimum, without a planner minus with it, landscape by landscape: above 0 is fewer with it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Saved {
    /// Mean.
    pub mean: f64,
    /// Lower end of its 95 % interval, over landscapes.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// Two-sided, by exchange of the arms within landscapes.
    pub p_value: f64,
}

/// The same on one terrain.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TerrainRow {
    /// How the model's scores relate to the truth.
    pub scores: ScoreQuality,
    /// Which arm.
    pub arm: Arm,
    /// Which terrain.
    pub terrain: Terrain,
    /// Runs that reached the share of the optimum.
    pub reached: u64,
    /// The same without a planner.
    pub reached_without: u64,
    /// Proposals saved.
    pub saved: Saved,
}

/// All rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AblationReport {
    /// Candidates of one run.
    pub proposals: u64,
    /// Share of the optimum that counts as reached.
    pub share: f64,
    /// Seeds of the landscapes.
    pub seeds: (u64, u64),
    /// Rows, by quality and arm.
    pub rows: Vec<AblationRow>,
    /// The arms with a planner, terrain by terrain.
    pub terrains: Vec<TerrainRow>,
    /// Runs that came out the same from their cassette.
    pub replayed_alike: u64,
    /// Runs.
    pub replayed: u64,
}

impl Arm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Planner, Self::RandomChoice, Self::NoPlanner];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planner => "planner",
            Self::RandomChoice => "random-choice",
            Self::NoPlanner => "no-planner",
        }
    }
}

/// One run: the true value, as a share of the optimum, of the best after each proposal.
#[derive(Debug, Clone, PartialEq)]
struct Course {
    shares: Vec<f64>,
    proposals: u64,
    tokens: u64,
}

/// Runs, each with whether it came out the same from its cassette.
type Replayed<'a> = &'a [(Course, bool)];

/// Runs all arms. `progress` is told how many runs have ended.
pub fn measure_ablation(
    options: &AblationOptions,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<AblationReport, BenchError> {
    let contract = Arc::new(contract(&options.folder)?);
    let mut jobs = Vec::new();
    for scores in ScoreQuality::ALL {
        for arm in Arm::ALL {
            jobs.extend(landscapes(options).map(move |(terrain, seed)| (scores, arm, terrain, seed)));
        }
    }
    let job = |at: usize| -> Result<(Course, bool), BenchError> {
        let (scores, arm, terrain, seed) = jobs[at];
        let landscape = Arc::new(Landscape::new(terrain, scores, seed));
        let cassette = options.folder.join(format!("{at}.jsonl"));
        let run = |mode: &str| {
            let config = config(options, arm, &cassette, mode)?;
            search(&contract, &landscape, &config, seed, mode)
        };
        let live = run("record")?;
        let again = run("replay")?;
        let alike = live == again;
        let _ = std::fs::remove_file(&cassette);
        Ok((live, alike))
    };
    let courses: Vec<(Course, bool)> =
        in_parallel(jobs.len(), options.threads, job, progress).into_iter().collect::<Result<_, _>>()?;
    let each = landscapes(options).count();
    let replayed_alike = courses.iter().filter(|(_, alike)| *alike).count() as u64;
    let (mut rows, mut terrains) = (Vec::new(), Vec::new());
    for (quality, scores) in ScoreQuality::ALL.into_iter().enumerate() {
        let of = |arm: usize| &courses[(quality * Arm::ALL.len() + arm) * each..][..each];
        let without = of(Arm::ALL.len() - 1);
        for (place, arm) in Arm::ALL.into_iter().enumerate() {
            rows.push(row(options, (scores, arm), of(place), without)?);
            if arm != Arm::NoPlanner {
                terrains.extend(terrain_rows(options, (scores, arm), of(place), without)?);
            }
        }
    }
    Ok(AblationReport {
        proposals: options.proposals,
        share: options.share,
        seeds: (options.first_seed, options.first_seed + options.seeds - 1),
        rows,
        terrains,
        replayed_alike,
        replayed: courses.len() as u64,
    })
}

fn terrain_rows(
    options: &AblationOptions,
    (scores, arm): (ScoreQuality, Arm),
    courses: Replayed<'_>,
    without: Replayed<'_>,
) -> Result<Vec<TerrainRow>, BenchError> {
    let seeds = options.seeds as usize;
    let parts = courses.chunks(seeds).zip(without.chunks(seeds));
    let row = |(terrain, (courses, without)): (Terrain, (Replayed<'_>, Replayed<'_>))| {
        let (taken, others) = (taken(options, courses), taken(options, without));
        let reached =
            |taken: &[u64]| taken.iter().filter(|taken| **taken <= options.proposals).count() as u64;
        Ok(TerrainRow {
            scores,
            arm,
            terrain,
            reached: reached(&taken),
            reached_without: reached(&others),
            saved: saved(&taken, &others)?,
        })
    };
    Terrain::ALL.into_iter().zip(parts).map(row).collect()
}

/// Proposals until the share was reached; one more than the budget where it was not.
fn taken(options: &AblationOptions, courses: Replayed<'_>) -> Vec<u64> {
    let until = |(course, _): &(Course, bool)| {
        let reached = course.shares.iter().position(|share| *share >= options.share);
        reached.map_or(options.proposals + 1, |at| at as u64 + 1)
    };
    courses.iter().map(until).collect()
}

fn saved(taken: &[u64], others: &[u64]) -> Result<Saved, BenchError> {
    let differences: Vec<f64> =
        taken.iter().zip(others).map(|(with, without)| *without as f64 - *with as f64).collect();
    let found = paired_difference(&differences, PAIRED_DRAWS, 1)?;
    Ok(Saved { mean: found.mean, low: found.low, high: found.high, p_value: found.p_value })
}

fn landscapes(options: &AblationOptions) -> impl Iterator<Item = (Terrain, u64)> {
    let (first, seeds) = (options.first_seed, options.seeds);
    Terrain::ALL.into_iter().flat_map(move |terrain| (first..first + seeds).map(move |seed| (terrain, seed)))
}

fn row(
    options: &AblationOptions,
    (scores, arm): (ScoreQuality, Arm),
    courses: Replayed<'_>,
    without: Replayed<'_>,
) -> Result<AblationRow, BenchError> {
    let (taken, others) = (taken(options, courses), taken(options, without));
    let paired = || taken.iter().zip(&others);
    let mean = |value: &dyn Fn(&Course) -> f64| {
        courses.iter().map(|(course, _)| value(course)).sum::<f64>() / courses.len().max(1) as f64
    };
    Ok(AblationRow {
        scores,
        arm,
        runs: courses.len() as u64,
        reached: taken.iter().filter(|taken| **taken <= options.proposals).count() as u64,
        median_proposals: median(&taken.iter().map(|taken| *taken as f64).collect::<Vec<_>>()),
        fewer: paired().filter(|(mine, other)| mine < other).count() as u64,
        more: paired().filter(|(mine, other)| mine > other).count() as u64,
        saved: (arm != Arm::NoPlanner).then(|| saved(&taken, &others)).transpose()?,
        mean_proposals: mean(&|course| course.proposals as f64),
        mean_share: mean(&|course| course.shares.last().copied().unwrap_or(0.0)),
        mean_tokens: mean(&|course| course.tokens as f64),
    })
}

fn config(
    options: &AblationOptions,
    arm: Arm,
    cassette: &std::path::Path,
    mode: &str,
) -> Result<SearchConfig, BenchError> {
    let mut config = SearchConfig::defaults()?;
    config.budget.wall_seconds = 0.0;
    config.budget.candidates = options.proposals;
    config.search.width = 1;
    "llm".clone_into(&mut config.proposer.kind);
    config.llm.models = vec!["scripted".to_owned()];
    config.llm.inspect_calls = 0;
    config.llm.give_up_calls = 10_000;
    config.llm.cassette = cassette.display().to_string();
    mode.clone_into(&mut config.llm.cassette_mode);
    config.llm.plan = arm != Arm::NoPlanner;
    if arm == Arm::RandomChoice {
        "random".clone_into(&mut config.search.policy);
    }
    Ok(config)
}

fn search(
    contract: &Arc<Contract>,
    landscape: &Arc<Landscape>,
    config: &SearchConfig,
    seed: u64,
    mode: &str,
) -> Result<Course, BenchError> {
    let proposer = if mode == "replay" {
        Llm::new(&config.llm, ApiKey::default(), Vec::new(), Box::new(render))?
    } else {
        let model = Model::new(landscape.clone(), seed);
        Llm::scripted(&config.llm, Vec::new(), Box::new(render), model.script())?
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| BenchError::Read { path: PathBuf::from("the runtime"), source })?;
    let recorder = MemoryLog::default();
    let record = recorder.clone();
    runtime.block_on(async {
        let mut engine = Engine::new(Parts {
            contract: contract.clone(),
            target: Target::host(),
            proposer,
            evaluator: Arc::new(Judge::new(landscape.noise, seed)),
            recorder,
            observer: Silent,
            config: config.clone(),
            seed,
            stop: StopSignal::default(),
        });
        engine.begin(genesis(contract, config, seed)?).await?;
        // A strategy that is exhausted ends a run early; what was reached stays reached.
        engine.run().await?;
        Ok::<(), BenchError>(())
    })?;
    Ok(course(&record, landscape.optimum.max(0.01), config.budget.candidates))
}

/// After each proposal: the true value of what was accepted with the best measured ratio.
fn course(record: &MemoryLog, optimum: f64, proposals: u64) -> Course {
    let (mut best, mut value, mut shares, mut tokens) = (f64::MIN, 0.0_f64, Vec::new(), 0);
    for (entry, truth) in record.judged() {
        if let Some(truth) = truth
            && entry > best
        {
            (best, value) = (entry, truth);
        }
        shares.push(value.max(0.0) / optimum);
    }
    let made = shares.len() as u64;
    let last = shares.last().copied().unwrap_or(0.0);
    shares.resize(proposals as usize, last);
    for usage in record.usages() {
        tokens += usage.total();
    }
    Course { shares, proposals: made, tokens }
}

fn contract(folder: &std::path::Path) -> Result<Contract, BenchError> {
    let root = folder.join("contracts");
    let directory = root.join(CONTRACT);
    if !directory.is_dir() {
        kernsmith_op_contract::scaffold(CONTRACT, &root)?;
    }
    Ok(Contract::load(&directory)?)
}

fn genesis(contract: &Contract, config: &SearchConfig, seed: u64) -> Result<Genesis, BenchError> {
    let run_id: RunId = "ablation".parse().map_err(|_| BenchError::Option {
        name: "run",
        value: "ablation".to_owned(),
        legal: "a run's name",
    })?;
    let opened = Opened {
        format: LOG_FORMAT,
        run_id,
        program: "kernsmith bench llm".to_owned(),
        contract: contract.name.clone(),
        contract_version: contract.version,
        contract_digest: contract.digest,
        contract_path: CONTRACT.to_owned(),
        target: Target::host(),
        seed,
        config: config.effective(),
        config_digest: config.digest(),
        environment: std::collections::BTreeMap::new(),
        forked_from: None,
        memory: None,
        audit: None,
    };
    let (name, source) = ("scripted".to_owned(), "// baseline\n".to_owned());
    let baseline = FrozenBaseline { name, source, plan: Plan::default(), performance: performance(1.0) };
    Ok(Genesis { opened, baseline })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_comes_out_the_same_from_its_cassette() {
        let folder = tempfile::tempdir().unwrap();
        let options = AblationOptions {
            seeds: 1,
            first_seed: 1,
            proposals: 20,
            share: 0.5,
            threads: 2,
            folder: folder.path().to_owned(),
        };
        let report = measure_ablation(&options, &|_| ()).unwrap();
        assert_eq!((report.replayed_alike, report.replayed), (45, 45));
        assert_eq!((report.rows.len(), report.terrains.len(), report.seeds), (9, 30, (1, 1)));
        let again = measure_ablation(&options, &|_| ()).unwrap();
        assert_eq!(report, again, "a pure function of its seeds");
        for row in &report.rows {
            assert!(row.mean_tokens > 0.0 && row.mean_share > 0.0 && row.mean_share <= 1.0, "{row:?}");
            assert_eq!(row.runs, 5);
        }
    }
}
