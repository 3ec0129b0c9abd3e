//! Which model is asked, and in which way: more often what earned more for its price.
//!
//! Upper confidence bounds (Auer, Cesa-Bianchi and Fischer, Machine Learning 47, 2002) over the mean reward, damped by the
//! square root of relative cost; the idea of weighing a model's gain against its price is `ShinkaEvolve`'s (arXiv 2509.19349).

use std::collections::BTreeMap;

use crate::memory::{Arm, Tally};

/// Weight of the unknown.
const EXPLORATION: f64 = 0.35;

/// The arm to pull; deterministic, earlier arms win ties. `None` where there is none.
pub(crate) fn choose(arms: &[Arm], tallies: &BTreeMap<Arm, Tally>) -> Option<Arm> {
    let known = |arm: &Arm| tallies.get(arm).copied().unwrap_or_default();
    let pulls: u32 = arms.iter().map(|arm| known(arm).pulls).sum();
    let costs: Vec<f64> =
        arms.iter().map(known).filter(|tally| tally.pulls > 0 && tally.cost > 0.0).map(price).collect();
    let usual = if costs.is_empty() { 0.0 } else { costs.iter().sum::<f64>() / costs.len() as f64 };
    let score = |arm: &Arm| {
        let tally = known(arm);
        if tally.pulls == 0 {
            return f64::MAX;
        }
        let mean = tally.reward / f64::from(tally.pulls);
        let doubt = EXPLORATION * (f64::from(pulls.max(1)).ln().max(0.0) / f64::from(tally.pulls)).sqrt();
        let relative = if usual > 0.0 && tally.cost > 0.0 { price(tally) / usual } else { 1.0 };
        (mean + doubt) / relative.sqrt()
    };
    let mut best: Option<(&Arm, f64)> = None;
    for arm in arms {
        let score = score(arm);
        if best.is_none_or(|(_, most)| score > most) {
            best = Some((arm, score));
        }
    }
    best.map(|(arm, _)| arm.clone())
}

fn price(tally: Tally) -> f64 {
    tally.cost / f64::from(tally.pulls.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arm(model: &str) -> Arm {
        Arm { model: model.to_owned(), kind: "improve".to_owned() }
    }

    #[test]
    fn each_arm_is_tried_once_and_then_the_better_one_more_often() {
        let arms = [arm("good"), arm("bad")];
        let mut tallies: BTreeMap<Arm, Tally> = BTreeMap::new();
        let mut pulls = [0, 0];
        for _ in 0..200 {
            let chosen = choose(&arms, &tallies).unwrap();
            let good = chosen.model == "good";
            pulls[usize::from(!good)] += 1;
            let tally = tallies.entry(chosen).or_default();
            tally.pulls += 1;
            tally.cost += 1.0;
            tally.reward += if good { 0.3 } else { 0.1 };
        }
        assert!(pulls[0] > 2 * pulls[1] && pulls[1] > 3, "{pulls:?}");
    }

    #[test]
    fn of_two_equally_good_models_the_cheaper_one_is_asked_more_often() {
        let arms = [arm("dear"), arm("cheap")];
        let mut tallies: BTreeMap<Arm, Tally> = BTreeMap::new();
        for _ in 0..200 {
            let chosen = choose(&arms, &tallies).unwrap();
            let cost = if chosen.model == "dear" { 20.0 } else { 1.0 };
            let tally = tallies.entry(chosen).or_default();
            tally.pulls += 1;
            tally.cost += cost;
            tally.reward += 0.2;
        }
        assert!(tallies[&arm("cheap")].pulls > 3 * tallies[&arm("dear")].pulls, "{tallies:?}");
    }
}
