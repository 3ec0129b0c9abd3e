//! Paths by allow-list (Landlock).

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetStatus, Scope, path_beneath_rules,
};

use crate::policy::Policy;

/// The newest version of Landlock that is asked for; older kernels give what they have.
const NEWEST: ABI = ABI::V7;

/// Restricts the process to the policy's paths. `Ok` carries what the kernel did not give, if anything.
pub(crate) fn restrict(policy: &Policy) -> Result<Option<String>, String> {
    let text = |error: landlock::RulesetError| error.to_string();
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .map_err(text)?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::from_all(NEWEST) & !(AccessFs::Execute | AccessFs::MakeBlock | AccessFs::MakeChar);
    let ruleset = allow(ruleset, &policy.read, read)?;
    let ruleset = allow(ruleset, &policy.execute, read | AccessFs::Execute)?;
    let ruleset = allow(ruleset, &policy.write, write)?;
    let status = ruleset.restrict_self().map_err(text)?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(None),
        RulesetStatus::PartiallyEnforced => {
            Ok(Some("this kernel's landlock is older and enforces only part of the rules".to_owned()))
        }
        RulesetStatus::NotEnforced => Err("the kernel has no landlock, or it is switched off".to_owned()),
    }
}

/// Paths that do not exist are skipped: they allow nothing.
fn allow(
    ruleset: RulesetCreated,
    paths: &[PathBuf],
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, String> {
    ruleset.add_rules(path_beneath_rules(paths, access)).map_err(|error| error.to_string())
}
