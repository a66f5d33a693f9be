//! The handle of running fakes: start, stop, what the services are told, and what tests ask and arrange.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use protocol::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::authority::{Authority, CA_FILE};
use crate::counters::Counters;
use crate::devices::{Devices, Home};
use crate::keys::{APNS_FILE, FCM_FILE, Keys, VAPID_FILE};
use crate::options::{APPS, KEY_ID, LOCALHOST, Listener, Options, Ports, TEAM_ID, TokenUri};
use crate::records::{Missed, Records};
use crate::script::{Rule, Script};
use crate::server::{self, Server};
use crate::shown::{Seen, Shown};
use crate::subscriptions::Subscriptions;
use crate::world::World;

/// Running fakes. They live on the runtime that started them; dropping the handle ends them and all connections.
#[derive(Debug)]
pub struct FakePush {
    folder: PathBuf,
    authority: Authority,
    world: Arc<World>,
    servers: Mutex<HashMap<Listener, Server>>,
}

impl FakePush {
    /// Makes what the folder lacks (authority, keys, service account) and listens on every port.
    ///
    /// # Errors
    /// The folder cannot be written, holds something unreadable, or a port is taken for five seconds.
    pub async fn start(folder: &Path, options: Options) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let mut ports = options.ports;
        let mut listeners = Vec::new();
        for which in Listener::ALL {
            let listener = server::bind(options.address, options.ports.of(which)).await?;
            ports.set(which, listener.local_addr()?.port());
            listeners.push((which, listener));
        }
        let token_uri = token_uri(&options, ports);
        let world = World {
            ports,
            keys: Keys::open(folder, &token_uri)?,
            token_uri,
            grants: crate::oauth::Grants::default(),
            vapid: crate::vapid::Verified::default(),
            devices: Devices::default(),
            subscriptions: Subscriptions::open(folder)?,
            script: Script::default(),
            records: Records::new(options.recording),
            connections: AtomicU64::new(0),
            webpush_origin: format!("https://{}:{}", options.name, ports.webpush),
            options,
        };
        let fake = Self {
            folder: std::path::absolute(folder)?,
            authority: Authority::open(folder, &world.options.name)?,
            world: Arc::new(world),
            servers: Mutex::default(),
        };
        for (which, listener) in listeners {
            fake.serve(which, listener)?;
        }
        Ok(fake)
    }

    /// Makes what the folder lacks and listens nowhere: for services that want their files before the fakes run.
    /// `options` name all ports.
    ///
    /// # Errors
    /// The folder cannot be written, or holds something unreadable.
    pub fn prepare(folder: &Path, options: &Options) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        Keys::open(folder, &token_uri(options, options.ports))?;
        Authority::open(folder, &options.name)?;
        Ok(())
    }

    fn serve(&self, which: Listener, listener: TcpListener) -> anyhow::Result<()> {
        let tls = match which {
            Listener::Apns | Listener::ApnsSandbox => Some(self.authority.server(&["h2"])?),
            Listener::Fcm | Listener::Webpush => Some(self.authority.server(&["h2", "http/1.1"])?),
            Listener::Page => None,
        };
        let server = Server::start(self.world.clone(), which, listener, tls);
        self.servers.lock().insert(which, server);
        Ok(())
    }

    /// Ends all listeners and connections, and returns when the ports are free.
    pub async fn stop(self) {
        for which in Listener::ALL {
            self.stop_listener(which).await;
        }
    }

    /// Ends one listener and its connections: an outage. Records, keys and tokens stay.
    pub async fn stop_listener(&self, which: Listener) {
        let server = self.servers.lock().remove(&which);
        if let Some(server) = server {
            server.stop().await;
        }
    }

    /// Starts a stopped listener on the port that it had.
    ///
    /// # Errors
    /// The port is taken for five seconds.
    pub async fn start_listener(&self, which: Listener) -> anyhow::Result<()> {
        if self.servers.lock().contains_key(&which) {
            return Ok(());
        }
        let (address, port) = (self.world.options.address, self.world.ports.of(which));
        self.serve(which, server::bind(address, port).await?)
    }

    /// The ports that are listened at; in [`Options`] they have a restarted fake listen there again.
    pub fn ports(&self) -> Ports {
        self.world.ports
    }

    /// Where the page is.
    pub fn page_url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.world.ports.page)
    }

    /// File with the certificate to trust, PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join(CA_FILE)
    }

    /// The application server key that browsers subscribe with, base64url.
    pub fn vapid_public_key(&self) -> String {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&self.world.keys.vapid_point)
    }

    /// Environment variables for the services.
    pub fn settings(&self) -> Vec<(String, String)> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let url = |port: u16| format!("https://{}:{port}", self.world.options.name);
        let ports = self.world.ports;
        let settings = [
            ("CA_FILE", file(CA_FILE)),
            ("APNS__URL", url(ports.apns)),
            ("APNS__SANDBOX_URL", url(ports.apns_sandbox)),
            ("APNS__KEY_FILE", file(APNS_FILE)),
            ("APNS__KEY_ID", KEY_ID.to_owned()),
            ("APNS__TEAM_ID", TEAM_ID.to_owned()),
            ("APNS__APPS", APPS.join(",")),
            ("FCM__URL", url(ports.fcm)),
            ("FCM__CREDENTIALS", file(FCM_FILE)),
            ("WEBPUSH__KEY_FILE", file(VAPID_FILE)),
            ("WEBPUSH__SUBJECT", "mailto:operator@parley.example".to_owned()),
            ("WEBPUSH__ALLOW_PRIVATE", "true".to_owned()),
        ];
        settings
            .map(|(name, value)| (format!("PARLEY_PUSH__{name}"), value))
            .into()
    }

    /// Adds a rule: requests meet the oldest rule that fits.
    pub fn script(&self, rule: Rule) {
        self.world.script.add(rule);
    }

    /// Ends all rules.
    pub fn clear(&self) {
        self.world.script.clear();
    }

    /// Every request, the oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.world.records.seen()
    }

    /// Every accepted push, the oldest first.
    pub fn shown(&self) -> Vec<Shown> {
        self.world.records.shown(|_| true)
    }

    /// Accepted pushes to one device token or subscription id, the oldest first.
    pub fn shown_to(&self, token: &str) -> Vec<Shown> {
        self.world.records.shown(|it| it.token == token)
    }

    /// Waits until the accepted pushes are `enough`, and returns them. `enough` must not call the fake.
    ///
    /// # Errors
    /// They were not within `patience`.
    pub async fn wait(
        &self,
        patience: Duration,
        enough: impl FnMut(&[Shown]) -> bool,
    ) -> Result<Vec<Shown>, Missed<Shown>> {
        self.world.records.wait_shown(patience, enough).await
    }

    /// Waits until the requests are `enough`, and returns them. `enough` must not call the fake.
    ///
    /// # Errors
    /// They were not within `patience`.
    pub async fn wait_seen(
        &self,
        patience: Duration,
        enough: impl FnMut(&[Seen]) -> bool,
    ) -> Result<Vec<Seen>, Missed<Seen>> {
        self.world.records.wait_seen(patience, enough).await
    }

    /// Totals.
    pub fn counters(&self) -> Counters {
        self.world.records.tallies.read()
    }

    /// What was refused for a mistake of the client, as `provider: reason`. Empty in a test where all went well.
    pub fn refused(&self) -> BTreeMap<String, u64> {
        let counters = self.counters();
        let providers = [
            ("apns", counters.apns),
            ("fcm", counters.fcm),
            ("webpush", counters.webpush),
            ("oauth", counters.oauth),
        ];
        let named = |(name, counts): (&'static str, crate::Counts)| {
            let reasons = counts.refused.into_iter();
            reasons.map(move |(reason, count)| (format!("{name}: {reason}"), count))
        };
        providers.into_iter().flat_map(named).collect()
    }

    /// Forgets requests, pushes and totals; numbers go on.
    pub fn clear_records(&self) {
        self.world.records.clear();
    }

    /// Says where a device token of Apple belongs; else the first push to it does.
    pub fn know(&self, token: &str, app: &str, sandbox: bool) {
        let app = app.to_owned();
        self.world.devices.settle(token, Home { app, sandbox });
    }

    /// The app is removed from the device: providers answer that the token (or the subscription of that id) is gone.
    pub fn uninstall(&self, token: &str, since: Timestamp) {
        self.world.devices.uninstall(token, since);
    }

    /// Everything that is known of a token.
    pub fn forget(&self, token: &str) {
        self.world.devices.forget(token);
    }

    /// No access token for FCM is valid any more.
    pub fn revoke_access_tokens(&self) {
        self.world.grants.revoke();
    }

    /// Makes a Web Push subscription, as `PushSubscription.toJSON()` of a browser writes it.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn subscribe(&self) -> anyhow::Result<Value> {
        self.world.subscriptions.mint(self.world.webpush_origin())
    }

    /// Ends the subscription with this endpoint or id; false where there is none.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn unsubscribe(&self, endpoint: &str) -> anyhow::Result<bool> {
        let id = endpoint.rsplit('/').next().unwrap_or(endpoint);
        self.world.subscriptions.unsubscribe(id)
    }
}

/// Where access tokens are asked for.
fn token_uri(options: &Options, ports: Ports) -> String {
    let name = options.name.as_str();
    let (scheme, name, port) = match options.token_uri {
        // A name that some machines resolve to an address where nobody listens.
        TokenUri::Plain if name == LOCALHOST => ("http", "127.0.0.1", ports.page),
        TokenUri::Plain => ("http", name, ports.page),
        TokenUri::Tls => ("https", name, ports.fcm),
    };
    format!("{scheme}://{name}:{port}{}", crate::oauth::PATH)
}

impl Drop for FakePush {
    fn drop(&mut self) {
        // Each ends with the sender of its stop signal.
        self.servers.lock().clear();
    }
}
