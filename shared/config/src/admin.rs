//! Section `admin`: the private address for probes and metrics.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::ConfigError;
use crate::setting::Setting;

pub(crate) const SETTINGS: &[Setting] = &[Setting::new("admin.listen", "an address and port such as 0.0.0.0:9090")];

/// Where `/healthz`, `/readyz` and `/metrics` are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Private address; never to be reachable by clients.
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9090)),
        }
    }
}

impl Admin {
    /// # Errors
    /// None today: the type says it all.
    pub fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }
}
