//! Section `auth`: how tokens are checked. Verifying them is the connection service's work.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ConfigError;
use crate::setting::{Setting, invalid, variable};

pub(crate) const SETTINGS: &[Setting] = &[
    Setting::secret("auth.hs256_secret", "a secret of at least 32 bytes"),
    Setting::secret(
        "auth.hs256_secret_file",
        "the path of a file with a secret of at least 32 bytes",
    ),
    Setting::secret("auth.issuer", "the name of the issuer of tokens"),
    Setting::secret("auth.audience", "the audience of tokens"),
];

/// Shortest secret, in bytes: what HS256 asks for (RFC 7518 §3.2).
const SECRET_BYTES: usize = 32;

/// Whose tokens are good.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// The key of HS256 tokens, its bytes as written. Read it with [`Auth::secret`].
    #[serde(skip_serializing)]
    pub hs256_secret: Option<String>,
    /// A file that holds the key, as Kubernetes mounts one; wins over `hs256_secret`.
    pub hs256_secret_file: Option<PathBuf>,
    /// `iss` of every token.
    pub issuer: String,
    /// `aud` of every token, or one of them.
    pub audience: String,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            hs256_secret: None,
            hs256_secret_file: None,
            issuer: "parley-dev".to_owned(),
            audience: "parley".to_owned(),
        }
    }
}

impl Auth {
    /// # Errors
    /// A short secret, an empty issuer or audience. A missing secret is none: only some services need it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self
            .hs256_secret
            .as_ref()
            .is_some_and(|secret| secret.len() < SECRET_BYTES)
        {
            return Err(invalid("auth.hs256_secret", ""));
        }
        if self.issuer.is_empty() {
            return Err(invalid("auth.issuer", ""));
        }
        if self.audience.is_empty() {
            return Err(invalid("auth.audience", ""));
        }
        Ok(())
    }

    /// The key of HS256 tokens, from the file if one is named. White space at the file's end is not part of it.
    ///
    /// # Errors
    /// No secret is set, it is shorter than 32 bytes, or its file cannot be read.
    pub fn secret(&self) -> Result<Secret, ConfigError> {
        if let Some(path) = &self.hs256_secret_file {
            return from_file(path);
        }
        let Some(secret) = &self.hs256_secret else {
            let problem = "not set: the connection service needs a secret of at least 32 bytes here, or the path of a \
                           file with it in PARLEY_AUTH__HS256_SECRET_FILE";
            return Err(ConfigError::new(variable("auth.hs256_secret"), problem));
        };
        self.validate()?;
        Ok(Secret(secret.clone().into_bytes()))
    }
}

fn from_file(path: &Path) -> Result<Secret, ConfigError> {
    const KEY: &str = "auth.hs256_secret_file";
    let mut bytes = std::fs::read(path)
        .map_err(|error| ConfigError::new(variable(KEY), format!("cannot read {}: {error}", path.display())))?;
    bytes.truncate(bytes.trim_ascii_end().len());
    if bytes.len() < SECRET_BYTES {
        Err(invalid(KEY, ""))
    } else {
        Ok(Secret(bytes))
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("hs256_secret", &self.hs256_secret.as_ref().map(|_| "(secret)"))
            .field("hs256_secret_file", &self.hs256_secret_file)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .finish()
    }
}

/// A key. It can be used, not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The key's bytes, at least 32; for the one place that signs or verifies with them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}
