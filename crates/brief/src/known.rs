//! What a proposer may know of an attempt: everything but the held-out shapes.

use std::collections::{BTreeMap, BTreeSet};

use kernsmith_core::brief::Attempt;
use kernsmith_op_contract::{Contract, Role, Workload};
use kernsmith_planner::{Attempted, Tree};

/// Bytes of one failure's detail, at most; the structured reason comes first in it.
const MAX_DETAIL_BYTES: usize = 2000;
/// What stands in place of a detail that would give a held-out shape away.
const WITHHELD: &str = "on a shape that is not shown (it is legal, but not among the known workloads)";

/// The line between known and held-out shapes of one contract.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    bench: BTreeSet<&'a str>,
    secret_names: Vec<&'a str>,
    /// Values that an axis takes in held-out workloads only.
    secret_values: BTreeMap<&'a str, BTreeSet<i64>>,
}

impl<'a> Known<'a> {
    pub(crate) fn new(contract: &'a Contract) -> Self {
        let (held, shown): (Vec<&Workload>, Vec<&Workload>) =
            contract.workloads.iter().partition(|workload| workload.role == Role::HeldOut);
        let mut secret_values: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
        for (axis, value) in held.iter().flat_map(|workload| &workload.axes) {
            if shown.iter().all(|workload| workload.axes.get(axis) != Some(value)) {
                secret_values.entry(axis).or_default().insert(*value);
            }
        }
        let bench = shown.iter().filter(|workload| workload.role == Role::Bench);
        Self {
            bench: bench.map(|workload| workload.name.as_str()).collect(),
            secret_names: held.iter().map(|workload| workload.name.as_str()).collect(),
            secret_values,
        }
    }

    pub(crate) fn show(&self, tree: &Tree, attempt: &Attempted) -> Attempt {
        let mut shown = tree.show(attempt);
        shown.workload_ratios.retain(|workload, _| self.bench.contains(workload.as_str()));
        if let Some((_, detail)) = &mut shown.failure {
            if self.gives_away(detail) {
                WITHHELD.clone_into(detail);
            }
            truncate(detail);
        }
        shown
    }

    /// The text, or what stands in its place where it would give a held-out shape away.
    pub(crate) fn public(&self, text: &str) -> String {
        if self.gives_away(text) { WITHHELD.to_owned() } else { text.to_owned() }
    }

    pub(crate) fn gives_away(&self, text: &str) -> bool {
        let names = self.secret_names.iter().any(|name| text.contains(name));
        names || self.secret_values.iter().any(|(axis, values)| names_value(text, axis, values))
    }
}

/// Whether the text gives one of the values to the axis, as in `rows = 61`, `rows: 61` or `rows 61`.
fn names_value(text: &str, axis: &str, values: &BTreeSet<i64>) -> bool {
    text.match_indices(axis).any(|(at, _)| {
        let rest = text[at + axis.len()..].trim_start_matches(['=', ':', ' ', '"', '\'', ',', '(', '[']);
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
        rest[..digits].parse::<i64>().is_ok_and(|value| values.contains(&value))
    })
}

fn truncate(detail: &mut String) {
    let mut end = detail.len().min(MAX_DETAIL_BYTES);
    while !detail.is_char_boundary(end) {
        end -= 1;
    }
    detail.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_only_next_to_its_axis() {
        let secret = BTreeSet::from([61]);
        assert!(names_value("mismatch at rows=61, cols=3", "rows", &secret));
        assert!(names_value("rows: 61", "rows", &secret));
        assert!(!names_value("index 61 of rows=4096", "rows", &secret));
        assert!(!names_value("rows=610", "rows", &secret));
    }
}
