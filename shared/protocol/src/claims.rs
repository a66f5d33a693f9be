//! What a token says. Verified by the connection service, minted for development by `parley token`.

use serde::{Deserialize, Serialize};

/// The claims of a JWT that Parley reads (contract §3).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// The user id: any string of 1 to [`crate::limits::ID_BYTES`] bytes.
    pub sub: String,
    /// End of validity, seconds since the epoch.
    pub exp: u64,
    /// Issuer; must be the configured one.
    pub iss: String,
    /// Audience; must be, or contain, the configured one.
    pub aud: Audience,
    /// If present, the only device id that this token may be used with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// A name to show; optional and never trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// RFC 7519 §4.1.3: one string or a list of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// The usual form.
    One(String),
    /// Several audiences.
    Many(Vec<String>),
}
