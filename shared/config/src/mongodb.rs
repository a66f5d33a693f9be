//! Section `mongodb`: where the history is kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::setting::{Setting, invalid};
use crate::{ConfigError, duration, without_passwords};

pub(crate) const SETTINGS: &[Setting] = &[
    Setting::secret(
        "mongodb.uri",
        "an address such as mongodb://127.0.0.1:27017/?replicaSet=rs0",
    ),
    Setting::new("mongodb.database", "a database name of 1 to 63 letters, digits, - or _"),
    Setting::new("mongodb.wait", "a duration such as 30s"),
];

/// How to reach MongoDB.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mongodb {
    /// A replica set (one node will do): `mongodb://` or `mongodb+srv://`.
    pub uri: String,
    /// The database of this deployment.
    pub database: String,
    /// How long a start waits for MongoDB before it gives up with exit code 69.
    #[serde(with = "duration")]
    pub wait: Duration,
}

impl Default for Mongodb {
    fn default() -> Self {
        Self {
            uri: "mongodb://127.0.0.1:27017/?replicaSet=rs0".to_owned(),
            database: "parley".to_owned(),
            wait: Duration::from_secs(30),
        }
    }
}

impl Mongodb {
    /// # Errors
    /// An address without MongoDB's scheme, or a name that MongoDB would refuse.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !["mongodb://", "mongodb+srv://"]
            .iter()
            .any(|scheme| self.uri.starts_with(scheme))
        {
            return Err(invalid("mongodb.uri", ""));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.database.is_empty() || self.database.len() > 63 || !self.database.chars().all(plain) {
            return Err(invalid("mongodb.database", format_args!("{:?}", self.database)));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Mongodb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mongodb")
            .field("uri", &without_passwords(&self.uri))
            .field("database", &self.database)
            .field("wait", &self.wait)
            .finish()
    }
}
