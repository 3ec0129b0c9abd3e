//! What tokens cost.

use std::collections::BTreeMap;

use kernsmith_core::model::Usage;

use crate::error::LlmError;

/// Prices by model, in US dollars per million tokens.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prices(BTreeMap<String, Price>);

#[derive(Debug, Clone, Copy, PartialEq)]
struct Price {
    input: f64,
    cached: f64,
    output: f64,
}

impl Prices {
    /// Reads `model=input/output` and `model=input/cached/output`.
    pub fn parse(rows: &[String]) -> Result<Self, LlmError> {
        let mut prices = BTreeMap::new();
        for row in rows {
            let price = row.rsplit_once('=').and_then(|(model, numbers)| {
                let numbers: Option<Vec<f64>> = numbers
                    .split('/')
                    .map(|number| {
                        number.trim().parse().ok().filter(|price: &f64| price.is_finite() && *price >= 0.0)
                    })
                    .collect();
                let price = match numbers?[..] {
                    [input, output] => Price { input, cached: input, output },
                    [input, cached, output] => Price { input, cached, output },
                    _ => return None,
                };
                Some((model.trim().to_owned(), price))
            });
            let Some((model, price)) = price else {
                let problem = format!("`{row}` is not `model=input/output` in US dollars per million tokens");
                return Err(LlmError::setting("llm.prices", problem));
            };
            prices.insert(model, price);
        }
        Ok(Self(prices))
    }

    /// Whether the model has a price.
    pub fn knows(&self, model: &str) -> bool {
        self.0.contains_key(model)
    }

    /// What a call cost; tokens that were never reported count as answer tokens.
    pub fn cost_usd(&self, model: &str, usage: &Usage) -> f64 {
        let Some(price) = self.0.get(model) else { return 0.0 };
        let fresh = usage.prompt_tokens.saturating_sub(usage.cached_tokens) as f64;
        let answer = (usage.completion_tokens + usage.unreported_tokens) as f64;
        (fresh * price.input + usage.cached_tokens as f64 * price.cached + answer * price.output) / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_tokens_have_their_own_price() {
        let prices = Prices::parse(&["vendor/model=2/0.5/8".to_owned()]).unwrap();
        let usage = Usage {
            prompt_tokens: 1_000_000,
            cached_tokens: 500_000,
            completion_tokens: 250_000,
            ..Usage::default()
        };
        assert!((prices.cost_usd("vendor/model", &usage) - 3.25).abs() < 1e-9);
        assert!(!prices.knows("other") && prices.cost_usd("other", &usage).abs() < 1e-12);
        assert!(Prices::parse(&["m=1".to_owned()]).unwrap_err().to_string().contains("llm.prices"));
    }
}
