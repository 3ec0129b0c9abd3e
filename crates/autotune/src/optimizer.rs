//! Chooses the next point of a finite space from what earlier points gave.
//!
//! The optimizer knows nothing of kernels: it sees a [`Space`], the points tried so far with their values (higher is better)
//! or their failure, and choices that are fixed for this step. It keeps no state; the same arguments always give the same
//! point. `docs/planner.md` explains the mixture of operators.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha12Rng;

use crate::forest::Forest;
use crate::model::{Features, expected_improvement};
use crate::space::{Point, Space, fits};

/// A point and what came out of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The point.
    pub point: Point,
    /// Its value, higher is better; `None` when it failed.
    pub value: Option<f64>,
}

/// How a point was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// The first guess.
    Seed,
    /// Far from everything tried.
    Sample,
    /// The model expects most improvement there.
    Model,
    /// A neighbour of one of the best.
    Mutate,
    /// Between two of the best.
    Crossover,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Points with a verdict, in order.
    pub history: &'a [Observation],
    /// Points that may not be chosen again, with or without a verdict.
    pub taken: &'a HashSet<Point>,
    /// Choices that are fixed for this step, one a dimension.
    pub fixed: &'a [Option<u16>],
    /// The first guess.
    pub first: Option<&'a Point>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    /// The point.
    pub point: Point,
    /// How it was chosen.
    pub operator: Operator,
    /// The observations that it was made from, by index into the history.
    pub parents: Vec<usize>,
    /// What the model expects there: mean and standard deviation.
    pub expected: Option<(f64, f64)>,
}

/// Knobs.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerOptions {
    /// Points that pass before the model is asked, for each dimension with a choice; within 4 to 16 together.
    pub initial_per_dimension: f64,
    /// Trees of the forest.
    pub trees: usize,
    /// Points that the model looks at, at most.
    pub pool: usize,
    /// Share of steps that take a neighbour of one of the best.
    pub mutate: f64,
    /// Share of steps that mix two of the best.
    pub crossover: f64,
    /// Share of steps that go far from everything tried.
    pub sample: f64,
    /// Share of the features that a cut of a tree looks at.
    pub looks: f64,
}

impl Default for OptimizerOptions {
    fn default() -> Self {
        Self {
            initial_per_dimension: 2.0,
            trees: 24,
            pool: 4096,
            mutate: 0.05,
            crossover: 0.02,
            sample: 0.03,
            looks: 1.0 / 3.0,
        }
    }
}

impl Operator {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seed => "seed",
            Self::Sample => "sample",
            Self::Model => "model",
            Self::Mutate => "mutate",
            Self::Crossover => "crossover",
        }
    }
}

/// Random candidates that compete when a point far from everything is wanted.
const FAR_CANDIDATES: usize = 64;
/// Cuts are random, so that trees keep differing however much is known, while the error of their mean falls about with the root of
/// the number of observations: their spread counts in full up to so many, then less, but at least this share of it.
const FULL_DOUBT: f64 = 30.0;
const LEAST_DOUBT: f64 = 0.35;
/// Observations that the model learns from, at most: a forest over ten thousand takes longer than many a kernel does to judge.
const MODELLED: usize = 1024;
/// The best observations that mutation and crossover start from.
const PARENTS: usize = 6;

/// Chooses points of one space.
#[derive(Debug, Clone)]
pub struct Optimizer {
    space: Space,
    features: Features,
    options: OptimizerOptions,
    /// The rows of listed points, made once.
    rows: HashMap<Point, Vec<f64>>,
}

impl Optimizer {
    /// An optimizer of a space.
    pub fn new(space: Space, options: OptimizerOptions) -> Self {
        let features = Features::new(&space);
        let listed = space.listed().unwrap_or_default().iter();
        let rows = listed.map(|point| (point.clone(), features.row(point))).collect();
        Self { space, features, options, rows }
    }

    /// The space.
    pub const fn space(&self) -> &Space {
        &self.space
    }

    /// The next point to try; `None` when no legal one with the fixed choices is left (or, in a space too large to be
    /// listed, none turns up).
    pub fn suggest(&self, request: &Request<'_>, random: &mut ChaCha12Rng) -> Option<Suggestion> {
        if let Some(first) = request.first.filter(|first| self.is_free(request, first)) {
            return Some(plain(first.clone(), Operator::Seed));
        }
        let passed: Vec<usize> = ranked(request.history);
        let here = passed.iter().filter(|&&at| fits(&request.history[at].point, request.fixed)).count();
        if passed.len() < self.initial() || here == 0 {
            return self.far(request, random);
        }
        let dice = random.random::<f64>();
        let OptimizerOptions { mutate, crossover, sample, .. } = self.options;
        let special = match dice {
            dice if dice < mutate => self.mutate(request, &passed, random),
            dice if dice < mutate + crossover => self.cross(request, &passed, random),
            dice if dice < mutate + crossover + sample => self.far(request, random),
            _ => None,
        };
        special.or_else(|| self.model(request, &passed, random)).or_else(|| self.far(request, random))
    }

    fn initial(&self) -> usize {
        let choices = self.space.dimensions().iter().filter(|dimension| dimension.len() > 1).count();
        (self.options.initial_per_dimension * choices as f64).clamp(4.0, 16.0) as usize
    }

    fn is_free(&self, request: &Request<'_>, point: &Point) -> bool {
        fits(point, request.fixed) && !request.taken.contains(point) && self.space.is_legal(point)
    }

    /// Of some random free points the one that is farthest from everything tried.
    fn far(&self, request: &Request<'_>, random: &mut ChaCha12Rng) -> Option<Suggestion> {
        let candidates = self.free(request, FAR_CANDIDATES, random);
        let nearest = |point: &Point| {
            let distances = request.history.iter().map(|seen| self.space.distance(point, &seen.point));
            distances.fold(f64::MAX, f64::min)
        };
        let best = candidates.into_iter().map(|point| (nearest(&point), point));
        let best = best.reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map(|(_, point)| plain(point, Operator::Sample))
    }

    /// Up to `count` random free points; all of them when the space is listed and they are few.
    fn free(&self, request: &Request<'_>, count: usize, random: &mut ChaCha12Rng) -> Vec<Point> {
        if let Some(listed) = self.space.listed() {
            let mut free: Vec<&Point> = listed
                .iter()
                .filter(|point| fits(point, request.fixed) && !request.taken.contains(*point))
                .collect();
            let (chosen, _) = free.partial_shuffle(random, count);
            return chosen.iter().map(|point| (*point).clone()).collect();
        }
        let drawn = (0..count).filter_map(|_| self.space.draw(request.fixed, random));
        drawn.filter(|point| !request.taken.contains(point)).collect()
    }

    /// A free neighbour of one of the best; one step of an ordered dimension is the most likely move.
    fn mutate(
        &self,
        request: &Request<'_>,
        passed: &[usize],
        random: &mut ChaCha12Rng,
    ) -> Option<Suggestion> {
        let best: Vec<usize> = parents(request, passed);
        let parent = *best.get(random.random_range(0..best.len().max(1)))?;
        let origin = &request.history[parent].point;
        let mut near: Vec<(f64, Point)> = self
            .space
            .neighbours(origin, request.fixed)
            .into_iter()
            .filter(|point| !request.taken.contains(point))
            .map(|point| (self.space.distance(origin, &point) + 0.5 * random.random::<f64>(), point))
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        let point = near.into_iter().next()?.1;
        Some(Suggestion { point, operator: Operator::Mutate, parents: vec![parent], expected: None })
    }

    /// Each choice from one of two of the best.
    fn cross(&self, request: &Request<'_>, passed: &[usize], random: &mut ChaCha12Rng) -> Option<Suggestion> {
        let best = parents(request, passed);
        if best.len() < 2 {
            return None;
        }
        for _ in 0..FAR_CANDIDATES {
            let (one, other) =
                (best[random.random_range(0..best.len())], best[random.random_range(0..best.len())]);
            let (a, b) = (&request.history[one].point, &request.history[other].point);
            let point: Point = a.iter().zip(b).map(|(a, b)| if random.random() { *a } else { *b }).collect();
            if self.is_free(request, &point) {
                return Some(Suggestion {
                    point,
                    operator: Operator::Crossover,
                    parents: vec![one, other],
                    expected: None,
                });
            }
        }
        None
    }

    /// The free point with the most expected improvement.
    fn model(&self, request: &Request<'_>, passed: &[usize], random: &mut ChaCha12Rng) -> Option<Suggestion> {
        let targets = Self::targets(request.history);
        let best = targets.iter().copied().fold(f64::MIN, f64::max);
        let chosen = modelled(request.history.len(), passed, random);
        let targets: Vec<f64> = chosen.iter().map(|&at| targets[at]).collect();
        let seen: Vec<Cow<'_, [f64]>> =
            chosen.iter().map(|&at| self.row(&request.history[at].point)).collect();
        let rows: Vec<&[f64]> = seen.iter().map(AsRef::as_ref).collect();
        let looks = rows.first().map_or(1, |row| (row.len() as f64 * self.options.looks).ceil() as usize);
        let forest = Forest::grow(&rows, &targets, self.options.trees, looks, random);
        let doubt = (FULL_DOUBT / chosen.len() as f64).sqrt().clamp(LEAST_DOUBT, 1.0);
        let worth = |point: Point| {
            let (mean, deviation) = forest.predict(&self.row(&point));
            (expected_improvement(mean, doubt * deviation, best), point, (mean, deviation))
        };
        let pool = self.pool(request, passed, random).into_iter().map(worth);
        let (_, point, expected) = pool.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
        let parents = passed.first().copied().into_iter().collect();
        Some(Suggestion { point, operator: Operator::Model, parents, expected: Some(expected) })
    }

    /// What the model sees of a point.
    fn row(&self, point: &Point) -> Cow<'_, [f64]> {
        match self.rows.get(point) {
            Some(row) => row.into(),
            None => self.features.row(point).into(),
        }
    }

    /// Free points that the model looks at: random ones, and those around the best.
    fn pool(&self, request: &Request<'_>, passed: &[usize], random: &mut ChaCha12Rng) -> Vec<Point> {
        let mut pool = self.free(request, self.options.pool, random);
        for parent in parents(request, passed) {
            let near = self.space.neighbours(&request.history[parent].point, request.fixed);
            pool.extend(near.into_iter().filter(|point| !request.taken.contains(point)));
        }
        pool
    }

    /// Targets of the model; a failure counts as the worst value seen.
    fn targets(history: &[Observation]) -> Vec<f64> {
        let worst = history.iter().filter_map(|seen| seen.value).fold(f64::MAX, f64::min);
        history.iter().map(|seen| seen.value.unwrap_or(worst)).collect()
    }
}

fn plain(point: Point, operator: Operator) -> Suggestion {
    Suggestion { point, operator, parents: Vec::new(), expected: None }
}

/// Observations with a value, best first.
fn ranked(history: &[Observation]) -> Vec<usize> {
    let value = |at: &usize| history[*at].value.unwrap_or(f64::MIN);
    let mut passed: Vec<usize> = (0..history.len()).filter(|&at| history[at].value.is_some()).collect();
    passed.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.cmp(b)));
    passed
}

/// Places of the observations that the model learns from: all, or the best and as many of the others at random.
fn modelled(count: usize, passed: &[usize], random: &mut ChaCha12Rng) -> Vec<usize> {
    if count <= MODELLED {
        return (0..count).collect();
    }
    let best = &passed[..passed.len().min(MODELLED / 2)];
    let kept: HashSet<usize> = best.iter().copied().collect();
    let mut others: Vec<usize> = (0..count).filter(|at| !kept.contains(at)).collect();
    let (drawn, _) = others.partial_shuffle(random, MODELLED - best.len());
    best.iter().chain(drawn.iter()).copied().collect()
}

/// The best observations that have the fixed choices.
fn parents(request: &Request<'_>, passed: &[usize]) -> Vec<usize> {
    let fitting = passed.iter().copied().filter(|&at| fits(&request.history[at].point, request.fixed));
    fitting.take(PARENTS).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_model_learns_from_all_of_a_short_history_and_from_the_best_of_a_long_one() {
        let random = || ChaCha12Rng::seed_from_u64(3);
        assert_eq!(modelled(MODELLED, &[7, 3], &mut random()), (0..MODELLED).collect::<Vec<_>>());
        let passed: Vec<usize> = (0..4000).rev().collect();
        let chosen = modelled(10_000, &passed, &mut random());
        assert_eq!(chosen[..MODELLED / 2], passed[..MODELLED / 2]);
        let distinct: HashSet<usize> = chosen.iter().copied().collect();
        assert_eq!((chosen.len(), distinct.len()), (MODELLED, MODELLED));
        assert_eq!(chosen, modelled(10_000, &passed, &mut random()));
        assert_eq!(modelled(10_000, &[5], &mut random()).len(), MODELLED);
    }
}
