//! A finite space of choices: dimensions, values, and which combinations are legal.

use std::fmt;
use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha12Rng;

/// One choice for each dimension, as indices into its values.
pub type Point = Vec<u16>;

/// Combinations up to which all legal points are listed once; beyond it they are drawn.
const LISTED_COMBINATIONS: u64 = 40_000;
/// Draws before a random legal point counts as not to be found.
const DRAWS: usize = 400;

/// One degree of freedom.
#[derive(Debug, Clone, PartialEq)]
pub struct Dimension {
    /// Its name.
    pub name: String,
    /// Its values.
    pub values: Values,
}

/// The values of a dimension.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers in ascending order: neighbours are alike.
    Ordered(Vec<f64>),
    /// That many words without an order.
    Categorical(usize),
}

type Legal = Arc<dyn Fn(&[u16]) -> bool + Send + Sync>;

/// A space of choices.
#[derive(Clone)]
pub struct Space {
    dimensions: Vec<Dimension>,
    /// All legal points, in lexicographic order, where they are few.
    listed: Option<Vec<Point>>,
    legal: Legal,
}

impl Dimension {
    /// How many values there are.
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Ordered(values) => values.len(),
            Values::Categorical(count) => *count,
        }
    }

    /// Whether there is no value at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether neighbours are alike.
    pub const fn is_ordered(&self) -> bool {
        matches!(self.values, Values::Ordered(_))
    }
}

impl Space {
    /// A space whose legal points are those for which `legal` holds.
    pub fn new(dimensions: Vec<Dimension>, legal: impl Fn(&[u16]) -> bool + Send + Sync + 'static) -> Self {
        let combinations = dimensions
            .iter()
            .try_fold(1u64, |product, dimension| product.checked_mul(dimension.len() as u64));
        let listed = combinations
            .filter(|&count| count <= LISTED_COMBINATIONS)
            .map(|_| combine(&dimensions).into_iter().filter(|point| legal(point)).collect());
        Self { dimensions, listed, legal: Arc::new(legal) }
    }

    /// A space that is given by its legal points.
    pub fn of_points(dimensions: Vec<Dimension>, mut points: Vec<Point>) -> Self {
        points.sort_unstable();
        points.dedup();
        let known: std::collections::HashSet<Point> = points.iter().cloned().collect();
        Self { dimensions, listed: Some(points), legal: Arc::new(move |point| known.contains(point)) }
    }

    /// The dimensions.
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// All legal points where they are few enough to be listed.
    pub fn listed(&self) -> Option<&[Point]> {
        self.listed.as_deref()
    }

    /// Whether the point may be chosen.
    pub fn is_legal(&self, point: &[u16]) -> bool {
        point.len() == self.dimensions.len()
            && point
                .iter()
                .zip(&self.dimensions)
                .all(|(index, dimension)| usize::from(*index) < dimension.len())
            && (self.legal)(point)
    }

    /// A random legal point with the fixed choices; `None` when none turns up.
    pub fn draw(&self, fixed: &[Option<u16>], random: &mut ChaCha12Rng) -> Option<Point> {
        if let Some(listed) = &self.listed {
            let fitting: Vec<&Point> = listed.iter().filter(|point| fits(point, fixed)).collect();
            return (!fitting.is_empty()).then(|| fitting[random.random_range(0..fitting.len())].clone());
        }
        (0..DRAWS).find_map(|_| {
            let choose = |(dimension, fixed): (&Dimension, &Option<u16>)| {
                fixed.unwrap_or_else(|| random.random_range(0..dimension.len().max(1)) as u16)
            };
            let point: Point = self.dimensions.iter().zip(fixed).map(choose).collect();
            self.is_legal(&point).then_some(point)
        })
    }

    /// Legal points that differ from `point` in exactly one free dimension.
    pub fn neighbours(&self, point: &[u16], fixed: &[Option<u16>]) -> Vec<Point> {
        let mut found = Vec::new();
        for (at, dimension) in self.dimensions.iter().enumerate() {
            if fixed.get(at).copied().flatten().is_some() {
                continue;
            }
            for value in (0..dimension.len() as u16).filter(|value| *value != point[at]) {
                let mut next = point.to_vec();
                next[at] = value;
                if self.is_legal(&next) {
                    found.push(next);
                }
            }
        }
        found
    }

    /// How different two points are: 1 for another word, the share of the range for another number.
    pub fn distance(&self, one: &[u16], other: &[u16]) -> f64 {
        let apart = |((dimension, a), b): ((&Dimension, &u16), &u16)| match dimension.values {
            Values::Categorical(_) => f64::from(u8::from(a != b)),
            Values::Ordered(_) => f64::from(a.abs_diff(*b)) / (dimension.len().max(2) - 1) as f64,
        };
        self.dimensions.iter().zip(one).zip(other).map(apart).sum()
    }
}

/// Whether a point has the fixed choices.
pub fn fits(point: &[u16], fixed: &[Option<u16>]) -> bool {
    point.iter().zip(fixed).all(|(index, fixed)| fixed.is_none_or(|fixed| fixed == *index))
}

fn combine(dimensions: &[Dimension]) -> Vec<Point> {
    let mut points = vec![Vec::with_capacity(dimensions.len())];
    for dimension in dimensions {
        let extend = |point: Point| {
            (0..dimension.len() as u16).map(move |index| {
                let mut next = point.clone();
                next.push(index);
                next
            })
        };
        points = points.into_iter().flat_map(extend).collect();
    }
    points
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = self.listed.as_ref().map(Vec::len);
        f.debug_struct("Space")
            .field("dimensions", &self.dimensions)
            .field("listed", &listed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn grid() -> Space {
        let ordered = |name: &str| Dimension {
            name: name.to_owned(),
            values: Values::Ordered(vec![1.0, 2.0, 4.0, 8.0]),
        };
        Space::new(vec![ordered("a"), ordered("b")], |point| point[0] + point[1] <= 3)
    }

    #[test]
    fn only_legal_points_are_listed_and_drawn() {
        let space = grid();
        assert_eq!(space.listed().unwrap().len(), 10);
        let mut random = ChaCha12Rng::seed_from_u64(1);
        for _ in 0..50 {
            let point = space.draw(&[None, Some(1)], &mut random).unwrap();
            assert!(space.is_legal(&point) && point[1] == 1);
        }
        assert_eq!(space.draw(&[Some(3), Some(3)], &mut random), None);
    }

    #[test]
    fn neighbours_differ_in_one_free_dimension() {
        let space = grid();
        assert_eq!(space.neighbours(&[1, 1], &[None, None]).len(), 4);
        assert!(space.neighbours(&[1, 1], &[Some(1), None]).iter().all(|point| point[0] == 1));
    }

    #[test]
    fn a_large_space_is_not_listed_but_drawn() {
        let dimension = |index: usize| Dimension { name: index.to_string(), values: Values::Categorical(10) };
        let space = Space::new((0..12).map(dimension).collect(), |point| point[0] == 3);
        assert!(space.listed().is_none());
        let mut random = ChaCha12Rng::seed_from_u64(2);
        assert_eq!(space.draw(&[None; 12], &mut random).unwrap()[0], 3);
    }
}
