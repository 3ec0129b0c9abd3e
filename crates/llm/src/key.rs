//! The key to a server: read once, shown never.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::LlmError;

/// What stands in place of the key wherever a server echoes it.
const MASK: &str = "[key]";
/// Parts of a key that are this long are masked too: servers like to echo the beginning or the end.
const PART_BYTES: usize = 6;

/// The key to a server, or none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ApiKey(Option<String>);

impl ApiKey {
    /// A key from the file if one is named, else from the environment variable; `variable` looks one up.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is empty, or that anybody but its owner may read.
    pub fn load(
        variable_name: &str,
        file: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, LlmError> {
        let key = if file.is_empty() {
            variable(variable_name).unwrap_or_default()
        } else {
            read_private(Path::new(file))?
        };
        let key = key.trim();
        if !key.chars().all(|c| c.is_ascii_graphic()) {
            return Err(LlmError::setting("llm.key_env", "the key holds characters that no key has"));
        }
        Ok(Self((!key.is_empty()).then(|| key.to_owned())))
    }

    /// A key that is known.
    pub fn new(key: &str) -> Self {
        Self((!key.is_empty()).then(|| key.to_owned()))
    }

    pub(crate) fn secret(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The text without the key and without longer parts of it.
    pub fn scrub(&self, text: &str) -> String {
        let Some(key) = &self.0 else { return text.to_owned() };
        let mut clean = text.replace(key.as_str(), MASK);
        for length in (PART_BYTES..key.len()).rev() {
            for part in [&key[..length], &key[key.len() - length..]] {
                clean = clean.replace(part, MASK);
            }
        }
        clean
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "ApiKey(set)" } else { "ApiKey(none)" })
    }
}

fn read_private(path: &Path) -> Result<String, LlmError> {
    let fault = |problem: String| LlmError::KeyFile { path: path.to_owned(), problem };
    let mode = std::fs::metadata(path).map_err(|error| fault(error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(fault(format!("others may read it (mode {:o}); `chmod 600` it", mode & 0o777)));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
    if text.trim().is_empty() { Err(fault("it is empty".to_owned())) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let key = ApiKey::new("sk-test-0123456789");
        assert_eq!(format!("{key:?}"), "ApiKey(set)");
        let echo = "Incorrect API key: sk-test-0123456789 (sk-test-01...), see ...456789";
        let clean = key.scrub(echo);
        assert!(!clean.contains("sk-test") && !clean.contains("456789"), "{clean}");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = std::env::temp_dir().join(format!("kernsmith-key-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("key");
        std::fs::write(&path, "sk-abcdefgh\n").unwrap();
        let load = || ApiKey::load("NONE", path.to_str().unwrap(), |_| None);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load().unwrap_err().to_string().contains("chmod 600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(load().unwrap().secret(), Some("sk-abcdefgh"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
