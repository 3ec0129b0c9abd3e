//! What a cubin must hold, and what it may not.

use kernsmith_core::{FailureClass, Plan};
use kernsmith_toolchain::cuda::CudaFacts;

use crate::error::Stop;

/// How a plan declares that its kernels use local memory: one of these among its expected instructions.
const LOCAL_MEMORY: [&str; 3] = ["local-memory", "LDL", "STL"];

/// What the driver would provide, and what it is.
const DRIVER_FUNCTIONS: &[(&str, &str)] = &[
    ("vprintf", "printf writes to a buffer of the host's"),
    ("__assertfail", "assert stops the device; leave it out"),
    ("malloc", "the device's heap outlives a launch; memory stands in the plan"),
    ("free", "the device's heap outlives a launch; memory stands in the plan"),
    ("cuda", "launches and memory stand in the plan"),
    (
        "__cuda_syscall",
        "the driver carries out an instruction that this architecture lacks in this form; a copy into the block's own shared \
         memory names it `.shared::cta`, not `.shared::cluster`",
    ),
];

/// Headers that wait with the device's clock.
const CLOCKED_HEADERS: [&str; 7] = [
    "cuda/barrier",
    "cuda/std/barrier",
    "cuda/atomic",
    "cuda/std/atomic",
    "cuda/semaphore",
    "cuda/latch",
    "cuda/pipeline",
];

/// What is worth a note and no more.
const NOTED: &[(&str, &str)] = &[
    ("GLOBALTIMER", "reads the device's clock, as the waiting functions of cuda/barrier do"),
    ("SMID", "asks on which multiprocessor it runs"),
    ("NANOSLEEP", "sleeps while it waits"),
    ("CALL.ABS", "calls through a pointer"),
    ("BPT", "may trap"),
];

/// An audit that was passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Audited {
    /// One line.
    pub(crate) summary: String,
    /// Observations that are no failures.
    pub(crate) notes: Vec<String>,
}

/// Holds a cubin against its plan, its source and the instructions that were promised.
pub(crate) fn check(
    plan: &Plan,
    source: &str,
    promised: Vec<&str>,
    facts: &CudaFacts,
) -> Result<Audited, Stop> {
    symbols(plan, facts)?;
    imports(facts)?;
    state(facts)?;
    tables(source, facts)?;
    clocks(source, facts)?;
    let families = intent(promised, facts)?;
    let registers = facts.kernels.iter().map(|kernel| kernel.registers).max().unwrap_or(0);
    let spills: u64 = facts.kernels.iter().map(|kernel| kernel.spill_store_bytes).sum();
    let mut notes: Vec<String> = NOTED
        .iter()
        .filter_map(|(family, meaning)| Some(format!("{family} {}: {meaning}", facts.families.get(*family)?)))
        .collect();
    notes.extend(facts.missing.iter().map(|missing| format!("not determined: {missing}")));
    let summary = format!(
        "{} bytes of code, {} kernels, at most {registers} registers, {spills} bytes spilled, {families} promised families found",
        facts.text_bytes,
        facts.kernels.len()
    );
    Ok(Audited { summary, notes })
}

fn symbols(plan: &Plan, facts: &CudaFacts) -> Result<(), Stop> {
    let there = || facts.kernels.iter().map(|kernel| kernel.symbol.as_str()).collect::<Vec<_>>().join(", ");
    let missing = |detail: String| Err(Stop::rejected(FailureClass::MissingSymbol, detail));
    if facts.kernels.is_empty() {
        return missing("there is no kernel; declare one extern \"C\" __global__".to_owned());
    }
    let wanted = if plan.is_for_gpu() { plan.symbols() } else { Vec::new() };
    match wanted.into_iter().find(|symbol| facts.kernel(symbol).is_none()) {
        Some(symbol) => missing(format!(
            "there is no kernel `{symbol}`; declare it extern \"C\" __global__; there are {}",
            there()
        )),
        None => Ok(()),
    }
}

fn imports(facts: &CudaFacts) -> Result<(), Stop> {
    let Some(name) = facts.undefined.first() else { return Ok(()) };
    let known = DRIVER_FUNCTIONS.iter().find(|(function, _)| name.starts_with(function));
    let why = known.map_or("it is declared and nowhere defined", |(_, why)| why);
    Err(Stop::rejected(FailureClass::ForbiddenImport, format!("the object needs `{name}`: {why}")))
}

/// Memory at module scope keeps what one launch wrote for the next one: a cache of outputs, a counter of calls.
fn state(facts: &CudaFacts) -> Result<(), Stop> {
    let Some(global) = facts.globals.iter().find(|global| global.writable) else { return Ok(()) };
    let detail = format!(
        "`{}` outlives a launch: {} bytes at module scope that kernels can write; tables belong into __constant__ memory, \
         scratch memory into the plan's workspaces",
        global.name, global.bytes
    );
    Err(Stop::rejected(FailureClass::PersistentState, detail))
}

/// The compiler's own tables are let through by name and size, and a variable of that name is one: no text may build the name.
fn tables(source: &str, facts: &CudaFacts) -> Result<(), Stop> {
    let is_own = |name: &str| name.starts_with("__cudart_");
    let Some(table) = facts.globals.iter().find(|global| !global.constant && is_own(&global.name)) else {
        return Ok(());
    };
    let Some(means) = names_by_stealth(source) else { return Ok(()) };
    let detail = format!(
        "the object holds `{}`, a table of the compiler's for sine and cosine that kernels can write, and the source has {means}, \
         which can name it unseen; do without that, or use __sinf, __cosf or sincospif, which need no table",
        table.name
    );
    Err(Stop::rejected(FailureClass::PersistentState, detail))
}

/// What in a text could put together a name that does not stand in it.
fn names_by_stealth(source: &str) -> Option<&'static str> {
    // A backslash at the end of a line joins lines before anything else is read; `%:` is another spelling of `#`.
    let code = source.replace("\r\n", "\n").replace("\\\n", "").replace("%:", "#");
    let operators = |line: &str| {
        let directive = line.trim_start().strip_prefix('#').map(str::trim_start);
        directive.and_then(|rest| rest.strip_prefix("define")).is_some_and(|body| body.contains('#'))
    };
    if code.lines().any(operators) {
        return Some("a macro with `#` or `##`");
    }
    if code.contains("asm") {
        return Some("asm");
    }
    code.contains("alias").then_some("an alias")
}

/// A kernel that reads a clock can tell a cold cache from a warm one, and a checked call from a timed one.
fn clocks(source: &str, facts: &CudaFacts) -> Result<(), Stop> {
    let reads = |family: &str| facts.families.contains_key(family);
    let refuse = |what: &str| {
        let detail = format!(
            "the machine code reads {what}, which no kernel needs and by which it could tell calls apart"
        );
        Err(Stop::rejected(FailureClass::ForbiddenSource, detail))
    };
    if reads("CLOCK") {
        return refuse("the clock of the multiprocessor");
    }
    if reads("PM") {
        return refuse("a performance counter");
    }
    if reads("GLOBALTIMER") && !CLOCKED_HEADERS.iter().any(|header| source.contains(header)) {
        return refuse("the clock of the device");
    }
    Ok(())
}

/// Whether the promised instruction families are there, and no traffic with local memory that nobody spoke of.
fn intent(promised: Vec<&str>, facts: &CudaFacts) -> Result<usize, Stop> {
    let mismatch = |detail: String| Err(Stop::rejected(FailureClass::IntentMismatch, detail));
    let declared = promised.iter().any(|family| LOCAL_MEMORY.contains(family));
    let wanted: Vec<&str> = promised.into_iter().filter(|family| *family != LOCAL_MEMORY[0]).collect();
    if let Some(missing) = wanted.iter().find(|family| !facts.families.contains_key(**family)) {
        let there: Vec<String> =
            facts.families.iter().map(|(family, count)| format!("{family} {count}")).collect();
        return mismatch(format!("no `{missing}` instruction; found: {}", there.join(", ")));
    }
    if declared {
        return Ok(wanted.len());
    }
    match facts.kernels.iter().find(|kernel| kernel.local_instructions > 0) {
        Some(kernel) => mismatch(format!(
            "`{}` uses local memory: {} instructions, {} bytes of stack, {} bytes spilled at {} registers; where that is meant, \
             name `{}` among the plan's expected_instructions",
            kernel.symbol,
            kernel.local_instructions,
            kernel.stack_bytes,
            kernel.spill_store_bytes,
            kernel.registers,
            LOCAL_MEMORY[0]
        )),
        None => Ok(wanted.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kernsmith_toolchain::cuda::{CudaGlobal, CudaKernelFacts};

    use super::*;
    use crate::error::Rejection;

    fn facts(families: &[&str]) -> CudaFacts {
        let families: BTreeMap<String, u64> =
            families.iter().map(|family| ((*family).to_owned(), 2)).collect();
        let kernel = CudaKernelFacts { symbol: "kernel".into(), registers: 32, ..CudaKernelFacts::default() };
        CudaFacts { kernels: vec![kernel], families, ..CudaFacts::default() }
    }

    fn class(facts: &CudaFacts, source: &str, promised: &[&str]) -> Option<(FailureClass, String)> {
        match check(&Plan::default(), source, promised.to_vec(), facts) {
            Ok(_) => None,
            Err(Stop::Rejected(Rejection { class, detail, .. })) => Some((class, detail)),
            Err(Stop::Apparatus(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn promised_instructions_must_be_there() {
        assert_eq!(class(&facts(&["HGMMA"]), "", &["HGMMA"]), None);
        let (class, detail) = class(&facts(&["FFMA"]), "", &["HGMMA"]).expect("refused");
        assert_eq!(class, FailureClass::IntentMismatch);
        assert!(detail.contains("HGMMA") && detail.contains("FFMA 2"), "{detail}");
    }

    #[test]
    fn local_memory_must_be_declared() {
        let mut spilling = facts(&["LDL", "STL"]);
        spilling.kernels[0].local_instructions = 4;
        assert_eq!(class(&spilling, "", &[]).expect("refused").0, FailureClass::IntentMismatch);
        assert_eq!(class(&spilling, "", &["local-memory"]), None);
        assert_eq!(class(&spilling, "", &["STL"]), None);
    }

    #[test]
    fn state_at_module_scope_and_functions_of_the_driver_are_refused() {
        let mut object = facts(&[]);
        let global = CudaGlobal {
            name: "calls".into(),
            bytes: 4,
            constant: false,
            writable: true,
            initialised: false,
        };
        object.globals.push(CudaGlobal { constant: true, writable: false, ..global.clone() });
        assert_eq!(class(&object, "", &[]), None);
        object.globals.push(global);
        assert_eq!(class(&object, "", &[]).expect("refused").0, FailureClass::PersistentState);
        object = facts(&[]);
        object.undefined.push("vprintf".into());
        let (class, detail) = class(&object, "", &[]).expect("refused");
        assert!(class == FailureClass::ForbiddenImport && detail.contains("printf"), "{detail}");
    }

    #[test]
    fn a_name_of_the_compilers_tables_may_not_be_put_together() {
        let mut object = facts(&[]);
        object.globals.push(CudaGlobal {
            name: "__cudart_i2opi_f".into(),
            bytes: 24,
            constant: false,
            writable: false,
            initialised: true,
        });
        assert_eq!(class(&object, "y[i] = sinf(x[i]);", &[]), None);
        let pasted = "#define P(a, b) a \\\n # # b\n";
        for source in [pasted, "%:define P(a, b) a%:%:b", "as\\\nm(\"st.global\");"] {
            let (class, detail) = class(&object, source, &[]).expect(source);
            assert!(class == FailureClass::PersistentState && detail.contains("__sinf"), "{detail}");
        }
        assert_eq!(class(&facts(&[]), pasted, &[]), None);
    }

    #[test]
    fn an_instruction_that_becomes_a_call_into_the_driver_is_named_with_its_remedy() {
        let mut object = facts(&["CALL.ABS"]);
        object.undefined.push("__cuda_syscall_cp_async_bulk_unicast".into());
        let (class, detail) = class(&object, "", &[]).expect("refused");
        assert!(class == FailureClass::ForbiddenImport && detail.contains(".shared::cta"), "{detail}");
    }

    #[test]
    fn clocks_are_refused_but_for_the_waiting_of_the_toolkits_own_barriers() {
        for family in ["CLOCK", "PM", "GLOBALTIMER"] {
            assert_eq!(class(&facts(&[family]), "", &[]).expect(family).0, FailureClass::ForbiddenSource);
        }
        let waiting = facts(&["GLOBALTIMER", "NANOSLEEP"]);
        assert_eq!(class(&waiting, "#include <cuda/barrier>", &[]), None);
        let audited = check(&Plan::default(), "#include <cuda/barrier>", vec![], &waiting).expect("passed");
        assert_eq!(audited.notes.len(), 2, "{audited:?}");
    }
}
