//! A small forest of extremely randomised trees: the model of what a point will give.
//!
//! Source: Geurts, Ernst and Wehenkel, "Extremely randomized trees", Machine Learning 63, 2006; used for search as in
//! Hutter, Hoos and Leyton-Brown, "Sequential model-based optimization for general algorithm configuration" (SMAC), LION
//! 2011: the spread between trees stands for what is not known.

use rand::RngExt;
use rand_chacha::ChaCha12Rng;

/// Samples a leaf may hold at most before it is split.
const MAX_LEAF: usize = 2;

/// Trees over numeric features.
#[derive(Debug, Clone)]
pub(crate) struct Forest {
    trees: Vec<Vec<Node>>,
}

#[derive(Debug, Clone, Copy)]
enum Node {
    Leaf {
        mean: f64,
    },
    /// Features up to the threshold go to the node at `left`, others to the one after the left subtree.
    Split {
        feature: usize,
        threshold: f64,
        left: usize,
        right: usize,
    },
}

impl Forest {
    /// Grows `trees` trees over rows of equal length.
    pub(crate) fn grow(rows: &[Vec<f64>], targets: &[f64], trees: usize, random: &mut ChaCha12Rng) -> Self {
        let grow = |_| {
            let mut nodes = Vec::new();
            let mut members: Vec<usize> = (0..rows.len()).collect();
            split(rows, targets, &mut members, &mut nodes, random);
            nodes
        };
        Self { trees: (0..trees).map(grow).collect() }
    }

    /// Mean and standard deviation over the trees.
    pub(crate) fn predict(&self, row: &[f64]) -> (f64, f64) {
        let count = self.trees.len().max(1) as f64;
        let (mut sum, mut square) = (0.0, 0.0);
        for tree in &self.trees {
            let value = value(tree, row);
            sum += value;
            square += value * value;
        }
        let mean = sum / count;
        (mean, (square / count - mean * mean).max(0.0).sqrt())
    }
}

fn value(tree: &[Node], row: &[f64]) -> f64 {
    let mut at = 0;
    loop {
        match tree.get(at) {
            Some(Node::Leaf { mean }) => return *mean,
            Some(Node::Split { feature, threshold, left, right }) => {
                at = if row[*feature] <= *threshold { *left } else { *right };
            }
            None => return 0.0,
        }
    }
}

fn split(
    rows: &[Vec<f64>],
    targets: &[f64],
    members: &mut [usize],
    nodes: &mut Vec<Node>,
    random: &mut ChaCha12Rng,
) -> usize {
    let at = nodes.len();
    let mean = members.iter().map(|&member| targets[member]).sum::<f64>() / members.len().max(1) as f64;
    nodes.push(Node::Leaf { mean });
    if members.len() <= MAX_LEAF {
        return at;
    }
    let Some((feature, threshold)) = best_cut(rows, targets, members, random) else { return at };
    members.sort_unstable_by(|a, b| rows[*a][feature].total_cmp(&rows[*b][feature]).then(a.cmp(b)));
    let border = members.partition_point(|&member| rows[member][feature] <= threshold);
    let (low, high) = members.split_at_mut(border);
    let left = split(rows, targets, low, nodes, random);
    let right = split(rows, targets, high, nodes, random);
    nodes[at] = Node::Split { feature, threshold, left, right };
    at
}

/// One random cut for each feature that varies; the one with the least squared error wins.
fn best_cut(
    rows: &[Vec<f64>],
    targets: &[f64],
    members: &[usize],
    random: &mut ChaCha12Rng,
) -> Option<(usize, f64)> {
    let mut best: Option<(f64, usize, f64)> = None;
    for feature in 0..rows[members[0]].len() {
        let values = members.iter().map(|&member| rows[member][feature]);
        let (low, high) =
            values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        if low >= high {
            continue;
        }
        let threshold = random.random_range(low..high);
        let gain = gain(rows, targets, members, feature, threshold);
        if best.is_none_or(|(most, _, _)| gain > most) {
            best = Some((gain, feature, threshold));
        }
    }
    best.map(|(_, feature, threshold)| (feature, threshold))
}

/// Squared error that a cut removes, up to a constant: sum of squares of the parts' sums over their sizes.
fn gain(rows: &[Vec<f64>], targets: &[f64], members: &[usize], feature: usize, threshold: f64) -> f64 {
    let (mut low, mut below, mut high, mut above) = (0.0, 0.0, 0.0, 0.0);
    for &member in members {
        if rows[member][feature] <= threshold {
            low += targets[member];
            below += 1.0;
        } else {
            high += targets[member];
            above += 1.0;
        }
    }
    if below == 0.0 || above == 0.0 { f64::MIN } else { low * low / below + high * high / above }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_step_is_learnt_and_doubt_is_between_the_samples() {
        let rows: Vec<Vec<f64>> = (0..20).map(|index| vec![f64::from(index), 0.0]).collect();
        let targets: Vec<f64> = (0..20).map(|index| if index < 10 { 0.0 } else { 5.0 }).collect();
        let forest = Forest::grow(&rows, &targets, 50, &mut ChaCha12Rng::seed_from_u64(1));
        assert!(forest.predict(&[2.0, 0.0]).0 < 0.2);
        assert!(forest.predict(&[17.0, 0.0]).0 > 4.8);
        assert!(forest.predict(&[9.5, 0.0]).1 > forest.predict(&[17.0, 0.0]).1);
    }

    #[test]
    fn constant_data_give_a_constant() {
        let rows = vec![vec![1.0]; 5];
        let forest = Forest::grow(&rows, &[2.0; 5], 5, &mut ChaCha12Rng::seed_from_u64(1));
        assert_eq!(forest.predict(&[9.0]), (2.0, 0.0));
    }
}
