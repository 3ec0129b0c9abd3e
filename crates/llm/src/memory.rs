//! What the log says about models: answers by place, what they cost, and what became of their candidates.

use std::collections::{BTreeMap, HashMap};

use kernsmith_core::inspect::Look;
use kernsmith_core::model::{Inspected, ModelCall, Usage};
use kernsmith_core::{CallClass, Digest, Entry, Event, Seq};

use crate::answer;

/// Answers whose text is kept at hand; an older place is never asked about again.
const RECENT: usize = 256;

/// A fold of the log: equal logs are equal memories.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    answers: HashMap<String, Answered>,
    order: std::collections::VecDeque<String>,
    /// All calls together.
    pub(crate) usage: Usage,
    pub(crate) cost_usd: f64,
    pub(crate) calls: u64,
    /// Calls since the last usable answer, by class.
    pub(crate) barren: BTreeMap<CallClass, u32>,
    pub(crate) hopeless: Option<String>,
    /// Proposals and edits so far: they name the place of a plan request.
    pub(crate) proposed: u64,
    pub(crate) edited: u64,
    /// What each arm brought and cost.
    pub(crate) arms: BTreeMap<Arm, Tally>,
    /// Longest call by role, for the budget's reserve.
    pub(crate) largest: BTreeMap<String, (u64, f64)>,
    /// What a reviewer read out of an attempt's evidence, by place; `None` where nothing usable was said.
    pub(crate) advice: BTreeMap<String, Option<String>>,
    arm_of: HashMap<Seq, Arm>,
    best_log_ratio: f64,
}

/// A model and a way to ask it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Arm {
    pub(crate) model: String,
    pub(crate) kind: String,
}

/// What an arm brought.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Tally {
    pub(crate) pulls: u32,
    pub(crate) reward: f64,
    pub(crate) cost: f64,
}

/// One answer that is in the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answered {
    pub(crate) class: CallClass,
    pub(crate) detail: String,
    pub(crate) model: String,
    pub(crate) purpose: String,
    pub(crate) reply: String,
    /// Evidence that the question brought along.
    pub(crate) looks: Vec<Look>,
}

impl Memory {
    pub(crate) fn at(&self, place: &str) -> Option<&Answered> {
        self.answers.get(place)
    }

    pub(crate) fn learn(&mut self, entry: &Entry, kept: &dyn Fn(&Digest) -> Option<Vec<u8>>) {
        match &entry.event {
            Event::ModelCalled(call) => self.called(call, kept),
            Event::TreeEdited { .. } => self.edited += 1,
            // Whoever resumes has mended what stood in the way.
            Event::Resumed { .. } => {
                self.barren.clear();
                self.hopeless = None;
            }
            Event::Proposed(proposed) => {
                self.proposed += 1;
                if let Some(model) = proposed.origin.proposer.strip_prefix("llm:") {
                    let arm = Arm { model: model.to_owned(), kind: proposed.origin.operator.clone() };
                    self.arm_of.insert(entry.seq, arm);
                }
            }
            Event::Judged { proposal, evidence } => {
                let ratio = evidence.ratio().filter(|_| evidence.is_accepted());
                self.judged(*proposal, ratio);
            }
            _ => {}
        }
    }

    fn called(&mut self, call: &ModelCall, kept: &dyn Fn(&Digest) -> Option<Vec<u8>>) {
        self.calls += 1;
        self.usage.add(&call.usage);
        self.cost_usd += call.cost_usd;
        let largest = self.largest.entry(call.role.clone()).or_default();
        largest.0 = largest.0.max(call.usage.total() + call.usage.unreported_tokens);
        largest.1 = largest.1.max(call.cost_usd);
        if matches!(call.class, CallClass::Answered | CallClass::Inspects) {
            self.barren.clear();
        } else if call.class != CallClass::Abandoned {
            *self.barren.entry(call.class).or_default() += 1;
        }
        if call.class.is_hopeless() {
            self.hopeless = Some(format!("{} ({}): {}", call.class, call.model, call.detail));
        } else {
            self.hopeless = None;
        }
        if matches!(call.role.as_str(), "coder" | "auditor") {
            let arm = Arm { model: call.model.clone(), kind: call.purpose.clone() };
            // A repair or a revision is paid by the arm that needed it, which the place names before its last part.
            let (round, stage) = call.place.rsplit_once('/').unwrap_or((&call.place, "0"));
            // So is a question that was asked again with evidence (`0+1`).
            // An arm that brings nothing has been pulled too; that the network was down is not its fault.
            if stage == "0" && call.class != CallClass::Abandoned && !call.class.is_outage() {
                self.arms.entry(arm.clone()).or_default().pulls += 1;
            }
            let paid =
                if stage.split('+').next() == Some("0") { arm } else { self.first_arm(round).unwrap_or(arm) };
            self.arms.entry(paid).or_default().cost += effort(call);
        }
        // What was given up half-way is asked again.
        if call.class == CallClass::Abandoned {
            return;
        }
        let reply = call.reply.and_then(|digest| kept(&digest)).unwrap_or_default();
        let first = call.place.split('+').next().unwrap_or_default();
        // Asked for more evidence, the reviewer has not said anything yet.
        if first.starts_with("read/") && call.class != CallClass::Inspects {
            let said = answer::read_advice(&String::from_utf8_lossy(&reply)).ok();
            let usable = said.filter(|_| call.class == CallClass::Answered);
            self.advice.insert(first.to_owned(), usable.map(|advice| advice.words()));
        }
        let look = |inspected: &Inspected| Look {
            request: inspected.request.clone(),
            text: String::from_utf8_lossy(&kept(&inspected.shown).unwrap_or_default()).into_owned(),
        };
        let answered = Answered {
            class: call.class,
            detail: call.detail.clone(),
            model: call.model.clone(),
            purpose: call.purpose.clone(),
            reply: String::from_utf8_lossy(&reply).into_owned(),
            looks: call.inspected.iter().map(look).collect(),
        };
        self.answers.insert(call.place.clone(), answered);
        self.order.push_back(call.place.clone());
        if self.order.len() > RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
    }

    fn first_arm(&self, round: &str) -> Option<Arm> {
        let first = self.at(&format!("{round}/0"))?;
        Some(Arm { model: first.model.clone(), kind: first.purpose.clone() })
    }

    /// A pass earns a little, a new best what it adds on the logarithmic scale.
    fn judged(&mut self, proposal: Seq, ratio: Option<f64>) {
        let best = self.best_log_ratio;
        if let Some(ratio) = ratio {
            self.best_log_ratio = best.max(ratio.ln());
        }
        // Only the first verdict counts: later lanes only confirm it.
        let Some(arm) = self.arm_of.remove(&proposal) else { return };
        if let Some(ratio) = ratio {
            let gain = (ratio.ln() - best).max(0.0);
            self.arms.entry(arm).or_default().reward += (0.1 + gain).min(1.0);
        }
    }

    /// Calls since the last usable answer.
    pub(crate) fn barren_calls(&self) -> u32 {
        self.barren.values().sum()
    }
}

/// What a call took, in units that exist without a price table too: dollars, else tokens as if at one dollar a million.
fn effort(call: &ModelCall) -> f64 {
    if call.cost_usd > 0.0 { call.cost_usd } else { call.usage.total() as f64 / 1e6 }
}
