//! How a fake is started, and what its parts are called.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Id of the APNs signing key, as a provider token's `kid` names it.
pub const KEY_ID: &str = "FAKEKEY001";
/// Id of the developer team, as a provider token's `iss` names it.
pub const TEAM_ID: &str = "FAKETEAM01";
/// Bundle ids that may be pushed to.
pub const APPS: [&str; 2] = ["org.parley.app", "org.parley.other"];
/// What clients on the same machine call it.
pub(crate) const LOCALHOST: &str = "localhost";
/// The Firebase project.
pub const PROJECT: &str = "parley-fake";

/// Options of [`FakePush::start`](crate::FakePush::start).
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen.
    pub ports: Ports,
    /// The address to listen at. Loopback but in a container, where the network between containers is the bound.
    pub address: IpAddr,
    /// What clients call this machine: in URLs, and in the certificate beside `localhost`.
    pub name: String,
    /// What the service account file names as its `token_uri`.
    pub token_uri: TokenUri,
    /// What is kept of requests.
    pub recording: Recording,
    /// How long a connection has to keep one provider token before APNs takes another; zero: no such check.
    pub provider_token_pace: Duration,
    /// Lifetime of access tokens for FCM.
    pub access_token_lifetime: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ports: Ports::default(),
            address: Ipv4Addr::LOCALHOST.into(),
            name: LOCALHOST.to_owned(),
            token_uri: TokenUri::Plain,
            recording: Recording::Everything,
            provider_token_pace: Duration::from_secs(20 * 60),
            access_token_lifetime: Duration::from_secs(3_599),
        }
    }
}

/// Ports of the listeners. In [`Options`] 0 means any that is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Ports {
    /// APNs, production.
    pub apns: u16,
    /// APNs, sandbox.
    pub apns_sandbox: u16,
    /// FCM, and the token endpoint over TLS.
    pub fcm: u16,
    /// Web Push.
    pub webpush: u16,
    /// The page, and the token endpoint without TLS.
    pub page: u16,
}

impl Ports {
    /// The port of one listener.
    pub fn of(self, listener: Listener) -> u16 {
        match listener {
            Listener::Apns => self.apns,
            Listener::ApnsSandbox => self.apns_sandbox,
            Listener::Fcm => self.fcm,
            Listener::Webpush => self.webpush,
            Listener::Page => self.page,
        }
    }

    pub(crate) fn set(&mut self, listener: Listener, port: u16) {
        match listener {
            Listener::Apns => self.apns = port,
            Listener::ApnsSandbox => self.apns_sandbox = port,
            Listener::Fcm => self.fcm = port,
            Listener::Webpush => self.webpush = port,
            Listener::Page => self.page = port,
        }
    }
}

/// Where access tokens are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenUri {
    /// `http://NAME:PAGE/token`, for clients that trust only the system's roots; 127.0.0.1 stands for `localhost`.
    Plain,
    /// `https://NAME:FCM/token`
    Tls,
}

/// What is kept of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// The newest 100,000 requests and pushes.
    Everything,
    /// Counters only: for benchmarks. Device tokens are not learned either.
    Counts,
}

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Listener {
    /// APNs, production.
    Apns,
    /// APNs, sandbox.
    ApnsSandbox,
    /// FCM, and the token endpoint over TLS.
    Fcm,
    /// Web Push.
    Webpush,
    /// The page, and the token endpoint without TLS.
    Page,
}

impl Listener {
    pub(crate) const ALL: [Self; 5] = [Self::Apns, Self::ApnsSandbox, Self::Fcm, Self::Webpush, Self::Page];
}

/// Whose behaviour a request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Apple.
    Apns,
    /// Google.
    Fcm,
    /// A browser's push service.
    Webpush,
    /// Google's token endpoint.
    Oauth,
}

impl Provider {
    pub(crate) const ALL: [Self; 4] = [Self::Apns, Self::Fcm, Self::Webpush, Self::Oauth];
}
