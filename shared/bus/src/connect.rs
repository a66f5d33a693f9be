//! The connection to NATS and what the rest of the code wants to know of it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::{Client, ConnectOptions, Event, ServerError};
use config::{ConfigError, Unavailable};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::departures::Departures;
use crate::ends::Ends;
use crate::{login, subjects};

/// A connected client with its JetStream context. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {
    /// Core NATS.
    pub client: Client,
    /// JetStream.
    pub jetstream: jetstream::Context,
    connections: watch::Receiver<Link>,
    pub(crate) ends: Ends,
    pub(crate) departures: Departures,
}

/// State of the link, and how often it came up: readers of streams start again on every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Whether it is up.
    pub up: bool,
    /// How often it came up.
    pub epoch: u64,
}

/// Why there is no connection at the start. Names the setting, never a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered in time.
    #[error("{0}")]
    Unreachable(#[source] Unavailable),
    /// A setting is wrong: a file that cannot be used, a server that refuses our name, or whose certificate we refuse.
    #[error("{0}")]
    Setting(#[source] ConfigError),
}

/// So long a server may refuse us, or we its certificate, before a start fails: it may be one of several that are being
/// given new users one after the other.
pub const REFUSED_MOST: Duration = Duration::from_secs(2);

/// A publish whose ack has not come by then has an unknown outcome and is answered so.
pub const ACK_TIMEOUT: Duration = Duration::from_millis(1_500);

impl Bus {
    /// Connects, waiting up to the configured time for a server; afterwards the client reconnects for ever. `name` is
    /// that of the program, as the server lists it.
    ///
    /// # Errors
    /// [`ConnectError`], after the configured wait; for a refusal, of us or of the server's certificate, after
    /// [`REFUSED_MOST`] of it.
    pub async fn connect(config: &config::Nats, name: &str) -> Result<Self, ConnectError> {
        let started = tokio::time::Instant::now();
        loop {
            let failure = match Self::attempt(config, name).await? {
                Ok(bus) => return Ok(bus),
                Err(failure) => failure,
            };
            if started.elapsed() >= config.wait.min(REFUSED_MOST)
                && let Some(wrong) = login::refusal(config, &failure)
            {
                return Err(ConnectError::Setting(wrong));
            }
            if started.elapsed() >= config.wait {
                let (servers, waited) = (without_user(&config.url), config.wait.as_secs());
                let problem = format!("no NATS server answered at {servers} within {waited} s: {failure}");
                return Err(ConnectError::Unreachable(Unavailable::new("PARLEY_NATS__URL", problem)));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn attempt(
        config: &config::Nats,
        name: &str,
    ) -> Result<Result<Self, async_nats::ConnectError>, ConnectError> {
        let (link, connections) = watch::channel(Link { up: false, epoch: 0 });
        let faults = Faults::default();
        let mut options = ConnectOptions::new()
            .name(name)
            .custom_inbox_prefix(subjects::inbox_prefix(name))
            .connection_timeout(Duration::from_secs(2))
            .ping_interval(Duration::from_secs(5))
            .request_timeout(Some(ACK_TIMEOUT))
            .max_reconnects(None)
            .reconnect_delay_callback(|attempt| Duration::from_millis((attempt as u64 * 20).min(250)))
            .event_callback(move |event| {
                let (link, faults) = (link.clone(), faults.clone());
                async move { on_event(&link, &faults, &event) }
            });
        options = login::apply(config, options).await.map_err(ConnectError::Setting)?;
        let servers: Vec<&str> = config.url.split(',').map(str::trim).collect();
        Ok(options.connect(servers).await.map(|client| {
            tokio::spawn(count_links(connections.clone()));
            let jetstream = jetstream::context::ContextBuilder::new()
                .timeout(ACK_TIMEOUT)
                .ack_timeout(ACK_TIMEOUT)
                .build(client.clone());
            Self {
                departures: Departures::follow(client.clone()),
                client,
                jetstream,
                connections,
                ends: Ends::default(),
            }
        }))
    }

    /// Whether the link is up right now; requests that cannot be sent are refused at once instead of queued.
    pub fn is_up(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Whether this is one server of several: streams may have copies, and answers may be old.
    pub fn is_clustered(&self) -> bool {
        self.client.server_info().cluster.is_some_and(|it| !it.is_empty())
    }

    /// Changes of the link from now on.
    pub fn link(&self) -> watch::Receiver<Link> {
        let mut link = self.connections.clone();
        // A clone has seen what its original has, and nobody reads that one: without this, the first `changed` would
        // report what was already so.
        link.mark_unchanged();
        link
    }

    /// Largest payload that the server takes, in bytes, less room for headers.
    pub fn payload_bytes_most(&self) -> usize {
        self.client.max_payload().saturating_sub(16 * 1024)
    }
}

/// Counts whether the link is up, and how often it was lost, for as long as the client lives.
async fn count_links(mut connections: watch::Receiver<Link>) {
    let mut counted = false;
    loop {
        let up = connections.borrow_and_update().up;
        if up && !counted {
            metrics::gauge!("parley_nats_connections").increment(1.0);
        } else if counted && !up {
            metrics::gauge!("parley_nats_connections").decrement(1.0);
            metrics::counter!("parley_nats_disconnects_total").increment(1);
        }
        counted = up;
        if connections.changed().await.is_err() {
            break;
        }
    }
    if counted {
        metrics::gauge!("parley_nats_connections").decrement(1.0);
    }
}

fn on_event(link: &watch::Sender<Link>, faults: &Faults, event: &Event) {
    match event {
        Event::Connected => {
            faults.clear();
            link.send_modify(|it| {
                *it = Link {
                    up: true,
                    epoch: it.epoch + 1,
                }
            });
            tracing::info!("connected to NATS");
        }
        Event::Disconnected => {
            link.send_modify(|it| it.up = false);
            tracing::warn!("connection to NATS lost; reconnecting");
        }
        Event::Closed => {
            link.send_modify(|it| it.up = false);
            tracing::debug!("connection to NATS closed");
        }
        Event::SlowConsumer(subscription) => {
            // The reader of that subscription sees the gap in its sequences and starts again from before it.
            metrics::counter!("parley_nats_slow_consumer_total").increment(1);
            tracing::warn!(subscription, "a NATS subscription fell behind");
        }
        Event::ServerError(ServerError::Other(text)) if text.to_lowercase().starts_with(DENIED) => {
            // A subject that the permissions of this service leave out: what was asked for will not happen.
            metrics::counter!("parley_nats_permission_denied_total").increment(1);
            tracing::error!(
                error = text,
                "NATS denied a subject to this service; see deploy/nats/permissions.conf"
            );
        }
        // One attempt after the other to connect again fails, several in a second and perhaps for hours.
        Event::ClientError(_) | Event::ServerError(ServerError::AuthorizationViolation) => {
            let event = event.to_string();
            // The server that throws us out and the one that does not let us in say the same.
            let text = event.rsplit("nats: ").next().unwrap_or(&event);
            if faults.is_new(text) {
                tracing::error!(error = text, "NATS cannot be connected to; trying on");
            }
        }
        other => tracing::warn!(event = %other, "NATS client event"),
    }
}

/// How the server's error about a subject begins.
const DENIED: &str = "permissions violation";

/// The failure to connect that was told last: each is told once, until it is another one or a connection stands.
#[derive(Debug, Clone, Default)]
struct Faults(Arc<Mutex<Option<String>>>);

impl Faults {
    fn is_new(&self, text: &str) -> bool {
        let mut told = self.0.lock();
        let is_new = told.as_deref() != Some(text);
        if is_new {
            *told = Some(text.to_owned());
        }
        is_new
    }

    fn clear(&self) {
        *self.0.lock() = None;
    }
}

/// Server addresses without the part before `@`, for messages.
pub fn without_user(urls: &str) -> String {
    let clean = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        _ => url.to_owned(),
    };
    urls.split(',')
        .map(|url| clean(url.trim()))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_do_not_stand_in_messages() {
        assert_eq!(
            without_user("nats://u:p@a:4222, tls://b:4222"),
            "nats://a:4222,tls://b:4222"
        );
    }
}
