//! The numbers that conditions may name, and where they come from.

use kernsmith_core::{Bindings, Expr};

use super::Inspection;

/// Prefix of one feature of the machine: `has_avx512f`.
pub(super) const FEATURE: &str = "has_";
/// Prefix of one element type of the contract: `dtype_e4m3fn`.
pub(super) const DTYPE: &str = "dtype_";

/// Every other name with its meaning; the format page has the same table.
pub(super) const VARIABLES: [(&str, &str); 20] = [
    ("launches", "launches of the plan"),
    ("workspaces", "workspaces of the plan"),
    ("threads", "the plan's limit of threads"),
    ("cores", "cores of the machine"),
    ("grid_blocks", "blocks of a launch"),
    ("block_threads", "threads of a block (work-group)"),
    ("cluster_blocks", "blocks of a cluster"),
    ("shared_bytes", "shared memory (LDS) of a block, static and dynamic"),
    ("static_shared_bytes", "static shared memory of a block, from the binary"),
    ("registers", "registers of a thread, from the binary"),
    ("accumulators", "accumulation registers of a lane, from the binary"),
    ("spills", "spilled registers, from the binary"),
    ("local_bytes", "local memory (scratch) of a thread, from the binary"),
    ("wave_size", "lanes of a wave"),
    ("tensor_alignment", "alignment of tensors in bytes"),
    ("tma_box", "largest extent of a tensor map's box"),
    ("tma_inner_bytes", "bytes of a tensor map's innermost box row"),
    ("tma_swizzle_bytes", "swizzle span of a tensor map; 0: none"),
    ("tma_rank", "rank of a tensor map"),
    ("tma_stride_bytes", "a global stride of a tensor map"),
];

/// Whether a name may stand in a condition; `own` are the rule's groups and facts.
pub(super) fn is_known(name: &str, own: &[String]) -> bool {
    name.starts_with(FEATURE)
        || name.starts_with(DTYPE)
        || VARIABLES.iter().any(|(known, _)| *known == name)
        || own.iter().any(|known| known == name)
}

/// What is known of a candidate.
pub(super) fn known(inspected: &Inspection<'_>) -> Bindings {
    let mut numbers = inspected.numbers.clone();
    let plan = inspected.plan;
    numbers.insert("launches".to_owned(), plan.launches.len() as i64);
    numbers.insert("workspaces".to_owned(), plan.workspaces.len() as i64);
    numbers.extend(plan.threads.map(|threads| ("threads".to_owned(), i64::from(threads))));
    for feature in inspected.features.into_iter().flatten() {
        numbers.insert(format!("{FEATURE}{}", word(feature)), 1);
    }
    numbers
}

/// A feature that a known machine does not name is not there, and so is a type that known operands do not have.
pub(super) fn fill_absent(numbers: &mut Bindings, when: Option<&Expr>, features_known: bool) {
    let dtypes_known = numbers.keys().any(|name| name.starts_with(DTYPE));
    for name in when.map(Expr::axes).into_iter().flatten() {
        if (features_known && name.starts_with(FEATURE)) || (dtypes_known && name.starts_with(DTYPE)) {
            numbers.entry(name.to_owned()).or_insert(0);
        }
    }
}

/// A feature's name as part of an identifier.
fn word(feature: &str) -> String {
    feature.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
