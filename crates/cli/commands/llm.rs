//! `kernsmith llm`: what an endpoint can do.

use clap::Subcommand;
use serde_json::json;

use crate::args::{Format, Global};
use crate::console::data;
use crate::error::{Answer, CliError};
use crate::exit::Exit;
use crate::session::{self, proposer};

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Ask an endpoint a few small questions and say what it supports; costs a few hundred tokens.
    Check {
        /// Address of an OpenAI-compatible server, up to and including the version [default: `llm.base_url`].
        #[arg(long, value_name = "URL")]
        base_url: Option<String>,
        /// The model [default: the first of `llm.models`].
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
    },
}

/// Runs the subcommand.
pub(crate) fn run(global: &Global, verb: Verb) -> Answer {
    let Verb::Check { base_url, model } = verb;
    let mut flags = Vec::new();
    flags.extend(base_url.map(|url| ("llm.base_url".to_owned(), url)));
    flags.extend(model.map(|model| ("llm.models".to_owned(), session::list_of_one(&model))));
    let config = session::config(global, &flags)?.config.llm;
    let Some(model) = config.models.first().cloned() else {
        return Err(CliError::usage("no model is named; give `--model NAME` or set `llm.models`"));
    };
    let endpoint =
        kernsmith_llm::endpoint(&config, proposer::key(&config)?).map_err(proposer::bad_setting)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::internal)?;
    let found = runtime.block_on(kernsmith_llm::check(&endpoint, &model)).map_err(proposer::bad_setting)?;
    let usable = found.iter().any(|checked| checked.works);
    if global.format == Format::Human {
        data(&format!("{} with model `{model}`", endpoint.base_url));
        for checked in &found {
            let word = if checked.works { "yes" } else { "no" };
            let tokens = checked.usage.total();
            data(&format!(
                "{:24} {word:4} {:6.0} ms {tokens:6} tokens  {}",
                checked.feature, checked.wall_ms, checked.detail
            ));
        }
        let advice = if usable {
            "usable: kernsmith search CONTRACT --proposer llm with the same address and model"
        } else {
            "not usable; docs/llm.md says what a server must have"
        };
        data(advice);
    } else {
        data(&json!({"schema_version": 1, "base_url": endpoint.base_url, "model": model, "usable": usable, "features": found}).to_string());
    }
    Ok(if usable { Exit::Done } else { Exit::Budget })
}
