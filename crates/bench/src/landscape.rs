//! Synthetic landscapes: hidden trees of intents that a simulated proposer can work on.
//!
//! A *site* is one intent. Endless work on it approaches its ceiling, from a first pass some way below. A step down the tree
//! adds its effect to what was already reached above it, less a setback that work on the new site must first make good. All
//! values are natural logarithms of ratios to the baseline.

use kernsmith_core::NodeKind;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde::Serialize;

/// What makes a landscape hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Terrain {
    /// Nothing in particular: gains add up, and builds fail now and then.
    Plain,
    /// The way to the best leads through decisions that are worse than what they refine.
    NonMonotonic,
    /// The families that start best have the lowest ceilings; the best one starts last.
    Deceptive,
    /// Timings differ by eight per cent from one measurement to the next.
    Noisy,
    /// Half of all builds fail, and new ground fails most.
    Failing,
}

/// How the proposer's scores relate to the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScoreQuality {
    /// The best that can be reached below, times noise of about a fifth.
    Good,
    /// The score of another site of the same kind, drawn at random.
    Useless,
    /// The order of sites of the same kind turned round, times the same noise.
    Adversarial,
}

/// One intent of the hidden tree.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Site {
    pub(crate) parent: Option<usize>,
    pub(crate) kind: NodeKind,
    pub(crate) title: String,
    /// What endless work reaches.
    pub(crate) ceiling: f64,
    /// How far below the ceiling the first pass lies, where nothing was reached above.
    pub(crate) gap: f64,
    /// What is lost at first when work moves here from the parent.
    pub(crate) setback: f64,
    /// Mean share of the gap that a good attempt closes.
    pub(crate) learning: f64,
    /// Chance that a candidate fails.
    pub(crate) failure: f64,
    pub(crate) difficulty: u8,
    /// What the proposer says that it will reach.
    pub(crate) score: f64,
    /// Families that only a stagnating search asks for.
    pub(crate) late: bool,
}

/// A hidden tree.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Landscape {
    /// Parents before children.
    pub(crate) sites: Vec<Site>,
    /// Standard deviation of the logarithm of one screening measurement.
    pub(crate) noise: f64,
    /// The highest ceiling.
    pub(crate) optimum: f64,
}

impl Terrain {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Plain, Self::NonMonotonic, Self::Deceptive, Self::Noisy, Self::Failing];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::NonMonotonic => "non-monotonic",
            Self::Deceptive => "deceptive",
            Self::Noisy => "noisy",
            Self::Failing => "failing",
        }
    }
}

impl ScoreQuality {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Good, Self::Useless, Self::Adversarial];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Useless => "useless",
            Self::Adversarial => "adversarial",
        }
    }
}

/// Standard deviation of a good score's logarithm.
const SCORE_NOISE: f64 = 0.2;
/// Families, decisions below each and actions below each of those: fewest and most.
const FAMILIES: (usize, usize) = (4, 6);
const DECISIONS: (usize, usize) = (2, 4);
const ACTIONS: (usize, usize) = (1, 3);

impl Landscape {
    /// The landscape of a seed; the terrain's structure and the truth do not depend on the scores' quality.
    pub(crate) fn new(terrain: Terrain, quality: ScoreQuality, seed: u64) -> Self {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        random.set_stream(terrain as u64);
        let mut sites = Vec::new();
        let families = random.random_range(FAMILIES.0..=FAMILIES.1);
        for family in 0..families {
            let ceiling = 0.9 + 0.35 * normal(&mut random);
            let at = push(&mut sites, None, NodeKind::Family, family, ceiling, &mut random);
            sites[at].gap = random.random_range(0.4..1.2);
            sites[at].late = families > FAMILIES.0 && family == families - 1;
            for decision in 0..random.random_range(DECISIONS.0..=DECISIONS.1) {
                let ceiling = ceiling + 0.25 * normal(&mut random);
                let below = push(&mut sites, Some(at), NodeKind::Decision, decision, ceiling, &mut random);
                for action in 0..random.random_range(ACTIONS.0..=ACTIONS.1) {
                    let ceiling = ceiling + 0.05 + 0.15 * normal(&mut random);
                    push(&mut sites, Some(below), NodeKind::Action, action, ceiling, &mut random);
                }
            }
        }
        let mut landscape = Self { sites, noise: 0.01, optimum: 0.0 };
        landscape.shape(terrain, &mut random);
        landscape.optimum = landscape.sites.iter().map(|site| site.ceiling).fold(f64::MIN, f64::max);
        random.set_stream(100 + quality as u64);
        landscape.score(quality, &mut random);
        landscape
    }

    fn shape(&mut self, terrain: Terrain, random: &mut ChaCha12Rng) {
        match terrain {
            Terrain::Plain => {}
            Terrain::NonMonotonic => self.dig(random),
            Terrain::Deceptive => self.deceive(random),
            Terrain::Noisy => self.noise = 0.08,
            Terrain::Failing => {
                for site in &mut self.sites {
                    site.failure = random.random_range(0.35..0.65);
                }
            }
        }
    }

    /// Half of the decisions lose a third at first, and what stands below them gains more than that.
    fn dig(&mut self, random: &mut ChaCha12Rng) {
        for at in 0..self.sites.len() {
            if self.sites[at].kind == NodeKind::Decision && random.random_bool(0.5) {
                self.sites[at].ceiling -= 0.25;
                self.sites[at].setback += 0.3;
                for site in self.sites.iter_mut().filter(|site| site.parent == Some(at)) {
                    site.ceiling += random.random_range(0.0..0.35);
                }
            }
        }
    }

    /// First passes in the reverse order of what the families can reach.
    fn deceive(&mut self, random: &mut ChaCha12Rng) {
        let families: Vec<usize> =
            (0..self.sites.len()).filter(|&at| self.sites[at].kind == NodeKind::Family).collect();
        let lowest = families.iter().map(|&at| self.reach(at)).fold(f64::MAX, f64::min);
        for at in families {
            let above = self.reach(at) - lowest;
            self.sites[at].gap = 0.2 + 1.3 * above + random.random_range(0.0..0.2);
            self.sites[at].learning = random.random_range(0.12..0.25);
        }
    }

    /// The highest ceiling at or below a site.
    pub(crate) fn reach(&self, at: usize) -> f64 {
        let mut inside = vec![false; self.sites.len()];
        let mut reach = f64::MIN;
        for (place, site) in self.sites.iter().enumerate() {
            inside[place] = place == at || site.parent.is_some_and(|parent| inside[parent]);
            if inside[place] {
                reach = reach.max(site.ceiling);
            }
        }
        reach
    }

    fn score(&mut self, quality: ScoreQuality, random: &mut ChaCha12Rng) {
        for kind in [NodeKind::Family, NodeKind::Decision, NodeKind::Action] {
            let places: Vec<usize> =
                (0..self.sites.len()).filter(|&at| self.sites[at].kind == kind).collect();
            let truth: Vec<f64> = places.iter().map(|&at| self.reach(at)).collect();
            let mut said: Vec<f64> = truth.clone();
            match quality {
                ScoreQuality::Good => {}
                ScoreQuality::Useless => said.shuffle(random),
                ScoreQuality::Adversarial => said = reversed(&truth),
            }
            for (place, said) in places.into_iter().zip(said) {
                self.sites[place].score = said + SCORE_NOISE * normal(random);
            }
        }
    }

    /// Children of a site, or the families.
    pub(crate) fn children(&self, parent: Option<usize>) -> impl Iterator<Item = usize> {
        self.sites.iter().enumerate().filter(move |(_, site)| site.parent == parent).map(|(at, _)| at)
    }
}

/// The same values, the highest where the lowest was.
fn reversed(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut out = vec![0.0; values.len()];
    for (low, high) in order.iter().zip(order.iter().rev()) {
        out[*low] = values[*high];
    }
    out
}

fn push(
    sites: &mut Vec<Site>,
    parent: Option<usize>,
    kind: NodeKind,
    number: usize,
    ceiling: f64,
    random: &mut ChaCha12Rng,
) -> usize {
    let word = match kind {
        NodeKind::Family => "family",
        NodeKind::Decision => "decision",
        _ => "action",
    };
    sites.push(Site {
        parent,
        kind,
        title: format!("{word} {number}"),
        ceiling,
        gap: random.random_range(0.2..0.6),
        setback: random.random_range(0.0..0.1),
        learning: random.random_range(0.15..0.4),
        failure: random.random_range(0.1..0.35),
        difficulty: random.random_range(1..=4),
        score: 0.0,
        late: false,
    });
    sites.len() - 1
}

/// A standard normal number (Box and Muller, 1958).
pub(crate) fn normal(random: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (2.0 * std::f64::consts::PI * random.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_as_good_as_they_are_called() {
        let correlation = |quality| {
            let (mut sum, mut count) = (0.0, 0.0);
            for seed in 0..20 {
                let landscape = Landscape::new(Terrain::Plain, quality, seed);
                let families: Vec<usize> = landscape.children(None).collect();
                for &one in &families {
                    for &other in &families {
                        let truth = landscape.reach(one) - landscape.reach(other);
                        let said = landscape.sites[one].score - landscape.sites[other].score;
                        sum += (truth * said).signum() * f64::from(u8::from(one != other));
                        count += f64::from(u8::from(one != other));
                    }
                }
            }
            sum / count
        };
        assert!(correlation(ScoreQuality::Good) > 0.5);
        assert!(correlation(ScoreQuality::Useless).abs() < 0.25);
        assert!(correlation(ScoreQuality::Adversarial) < -0.5);
    }

    #[test]
    fn the_truth_does_not_depend_on_the_scores() {
        for terrain in Terrain::ALL {
            let good = Landscape::new(terrain, ScoreQuality::Good, 3);
            let bad = Landscape::new(terrain, ScoreQuality::Adversarial, 3);
            assert_eq!(good.optimum.to_bits(), bad.optimum.to_bits());
            let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
            let mut pairs = good.sites.iter().zip(&bad.sites);
            assert!(pairs.all(|(a, b)| same(a.ceiling, b.ceiling) && same(a.gap, b.gap)));
        }
    }

    #[test]
    fn the_best_family_of_deceptive_ground_starts_last() {
        let landscape = Landscape::new(Terrain::Deceptive, ScoreQuality::Good, 5);
        let start = |at: usize| landscape.sites[at].ceiling - landscape.sites[at].gap;
        let families: Vec<usize> = landscape.children(None).collect();
        let best =
            *families.iter().max_by(|a, b| landscape.reach(**a).total_cmp(&landscape.reach(**b))).unwrap();
        let worst =
            *families.iter().min_by(|a, b| landscape.reach(**a).total_cmp(&landscape.reach(**b))).unwrap();
        assert!(start(best) < start(worst));
    }
}
