//! Where layers come from: embedded files, files on disk, the environment and flags.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::ConfigError;
use crate::key::{Key, Rule};

/// The embedded configurations, by name.
const EMBEDDED: [(&str, &str); 4] = [
    ("default", include_str!("../../../search-configs/default.toml")),
    ("quick", include_str!("../../../search-configs/quick.toml")),
    ("overnight", include_str!("../../../search-configs/overnight.toml")),
    ("seeded", include_str!("../../../search-configs/seeded.toml")),
];

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `search-configs/default.toml`.
    Default,
    /// Another embedded configuration.
    Embedded(String),
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag, as `section.key`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Embedded(name) => write!(f, "configuration {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(variable) => write!(f, "${variable}"),
            Self::Flag(key) => write!(f, "flag {key}"),
        }
    }
}

/// The text of an embedded configuration: `default`, `quick`, `overnight` or `seeded`.
pub fn embedded(name: &str) -> Option<&'static str> {
    EMBEDDED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The user's own file: `$XDG_CONFIG_HOME/kernsmith/config.toml`, or below `$HOME/.config`.
pub fn user_file(environment: &[(String, String)]) -> Option<PathBuf> {
    let value = |name: &str| {
        let found = environment.iter().find(|(variable, value)| variable == name && !value.is_empty());
        found.map(|(_, value)| PathBuf::from(value))
    };
    let folder = value("XDG_CONFIG_HOME").or_else(|| Some(value("HOME")?.join(".config")))?;
    Some(folder.join("kernsmith").join("config.toml"))
}

fn known_names() -> String {
    EMBEDDED.map(|(name, _)| format!("`{name}`")).join(", ")
}

pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        known: known_names(),
        source,
    })
}

/// What `--config` names: a path (it has a separator or ends in `.toml`), `./search-configs/<name>.toml`, or an embedded
/// configuration.
pub(crate) fn named(name: &str) -> Result<(Origin, String), ConfigError> {
    if name.contains(std::path::is_separator) || name.to_ascii_lowercase().ends_with(".toml") {
        return Ok((Origin::File(PathBuf::from(name)), read(Path::new(name))?));
    }
    let local = Path::new("search-configs").join(format!("{name}.toml"));
    if local.is_file() {
        let text = read(&local)?;
        return Ok((Origin::File(local), text));
    }
    match embedded(name) {
        Some(text) => Ok((Origin::Embedded(name.to_owned()), text.to_owned())),
        None => Err(ConfigError::Unknown { name: name.to_owned(), known: known_names() }),
    }
}

/// One key and its raw value as a small file of its own, so that every source is read by the same reader.
pub(crate) fn single(section: &str, name: &str, rule: Option<&Rule>, raw: &str) -> String {
    format!("[{section}]\n{name} = {}\n", literal(rule, raw))
}

/// Raw text from a shell as TOML: people write `--set log.dir=/tmp/runs`, without the quotes of the file.
fn literal(rule: Option<&Rule>, raw: &str) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let raw = raw.trim();
    match rule {
        Some(Rule::List) if !raw.starts_with('[') => {
            let items: Vec<String> = raw.split(':').filter(|item| !item.is_empty()).map(quoted).collect();
            format!("[{}]", items.join(", "))
        }
        Some(Rule::List) if !raw.contains('\n') => raw.to_owned(),
        Some(Rule::Text | Rule::Word(_)) => quoted(raw.trim_matches('"')),
        _ => match (raw.parse::<i64>(), raw.parse::<f64>(), raw.parse::<bool>()) {
            (Ok(number), _, _) => number.to_string(),
            (_, Ok(number), _) if number.is_finite() => format!("{number:?}"),
            (_, _, Ok(flag)) => flag.to_string(),
            _ => quoted(raw.trim_matches('"')),
        },
    }
}

/// A variable's section and key: `KERNSMITH_BUDGET_WALL_SECONDS` is `budget` and `wall_seconds`.
///
/// Only variables that begin with the name of a section belong to the configuration; `KERNSMITH_CXX` does not.
pub(crate) fn of_variable(variable: &str, keys: &[Key]) -> Option<(&'static str, String)> {
    let rest = variable.strip_prefix("KERNSMITH_")?.to_ascii_lowercase();
    let section = keys.iter().map(|key| key.section).find(|section| {
        rest.strip_prefix(section).is_some_and(|rest| rest.starts_with('_') && rest.len() > 1)
    })?;
    Some((section, rest[section.len() + 1..].to_owned()))
}
