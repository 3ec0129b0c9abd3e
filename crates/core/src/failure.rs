//! The named failure catalogue: which gate said no, and why, in words that never change.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The gates, in the order in which a candidate meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// G0: the text and the plan are legal.
    Admit,
    /// G1: it compiles inside the build sandbox.
    Build,
    /// G2: the binary holds what it should and nothing else.
    Audit,
    /// G3: it loads in a confined worker.
    Load,
    /// G4: two runs on one input agree.
    Smoke,
    /// G5: right on all shapes, distributions and secret seeds.
    Correctness,
    /// G6: right at any address, in any phase, in bursts.
    Phase,
    /// G7: no work outside the call.
    Quiescence,
    /// G8: timed by the parent's clock.
    Timing,
    /// G9: the timed outputs are right too.
    TimedOutputs,
    /// G10: not faster than the machine allows.
    Plausibility,
    /// G11: again, in a fresh process, with a fresh build and new seeds.
    Confirmation,
}

impl Gate {
    /// Every gate in order.
    pub const ALL: [Self; 12] = [
        Self::Admit,
        Self::Build,
        Self::Audit,
        Self::Load,
        Self::Smoke,
        Self::Correctness,
        Self::Phase,
        Self::Quiescence,
        Self::Timing,
        Self::TimedOutputs,
        Self::Plausibility,
        Self::Confirmation,
    ];

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Build => "build",
            Self::Audit => "audit",
            Self::Load => "load",
            Self::Smoke => "smoke",
            Self::Correctness => "correctness",
            Self::Phase => "phase",
            Self::Quiescence => "quiescence",
            Self::Timing => "timing",
            Self::TimedOutputs => "timed_outputs",
            Self::Plausibility => "plausibility",
            Self::Confirmation => "confirmation",
        }
    }
}

macro_rules! failure_classes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a candidate was rejected. The names are stable: logs, tests and people rely on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum FailureClass {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant,)+
        }

        impl FailureClass {
            /// Every class, in catalogue order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What the class means, for the catalogue page.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+),)+ }
            }
        }
    };
}

failure_classes! {
    /// The source is empty, too large, or not text.
    SourceInvalid = "source_invalid",
    /// The source uses a construct that policy forbids.
    ForbiddenSource = "forbidden_source",
    /// The plan does not fit the contract.
    PlanInvalid = "plan_invalid",
    /// The source or the plan breaks a hard rule of the target; the detail begins with the rule's id.
    RuleBroken = "rule_broken",
    /// The compiler refused the source.
    CompileError = "compile_error",
    /// The compiler ran out of time.
    CompileTimeout = "compile_timeout",
    /// The compiler ran out of memory.
    CompileMemory = "compile_memory",
    /// A symbol that the plan calls is not in the binary.
    MissingSymbol = "missing_symbol",
    /// The binary exports a symbol that it should not.
    ForbiddenExport = "forbidden_export",
    /// The binary needs a function or library that kernels may not use.
    ForbiddenImport = "forbidden_import",
    /// The binary holds a system-call instruction.
    RawSyscall = "raw_syscall",
    /// The binary runs code when it is loaded.
    Constructor = "constructor",
    /// The binary asks for memory that is writable and executable.
    WritableCode = "writable_code",
    /// The code object of a GPU holds memory at module scope that outlives a launch.
    PersistentState = "persistent_state",
    /// The instructions that the strategy promised are not in the binary.
    IntentMismatch = "intent_mismatch",
    /// The code object could not be loaded.
    LoadFailed = "load_failed",
    /// The kernel died of a signal.
    Crash = "crash",
    /// The kernel did not come back in time.
    Timeout = "timeout",
    /// The kernel asked for more memory than it may have.
    OutOfMemory = "out_of_memory",
    /// The kernel ended its own process.
    EarlyExit = "early_exit",
    /// The kernel tried what the sandbox forbids.
    SandboxViolation = "sandbox_violation",
    /// The worker answered with something that it cannot have meant.
    ProtocolViolation = "protocol_violation",
    /// An output element is outside its error bound.
    WrongResult = "wrong_result",
    /// Every element is within its bound, but the error as a whole is that of a lower precision.
    PrecisionDowngrade = "precision_downgrade",
    /// An output element is NaN or infinite where the oracle's is not, or the other way round.
    NonFinite = "non_finite",
    /// An output element still holds the poison that was there before the call.
    UnwrittenOutput = "unwritten_output",
    /// An input changed during the call.
    InputModified = "input_modified",
    /// Memory next to a tensor was touched.
    OutOfBounds = "out_of_bounds",
    /// Two runs on one input differ by more than rounding allows.
    Nondeterministic = "nondeterministic",
    /// A law of the operation does not hold for the output.
    InvariantViolated = "invariant_violated",
    /// The output is that of an earlier call: same address, older content.
    StaleOutput = "stale_output",
    /// The output was not complete when the call returned.
    LateWrite = "late_write",
    /// The kernel changed the state of the thread that called it.
    StateTampering = "state_tampering",
    /// Other threads worked outside the call.
    BackgroundWork = "background_work",
    /// An output produced while being timed is wrong.
    TimedOutputWrong = "timed_output_wrong",
    /// Faster than the machine's ceilings allow, also when measured again.
    Implausible = "implausible",
    /// It did not pass a second time in a fresh process with a fresh build.
    NotConfirmed = "not_confirmed",
    /// The apparatus, not the kernel, is to blame; the attempt says nothing about the strategy.
    Infrastructure = "infrastructure",
}

impl FailureClass {
    /// Whether the attempt tells something about the strategy: infrastructure failures do not.
    pub const fn is_conclusive(self) -> bool {
        !matches!(self, Self::Infrastructure)
    }
}

/// One rejection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The name from the catalogue.
    pub class: FailureClass,
    /// The gate that said no.
    pub gate: Gate,
    /// The structured reason in words: first compiler error, mismatch index and values, symbol name, ….
    pub detail: String,
}

impl Failure {
    /// A rejection at a gate.
    pub fn new(gate: Gate, class: FailureClass, detail: impl Into<String>) -> Self {
        Self { class, gate, detail: detail.into() }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.class, self.gate, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_json_are_the_stable_names() {
        for class in FailureClass::ALL {
            assert_eq!(serde_json::to_string(class).unwrap(), format!("\"{}\"", class.as_str()));
        }
        for gate in Gate::ALL {
            assert_eq!(serde_json::to_string(&gate).unwrap(), format!("\"{gate}\""));
        }
    }
}
