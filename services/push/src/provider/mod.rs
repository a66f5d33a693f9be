//! Providers: Apple, Google and browsers' push services behind one trait.
//!
//! A provider turns one push into one request and the response into an [`Answer`]; it neither retries nor stores
//! anything. What is to be done about an answer is decided by whoever works on the jobs.

mod apns;
mod cut;
mod failure;
#[cfg(test)]
mod fake_tests;
mod fcm;
mod guard;
mod http2;
mod providers;
mod roots;
#[cfg(test)]
mod testing;
mod tls;
mod webpush;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use protocol::{ConversationId, Timestamp};

pub(crate) use providers::Providers;
pub(crate) use webpush::Subscription;

/// Where one device is reached.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The device's token; of Web Push the subscription as JSON, as a browser gives it.
    pub(crate) token: String,
    /// Bundle id at Apple, project at Google; of Web Push the endpoint's origin.
    pub(crate) app: String,
    /// Of Apple: whether the sandbox is meant.
    pub(crate) sandbox: bool,
}

impl Debug for Address {
    /// Without the token: it is a secret of the device.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address")
            .field("app", &self.app)
            .field("sandbox", &self.sandbox)
            .finish_non_exhaustive()
    }
}

/// One push to one device.
#[derive(Debug, Clone)]
pub(crate) struct Push {
    pub(crate) address: Address,
    /// The same for every attempt.
    pub(crate) id: uuid::Uuid,
    /// What a later push with the same id replaces on the device, at most 64 bytes.
    pub(crate) collapse_id: String,
    /// The provider is not to keep it for longer.
    pub(crate) expires_at: Timestamp,
    pub(crate) content: Content,
}

/// What is pushed.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// Something to be shown.
    Alert(Alert),
    /// The number on the app's icon, and nothing to be seen or heard.
    Badge(u32),
}

/// A message as it is shown. Without `Debug` of its texts: bodies stand in no log line.
#[derive(Clone)]
pub(crate) struct Alert {
    pub(crate) title: String,
    pub(crate) body: String,
    /// Unread messages; `None` where that is not known: the icon stays as it is.
    pub(crate) badge: Option<u32>,
    /// Name of the sound.
    pub(crate) sound: &'static str,
    /// What the app can offer to do with it.
    pub(crate) category: &'static str,
    /// Also the thread.
    pub(crate) conversation_id: ConversationId,
    pub(crate) server_id: String,
    pub(crate) seq: u64,
    pub(crate) traceparent: Option<String>,
}

impl Debug for Alert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alert")
            .field("server_id", &self.server_id)
            .finish_non_exhaustive()
    }
}

/// What came of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The provider has it.
    Accepted,
    /// The token is dead: of a device that is gone, or never was one of this app.
    Gone {
        reason: String,
        /// Since when; a token that was registered later lives. `None`: the provider did not say.
        since: Option<Timestamp>,
    },
    /// It will never be taken as it is, and the token is not to blame.
    Refused { reason: String },
    /// Our key or our settings are wrong: tokens stay, nothing more is sent for a while, and people are told.
    OurFault { reason: String, after: Option<Duration> },
    /// Not now.
    Later {
        reason: String,
        /// As long as the provider asked for.
        after: Option<Duration>,
        scope: Scope,
    },
}

/// What a provider that says "not now" says it of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// This device alone.
    Device,
    /// All devices of this app at this provider.
    App,
    /// One or the other: the provider does not say.
    Either,
}

/// Carries pushes to one provider.
pub(crate) trait Provider: Send + Sync + Debug {
    /// Makes one attempt, bounded in time by the provider's own time-out.
    fn push<'a>(&'a self, push: &'a Push) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;
}
