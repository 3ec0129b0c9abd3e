//! G2 `audit`: the binary holds what it should and nothing else.

use kernsmith_core::evidence::ObjectFacts;
use kernsmith_core::{FailureClass, Plan, Target};
use kernsmith_op_contract::Contract;

use super::imports;
use crate::error::Stop;
use crate::setup::Setup;

/// Checks symbols, imports, instructions and tables of a binary, and whether the strategy survived the compiler.
pub(crate) fn check(setup: &Setup, plan: &Plan, facts: &ObjectFacts) -> Result<String, Stop> {
    symbols(plan, facts)?;
    if facts.raw_syscalls > 0 {
        let detail = format!("{} system-call instructions", facts.raw_syscalls);
        return Err(Stop::rejected(FailureClass::RawSyscall, detail));
    }
    imports::check(facts)?;
    if facts.writable_code {
        let detail = "a segment is writable and executable".to_owned();
        return Err(Stop::rejected(FailureClass::WritableCode, detail));
    }
    intent(setup, plan, facts)
}

fn symbols(plan: &Plan, facts: &ObjectFacts) -> Result<(), Stop> {
    let wanted = plan.symbols();
    if let Some(missing) = wanted.iter().find(|name| !facts.exports.iter().any(|export| export == *name)) {
        let detail = format!("`{missing}` is not exported; declare it extern \"C\"");
        return Err(Stop::rejected(FailureClass::MissingSymbol, detail));
    }
    if let Some(extra) = facts.exports.iter().find(|export| !wanted.contains(&export.as_str())) {
        return Err(Stop::rejected(FailureClass::ForbiddenExport, format!("`{extra}` is exported")));
    }
    Ok(())
}

/// The instruction families that a plan promises, and those that its contract promises for a target.
pub(crate) fn promised<'a>(contract: &'a Contract, target: &Target, plan: &'a Plan) -> Vec<&'a str> {
    let by_target = contract.expected_instructions.get(&target.to_string());
    let by_platform = contract.expected_instructions.get(target.platform());
    let of_contract = by_target.into_iter().chain(by_platform).flatten();
    plan.expected_instructions.iter().chain(of_contract).map(String::as_str).collect()
}

/// Whether the promised instruction families are there: those of the plan and those of the contract.
fn intent(setup: &Setup, plan: &Plan, facts: &ObjectFacts) -> Result<String, Stop> {
    let wanted = promised(&setup.contract, &setup.target, plan);
    let found = |family: &&&str| facts.families.get(**family).copied().unwrap_or(0) > 0;
    if let Some(missing) = wanted.iter().find(|family| !found(family)) {
        let there: Vec<String> =
            facts.families.iter().map(|(family, count)| format!("{family} {count}")).collect();
        let detail = format!("no `{missing}` instruction; found: {}", there.join(", "));
        return Err(Stop::rejected(FailureClass::IntentMismatch, detail));
    }
    // Honest tables are filled at load time too; what an initialiser may do is the sandbox's affair, and the load gate
    // counts the threads that it leaves behind.
    let initialisers = match facts.constructors {
        0 => String::new(),
        count => format!(", {count} initialisers"),
    };
    let families = wanted.len();
    Ok(format!("{} bytes of code, {families} promised families found{initialisers}", facts.text_bytes))
}
