//! A small forest of extremely randomised trees: the model of what a point will give.
//!
//! Source: Geurts, Ernst and Wehenkel, "Extremely randomized trees", Machine Learning 63, 2006; used for search as in
//! Hutter, Hoos and Leyton-Brown, "Sequential model-based optimization for general algorithm configuration" (SMAC), LION
//! 2011: the spread between trees stands for what is not known.

use rand::RngExt;
use rand_chacha::ChaCha12Rng;

/// Samples a leaf may hold at most before it is split.
const MAX_LEAF: usize = 1;

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
    /// Grows `trees` trees over rows of equal length; every cut looks at `looks` random features.
    pub(crate) fn grow(
        rows: &[&[f64]],
        targets: &[f64],
        trees: usize,
        looks: usize,
        random: &mut ChaCha12Rng,
    ) -> Self {
        let mut features: Vec<usize> = (0..rows.first().map_or(0, |row| row.len())).collect();
        let mut members: Vec<usize> = (0..rows.len()).collect();
        let mut grow = |_| {
            let mut nodes = Vec::new();
            let mut sample = Sample { rows, targets, looks, features: &mut features };
            sample.split(&mut members, &mut nodes, random);
            nodes
        };
        Self { trees: (0..trees).map(&mut grow).collect() }
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

/// What a tree is grown from.
struct Sample<'a> {
    rows: &'a [&'a [f64]],
    targets: &'a [f64],
    looks: usize,
    /// All features, in the order in which the last cut looked at them.
    features: &'a mut [usize],
}

impl Sample<'_> {
    fn split(&mut self, members: &mut [usize], nodes: &mut Vec<Node>, random: &mut ChaCha12Rng) -> usize {
        let at = nodes.len();
        let sum: f64 = members.iter().map(|&member| self.targets[member]).sum();
        nodes.push(Node::Leaf { mean: sum / members.len().max(1) as f64 });
        if members.len() <= MAX_LEAF {
            return at;
        }
        let Some((feature, threshold)) = self.best_cut(members, random) else { return at };
        let mut border = 0;
        for place in 0..members.len() {
            if self.rows[members[place]][feature] <= threshold {
                members.swap(place, border);
                border += 1;
            }
        }
        let (low, high) = members.split_at_mut(border);
        let left = self.split(low, nodes, random);
        let right = self.split(high, nodes, random);
        nodes[at] = Node::Split { feature, threshold, left, right };
        at
    }

    /// One random cut for each of some features that vary; the one with the least squared error wins.
    fn best_cut(&mut self, members: &[usize], random: &mut ChaCha12Rng) -> Option<(usize, f64)> {
        let mut best: Option<(f64, usize, f64)> = None;
        let mut left = self.looks;
        for place in 0..self.features.len() {
            let other = random.random_range(place..self.features.len());
            self.features.swap(place, other);
            let feature = self.features[place];
            let values = members.iter().map(|&member| self.rows[member][feature]);
            let (low, high) =
                values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
            if low >= high {
                continue;
            }
            let threshold = random.random_range(low..high);
            let gain = self.gain(members, feature, threshold);
            if best.is_none_or(|(most, _, _)| gain > most) {
                best = Some((gain, feature, threshold));
            }
            left -= 1;
            if left == 0 {
                break;
            }
        }
        best.map(|(_, feature, threshold)| (feature, threshold))
    }

    /// Squared error that a cut removes, up to a constant: sum of squares of the parts' sums over their sizes.
    fn gain(&self, members: &[usize], feature: usize, threshold: f64) -> f64 {
        let (mut low, mut below, mut high, mut above) = (0.0, 0.0, 0.0, 0.0);
        for &member in members {
            if self.rows[member][feature] <= threshold {
                low += self.targets[member];
                below += 1.0;
            } else {
                high += self.targets[member];
                above += 1.0;
            }
        }
        if below == 0.0 || above == 0.0 { f64::MIN } else { low * low / below + high * high / above }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_step_is_learnt_and_doubt_is_between_the_samples() {
        let rows: Vec<[f64; 2]> = (0..20).map(|index| [f64::from(index), 0.0]).collect();
        let rows: Vec<&[f64]> = rows.iter().map(<[f64; 2]>::as_slice).collect();
        let targets: Vec<f64> = (0..20).map(|index| if index < 10 { 0.0 } else { 5.0 }).collect();
        let forest = Forest::grow(&rows, &targets, 50, 2, &mut ChaCha12Rng::seed_from_u64(1));
        assert!(forest.predict(&[2.0, 0.0]).0 < 0.2);
        assert!(forest.predict(&[17.0, 0.0]).0 > 4.8);
        assert!(forest.predict(&[9.5, 0.0]).1 > forest.predict(&[17.0, 0.0]).1);
    }

    #[test]
    fn constant_data_give_a_constant() {
        let rows: [&[f64]; 5] = [&[1.0]; 5];
        let forest = Forest::grow(&rows, &[2.0; 5], 5, 1, &mut ChaCha12Rng::seed_from_u64(1));
        assert_eq!(forest.predict(&[9.0]), (2.0, 0.0));
    }
}
