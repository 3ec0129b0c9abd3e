//! What models cost, and what it bought.

use std::collections::BTreeMap;

use kernsmith_core::{CallClass, ModelCall};
use serde::{Deserialize, Serialize};

use crate::tables::Fact;

/// Calls of models, all together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ModelSpend {
    /// Logical calls.
    pub calls: u64,
    /// Calls by class; `answered` are the usable ones.
    pub classes: BTreeMap<String, u64>,
    /// Tokens of prompts, by the server's count.
    pub prompt_tokens: u64,
    /// Tokens of answers, by the server's count.
    pub completion_tokens: u64,
    /// Estimate for tries whose count never came.
    pub unreported_tokens: u64,
    /// Price in US dollars, by the run's price table.
    pub cost_usd: f64,
    /// Price by model.
    pub cost_usd_by_model: BTreeMap<String, f64>,
    /// New champions.
    pub gains: u64,
    /// Price of one new champion; `None` where there is none.
    pub cost_usd_per_gain: Option<f64>,
}

impl ModelSpend {
    pub(crate) fn add(&mut self, call: &ModelCall) {
        self.calls += 1;
        *self.classes.entry(call.class.to_string()).or_default() += 1;
        self.prompt_tokens += call.usage.prompt_tokens;
        self.completion_tokens += call.usage.completion_tokens;
        self.unreported_tokens += call.usage.unreported_tokens;
        self.cost_usd += call.cost_usd;
        *self.cost_usd_by_model.entry(call.model.clone()).or_default() += call.cost_usd;
    }

    /// With the gains that the money bought.
    pub(crate) fn with_gains(mut self, gains: u64) -> Self {
        self.gains = gains;
        self.cost_usd_per_gain = (gains > 0).then(|| self.cost_usd / gains as f64);
        self
    }

    /// The same for people.
    pub(crate) fn facts(&self) -> Vec<Fact> {
        let usable = self.classes.get(CallClass::Answered.as_str()).copied().unwrap_or_default();
        let mut facts = vec![
            Fact::new("calls of models", format!("{} ({usable} usable)", self.calls)),
            Fact::new("tokens", format!("{} in, {} out", self.prompt_tokens, self.completion_tokens)),
        ];
        let spoilt = self.classes.iter().filter(|(class, _)| *class != CallClass::Answered.as_str());
        let spoilt: Vec<String> = spoilt.map(|(class, count)| format!("{class} {count}")).collect();
        if !spoilt.is_empty() {
            facts.push(Fact::new("calls without use", spoilt.join(", ")));
        }
        if self.cost_usd > 0.0 {
            facts.push(Fact::new("price of all calls", format!("{:.4} US dollars", self.cost_usd)));
        }
        if let Some(price) = self.cost_usd_per_gain.filter(|price| *price > 0.0) {
            facts
                .push(Fact::new("price of one gain", format!("{price:.4} US dollars for each new champion")));
        }
        facts
    }
}
