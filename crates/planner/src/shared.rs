//! Values that many attempts have in common, kept once.

use std::collections::HashMap;
use std::hash::Hash;

/// The place of a shared value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place(u32);

/// Each distinct value once, in order of first use: a hundred thousand attempts name a few dozen templates and genes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shared<T: Eq + Hash> {
    values: Vec<T>,
    places: HashMap<T, u32>,
}

impl<T: Eq + Hash> Default for Shared<T> {
    fn default() -> Self {
        Self { values: Vec::new(), places: HashMap::new() }
    }
}

impl<T: Eq + Hash + Clone> Shared<T> {
    /// The place of a value, a new one where it is new.
    pub(crate) fn place(&mut self, value: &T) -> Place {
        if let Some(&place) = self.places.get(value) {
            return Place(place);
        }
        let place = self.values.len() as u32;
        self.values.push(value.clone());
        self.places.insert(value.clone(), place);
        Place(place)
    }

    /// The place of a value that is known.
    pub(crate) fn find(&self, value: &T) -> Option<Place> {
        self.places.get(value).copied().map(Place)
    }

    /// The value at a place.
    pub(crate) fn get(&self, place: Place) -> Option<&T> {
        self.values.get(place.0 as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_a_place() {
        let mut shared = Shared::default();
        let places = ["a", "b", "a"].map(|text| shared.place(&text.to_owned()));
        assert_eq!(places[0], places[2]);
        assert_ne!(places[0], places[1]);
        assert_eq!(shared.get(places[1]).map(String::as_str), Some("b"));
        assert_eq!(shared.find(&"b".to_owned()), Some(places[1]));
        assert_eq!(shared.find(&"c".to_owned()), None);
    }
}
