//! Reads all layers and lays them over one another.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use miette::NamedSource;

use crate::error::{ConfigError, Refusal};
use crate::key::{Key, keys, nearest};
use crate::section::{Layer, SearchConfig};
use crate::source::{Origin, embedded, named, of_variable, read, single, user_file};

/// Which layers there are, beside the defaults. The default request has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The user's own file; nothing is said when it is not there.
    pub user_file: Option<PathBuf>,
    /// `--config`: a path, or the name of a configuration.
    pub config: Option<String>,
    /// Environment variables; those that do not begin with `KERNSMITH_<SECTION>_` are ignored.
    pub environment: Vec<(String, String)>,
    /// Flags, as `section.key` and value.
    pub overrides: Vec<(String, String)>,
}

/// A configuration and where its values come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The result.
    pub config: SearchConfig,
    origins: BTreeMap<String, Origin>,
}

/// One line of `config show --origin`.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// `section.key`.
    pub key: String,
    /// The value, as it would stand in a file.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

impl Request {
    /// The layers of a process: its environment and the user's file that it names, `--config` and flags.
    pub fn new(
        config: Option<String>,
        environment: impl IntoIterator<Item = (String, String)>,
        overrides: Vec<(String, String)>,
    ) -> Self {
        let environment: Vec<_> = environment.into_iter().collect();
        Self { user_file: user_file(&environment), config, environment, overrides }
    }

    /// Splits a flag `section.key=value`; a flag without `=` has an empty value.
    pub fn split_flag(flag: &str) -> (String, String) {
        let (key, value) = flag.split_once('=').unwrap_or((flag, ""));
        (key.trim().to_owned(), value.to_owned())
    }
}

impl Loaded {
    /// Every key in the order of the defaults, with its value and origin.
    pub fn rows(&self) -> Vec<Row> {
        let effective = self.config.effective();
        keys()
            .iter()
            .map(|key| Row {
                key: key.path(),
                value: effective[key.section][key.name].to_string(),
                origin: self.origins.get(&key.path()).cloned().unwrap_or(Origin::Default),
            })
            .collect()
    }
}

/// Lays all layers of a request over the defaults: user's file, `--config`, environment, flags; later ones win.
///
/// What is asked for on the command line stands closer than what is kept in a file at home, so `--config quick` is quick
/// whatever the user's own file says.
pub fn load(request: &Request) -> Result<Loaded, ConfigError> {
    let mut base = Layer::default();
    let mut origins = BTreeMap::new();
    let mut lay = |origin: Origin, text: &str| -> Result<(), ConfigError> {
        let layer = parse(&origin, text)?;
        base.overwrite(layer, &origin, &mut origins);
        Ok(())
    };
    lay(Origin::Default, embedded("default").unwrap_or_default())?;
    if let Some(path) = request.user_file.as_ref().filter(|path| path.is_file()) {
        lay(Origin::File(path.clone()), &read(path)?)?;
    }
    if let Some(name) = &request.config {
        let (origin, text) = named(name)?;
        lay(origin, &text)?;
    }
    for (origin, text) in singles(request)? {
        lay(origin, &text)?;
    }
    Ok(Loaded { config: base.finish().map_err(ConfigError::Incomplete)?, origins })
}

/// The layers of one value each: environment first, then flags.
fn singles(request: &Request) -> Result<Vec<(Origin, String)>, ConfigError> {
    let keys = keys();
    let rule_of = |section: &str, name: &str| {
        keys.iter().find(|key| key.section == section && key.name == name).map(|key| key.rule)
    };
    let mut layers = Vec::new();
    for (variable, raw) in &request.environment {
        if let Some((section, name)) = of_variable(variable, &keys) {
            let text = single(section, &name, rule_of(section, &name).as_ref(), raw);
            layers.push((Origin::Environment(variable.clone()), text));
        }
    }
    for (path, raw) in &request.overrides {
        let origin = Origin::Flag(path.clone());
        let legal_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let parts = path.split_once('.').filter(|_| path.chars().all(legal_name));
        let Some((section, name)) = parts else {
            return Err(refuse(&origin, path, path, 0..path.len(), format!("`{path}` is not a key")));
        };
        layers.push((origin, single(section, name, rule_of(section, name).as_ref(), raw)));
    }
    Ok(layers)
}

fn parse(origin: &Origin, text: &str) -> Result<Layer, ConfigError> {
    let layer: Layer = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..text.len());
        let key = key_at(text, span.start);
        // The first line of the message says what is wrong; what was expected is said better by the remedy.
        let message = error.message().lines().next().unwrap_or_default();
        let problem = message.split(", expected one of").next().unwrap_or_default().to_owned();
        refuse(origin, text, &key, span, problem)
    })?;
    match layer.first_illegal() {
        None => Ok(layer),
        Some(illegal) => {
            let path = illegal.key.path();
            let value = text.get(illegal.span.clone()).unwrap_or_default();
            let problem = format!("`{path}` is {value}, which is not legal");
            Err(refuse(origin, text, &path, illegal.span, problem))
        }
    }
}

fn refuse(origin: &Origin, text: &str, key: &str, span: Range<usize>, problem: String) -> ConfigError {
    let line = text.get(..span.start).map_or(1, |before| before.lines().count().max(1));
    let line =
        if text.get(..span.start).is_some_and(|before| before.ends_with('\n')) { line + 1 } else { line };
    let place = match origin {
        Origin::Default | Origin::Embedded(_) | Origin::File(_) => format!("{origin}, line {line}"),
        Origin::Environment(_) | Origin::Flag(_) => origin.to_string(),
    };
    ConfigError::Refused(Box::new(Refusal {
        place,
        key: key.to_owned(),
        problem,
        remedy: remedy(key),
        text: NamedSource::new(origin.to_string(), text.to_owned()),
        span: span.into(),
    }))
}

/// What would be right: the rule of a key that exists, the nearest key of one that does not.
fn remedy(path: &str) -> String {
    let keys = keys();
    if let Some(key) = keys.iter().find(|key| key.path() == path) {
        return format!("`{path}` takes {}", key.rule);
    }
    let (section, name) = path.split_once('.').unwrap_or((path, ""));
    let in_section: Vec<&Key> = keys.iter().filter(|key| key.section == section).collect();
    let advice = "`kernsmith config show` lists all keys";
    if in_section.is_empty() {
        let mut sections: Vec<&str> = keys.iter().map(|key| key.section).collect();
        sections.dedup();
        return match nearest(section, sections.iter().copied()) {
            Some(meant) => format!("there is no section `{section}`; did you mean `{meant}`? {advice}"),
            None => format!("there is no section `{section}`; the sections are {}", sections.join(", ")),
        };
    }
    match nearest(name, in_section.iter().map(|key| key.name)) {
        Some(meant) => format!("did you mean `{section}.{meant}`? {advice}"),
        None => format!("section `{section}` has no such key; {advice}"),
    }
}

/// The key, as `section.name`, of the line that holds a byte; of a section's header, the section.
fn key_at(text: &str, offset: usize) -> String {
    let (mut section, mut start) = ("", 0);
    for line in text.split_inclusive('\n') {
        let content = line.trim();
        let header = content.strip_prefix('[').and_then(|rest| rest.split(']').next());
        section = header.map_or(section, str::trim);
        start += line.len();
        if offset >= start {
            continue;
        }
        let name = content.split('=').next().unwrap_or_default().trim();
        return match (header, section) {
            (Some(_), _) => section.to_owned(),
            (None, "") => name.to_owned(),
            (None, _) => format!("{section}.{name}"),
        };
    }
    section.to_owned()
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
