//! From the configuration's words to what the proposer works with.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kernsmith_core::model::Usage;
use kernsmith_search_config::LlmConfig;

use crate::ask::{Api, Ask};
use crate::cassette::{Player, Recorder};
use crate::client::{Client, Endpoint};
use crate::error::LlmError;
use crate::key::ApiKey;
use crate::price::Prices;

/// Cycles that a budget must be able to pay for before a run is started.
const LEAST_CYCLES: u64 = 3;
/// What a reviewer is asked for one candidate: before it is built, and about its evidence.
const REVIEWS: f64 = 2.0;

/// One role's model and manner.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manner {
    pub(crate) temperature: f64,
    pub(crate) effort: String,
}

/// Everything that the configuration says about models.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) models: Vec<String>,
    pub(crate) plan: bool,
    pub(crate) planner_model: String,
    pub(crate) reviewer_model: Option<String>,
    pub(crate) auditor_model: Option<String>,
    pub(crate) planner: Manner,
    pub(crate) coder: Manner,
    pub(crate) reviewer: Manner,
    pub(crate) schema: bool,
    pub(crate) prompt_tokens: u64,
    pub(crate) reply_tokens: u32,
    pub(crate) budget_tokens: u64,
    pub(crate) budget_usd: f64,
    pub(crate) prices: Prices,
    pub(crate) give_up_calls: u32,
    /// Requests for evidence that one question may lead to, and bytes that are shown.
    pub(crate) inspect_calls: usize,
    pub(crate) inspect_bytes: usize,
}

/// Answers a question in place of a model.
pub type Script = Arc<dyn Fn(&Ask) -> String + Send + Sync>;

/// Where answers come from.
#[derive(Clone)]
pub(crate) enum Line {
    /// A server; calls are recorded where a cassette is named.
    Live(Client, Option<Arc<Recorder>>),
    /// A cassette.
    Replay(Arc<Player>),
    /// A function in place of a model; calls are recorded where a cassette is named.
    Script(Script, Option<Arc<Recorder>>),
}

impl Options {
    pub(crate) fn of(config: &LlmConfig) -> Result<Self, LlmError> {
        let Some(first) = config.models.first().cloned() else {
            return Err(LlmError::setting(
                "llm.models",
                "no model is named; give `--model NAME` or set `llm.models`",
            ));
        };
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let manner = |temperature: f64, effort: &str| Manner { temperature, effort: effort.to_owned() };
        let options = Self {
            plan: config.plan,
            planner_model: named(&config.planner_model).unwrap_or(first),
            models: config.models.clone(),
            reviewer_model: named(&config.reviewer_model),
            auditor_model: named(&config.auditor_model),
            planner: manner(config.planner_temperature, &config.planner_effort),
            coder: manner(config.coder_temperature, &config.coder_effort),
            reviewer: manner(config.reviewer_temperature, &config.reviewer_effort),
            schema: config.structured == "schema",
            prompt_tokens: config.prompt_tokens,
            reply_tokens: config.reply_tokens as u32,
            budget_tokens: config.budget_tokens,
            budget_usd: config.budget_usd,
            prices: Prices::parse(&config.prices)?,
            give_up_calls: config.give_up_calls,
            inspect_calls: config.inspect_calls as usize,
            inspect_bytes: config.inspect_bytes.0 as usize,
        };
        options.check_budget()?;
        Ok(options)
    }

    fn all_models(&self) -> impl Iterator<Item = &String> {
        let others = self.reviewer_model.iter().chain(&self.auditor_model);
        self.models.iter().chain([&self.planner_model]).chain(others)
    }

    /// A budget that buys next to nothing is a mistake, and one in dollars without prices no budget at all.
    fn check_budget(&self) -> Result<(), LlmError> {
        if self.budget_usd > 0.0
            && let Some(model) = self.all_models().find(|model| !self.prices.knows(model))
        {
            let problem = format!(
                "`{model}` has no price; add `{model}=INPUT/OUTPUT` in US dollars per million tokens"
            );
            return Err(LlmError::setting("llm.prices", problem));
        }
        let dearest = |model: &str| self.worst_cost(model, self.prompt_tokens);
        let coder = self.models.iter().map(|model| dearest(model)).fold(0.0, f64::max);
        let reviewer = self.reviewer_model.as_deref().map_or(0.0, dearest);
        let need_usd = LEAST_CYCLES as f64 * (coder + REVIEWS * reviewer) + dearest(&self.planner_model);
        if self.budget_usd > 0.0 && self.budget_usd < need_usd {
            let problem = format!(
                "{} US dollars may not pay for {LEAST_CYCLES} candidates; give at least {need_usd:.2}, or make \
                 llm.prompt_tokens and llm.reply_tokens smaller",
                self.budget_usd
            );
            return Err(LlmError::setting("llm.budget_usd", problem));
        }
        let reviews = if self.reviewer_model.is_some() { REVIEWS as u64 } else { 0 };
        let calls = LEAST_CYCLES * (1 + reviews) + 1;
        let need = calls * (self.prompt_tokens + u64::from(self.reply_tokens));
        if self.budget_tokens > 0 && self.budget_tokens < need {
            let problem = format!(
                "{} tokens may not pay for {LEAST_CYCLES} candidates; give at least {need}, or make llm.prompt_tokens \
                 and llm.reply_tokens smaller",
                self.budget_tokens
            );
            return Err(LlmError::setting("llm.budget_tokens", problem));
        }
        Ok(())
    }

    /// The most that a call with such a prompt can cost.
    pub(crate) fn worst_cost(&self, model: &str, prompt_tokens: u64) -> f64 {
        let usage =
            Usage { prompt_tokens, completion_tokens: u64::from(self.reply_tokens), ..Usage::default() };
        self.prices.cost_usd(model, &usage)
    }
}

impl Line {
    pub(crate) fn of(config: &LlmConfig, key: ApiKey) -> Result<Self, LlmError> {
        let path = Path::new(&config.cassette);
        if !config.cassette.is_empty() && config.cassette_mode == "replay" {
            return Ok(Self::Replay(Arc::new(Player::open(path)?)));
        }
        Ok(Self::Live(Client::new(endpoint(config, key)?)?, recorder(config)?))
    }

    pub(crate) fn script(config: &LlmConfig, script: Script) -> Result<Self, LlmError> {
        Ok(Self::Script(script, recorder(config)?))
    }
}

fn recorder(config: &LlmConfig) -> Result<Option<Arc<Recorder>>, LlmError> {
    let named = !config.cassette.is_empty();
    Ok(named.then(|| Recorder::open(Path::new(&config.cassette))).transpose()?.map(Arc::new))
}

/// The endpoint that a configuration names.
///
/// # Errors
///
/// A file of certificates that cannot be read.
pub fn endpoint(config: &LlmConfig, key: ApiKey) -> Result<Endpoint, LlmError> {
    let authorities = if config.ca_file.is_empty() {
        Vec::new()
    } else {
        std::fs::read(&config.ca_file)
            .map_err(|error| LlmError::setting("llm.ca_file", format!("{}: {error}", config.ca_file)))?
    };
    let seconds = Duration::from_secs_f64;
    Ok(Endpoint {
        base_url: config.base_url.trim_end_matches('/').to_owned(),
        api: if config.api == "responses" { Api::Responses } else { Api::Chat },
        key,
        stream: config.stream,
        deadline: Duration::from_secs_f64(config.deadline_seconds),
        idle: Duration::from_secs_f64(config.idle_seconds),
        concurrency: config.concurrency as usize,
        pauses: (seconds(config.retry_pause_seconds), seconds(config.retry_pause_max_seconds)),
        authorities,
    })
}
